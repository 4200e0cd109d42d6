-- codes: the first member of every answer: 0 done, 1 done before, negative refused.
-- quota_service/seats/codes.py has the same names and numbers, and a test holds the two together.
local DONE, DONE_BEFORE = 0, 1
local NOT_READY, KEY_REUSED, SOLD_OUT, SESSION_CONFLICT = -1, -2, -3, -4
local NOT_OPEN, CLOSED, UNKNOWN, ENDED = -5, -6, -7, -8
local ALREADY_CONFIRMED, IN_PROGRESS, RELEASED = -9, -10, -11
local WRONG_AMOUNT, WRONG_CURRENCY, NO_ATTEMPT, BELOW_TAKEN = -12, -13, -14, -15
local REFUNDED = -16
local NO_NUMBERS, QUEUE_FULL, TICKET_USED, TURN_PASSED = -17, -18, -19, -20
local PASS_ENDED = -21
local STALE, UNPAID_PAUSE, CHANGES_USED, SESSION_STARTED, SHARE_USED = -22, -23, -24, -25, -26
local SEATS_ON_SALE = -27
local CODE_USED, SET_ASIDE_OVER = -28, -29
