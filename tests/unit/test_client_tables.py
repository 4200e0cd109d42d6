"""The client follows the tables of the service: calls, documents, problem types."""

import ast
import doctest
import importlib
import inspect

import pytest

from quota_service.api.openapi_operations import OPERATIONS
from quota_service.api.problems import PROBLEMS
from quota_service.api.routes import ROUTES
from quota_service.client import QuotaClient, webhooks
from quota_service.client.errors import ProblemError
from quota_service.client.problems import PROBLEM_TYPES
from tests.support.client_code import FOLDER, WRITTEN_BY_HAND, files

PAGES = frozenset({"get_docs"})
"""Calls for browsers alone."""


def test_the_parts_that_follow_tables_are_those_that_the_tables_make() -> None:
    for name, text in files().items():
        committed = (FOLDER / name).read_text(encoding="utf-8")

        # Apart from where the formatter breaks lines.
        assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(committed)), (
            f"{FOLDER / name} is not what the tables make: python -m tests.support.client_code, "
            "then make format"
        )


def test_every_call_has_a_method() -> None:
    calls = {OPERATIONS[f"{route.method} {route.path}"].id for route in ROUTES} - PAGES

    without = [
        call
        for call in sorted(calls)
        if not inspect.getdoc(getattr(QuotaClient, WRITTEN_BY_HAND.get(call, call), None))
    ]

    assert without == []


def test_every_problem_is_an_exception_with_its_members() -> None:
    for slug, kind in PROBLEMS.items():
        error = PROBLEM_TYPES[slug](kind.document("what happened", **kind.example))

        assert isinstance(error, ProblemError)
        assert error.slug == slug
        told = (error.status, error.title, error.detail)
        assert told == (kind.status, kind.title, "what happened")
        assert {member: getattr(error, member) for member in kind.example} == kind.example
        assert str(error) == f"{slug}: what happened"


@pytest.mark.parametrize("module", ["unsent", "webhooks"])
def test_the_examples_of_a_module_are_true(module: str) -> None:
    found = importlib.import_module(f"quota_service.client.{module}")

    assert doctest.testmod(found).failed == 0
    assert webhooks.__doc__
