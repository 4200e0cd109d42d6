"""Runs `quota-service` as a process of its own, with the settings of a test.

Limits, which no environment variable sets, come in a variable of the tests; the processes that
`serve --workers` starts have those by default.
"""

import base64
import os
import pickle
import sys
from collections.abc import Sequence

from quota_service import cli
from quota_service.settings import Settings, environment_of, read_settings

_LIMITS = "TEST_LIMITS"


def command(*arguments: str) -> tuple[str, ...]:
    """The command line of a process, which needs `environment` and the folder of the repository."""
    return (sys.executable, "-m", __name__, *arguments)


def environment(settings: Settings) -> dict[str, str]:
    """The whole environment of a process that is to have these settings."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("QUOTA_")}
    limits = base64.b64encode(pickle.dumps(settings.limits)).decode()
    return {**inherited, **environment_of(settings), _LIMITS: limits}


def read_settings_of_test() -> Settings:
    """Read the settings, and the limits, that `environment` has put there."""
    limits = pickle.loads(base64.b64decode(os.environ[_LIMITS]))  # noqa: S301 - our own
    return read_settings().with_limits(*limits)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with the settings that `environment` has put there."""
    cli.read_settings = read_settings_of_test
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
