"""What ends a bench before its table: a measurement that cannot be trusted, or a missing tool."""


class BenchError(Exception):
    """What was measured is not what was meant; the message says what was counted instead."""


class MissingError(BenchError):
    """Something the bench needs is not installed; the message says how to get it."""
