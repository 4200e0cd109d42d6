"""Redis: the seat counters, and the scripts that are the only way to change them."""
