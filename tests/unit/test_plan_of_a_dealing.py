"""The plan of a dealing: in order, in full, at the first venue that can, and nothing twice."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from quota_service.waiting_list.entry import Entry
from quota_service.waiting_list.plan import Plan, PlannedOffer, Pool, plan
from tests.support.waiting_lists import waiting_entry

SUBJECTS_OF = {"am": ("general", "special"), "pm": ("qms",)}
SESSION_OF = {"general": "am", "special": "am", "qms": "pm"}
VENUES = ("jinan", "beijing")
QUOTAS = [f"{venue}/{subject}" for venue in VENUES for subject in SESSION_OF]
PLACES = [f"{venue}/{session}" for venue in VENUES for session in SUBJECTS_OF]


def entry(number: int, subjects: tuple[str, ...], venues: tuple[str, ...] = ("jinan",)) -> Entry:
    sessions = tuple(SESSION_OF[subject] for subject in subjects)
    return waiting_entry(number, subjects, sessions, venues)


def pool(
    returned: dict[str, int],
    remaining: dict[str, int] | None = None,
    places: dict[str, int] | None = None,
) -> Pool:
    """Return a pool of seats at jinan."""
    return Pool(
        {f"jinan/{subject}": seats for subject, seats in returned.items()},
        {f"jinan/{subject}": seats for subject, seats in (remaining or {}).items()},
        {f"jinan/{session}": seats for session, seats in (places or {}).items()},
    )


def served(planned: Plan) -> list[tuple[str, str]]:
    return [(offer.entry.serial, offer.venue) for offer in planned.offers]


def test_the_first_entry_that_can_be_served_in_full_is_served() -> None:
    entries = [entry(1, ("general", "qms")), entry(2, ("general",)), entry(3, ("general",))]

    planned = plan(entries, pool({"general": 1}), SUBJECTS_OF)

    assert served(planned) == [("entry-2", "jinan")]
    assert (planned.leftovers, planned.waiting) == ({}, {})


def test_a_seat_that_is_missing_comes_out_of_those_on_open_sale() -> None:
    planned = plan([entry(1, ("general", "qms"))], pool({"general": 1}, {"qms": 1}), SUBJECTS_OF)

    assert [seat.is_returned for seat in planned.offers[0].seats] == [True, False]
    assert planned.leftovers == {}


def test_what_no_entry_can_use_is_left_over() -> None:
    planned = plan([entry(1, ("general", "qms"))], pool({"general": 2}), SUBJECTS_OF)

    assert planned.leftovers == {"jinan/general": 2}
    assert planned.waiting == {"jinan/general": 1}


def test_an_entry_is_served_at_the_first_of_its_venues_that_can() -> None:
    seats = Pool({f"{venue}/general": 1 for venue in VENUES}, {})
    entries = [entry(n, ("general",), ("beijing", "jinan")) for n in (1, 2, 3)]

    assert served(plan(entries, seats, SUBJECTS_OF)) == [
        ("entry-1", "beijing"),
        ("entry-2", "jinan"),
    ]


def test_a_returned_seat_goes_on_open_sale_where_its_place_is_what_lacks() -> None:
    seats = pool({"general": 1}, {"special": 2}, {"am": 0})

    planned = plan([entry(1, ("special",)), entry(2, ("special",))], seats, SUBJECTS_OF)

    assert served(planned) == [("entry-1", "jinan")]
    assert planned.offers[0].seats[0].opened == "jinan/general"
    assert planned.leftovers == {}


def test_without_a_place_under_the_ceiling_a_seat_on_open_sale_is_none() -> None:
    planned = plan([entry(1, ("special",))], pool({}, {"special": 2}, {"am": 0}), SUBJECTS_OF)

    assert planned.offers == ()


@st.composite
def dealings(draw: st.DrawFn) -> tuple[list[Entry], Pool]:
    """Return entries, and few seats for them, with ceilings over some sessions."""
    wishes = st.sampled_from([("general",), ("special",), ("qms",), ("general", "qms")])
    venues = st.sampled_from([("jinan",), ("beijing",), ("beijing", "jinan")])
    pairs = draw(st.lists(st.tuples(wishes, venues), max_size=12))
    seats = st.dictionaries(st.sampled_from(QUOTAS), st.integers(0, 3))
    places = st.dictionaries(st.sampled_from(PLACES), st.integers(0, 2))
    entries = [entry(number, *pair) for number, pair in enumerate(pairs)]
    return entries, Pool(draw(seats), draw(seats), draw(places))


class Model:
    """What is left of a pool, counted in the plainest way."""

    def __init__(self, seats: Pool) -> None:
        self.returned, self.remaining = Counter(seats.returned), Counter(seats.remaining)
        self.places = dict(seats.places_left)

    def can(self, one: Entry, venue: str) -> bool:
        """Return whether a venue has a seat of each subject of an entry."""
        return all(
            self.returned[f"{venue}/{subject}"] > 0
            or (self.remaining[f"{venue}/{subject}"] > 0 and self.has_place(venue, subject))
            for subject in one.subjects
        )

    def has_place(self, venue: str, subject: str) -> bool:
        session = SESSION_OF[subject]
        others = (self.returned[f"{venue}/{other}"] for other in SUBJECTS_OF[session])
        return self.places.get(f"{venue}/{session}", 1) > 0 or any(seats > 0 for seats in others)

    def take(self, offer: PlannedOffer) -> None:
        for seat, subject in zip(offer.seats, offer.entry.subjects, strict=True):
            (self.returned if seat.is_returned else self.remaining)[seat.quota] -= 1
            place = f"{offer.venue}/{SESSION_OF[subject]}"
            if seat.opened is not None:
                self.returned[seat.opened] -= 1
                self.remaining[seat.opened] += 1
            elif not seat.is_returned and place in self.places:
                self.places[place] -= 1


@given(dealings())
def test_no_entry_is_skipped_that_could_have_been_served(
    dealing: tuple[list[Entry], Pool],
) -> None:
    entries, seats = dealing

    planned = plan(entries, seats, SUBJECTS_OF)

    model, offers = Model(seats), {offer.entry.serial: offer for offer in planned.offers}
    waiting: Counter[str] = Counter()
    for one in entries:
        offer = offers.get(one.serial)
        possible = [venue for venue in one.venues if model.can(one, venue)]
        assert (offer.venue if offer else None) == (possible[0] if possible else None)
        if offer:
            wanted = [f"{offer.venue}/{subject}" for subject in one.subjects]
            assert [seat.quota for seat in offer.seats] == wanted
            model.take(offer)
        else:
            wanted = [*one.subjects, *(f"/{session}" for session in one.sessions)]
            waiting.update(f"{venue}/{each}" for venue in one.venues for each in wanted)
    assert planned.leftovers == +model.returned
    places = {place.replace("/", "//") for place in seats.places_left}
    assert planned.waiting == {each: waiting[each] for each in {*planned.leftovers, *places}}
    counts = [*model.returned.values(), *model.remaining.values(), *model.places.values()]
    assert min(counts, default=0) >= 0
