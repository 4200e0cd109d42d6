"""The HTTP server: requests and responses. It knows no exam; what it serves is handed to it."""
