"""The one place that builds Redis key names.

Every key of an exam carries the hash tag `{exam:0}`, so that all of them live in one slot of a
Redis Cluster and every script runs in one slot. The 0 is in all of them and means nothing. The
catalogue:

    key                        type    holds
    {exam:0}:epoch             string  the fence: <epoch>@<run> open, <epoch>/recovery@<run> not
    {exam:0}:origin            string  <epoch>-<version> a recovery goes on from; absent = open
    {exam:0}:version           string  counts the shard's steps
    {exam:0}:definition        hash    the definition in force: its revision, and what scripts go by
    {exam:0}:capacity          hash    venue/subject -> seats released so far
    {exam:0}:remaining         hash    venue/subject -> seats that can be reserved
    {exam:0}:held              hash    venue/subject -> seats in unpaid holds
    {exam:0}:confirming        hash    venue/subject -> seats whose payment is being recorded
    {exam:0}:confirmed         hash    venue/subject -> seats booked for good
    {exam:0}:returned          hash    venue/subject -> seats that wait for the next allocation
    {exam:0}:aside             hash    venue/subject -> seats left in its set-asides
    {exam:0}:aside_left        hash    set-aside/venue/subject -> seats left, while it is on
    {exam:0}:aside_seats       hash    set-aside/venue/subject -> seats kept for it, while it is on
    {exam:0}:code_uses         hash    code of a set-aside -> reservations made with it
    {exam:0}:ceiling_left      hash    venue/session -> seats left under its ceiling
    {exam:0}:claims            hash    candidate/session -> serial of the reservation that has it
    {exam:0}:key_held          hash    key/venue/subject -> seats in unpaid holds of an API key
    {exam:0}:unpaid            hash    candidate -> holds that ended unpaid|last end (ms)
    {exam:0}:due               zset    serial of a hold by the time (ms) it may expire
    {exam:0}:pinned            zset    serial by the time (ms) its attempt began
    {exam:0}:extended          hash    serial of a hold -> the extension that moved its deadline
    {exam:0}:wanted            hash    venue/subject -> entries of the waiting list that want it
    {exam:0}:list              hash    serial of a waiting entry -> what it wants
    {exam:0}:offers            hash    serial of a hold -> the entry it was offered to
    {exam:0}:spent             set     serials of reservations that have ended
    {exam:0}:journal           stream  one entry a step, id <epoch>-<version>
    {exam:0}:r:<serial>        string  the record of a reservation

and those of the waiting room, which a rebuild leaves as they are:

    {exam:0}:room              hash    epoch, last number, limit of block; draw_closed; claims
    {exam:0}:queue             zset    candidate by number, until its turn has passed
    {exam:0}:drawn             string  HyperLogLog of the candidates in the draw
    {exam:0}:places            zset    candidate by the time (ms) the place is free again
    {exam:0}:passes            hash    candidate -> last ticket used|pass expiry (ms)|epoch
    {exam:0}:signals           hash    process -> how it does, as JSON, each second
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

ROOM_KEYS = {
    "room": "hash",
    "queue": "zset",
    "drawn": "string",
    "places": "zset",
    "passes": "hash",
    "signals": "hash",
}
"""The keys of the waiting room, with their types; they exist once a candidate has joined."""

RULE_KEYS = {
    "returned": "hash",
    "aside": "hash",
    "aside_left": "hash",
    "aside_seats": "hash",
    "code_uses": "hash",
    "ceiling_left": "hash",
    "wanted": "hash",
    "list": "hash",
    "offers": "hash",
    "extended": "hash",
}
"""The keys that only exams with a rule for them have, with their types."""

SHARD_KEYS = {
    "epoch": "string",
    "origin": "string",
    "version": "string",
    "definition": "hash",
    "capacity": "hash",
    "remaining": "hash",
    "held": "hash",
    "confirming": "hash",
    "confirmed": "hash",
    "claims": "hash",
    "key_held": "hash",
    "unpaid": "hash",
    "due": "zset",
    "pinned": "zset",
    "spent": "set",
    "journal": "stream",
    **RULE_KEYS,
    **ROOM_KEYS,
}
"""Every key a shard has once, with its type."""

RECOVERY = "/recovery"
"""What follows the epoch in the fence of a recovery."""


@dataclass(frozen=True, slots=True)
class Shard:
    """What Redis has of an exam, and the epoch the caller knows it to be open under.

    One that is recovered is open to its recovery alone.
    """

    exam: str
    epoch: int
    is_recovered: bool = False

    tag: str = field(init=False, compare=False, repr=False)
    """The part of every key that decides its slot."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tag", f"{{{self.exam}:0}}")

    @property
    def fence(self) -> str:
        """The first argument of every script, to which its sender adds the run of the server."""
        return f"{self.epoch}{RECOVERY}" if self.is_recovered else str(self.epoch)

    def key(self, name: str) -> str:
        """Return the key called `name` in the catalogue."""
        if name not in SHARD_KEYS:
            raise KeyError(name)
        return f"{self.tag}:{name}"

    def record_key(self, serial: str) -> str:
        """Return the key of a reservation's record."""
        return f"{self.tag}:r:{serial}"

    def keys_for(self, names: Sequence[str]) -> list[str]:
        """Return the keys called `names`, in order."""
        return [f"{self.tag}:{name}" for name in names]
