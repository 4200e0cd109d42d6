"""Pages of other origins: those that are allowed may call the API, to the letter and no others."""

from typing import Any

import pytest

from quota_service.api.routes import ROUTES
from quota_service.settings import SettingsError, read_settings
from tests.support.client import ApiClient, Reply
from tests.support.event_streams import opened

PAGE = "https://exam.example"
OTHERS = (
    "https://exam.example.evil.example",
    "https://exam.example/",
    "http://exam.example",
    "https://exam.example:8443",
    "HTTPS://exam.example",
    "null",
    "*",
    "",
)
ALLOWED = pytest.mark.settings(cors_origins=f"http://localhost:8081,{PAGE}")
PATHS = ("plain", "aiohttp")


def of_path(path: str) -> dict[str, str]:
    """Headers with which a request is answered by that part of the server."""
    return {"Connection": "close"} if path == "aiohttp" else {}


async def preflight(api: ApiClient, address: str, origin: str = PAGE, **headers: str) -> Reply:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", **headers}
    return await api.call("OPTIONS", address, key=None, headers=asked)


def of_cors(reply: Reply) -> dict[str, str]:
    return {name: text for name, text in reply.headers.items() if name.startswith("Access-Control")}


def filled(path: str) -> str:
    names = {"exam": "exam-1", "reservation": "exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"}
    for part in path.split("/"):
        if part.startswith("{"):
            path = path.replace(part, names.get(part[1:-1], "any-1"))
    return path


@ALLOWED
@pytest.mark.parametrize("path", PATHS)
async def test_every_address_answers_preflights_without_a_key(api: ApiClient, path: str) -> None:
    methods: dict[str, set[str]] = {}
    for route in ROUTES:
        methods.setdefault(route.path, {"OPTIONS"}).add(route.method)

    for address, known in methods.items():
        reply = await preflight(api, filled(address), **of_path(path))

        assert (reply.status, reply.body) == (204, b""), address
        assert reply.headers["Access-Control-Allow-Origin"] == PAGE
        assert set(reply.headers["Access-Control-Allow-Methods"].split(", ")) == known, address
        sent = set(reply.headers["Access-Control-Allow-Headers"].split(", "))
        assert sent >= {"Authorization", "Idempotency-Key", "Waiting-Room-Pass", "Last-Event-ID"}
        assert reply.headers["Access-Control-Max-Age"] == "7200"
        assert reply.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in reply.headers


@ALLOWED
@pytest.mark.parametrize("path", PATHS)
async def test_answers_and_problems_may_be_read_by_allowed_origins_alone(
    api: ApiClient, path: str, subtests: pytest.Subtests
) -> None:
    token = await api.token()
    calls: list[tuple[str, str, str | None, dict[str, Any], int]] = [
        ("GET", "/v1/exams/exam-1", None, {}, 200),
        ("HEAD", "/v1/exams/exam-1", None, {}, 200),
        ("GET", "/v1/exams/exam-1/candidates/candidate-1", token, {}, 200),
        ("GET", "/v1/exams/exam-1/candidates/candidate-2", token, {}, 403),
        ("GET", "/v1/exams/exam-1/candidates/candidate-1", "wrong", {}, 401),
        ("POST", "/v1/exams/exam-1/reservations", token, {"data": b"{"}, 400),
        ("GET", "/nowhere", None, {}, 404),
        ("DELETE", "/v1/exams", None, {}, 405),
        ("POST", "/v1/exams/exam-1/reservations", token, {"data": b" " * 20_000}, 413),
    ]
    for method, address, key, more, status in calls:
        with subtests.test(method=method, address=address, status=status):
            for origin in (PAGE, *OTHERS, None):
                headers = of_path(path) | ({} if origin is None else {"Origin": origin})
                reply = await api.call(method, address, key=key, headers=headers, **more)

                assert reply.status == status
                assert reply.headers["Vary"] == "Origin"
                if origin == PAGE:
                    assert reply.headers["Access-Control-Allow-Origin"] == PAGE
                    read = reply.headers["Access-Control-Expose-Headers"].split(", ")
                    assert {"Date", "ETag", "Location", "Retry-After", "X-Request-ID"} <= set(read)
                else:
                    assert of_cors(reply) == {}, origin


@ALLOWED
async def test_a_page_with_a_vary_of_its_own_keeps_it(api: ApiClient) -> None:
    reply = await api.get("/exams/exam-1", key=None)

    assert reply.headers["Vary"] == "Accept-Encoding, Origin"


@ALLOWED
@pytest.mark.parametrize("path", PATHS)
async def test_preflights_of_other_origins_are_told_nothing(api: ApiClient, path: str) -> None:
    for origin in OTHERS:
        reply = await preflight(api, "/v1/exams/exam-1", origin, **of_path(path))

        assert (reply.status, of_cors(reply)) == (204, {}), origin


@pytest.mark.parametrize("path", PATHS)
async def test_without_origins_nothing_is_said_and_no_preflight_answered(
    api: ApiClient, path: str
) -> None:
    seen = await api.get("/v1/exams/exam-1", key=None, headers={"Origin": PAGE, **of_path(path)})
    asked = await preflight(api, "/v1/exams/exam-1", **of_path(path))

    assert (seen.status, of_cors(seen), "Vary" in seen.headers) == (200, {}, False)
    assert (asked.status, asked.slug) == (405, "method-not-allowed")


@ALLOWED
async def test_a_stream_may_be_read_by_a_page(api: ApiClient) -> None:
    async with opened(api, headers={"Origin": PAGE}) as stream:
        await stream.next()

    assert stream.response.headers["Access-Control-Allow-Origin"] == PAGE


@pytest.mark.parametrize(
    "origins",
    ["*", "https://exam.example/", "exam.example", "https://a.example, https://b.example"],
)
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(origins: str) -> None:
    with pytest.raises(SettingsError, match=r"QUOTA_CORS_ORIGINS is .* https://exam\.example"):
        read_settings({"QUOTA_CORS_ORIGINS": origins})


def test_origins_with_ports_and_addresses_are_taken() -> None:
    origins = "https://exam.example:8443,http://127.0.0.1:8081,http://[::1]:8081"

    assert read_settings({"QUOTA_CORS_ORIGINS": origins}).cors_origins == origins
