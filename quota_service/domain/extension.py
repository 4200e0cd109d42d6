"""An extension: the deadlines of the holds of an exam are moved out, once for each hold."""

from dataclasses import dataclass

MAX_EXTENSION_S = 604_800
"""A week; no deadline goes beyond the beginning of its first sitting anyway."""


@dataclass(frozen=True, slots=True)
class Extension:
    """By how much which holds are extended: those that were made up to `as_of_ms`.

    `number` is higher than that of every earlier one. `venue`, `subject` and `reservation` are
    empty where they do not matter; the latter is the id of the only one that is meant. `by` is who
    asked, as the journal has it.
    """

    number: int
    exam: str
    venue: str
    subject: str
    reservation: str
    ms: int
    as_of_ms: int
    by: str


@dataclass(frozen=True, slots=True)
class Extended:
    """How far an extension by at most so many ms is; it counts its holds once it is done."""

    number: int
    ms: int
    extended: int
    is_done: bool
    is_repeat: bool = False
