"""Settings: how they are read, what is refused, and that none is missing from the printed table."""

import dataclasses
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from quota_service.settings import (
    Settings,
    SettingsError,
    describe,
    environment_of,
    read_settings,
    settable,
    variable,
)

FIELDS = {item.name: item for item in settable()}
MEMBERS = TypeAdapter(Settings).json_schema()["properties"]
SECRETS = {name for name, item in FIELDS.items() if not item.repr}
NUMBERS = {name for name in FIELDS if MEMBERS[name]["type"] in {"integer", "number"}}
LOWEST = [name for name in sorted(NUMBERS) if "minimum" in MEMBERS[name]]
HIGHEST = [name for name in sorted(NUMBERS) if "maximum" in MEMBERS[name]]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()


def test_variables_of_other_programs_are_left_alone() -> None:
    assert read_settings({"HOME": "/", "PORT": "1", "quota_port": "1"}) == Settings()


def test_each_kind_of_value_is_read() -> None:
    settings = read_settings(
        {
            "QUOTA_HOST": "0.0.0.0",  # noqa: S104
            "QUOTA_PORT": "8081",
            "QUOTA_REQUEST_TIMEOUT_S": "2.5",
            "QUOTA_POSTGRES_STATEMENT_CACHE": "Off",
        }
    )

    assert (settings.host, settings.port) == ("0.0.0.0", 8081)  # noqa: S104
    assert settings.request_timeout_s == 2.5
    assert settings.postgres_statement_cache is False


@pytest.mark.parametrize(
    ("text", "value"),
    [("on", True), ("true", True), ("1", True), ("off", False), ("FALSE", False), ("0", False)],
)
def test_a_switch_takes_on_and_off_in_three_spellings(text: str, *, value: bool) -> None:
    settings = read_settings({"QUOTA_POSTGRES_STATEMENT_CACHE": text})

    assert settings.postgres_statement_cache is value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("QUOTA_PORT", ""),
        ("QUOTA_PORT", "80.5"),
        ("QUOTA_PORT", "eighty"),
        ("QUOTA_REQUEST_TIMEOUT_S", "nan"),
        ("QUOTA_REQUEST_TIMEOUT_S", "inf"),
        ("QUOTA_REQUEST_TIMEOUT_S", "5s"),
        ("QUOTA_POSTGRES_STATEMENT_CACHE", "maybe"),
        ("QUOTA_POSTGRES_STATEMENT_CACHE", ""),
        ("QUOTA_LOG_LEVEL", "chatty"),
        ("QUOTA_LOG_LEVEL", ""),
    ],
)
def test_a_malformed_value_is_refused_by_the_name_of_its_variable(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is {text!r}; it takes"):
        read_settings({name: text})


def test_every_wrong_value_is_named_at_once_with_what_would_be_right() -> None:
    wrong = {"QUOTA_PORT": "70000", "QUOTA_LOG_LEVEL": "loud", "QUOTA_WORK_LIMIT_MAX": "1"}

    with pytest.raises(SettingsError) as refused:
        read_settings(wrong)

    assert str(refused.value).splitlines() == [
        "QUOTA_PORT is '70000'; it takes a whole number from 0 to 65535",
        "QUOTA_LOG_LEVEL is 'loud'; it takes one of debug, info, warning, error",
        "QUOTA_WORK_LIMIT_MAX is '1'; it takes a whole number from 16 to ∞",
    ]


@pytest.mark.parametrize("name", LOWEST)
def test_a_value_below_its_limit_is_refused_and_the_limit_is_taken(name: str) -> None:
    low = MEMBERS[name]["minimum"]

    taken = read_settings({variable(name): str(low)})

    assert getattr(taken, name) == low
    with pytest.raises(SettingsError, match=variable(name)):
        read_settings({variable(name): str(low - 1)})


@pytest.mark.parametrize("name", HIGHEST)
def test_a_value_above_its_limit_is_refused_and_the_limit_is_taken(name: str) -> None:
    high = MEMBERS[name]["maximum"]

    taken = read_settings({variable(name): str(high)})

    assert getattr(taken, name) == high
    with pytest.raises(SettingsError, match=variable(name)):
        read_settings({variable(name): str(high + 1)})


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_every_number_has_a_lower_limit_and_a_default_within_its_limits(name: str) -> None:
    default, member = FIELDS[name].default, MEMBERS[name]

    assert member["minimum"] <= default <= member.get("maximum", default)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_is_read_from_a_file_without_the_newline_at_its_end(
    name: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("from a file\n", encoding="utf-8")

    settings = read_settings({f"{variable(name)}_FILE": str(file)})

    assert getattr(settings, name) == "from a file"


def test_a_secret_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    environ = {"QUOTA_REDIS_URL": "redis://a", "QUOTA_REDIS_URL_FILE": str(tmp_path)}

    with pytest.raises(SettingsError, match="QUOTA_REDIS_URL and QUOTA_REDIS_URL_FILE"):
        read_settings(environ)


def test_a_secret_file_that_cannot_be_read_is_named_and_not_passed_over(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")

    for path in (tmp_path / "absent", tmp_path, binary):
        with pytest.raises(SettingsError, match="QUOTA_PAYMENT_SECRETS_FILE cannot be read"):
            read_settings({"QUOTA_PAYMENT_SECRETS_FILE": str(path)})


@pytest.mark.parametrize("name", ["QUOTA_PROT", "QUOTA_", "QUOTA_PORT_FILE", "QUOTA_port"])
def test_a_variable_that_is_no_setting_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown setting {name};"):
        read_settings({name: "1"})


def test_limits_are_not_set_by_the_environment_and_not_printed() -> None:
    with pytest.raises(SettingsError, match="unknown setting QUOTA_LIMITS;"):
        read_settings({"QUOTA_LIMITS": "()"})

    assert "QUOTA_LIMITS" not in {row[0] for row in describe(Settings())}


def test_limits_are_those_of_their_kind_unless_others_are_given() -> None:
    @dataclasses.dataclass(frozen=True)
    class Tries:
        most: int = 3

    given = Settings().with_limits(Tries(1)).with_limits(Tries(2), "of another kind")

    assert Settings().limits_of(Tries) == Tries(3)
    assert given.limits_of(Tries) == Tries(2)


def test_every_variable_that_was_a_setting_is_named_at_once() -> None:
    names = "QUOTA_AUDIT_INTERVAL_S, QUOTA_STREAM_LIFE_S"
    gone = {"QUOTA_STREAM_LIFE_S": "1", "QUOTA_AUDIT_INTERVAL_S": "60"}

    with pytest.raises(SettingsError) as refused:
        read_settings(gone | {"QUOTA_PORT": "1", "QUOTA_PROT": "1"})

    assert str(refused.value).splitlines() == [
        f"no longer a setting, unset it: {names}; see CHANGELOG.md",
        "unknown setting QUOTA_PROT; see `quota-service settings`",
    ]


def test_a_deployment_has_about_forty_settings() -> None:
    assert len(FIELDS) <= 48


def test_settings_are_read_from_the_environment_that_is_made_of_them() -> None:
    settings = Settings(port=1, postgres_statement_cache=False, redis_url="redis://a")

    assert read_settings(environment_of(settings)) == settings


def test_the_variables_of_a_demo_may_stand_in_the_shell() -> None:
    demo = ("URL", "ADMIN_URL", "FRONTEND_KEY", "OPS_KEY", "PAYMENT_SECRET")

    assert read_settings({f"QUOTA_{name}": "x" for name in demo}) == Settings()


def service_link(prefix: str, host: str = "10.0.0.7", port: int = 80) -> dict[str, str]:
    """The variables Kubernetes makes for a Service with one named port."""
    address = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
    return {
        f"{prefix}_SERVICE_HOST": host,
        f"{prefix}_SERVICE_PORT": str(port),
        f"{prefix}_SERVICE_PORT_HTTP": str(port),
        f"{prefix}_PORT": address,
        f"{prefix}_PORT_{port}_TCP": address,
        f"{prefix}_PORT_{port}_TCP_PROTO": "tcp",
        f"{prefix}_PORT_{port}_TCP_PORT": str(port),
        f"{prefix}_PORT_{port}_TCP_ADDR": host,
    }


@pytest.mark.parametrize("host", ["10.0.0.7", "fd00::7"])
@pytest.mark.parametrize("prefix", ["QUOTA", "QUOTA_ADMIN", "QUOTA_SERVICE", "QUOTA_REDIS_2"])
def test_the_variables_of_a_kubernetes_service_are_left_alone(prefix: str, host: str) -> None:
    assert read_settings(service_link(prefix, host)) == Settings()


def test_the_variables_of_several_services_and_ports_are_left_alone() -> None:
    links = service_link("QUOTA") | service_link("QUOTA_ADMIN", port=9090)
    second_port = {
        "QUOTA_SERVICE_PORT_DNS": "53",
        "QUOTA_PORT_53_UDP": "udp://10.0.0.7:53",
        "QUOTA_PORT_53_UDP_PROTO": "udp",
        "QUOTA_PORT_53_UDP_PORT": "53",
        "QUOTA_PORT_53_UDP_ADDR": "10.0.0.7",
    }

    assert read_settings(links | second_port) == Settings()


def test_a_port_set_by_hand_is_taken_beside_the_variables_of_a_service() -> None:
    assert read_settings(service_link("QUOTA") | {"QUOTA_PORT": "8081"}).port == 8081


@pytest.mark.parametrize("name", ["QUOTA_SERVICE_HOTS", "QUOTA_PORT_TCP", "QUOTA_ADMIN_PROT"])
def test_a_mistyped_setting_beside_the_variables_of_a_service_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown setting {name};"):
        read_settings(service_link("QUOTA") | {name: "1"})


@pytest.mark.parametrize(
    "missing", ["QUOTA_SERVICE_HOST", "QUOTA_SERVICE_PORT", "QUOTA_PORT_80_TCP"]
)
def test_what_only_looks_like_a_part_of_a_service_is_refused(missing: str) -> None:
    links = service_link("QUOTA")
    del links[missing]
    del links["QUOTA_PORT"]

    with pytest.raises(SettingsError, match="unknown setting QUOTA_"):
        read_settings(links)


def test_every_setting_is_printed_with_its_value_its_default_and_a_meaning() -> None:
    rows = {row[0]: row[1:] for row in describe(Settings(port=1, postgres_statement_cache=False))}

    assert set(rows) == {variable(name) for name in FIELDS}
    assert rows["QUOTA_PORT"][:2] == ("1", "8080")
    assert rows["QUOTA_POSTGRES_STATEMENT_CACHE"][:2] == ("off", "on")
    assert [name for name, (_, _, meaning) in rows.items() if not meaning.strip()] == []


def test_secrets_are_masked_when_printed_and_absent_from_the_text_of_the_settings() -> None:
    settings = dataclasses.replace(Settings(), **dict.fromkeys(SECRETS, "hush-hush"))

    printed = list(describe(settings))

    assert {name for name, now, _, _ in printed if now == "********"} == {
        variable(name) for name in SECRETS
    }
    assert "hush-hush" not in str(printed) + repr(settings)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("redis://:hush@redis:6379/0", "redis://:********@redis:6379/0"),
        ("rediss://quota:hush@redis/1", "rediss://quota:********@redis/1"),
        ("redis://:hu@sh@redis/0", "redis://:********@redis/0"),
        ("redis://redis:6379/2", "redis://redis:6379/2"),
        (
            "postgresql://quota@one:5432,two:5432/quota",
            "postgresql://quota@one:5432,two:5432/quota",
        ),
        ("postgresql://q:hush@one,two/quota?a=b", "postgresql://q:********@one,two/quota?a=b"),
        (
            "postgresql://one/quota?password=hush&a=b",
            "postgresql://one/quota?password=********&a=b",
        ),
        ("no URL: hush", "********"),
    ],
)
def test_a_url_is_printed_with_its_password_hidden(given: str, shown: str) -> None:
    rows = {row[0]: row[1] for row in describe(Settings(redis_url=given, postgres_dsn=given))}

    assert rows["QUOTA_REDIS_URL"] == rows["QUOTA_POSTGRES_DSN"] == shown


def test_a_name_that_sounds_secret_is_a_secret() -> None:
    sounds_secret = {
        name
        for name in FIELDS
        if any(word in name for word in ("secret", "password", "dsn", "url"))
    }

    assert sounds_secret <= SECRETS


def test_every_wait_and_interval_carries_its_unit() -> None:
    timed = [
        name
        for name in FIELDS
        if any(word in name for word in ("timeout", "interval", "refresh", "age", "drain"))
    ]

    assert [name for name in timed if not name.endswith(("_s", "_ms"))] == []
