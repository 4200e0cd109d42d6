"""`make rush`: rehearses the opening rush, checks P1 to P10 at its end, and reports.

    python -m loadtest.rush [--size 1m|5m] [--candidates N] [--seats N] [--minutes M] [--no-room]

Without `--host` it starts everything it needs on this machine: stores, `quota-service serve`,
`quota-service worker` and keys. The simulation is a process of its own, with locust in it.
Candidates come before noon, at noon and afterwards; they wait, draw, claim, look, reserve with a
list of venues, pay, pay late or twice, give up, give back, look again and change their minds; a
payment provider reports it late, repeatedly and out of order. Then everything unpaid ends, and the
promises are checked from what the simulation knows and what the API says.

The exit status is 1 when a promise broke or a goal was missed (`--goal reserve:p99=250`). Each run
has a folder of its own in `loadtest/results/`:
`rush.html`, `rush.png`, `run.json` with date, target, version, options and figures, and the logs of
a service that was started. Two runs side by side:

    python -m loadtest.rush compare FOLDER FOLDER

Against a service that runs already, whose keys `quota-service demo` for one writes to a file:

    set -a; . demo-data/demo.env; set +a
    python -m loadtest.rush --host "$QUOTA_URL" --size 1m

From a wheel, without the repository: `pip install 'quota-service[loadtest]'`, and then
`quota-rehearse --target URL`, which is this module.

Distributed, when one machine is not crowd enough: the same options on all of them, the keys in the
environment of each, one exam id, clocks in step (the order of people is compared between machines).
The second command is given once on each of the two workers.

    python -m loadtest.rush --role master --locust-workers 2 --host URL --exam rehearsal-1
    python -m loadtest.rush --role worker --master-host MASTER --host URL --exam rehearsal-1
"""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from types import FrameType

from loadtest.rush.compare import compare
from loadtest.rush.local_service import local_service
from loadtest.rush.options import read_options


def main() -> int:
    """Start the service unless there is one, run the simulation, stop what was started."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["compare"]:
        return compare(arguments[1:])
    options = read_options(arguments)
    missing = [name for name in ("locust", "matplotlib") if find_spec(name) is None]
    if missing:
        print(
            f"{' and '.join(missing)} is not installed: pip install 'quota-service[loadtest]'",
            file=sys.stderr,
        )
        return 1
    signal.signal(signal.SIGTERM, _interrupt)
    if options.host is not None:
        return _simulate(arguments, {})
    options.folder.mkdir(parents=True, exist_ok=True)
    with local_service(options) as (host, admin_urls, keys):
        made = ["--host", host, "--exam", options.exam, "--folder", str(options.folder)]
        metrics = [word for url in admin_urls for word in ("--metrics", url)]
        return _simulate([*arguments, *made, *metrics], keys)


def _simulate(arguments: list[str], keys: dict[str, str]) -> int:
    """Run the simulation as a process of its own; return its exit status."""
    command = [sys.executable, "-m", "loadtest.rush.simulation", *arguments]
    with subprocess.Popen(command, env={**os.environ, **keys}) as process:  # noqa: S603  ours
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            return 130


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
