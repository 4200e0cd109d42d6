"""Calls as they are to be sent, for those who send them by other means than `QuotaClient`.

>>> UNSENT.get_reservation("exam-1.0.abc").path
'/v1/reservations/exam-1.0.abc'
>>> UNSENT.join_waiting_room("exam-1", candidate="c-1").body
b'{"candidate":"c-1"}'
"""

from typing import Any

from quota_service.client.call import Call, body_of
from quota_service.client.calls import Calls
from quota_service.client.documents import PaymentCallback
from quota_service.client.webhooks import sign_webhook


class UnsentCalls(Calls):
    """Has a method for each call, which returns the `Call` instead of its answer."""

    def _call(self, call: Call) -> Any:
        return call

    def _file(self, call: Call) -> Any:
        return call


UNSENT = UnsentCalls()


def payment_report(event: str, payment: PaymentCallback, *, secret: str) -> Call:
    """Return the call that reports a payment, signed now, as the provider sends it."""
    document = {**payment}
    headers = sign_webhook(secret, event, body_of(document))
    return Call("POST", "/v1/payment-callbacks", document, headers, is_repeatable=True)
