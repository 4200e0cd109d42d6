"""The demo: everything on this machine in one command, with real Redis and real Postgres.

It starts the stores (unless their URLs are given), migrates, imports the sample exam (or what a
kept data directory has made of it) with its windows moved to now, makes keys, and runs API and
workers in one process. Ctrl-C or SIGTERM stops all of it in order; a temporary data directory goes
with it.
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
from quota_service.domain.exam import Exam, Session, Window
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.api_keys import Scope, hash_secret, split_key
from quota_service.ledger.migrations import migrate
from quota_service.observability.logs import KEY_ID
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from quota_service.workers.shard_recovery import ShardRecoveryWorker

ENV_FILE = "demo.env"
_FRONTEND_ORIGINS = "http://127.0.0.1:8081,http://localhost:8081"
"""Where a frontend of this machine has its pages."""
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
    opens_in_s: float
    hold_ttl_s: int
    redis_url: str | None
    postgres_dsn: str | None


def demo(options: DemoOptions, settings: Settings) -> int:
    """Run the demo until Ctrl-C or SIGTERM; return the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _data_dir(options.data_dir) as data_dir, ExitStack() as servers:
            postgres_dsn, redis_url = _start_servers(servers, options, data_dir)
            known = _read_env(data_dir / ENV_FILE)
            settings = dataclasses.replace(
                settings,
                postgres_dsn=postgres_dsn,
                redis_url=redis_url,
                payment_secrets=known.get("QUOTA_PAYMENT_SECRET") or _new_secret(),
                cors_origins=settings.cors_origins or _FRONTEND_ORIGINS,
                candidate_token_secrets=settings.candidate_token_secrets or _new_secret(),
                host=options.host,
                port=options.port,
                admin_host=options.host,
                admin_port=options.admin_port,
            )
            asyncio.run(_run(options, settings, data_dir, known))
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
    options: DemoOptions, settings: Settings, data_dir: Path, known: Mapping[str, str]
) -> None:
    """Prepare the stores and run API and workers until a signal."""
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
        await service.stores.registry.refresh()
        # A kept data directory: Redis was started again, so what it has is rebuilt first.
        await ShardRecoveryWorker(service.stores.maintenance, settings).run_once()
        imported_by = KEY_ID.set("cli:demo")
        await import_exam(
            service.stores.maintenance, _moved(_exam_of_earlier_run(service), options)
        )
        KEY_ID.reset(imported_by)
        keys = {name: await _key(service, name, known) for name in _KEYS}

    async def ready(_service: Service, addresses: Addresses) -> None:
        env = {
            "QUOTA_URL": addresses.api,
            "QUOTA_ADMIN_URL": addresses.admin,
            **keys,
            "QUOTA_PAYMENT_SECRET": settings.payment_secrets,
        }
        # The commands of the service find the stores there too; only clients' settings are printed.
        stores = {
            "QUOTA_REDIS_URL": settings.redis_url,
            "QUOTA_POSTGRES_DSN": settings.postgres_dsn,
        }
        _write_env(data_dir / ENV_FILE, {**env, **stores})
        opening = f"opens in {options.opens_in_s:g} s" if options.opens_in_s > 0 else "is open"
        print(f"quota-service demo is ready: registration for {SAMPLE_EXAM_ID} {opening}")
        for name, value in env.items():
            print(f"  {name}={value}")
        print(f"  in a shell: set -a; . {data_dir / ENV_FILE}; set +a")
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


def _moved(exam: Exam, options: DemoOptions) -> Exam:
    """Return the exam with all its times moved so that registration opens as asked."""
    opens_at_ms = round((time.time() + options.opens_in_s) * 1000)
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
