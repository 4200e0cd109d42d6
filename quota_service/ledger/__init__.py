"""Postgres: the ledger that decides who keeps a seat."""
