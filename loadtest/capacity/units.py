"""What one request costs, as `make bench ARGS='--only unit-costs'` measures it: `units.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

DEFAULT = Path(__file__).with_name("units.toml")


class UnitsError(Exception):
    """A file of units that cannot be used, with the place of the mistake."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The CPU of one request, in microseconds, of each kind of process."""

    api_us: float = 0.0
    redis_us: float = 0.0
    postgres_us: float = 0.0
    worker_us: float = 0.0

    def __post_init__(self) -> None:
        """Raise TypeError for what is no time."""
        for name, value in asdict(self).items():
            if not isinstance(value, int | float) or value < 0:
                raise TypeError(f"{name} is {value!r}; it must be a number, 0 or more")


@dataclass(frozen=True, slots=True)
class Units:
    """The costs by kind of request, and what else limits.

    Bytes are of Redis's memory. A payment group takes `group_s` seconds and has at most `group_max`
    payments; `groups_max` of them are under way at once in each API process. A process is to be
    busy for `busy_share` of the time at the worst second, so that its answers stay fast.
    """

    costs: Mapping[str, Cost]
    reservation_bytes: int
    queued_bytes: int
    group_s: float
    group_max: int
    groups_max: int
    poll_min_s: float
    poll_max_s: float
    busy_share: float


KINDS = ("reserve", "sold_out", "draw", "join", "claim", "poll", "look", "payment", "journal")
"""The kinds of request.

`draw` is joining before the opening, `join` after it; `journal` is an entry of the journal, from
Redis to Postgres.
"""


def read_units(path: Path = DEFAULT) -> Units:
    """Return the units of a file; UnitsError names what is wrong with it."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UnitsError(f"{path}: {error}") from error
    costs = found.pop("costs", {})
    if sorted(costs) != sorted(KINDS):
        raise UnitsError(f"{path}: [costs] must have {', '.join(KINDS)}; it has {', '.join(costs)}")
    names = {field.name for field in fields(Units)} - {"costs"}
    for name in names ^ found.keys():
        raise UnitsError(f"{path}: {name} is {'missing' if name in names else 'no unit'}")
    for name, value in found.items():
        if not isinstance(value, int | float) or value <= 0:
            raise UnitsError(f"{path}: {name} is {value!r}; it must be a number above 0")
    try:
        return Units(costs={kind: Cost(**cost) for kind, cost in costs.items()}, **found)
    except TypeError as error:
        raise UnitsError(f"{path}: [costs]: {error}") from error
