"""The use cases over both stores: Redis decides who gets a seat, Postgres who keeps it."""
