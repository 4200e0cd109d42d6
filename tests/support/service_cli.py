"""Runs `quota-service` as a process of its own, with the settings of a test.

Internal settings, which no environment variable sets, come as JSON in a variable of the tests; the
processes that `serve --workers` starts have those by default.
"""

import dataclasses
import json
import os
import sys

from quota_service import cli
from quota_service.settings import Settings, environment_of, read_settings, variable

_INTERNAL = "TEST_INTERNAL_SETTINGS"


def command(*arguments: str) -> tuple[str, ...]:
    """The command line of a process, which needs `environment` and the folder of the repository."""
    return (sys.executable, "-m", __name__, *arguments)


def environment(settings: Settings) -> dict[str, str]:
    """The whole environment of a process that is to have these settings."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("QUOTA_")}
    told = environment_of(settings)
    internal = {
        item.name: getattr(settings, item.name)
        for item in dataclasses.fields(Settings)
        if variable(item.name) not in told and getattr(settings, item.name) != item.default
    }
    return {**inherited, **told, _INTERNAL: json.dumps(internal)}


def _settings() -> Settings:
    return dataclasses.replace(read_settings(), **json.loads(os.environ[_INTERNAL]))


if __name__ == "__main__":
    cli.read_settings = _settings
    sys.exit(cli.main())
