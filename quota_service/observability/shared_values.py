"""Metric values in memory that outlives its process: a worker counts there, its supervisor reads.

A process that is killed has no time to report, so what it counted must already stand where another
process can read it. Here every value is eight bytes of a nameless file that both have mapped; to
count is one store into it, which costs less than the lock around prometheus_client's own value in
private memory. An entry is written whole before the length that covers it, so a reader never sees
half of one, and a store of eight aligned bytes is seen whole or not at all.
"""

import logging
import mmap
import os
import struct
import sys
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson
from prometheus_client import values

log = logging.getLogger(__name__)

_CELL_BYTES = 8
_LENGTH = struct.Struct("=q")


class Series(NamedTuple):
    """What a value is: one sample of a metric under one set of labels.

    A bucket of a histogram counts what fell into it alone, not what fell into smaller ones too.
    `mode` says of a gauge how those of several processes are made one, as prometheus_client does.
    """

    metric: str
    kind: str
    mode: str
    sample: str
    labels: tuple[tuple[str, str], ...]


def open_memory(size_bytes: int) -> int:
    """Return the descriptor of new memory; it takes room only as far as it is used."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("quota-metrics")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size_bytes)
    return descriptor


class SharedValues:
    """The values of one process in the memory behind a descriptor, for its writer or its reader.

    The first cell holds the number of bytes in use. Each entry is the length of its key, the key
    as JSON, padding up to a cell, and the cell of the value.
    """

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, 0)
        self._cells = memoryview(self._memory).cast("d")
        self._lengths = memoryview(self._memory).cast("q")
        self._size_bytes = len(self._memory)
        self._read_bytes = _CELL_BYTES
        self._known: list[tuple[Series, int]] = []
        self._places: dict[bytes, int] = {}
        self._is_full = False

    def read(self) -> Iterator[tuple[Series, float]]:
        """Yield every value that stands in the memory now."""
        in_use = self._lengths[0]
        while self._read_bytes < in_use:
            (length,) = _LENGTH.unpack_from(self._memory, self._read_bytes)
            begin = self._read_bytes + _LENGTH.size
            end, cell = _entry_end(self._read_bytes, length)
            metric, kind, mode, sample, labels = orjson.loads(self._memory[begin : begin + length])
            series = Series(metric, kind, mode, sample, tuple((n, v) for n, v in labels))
            self._known.append((series, cell))
            self._read_bytes = end
        for series, cell in self._known:
            yield series, self._cells[cell]

    def place(self, series: Series) -> "tuple[memoryview[float], int]":
        """Return where a value stands, as an index of cells; a new one starts at 0.

        When the memory is full the value is private: the process counts on, and says so once.
        """
        key = orjson.dumps(tuple(series))
        known = self._places.get(key)
        if known is not None:
            return self._cells, known
        begin = max(self._lengths[0], _CELL_BYTES)
        end, cell = _entry_end(begin, len(key))
        if end > self._size_bytes:
            if not self._is_full:
                log.error("no room for further metrics", extra={"metric": series.metric})
            self._is_full = True
            return memoryview(array("d", [0.0])), 0
        _LENGTH.pack_into(self._memory, begin, len(key))
        self._memory[begin + _LENGTH.size : begin + _LENGTH.size + len(key)] = key
        self._lengths[0] = end
        self._places[key] = cell
        return self._cells, cell

    def close(self) -> None:
        """Give the mapping back; what was read of it stays with the reader."""
        self._cells.release()
        self._lengths.release()
        self._memory.close()


def _entry_end(begin: int, key_bytes: int) -> tuple[int, int]:
    """Return where an entry ends, in bytes, and the index of its cell."""
    key_end = begin + _LENGTH.size + key_bytes
    cell = -(-key_end // _CELL_BYTES)
    return (cell + 1) * _CELL_BYTES, cell


def count_in(shared: SharedValues) -> None:
    """Have every metric that this process makes from now on keep its values in `shared`.

    prometheus_client asks the class named here for each value it makes. It has no narrower place
    to choose one, so this is for a process that has decided it before it made its metrics.
    """

    class SharedValue:
        """One value: the interface prometheus_client knows.

        No lock, unlike prometheus_client's own: all of this service counts on its one loop.
        """

        __slots__ = ("_cell", "_cells", "_value")

        def __init__(  # noqa: PLR0917  as it is called there
            self,
            typ: str,
            metric_name: str,
            name: str,
            labelnames: Sequence[str],
            labelvalues: Sequence[str],
            _help_text: str,
            multiprocess_mode: str = "",
            **_options: object,
        ) -> None:
            labels = tuple(zip(labelnames, labelvalues, strict=True))
            self._cells, self._cell = shared.place(
                Series(metric_name, typ, multiprocess_mode, name, labels)
            )
            self._value = self._cells[self._cell]

        def inc(self, amount: float) -> None:
            self._value = value = self._value + amount
            self._cells[self._cell] = value

        def set(self, value: float, timestamp: float | None = None) -> None:
            if timestamp is not None:
                raise ValueError("a shared value has no time of its own")
            self._value = value
            self._cells[self._cell] = value

        def get(self) -> float:
            return self._value

        def set_exemplar(self, _exemplar: object) -> None:
            raise ValueError("a shared value has no exemplars")

        def get_exemplar(self) -> None:
            return None

    values.ValueClass = SharedValue
