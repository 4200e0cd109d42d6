"""Webhooks reach no machine that only the service reaches, whatever leads there."""

import socket
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.webhook import fault_of_url, is_public
from quota_service.registration import post_webhook
from tests.support.lost_shards import rows
from tests.support.webhooks import deliver, due_now, endpoint_to, happen, receiving, working

HELD = "reservation.held"
NOT_PUBLIC = "its address is not a public one"


async def errors(service: Service) -> list[tuple[Any, ...]]:
    query = (
        "SELECT d.last_error FROM webhook_deliveries d "
        "JOIN webhook_endpoints w ON w.id = d.endpoint ORDER BY w.created_at"
    )
    return await rows(service, query)


def naming(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> None:
    """Let names have these addresses, one answer after the other; the last stays."""
    left = list(answers)

    def resolve(_host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


async def test_private_addresses_are_not_connected_to_by_number_or_by_any_name(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver, working(service, private=False) as worker:
        port = receiver.url.rpartition(":")[2].partition("/")[0]
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "hook.example", "2130706433"):
            await endpoint_to(service, f"http://{host}:{port}/")
        await happen(service, ("r-1", HELD))
        with monkeypatch.context() as patched:
            naming(patched, ("127.0.0.1", "::1", "10.0.0.1"))
            await deliver(worker)

    assert receiver.came == []
    assert await errors(service) == [
        (NOT_PUBLIC,),
        (NOT_PUBLIC,),
        (NOT_PUBLIC,),
        ("its URL is not valid",),
    ]


async def test_a_name_that_was_public_when_it_was_looked_at_is_checked_again_when_connecting(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver:
        port = receiver.url.rpartition(":")[2].partition("/")[0]
        await endpoint_to(service, f"http://hook.example:{port}/")
        await happen(service, ("r-1", HELD))
        with monkeypatch.context() as patched:
            naming(patched, ("127.0.0.1",))
            patched.setattr(post_webhook, "is_public", lambda address: address == "127.0.0.1")
            async with working(service, private=False) as worker:
                first = await deliver(worker)
        await happen(service, ("r-1", HELD))
        with monkeypatch.context() as patched:
            naming(patched, ("127.0.0.1",))
            async with working(service, private=False) as worker:
                second = await deliver(worker)

    assert (first, second) == ({"delivered": 1}, {"failed": 1})
    assert len(receiver.came) == 1


async def test_of_several_addresses_of_a_name_only_public_ones_are_tried(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver:
        port = receiver.url.rpartition(":")[2].partition("/")[0]
        await endpoint_to(service, f"http://hook.example:{port}/")
        await happen(service, ("r-1", HELD))
        with monkeypatch.context() as patched:
            naming(patched, ("127.0.0.2", "127.0.0.1"))
            patched.setattr(post_webhook, "is_public", lambda address: address == "127.0.0.1")
            async with working(service, private=False) as worker:
                done = await deliver(worker)

    assert done == {"delivered": 1}


async def test_a_name_that_cannot_be_resolved_is_tried_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with working(service) as worker:
        await endpoint_to(service, "http://hook.example/")
        await happen(service, ("r-1", HELD))
        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", resolve)
            done = await deliver(worker)
        await due_now(service)

    assert done == {"failed": 1}
    assert await errors(service) == [("its name cannot be resolved",)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::808:808", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104  no address is bound
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("198.18.0.1", False),
        ("192.0.2.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("::127.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("2001:0:a00:1::", False),
        ("2001:db8::1", False),
        ("fec0::1", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_public(address: str, expected: bool) -> None:
    assert is_public(address) is expected


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://hook.example/path?x=1", None),
        ("https://hook.example:8443/", None),
        ("https://[2606:4700::1111]/", None),
        ("http://hook.example/", "must be a URL with https"),
        ("ftp://hook.example/", "must be a URL with https"),
        ("hook.example", "must be a URL with https"),
        ("https:///path", "must name a host"),
        ("https://a:b@hook.example/", "must have no user name and no password"),
        ("https://@hook.example/", "must have no user name and no password"),
        ("https://hook.example/#x", "must have no fragment"),
        ("https://hook.example:0/", "must have a port from 1 to 65535"),
        ("https://hook.example:99999/", "must be a URL"),
        ("https://[::1/", "must be a URL"),
        ("https://127.0.0.1/", "must not name a private address"),
        ("https://[::ffff:10.0.0.1]/", "must not name a private address"),
        ("https://169.254.169.254/", "must not name a private address"),
    ],
)
def test_a_url_is_refused_for_what_is_wrong_with_it(url: str, fault: str | None) -> None:
    assert fault_of_url(url, takes_private=False) == fault


def test_a_url_of_a_private_network_is_taken_where_the_setting_says_so() -> None:
    assert fault_of_url("http://127.0.0.1:8081/webhooks", takes_private=True) is None
    assert (
        fault_of_url("ftp://127.0.0.1/", takes_private=True) == "must be a URL with https or http"
    )
    assert "500 characters" in str(fault_of_url("https://a/" + "b" * 500, takes_private=True))
