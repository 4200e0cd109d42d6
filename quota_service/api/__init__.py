"""HTTP: requests in, answers and problems out; the only layer that knows status codes."""
