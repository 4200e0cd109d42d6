"""One test for a check of many subjects, which names every subject that fails it.

A test for each of thousands costs pytest more than the checks themselves.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

Subject = TypeVar("Subject")


def for_each(
    subjects: Mapping[str, Subject],
) -> Callable[[Callable[[Subject], None]], Callable[[], None]]:
    """Make a check the test of all `subjects`, by name.

    Every subject is checked. The test raises the failures as one group, each with its subject's
    name.
    """

    def decorate(check: Callable[[Subject], None]) -> Callable[[], None]:
        def test() -> None:
            failures = []
            for name, subject in subjects.items():
                try:
                    check(subject)
                except Exception as error:  # noqa: BLE001 - raised with all the others
                    error.add_note(f"of {name}")
                    failures.append(error)
            if failures:
                raise ExceptionGroup(check.__name__, failures)

        # Not functools.wraps: pytest would take the parameter of the check for a fixture.
        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate
