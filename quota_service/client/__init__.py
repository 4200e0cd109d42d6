"""The typed client of a quota service, for registration frontends and for ops.

It imports nothing of the service. A method for each call (`calls`), a typed dict for each document
(`documents`), an exception for each problem type (`problems`):

    from quota_service.client import QuotaClient
    from quota_service.client.problems import SoldOut

    async with QuotaClient(url, key=key) as client:
        exam = await client.get_exam("exam-1")
        try:
            held = await client.reserve(
                exam["id"],
                candidate="c-7f3a91",
                subjects=["general", "qms"],
                venues=["jinan", "beijing"],
                accepted_notice=exam["notice"]["version"],
            )
            print(held["venue"], held["deadline"])
        except SoldOut as refused:
            print(refused.left)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quota_service.client.errors import NoAnswer, ProblemError, QuotaClientError, WebhookRefused
from quota_service.client.webhooks import sign_webhook, verify_webhook

if TYPE_CHECKING:
    from quota_service.client.quota_client import QuotaClient
    from quota_service.client.repeats import Repeats
    from quota_service.client.room import Progress

__all__ = [
    "NoAnswer",
    "ProblemError",
    "Progress",
    "QuotaClient",
    "QuotaClientError",
    "Repeats",
    "WebhookRefused",
    "sign_webhook",
    "verify_webhook",
]

_MODULES = {"Progress": "room", "QuotaClient": "quota_client", "Repeats": "repeats"}
"""What is imported when it is asked for: the service needs `webhooks` alone."""


def __getattr__(name: str) -> Any:
    """Import what the package has by another module."""
    if name not in _MODULES:
        raise AttributeError(f"{__name__} has no {name}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
