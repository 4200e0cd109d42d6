"""The demo: everything on this machine in one command, with real Redis and real Postgres.

It starts the stores (unless their URLs are given), migrates, imports the sample exam (or what a
kept data directory has made of it) with its windows moved to now, makes keys, and runs API and
workers in one process, and the registration frontend in another. Ctrl-C or SIGTERM stops all of it
in order; a temporary data directory goes with it.
"""

import asyncio
import base64
import dataclasses
import faulthandler
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from quota_service.app.opening import Service, open_service
from quota_service.app.running import run
from quota_service.app.serving import Addresses
from quota_service.client.webhooks import SECRET_PREFIX
from quota_service.definitions.files import SAMPLE_EXAM_ID, load_sample_exam
from quota_service.demo_day import OPENS_IN_S, PEOPLE, day_of
from quota_service.demo_processes import Companions
from quota_service.domain.exam import Exam, Session, Window
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.api_keys import Scope, hash_secret, split_key
from quota_service.ledger.migrations import migrate
from quota_service.observability.logs import KEY_ID
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from quota_service.workers.shard_recovery import ShardRecoveryWorker

ENV_FILE = "demo.env"
_SECRET_BYTES = 32
_KEYS = {
    "QUOTA_FRONTEND_KEY": frozenset({Scope.FRONTEND, Scope.REFUNDS}),
    "QUOTA_OPS_KEY": frozenset({Scope.OPS}),
}
"""The keys of the demo, by environment variable, with their scopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the command line says; times in seconds."""

    data_dir: Path | None
    host: str
    port: int
    admin_port: int
    frontend_port: int
    opens_in_s: float | None
    """None: at once, or with `is_day` when a crowd has gathered."""
    hold_ttl_s: int
    is_day: bool
    redis_url: str | None
    postgres_dsn: str | None


def demo(options: DemoOptions, settings: Settings) -> int:
    """Run the demo until Ctrl-C or SIGTERM; return the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _data_dir(options.data_dir) as data_dir, ExitStack() as servers:
            postgres_dsn, redis_url = _start_servers(servers, options, data_dir)
            companions = Companions(options.host, options.frontend_port, servers)
            known = _read_env(data_dir / ENV_FILE)
            settings = dataclasses.replace(
                settings,
                postgres_dsn=postgres_dsn,
                redis_url=redis_url,
                payment_secrets=known.get("QUOTA_PAYMENT_SECRET") or _new_secret(),
                cors_origins=",".join(filter(None, (settings.cors_origins, *companions.origins))),
                candidate_token_secrets=settings.candidate_token_secrets or _new_secret(),
                host=options.host,
                port=options.port,
                admin_host=options.host,
                admin_port=options.admin_port,
                webhook_private_addresses=True,
            )
            asyncio.run(_run(options, settings, data_dir, known, companions))
            faulthandler.cancel_dump_traceback_later()  # the limit was that of the service
            # From here on servers are stopped and data is removed: a second Ctrl-C must not
            # leave half of it behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except KeyboardInterrupt:
        print("stopped before the demo was ready", flush=True)
        return 130
    print("stopped", flush=True)
    return 0


def _start_servers(servers: ExitStack, options: DemoOptions, data_dir: Path) -> tuple[str, str]:
    """Start the stores whose URLs are not given; return the URLs of Postgres and Redis."""
    postgres_dsn, redis_url = options.postgres_dsn, options.redis_url
    if postgres_dsn is None:
        postgres_dsn = servers.enter_context(EmbeddedPostgres(data_dir / "postgres")).url
    if redis_url is None:
        redis_url = servers.enter_context(EmbeddedRedis(data_dir / "redis")).url
    return postgres_dsn, redis_url


@contextmanager
def _data_dir(chosen: Path | None) -> Iterator[Path]:
    """Lend the data directory: the one chosen, or a temporary one that goes at the end."""
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="quota-demo-") as temporary:
            yield Path(temporary)
    else:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen


async def _run(
    options: DemoOptions,
    settings: Settings,
    data_dir: Path,
    known: Mapping[str, str],
    companions: Companions,
) -> None:
    """Prepare the stores and run API and workers until a signal."""
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
        await service.stores.registry.refresh()
        # A kept data directory: Redis was started again, so what it has is rebuilt first.
        await ShardRecoveryWorker(service.stores.maintenance, settings).run_once()
        imported_by = KEY_ID.set("cli:demo")
        exam = _moved(_exam_of_earlier_run(service), options)
        await import_exam(service.stores.maintenance, day_of(exam) if options.is_day else exam)
        KEY_ID.reset(imported_by)
        keys = {name: await _key(service, name, known) for name in _KEYS}

    async def ready(_service: Service, addresses: Addresses) -> None:
        frontend_url = companions.origins[0]
        env = {
            "QUOTA_URL": addresses.api,
            "QUOTA_ADMIN_URL": addresses.admin,
            "QUOTA_FRONTEND_URL": frontend_url,
            **keys,
            "QUOTA_PAYMENT_SECRET": settings.payment_secrets,
        }
        # The commands of the service find the stores there too; only clients' settings are printed.
        stores = {
            "QUOTA_REDIS_URL": settings.redis_url,
            "QUOTA_POSTGRES_DSN": settings.postgres_dsn,
        }
        _write_env(data_dir / ENV_FILE, {**env, **stores})
        await companions.start_frontend(env)
        if options.is_day:
            companions.start_crowd(env, SAMPLE_EXAM_ID, PEOPLE)
        opens_in_s = _opens_in_s(options)
        opening = f"opens in {opens_in_s:g} s" if opens_in_s > 0 else "is open"
        print(f"quota-service demo is ready: registration for {SAMPLE_EXAM_ID} {opening}")
        for name, value in env.items():
            print(f"  {name}={value}")
        print(f"  in a shell: set -a; . {data_dir / ENV_FILE}; set +a")
        print(f"  register as a candidate: {frontend_url}/")
        print(f"  seats left: {frontend_url}/exams/{SAMPLE_EXAM_ID}   ops: {addresses.api}/ops")
        print(f"  try it: {addresses.api}/docs   stop it: Ctrl-C", flush=True)

    await run(settings, api=True, workers=True, ready=ready, takes_lossy_redis=True)


async def _key(service: Service, name: str, known: Mapping[str, str]) -> str:
    """Return the key of an earlier run if it is still in force, else a new one."""
    earlier, scopes = known.get(name, ""), _KEYS[name]
    parts = split_key(earlier)
    if parts is not None:
        known_as = (parts[0], hash_secret(parts[1]))
        for key in await service.key_ledger.all():
            is_in_force = key.revoked_at is None and key.scopes >= scopes
            if is_in_force and (key.id, key.secret_hash) == known_as:
                return earlier
    return await service.key_ledger.create(f"demo {', '.join(sorted(scopes))}", scopes)


def _exam_of_earlier_run(service: Service) -> Exam:
    """Return the exam of an earlier run in the data directory, or the sample."""
    for exam in service.stores.registry.all():
        if exam.id == SAMPLE_EXAM_ID:
            return exam
    return load_sample_exam()


def _opens_in_s(options: DemoOptions) -> float:
    if options.opens_in_s is not None:
        return options.opens_in_s
    return OPENS_IN_S if options.is_day else 0.0


def _moved(exam: Exam, options: DemoOptions) -> Exam:
    """Return the exam with all its times moved so that registration opens as asked."""
    opens_at_ms = round((time.time() + _opens_in_s(options)) * 1000)
    shift_ms = opens_at_ms - exam.registration.opens_at_ms

    def moved_window(window: Window) -> Window:
        return Window(window.opens_at_ms + shift_ms, window.closes_at_ms + shift_ms)

    def moved_session(session: Session) -> Session:
        return dataclasses.replace(
            session,
            starts_at_ms=session.starts_at_ms + shift_ms,
            ends_at_ms=session.ends_at_ms + shift_ms,
        )

    return dataclasses.replace(
        exam,
        registration=moved_window(exam.registration),
        refund=moved_window(exam.refund),
        sessions=tuple(map(moved_session, exam.sessions)),
        hold=dataclasses.replace(exam.hold, ttl_s=options.hold_ttl_s),
    )


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def _read_env(path: Path) -> dict[str, str]:
    """Return what an earlier run wrote; nothing when there was none."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _write_env(path: Path, env: Mapping[str, str]) -> None:
    """Write the file whole or not at all, readable by us alone."""
    text = "".join(f"{name}={value}\n" for name, value in env.items())
    draft = path.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    draft.replace(path)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
