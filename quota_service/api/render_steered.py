"""Turns a waiting room as ops see it into the JSON of the contract."""

import dataclasses
from typing import Any

from quota_service.api.render import room_json
from quota_service.registration.steer_room import SteeredRoom
from quota_service.waiting_room.signals import Report


def steered_room_json(steered: SteeredRoom) -> dict[str, Any]:
    """Return a waiting room as ops see it: the rate is the one in force, not smoothed."""
    room, survey = steered.room, steered.survey
    return {
        **room_json(steered.document),
        "rate": room.rate if room.fixed_rate is None else room.fixed_rate,
        "fixed_rate": room.fixed_rate,
        "places": None if survey is None else survey.places,
        "leader_epoch": room.leader_epoch,
        "signals": [] if survey is None else [_report_json(report) for report in survey.reports],
    }


def _report_json(report: Report) -> dict[str, Any]:
    signals = report.signals
    return {
        "process": report.process,
        "age_s": report.age_s,
        "measures": None if signals is None else dataclasses.asdict(signals),
    }
