"""The crowd as a file of TOML: when candidates arrive, and which share of them does what.

`crowd.toml` beside this module is the crowd of a rehearsal that names none, and the example to
begin from. A file is whole: what is missing is an error, so that no share is there unseen.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from loadtest.rush.plan import After, Claiming, Ending
from quota_service.schema import FORM, Number, Whole, faults, wrong

DEFAULT = Path(__file__).with_name("crowd.toml")
_PERCENT = re.compile(r"(-?[0-9]{1,3}(?:\.[0-9]+)?) ?%")
_WHOLE_PERCENT = 100
_ROUNDING = 1e-6
_LONGEST_S = 86_400


def _moment(value: Any) -> float | str:
    """Return a time as it is written: seconds, or a share of the time before or after."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LONGEST_S:
        return value
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or abs(float(found[1])) > _WHOLE_PERCENT:
        raise wrong('must be seconds from the opening or a text from "-100 %" to "100 %"', FORM)
    return str(value)


def _shares(kinds: type[StrEnum]) -> Any:
    """Return the type of a table of shares, by the names of an enumeration in lower case."""
    names = {kind.name.lower(): kind for kind in kinds}

    def read(given: dict[str, float]) -> dict[StrEnum, float]:
        for name in given:
            if name not in names:
                raise wrong(f"has no {name!r}; it takes {', '.join(names)}")
        return {names[name]: share for name, share in _whole(given).items()}

    return Annotated[dict[str, Share], AfterValidator(read)]


def _whole(given: Mapping[Any, float]) -> Mapping[Any, float]:
    total = math.fsum(given.values())
    if abs(total - 1) > _ROUNDING:
        raise wrong(f"adds up to {total:g}, and must to 1")
    return given


def _counts(given: dict[str, float]) -> dict[str, float]:
    for name in given:
        if re.fullmatch(r"[1-9][0-9]?", name) is None:
            raise wrong(f"has {name!r}, and takes numbers of subjects from 1 to 99")
    return dict(_whole(given))


def _ascending(given: list[float]) -> list[float]:
    if given != sorted(given):
        raise wrong("must be the least and then the most")
    return given


Share = Annotated[float, Number(0, 1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Arrival(_Table):
    """By when which share of the candidates has come."""

    at: Annotated[Any, PlainValidator(_moment)]
    come: Share

    def at_s(self, before_s: float, open_s: float) -> float:
        """Return the seconds from the opening."""
        if not isinstance(self.at, str):
            return float(self.at)
        share = float(self.at.rstrip("% ")) / _WHOLE_PERCENT
        return share * (before_s if share < 0 else open_s)


class Manners(_Table):
    """Shares of the candidates who do something besides, and limits of all of them."""

    cheating: Share
    watching: Share
    pressing_twice: Share
    reusing_a_key: Share
    leaving_the_room: Share
    joining_the_list: Share
    orders_max: Annotated[int, Whole(1, 100)]
    venues_max: Annotated[int, Whole(1, 32)]
    patience_s: Annotated[
        list[Annotated[float, Number(0, 3600)]],
        Field(min_length=2, max_length=2),
        AfterValidator(_ascending),
    ]


class Crowd(_Table):
    """The whole file."""

    arrivals: Annotated[list[Arrival], Field(min_length=2, max_length=1000)]
    holds: _shares(Ending)
    bookings: _shares(After)
    turns: _shares(Claiming)
    subjects: Annotated[dict[str, Share], AfterValidator(_counts)]
    candidates: Manners

    @model_validator(mode="after")
    def _curve(self) -> Self:
        """Hold the curve to rise from nobody to all."""
        come = [point.come for point in self.arrivals]
        if come != sorted(come) or (come[0], come[-1]) != (0, 1):
            raise wrong("arrivals: `come` must rise from 0 at the first to 1 at the last")
        # Of two times in different units a run decides which is later; see `arrived`.
        for unit in (str, int | float):
            times = [point.at_s(1, 1) for point in self.arrivals if isinstance(point.at, unit)]
            if times != sorted(times):
                raise wrong("arrivals: `at` must be later at each than at the one before")
        return self


def read_crowd(path: Path) -> Crowd:
    """Return the crowd that a file describes; ValueError names file, key and value."""
    try:
        return Crowd.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        fault = next(faults(error))
        key = ".".join(map(str, fault.location))
        shown = f" = {fault.value!r}" if isinstance(fault.value, str | int | float | list) else ""
        raise ValueError(f"{path}: {key}{shown}: {fault.detail}".replace(": :", ":")) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
