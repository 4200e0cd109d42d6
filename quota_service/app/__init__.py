"""The process: what it opens, keeps fresh, serves and closes again."""
