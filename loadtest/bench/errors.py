"""What ends a bench before its table: a measurement that cannot be trusted, or a missing client."""


class BenchError(Exception):
    """What was measured is not what was meant; the message says what was counted instead."""


class WrkMissingError(BenchError):
    """The client is not installed."""
