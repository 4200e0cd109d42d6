"""The first member of every script's answer, with the names `lua/include/codes.lua` gives them."""

from enum import IntEnum


class Code(IntEnum):
    """How a script call ended: 0 done, 1 done before, negative refused."""

    DONE = 0
    DONE_BEFORE = 1
    NOT_READY = -1
    KEY_REUSED = -2
    SOLD_OUT = -3
    SESSION_CONFLICT = -4
    NOT_OPEN = -5
    CLOSED = -6
    UNKNOWN = -7
    ENDED = -8
    ALREADY_CONFIRMED = -9
    IN_PROGRESS = -10
    RELEASED = -11
    WRONG_AMOUNT = -12
    WRONG_CURRENCY = -13
    NO_ATTEMPT = -14
    BELOW_TAKEN = -15
    REFUNDED = -16
    NO_NUMBERS = -17
    QUEUE_FULL = -18
    TICKET_USED = -19
    TURN_PASSED = -20
    PASS_ENDED = -21
    STALE = -22
    UNPAID_PAUSE = -23
    CHANGES_USED = -24
    SESSION_STARTED = -25
    SHARE_USED = -26
    SEATS_ON_SALE = -27
    CODE_USED = -28
    SET_ASIDE_OVER = -29


CODES = {int(code): code for code in Code}
"""The codes by number: a look-up that costs a third of calling the enum."""
