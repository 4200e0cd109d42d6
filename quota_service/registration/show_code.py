"""Looking up the code that an order shows: which set-aside it opens, and how often.

What is no code, a code of another exam and one that was revoked are refused in one way, after one
question to Postgres each. A code is compared by its hash, in constant time.
"""

from quota_service.domain.errors import CodeInvalid, SetAsideOver
from quota_service.domain.exam import Exam
from quota_service.domain.set_aside_code import hash_code
from quota_service.ledger.set_asides import FoundCode
from quota_service.observability.caller import caller
from quota_service.registration.stores import ReservationStores


async def show_code(
    stores: ReservationStores, exam: Exam, candidate: str, written: str
) -> FoundCode:
    """Return what a code is for; raises CodeInvalid, TooManyWrongCodes and SetAsideOver."""
    key_id = caller().key_id
    stores.guesses.check(key_id, candidate)
    found = await stores.set_asides.find_code(exam.id, hash_code(exam.id, written))
    if found is None or found.is_revoked:
        stores.guesses.count(key_id, candidate)
        raise CodeInvalid
    if found.is_over:
        raise SetAsideOver(found.set_aside)
    return found
