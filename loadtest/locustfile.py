"""A plain locustfile: candidates who look, reserve, pay and give back, with locust's own web UI.

    locust -f loadtest/locustfile.py --host URL --exam EXAM

opens at http://localhost:8089, where users are started and stopped by hand; `--headless -u 50 -r 10
-t 30s` runs without it. The keys are QUOTA_FRONTEND_KEY and QUOTA_PAYMENT_SECRET. It checks no
promise and ends no exam: **it reserves seats of the exam it is given**, which must be open and has
no waiting room. `python -m loadtest.rush` rehearses an opening and checks it.
"""

import datetime as dt
import os
import random
import uuid
from argparse import ArgumentParser
from typing import Any

from locust import FastHttpUser, between, events, task
from locust.env import Environment

from quota_service.client.unsent import payment_report

_CREATED, _CONFLICT, _TOO_MANY, _UNAVAILABLE = 201, 409, 429, 503
_REFUSALS = (_CONFLICT, _TOO_MANY, _UNAVAILABLE)
"""Answers that are no failure: sold out, a pause, too many requests, overload."""


@events.init_command_line_parser.add_listener
def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--exam", env_var="QUOTA_EXAM", default="", help="id of an open exam")


@events.init.add_listener
def _check(environment: Environment, **_told: object) -> None:
    """End with a sentence where something is missing, before the first user."""
    if environment.parsed_options is not None and not environment.parsed_options.exam:
        raise SystemExit("--exam is missing: the id of an open exam of this service")
    for name in ("QUOTA_FRONTEND_KEY", "QUOTA_PAYMENT_SECRET"):
        if not os.environ.get(name):
            raise SystemExit(f"{name} is not set; `quota-service demo` writes it to demo.env")


class Candidate(FastHttpUser):
    """Looks often, reserves one subject of a venue at a time, and pays for most of it."""

    wait_time = between(0.5, 2.0)

    def on_start(self) -> None:
        """Read the exam: its quotas and the notice that an order accepts."""
        exam = self.environment.parsed_options.exam
        self.path = f"/v1/exams/{exam}"
        self.key = {"Authorization": f"Bearer {os.environ['QUOTA_FRONTEND_KEY']}"}
        self.notice = self.client.get(self.path, name="exam").json()["notice"]["version"]
        self.quotas = self.client.get(f"{self.path}/availability", name="availability").json()[
            "quotas"
        ]

    @task(5)
    def look(self) -> None:
        """Look at the seats that are left."""
        self.client.get(f"{self.path}/availability", name="availability")

    @task(3)
    def register(self) -> None:
        """Reserve a seat, as another candidate each time, and pay for it or give it back."""
        quota = random.choice(self.quotas)  # noqa: S311  not for secrets
        order = {
            "candidate": f"c-{uuid.uuid4().hex}",
            "subjects": [quota["subject"]],
            "venues": [quota["venue"]],
            "accepted_notice": self.notice,
        }
        headers = {**self.key, "Idempotency-Key": uuid.uuid4().hex}
        with self.client.post(
            f"{self.path}/reservations",
            json=order,
            headers=headers,
            name="reserve",
            catch_response=True,
        ) as answer:
            if answer.status_code in _REFUSALS:
                answer.success()
            held = answer.json() if answer.status_code == _CREATED else None
        if held is None:
            return
        if random.random() < 0.9:  # noqa: PLR2004, S311  nine of ten pay
            self._pay(held)
        else:
            path = f"/v1/reservations/{held['id']}"
            self.client.delete(path, headers=self.key, name="release")

    def _pay(self, held: dict[str, Any]) -> None:
        """Send the signed callback of a payment provider (Standard Webhooks)."""
        event = f"evt_{uuid.uuid4().hex}"
        paid = {
            "reservation": held["id"],
            "status": "captured",
            "amount": held["amount"],
            "currency": held["currency"],
            "paid_at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "provider_reference": f"ref-{event}",
        }
        secret = os.environ["QUOTA_PAYMENT_SECRET"].partition(",")[0]
        report = payment_report(event, paid, secret=secret)
        headers = {**report.headers, "Content-Type": "application/json"}
        self.client.post(report.path, data=report.body, headers=headers, name="callback")
