"""The sample exam as a day of five minutes: few seats, a waiting room, a release and a list."""

from dataclasses import replace

from quota_service.domain.exam import (
    Announce,
    Exam,
    HoldRules,
    Quota,
    ReturnedSeats,
    ReturnRule,
    SeatRelease,
    WaitingListRules,
    WaitingRoomRules,
    Window,
)

OPENS_IN_S = 60.0
"""Seconds for a crowd to gather before the opening."""
PEOPLE = 300
"""The crowd that comes."""
_OPEN_S = 240
_REFUNDS_S = 3600
_RELEASE_AFTER_S = 120
_SAMPLE_SEATS_OF_ONE = 60
"""Seats of the sample exam for each seat of the day: too few for the crowd."""
_RELEASED = {Quota("jinan", "general"): 6, Quota("jinan", "qms"): 6, Quota("jinan", "service"): 2}
_HOLD = HoldRules(ttl_s=45, checkout_grace_s=30, expiry_slack_s=2)
_ROOM = WaitingRoomRules(
    rate_per_s=4.0,
    rate_max_per_s=6.0,
    rate_min_per_s=1.0,
    places_max=100,
    pass_ttl_s=120,
    idle_s=60,
    claim_grace_s=60,
)


def day_of(exam: Exam) -> Exam:
    """Return the exam with what a day of five minutes needs; it opens when it did."""
    opens_at_ms = exam.registration.opens_at_ms
    release = SeatRelease(
        id="afternoon",
        at_ms=opens_at_ms + _RELEASE_AFTER_S * 1000,
        announce=Announce.TIME_AND_VENUES,
        seats=_RELEASED,
    )
    return replace(
        exam,
        registration=Window(opens_at_ms, opens_at_ms + _OPEN_S * 1000),
        refund=Window(opens_at_ms, opens_at_ms + _REFUNDS_S * 1000),
        hold=_HOLD,
        seats={quota: -(-seats // _SAMPLE_SEATS_OF_ONE) for quota, seats in exam.seats.items()},
        waiting_room=_ROOM,
        returned=ReturnedSeats(ReturnRule.LIST_FIRST),
        waiting_list=WaitingListRules(offer_ttl_s=60),
        releases=(release,),
    )
