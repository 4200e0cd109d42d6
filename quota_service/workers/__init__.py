"""Background work, each kind a `run_once` that returns what it did, and one loop for all."""
