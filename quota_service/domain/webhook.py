"""Webhooks: which addresses may be told of events, and when a delivery that failed is tried again.

Whoever may enter an address could make the service call machines that only the service reaches, and
learn of them by how the call ends. So addresses that are not public are refused, by the address
that is connected to and not by the name: a name can be given another address after a look at it.
"""

import ipaddress
from enum import StrEnum
from urllib.parse import urlsplit

ENDPOINTS_MAX = 32
"""Endpoints there may be; a worker has connections to each."""
URL_MAX = 500
"""Characters of the URL of an endpoint."""
RETRIED_FOR_DAYS = 3
"""How long a delivery is tried, and an endpoint that takes nothing is called."""
PAUSE_MAX_S = 3600.0
_PAUSE_MIN_S = 5.0
_DOUBLINGS_MAX = 10
"""Beyond it the pause is the longest anyhow."""

_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


class DisabledReason(StrEnum):
    """Why nothing is sent to an endpoint."""

    OPS = "ops"
    """Ops disabled it."""
    FAILING = "failing"
    """It took nothing for three days."""
    GONE = "gone"
    """It answered 410."""


class DeliveryState(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given-up"
    """Refused for three days by an endpoint that took others."""


def pause_s(failures: int) -> float:
    """Return the seconds until the next attempt after so many failures, before jitter."""
    return min(PAUSE_MAX_S, _PAUSE_MIN_S * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet.

    One of version 6 that leads to one of version 4 is what that is.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = _inner(found)
        if inner is not None:
            return is_public(str(inner))
        if found.is_site_local:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the address of version 4 to which one of version 6 leads, if it is such a one."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _SIX_TO_FOUR:
        return address.sixtofour
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def fault_of_url(url: str, *, takes_private: bool) -> str | None:
    """Return what is wrong with the URL of an endpoint; None when it will do.

    Where private addresses are taken, so is http.
    """
    schemes = ("https", "http") if takes_private else ("https",)
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return f"must have at most {URL_MAX} characters, all of them printable ASCII, no blank"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be a URL"
    wrong = {
        f"must be a URL with {' or '.join(schemes)}": parts.scheme not in schemes,
        "must name a host": not parts.hostname,
        "must have no user name and no password": "@" in parts.netloc,
        "must have no fragment": "#" in url,
        "must have a port from 1 to 65535": port == 0,
        "must not name a private address": not takes_private and _is_private(parts.hostname or ""),
    }
    return next((fault for fault, is_so in wrong.items() if is_so), None)


def _is_private(host: str) -> bool:
    """Return whether a host is a private address, and no name."""
    try:
        return not is_public(host)
    except ValueError:
        return False
