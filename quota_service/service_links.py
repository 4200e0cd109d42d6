"""The variables that Kubernetes gives every container for each Service of its namespace.

A Service called `quota`, or `quota-` and more, brings variables that are named like settings of
ours: `QUOTA_PORT`, `QUOTA_SERVICE_HOST`, `QUOTA_PORT_80_TCP` and others (Kubernetes documentation,
"Discovering services"). They differ from mistyped settings by their combination: the host, the
port, and the address that is made of both.
"""

import re
from collections.abc import Iterator, Mapping

_HOST = re.compile(r"(QUOTA(?:_[A-Z0-9_]+)?)_SERVICE_HOST")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_OF_A_SERVICE = re.compile(
    r"_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
)
_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


def without_service_links(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables but for those of Kubernetes Services.

    `<service>_PORT` stays when its value is no address of a Service: it was set by hand.
    """
    services = frozenset(_services(environ))
    return {name: text for name, text in environ.items() if not _is_of(services, name, text)}


def _services(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what the variables of each Service start with."""
    for name, host in environ.items():
        named = _HOST.fullmatch(name)
        if named is None:
            continue
        service = named[1]
        port = environ.get(f"{service}_SERVICE_PORT", "")
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        for protocol in _PROTOCOLS:
            told = environ.get(f"{service}_PORT_{port}_{protocol}")
            if told == f"{protocol.lower()}://{address}":
                yield service


def _is_of(services: frozenset[str], name: str, text: str) -> bool:
    for service in services:
        if name == f"{service}_PORT":
            return _ADDRESS.fullmatch(text) is not None
        if name.startswith(service) and _OF_A_SERVICE.fullmatch(name, len(service)):
            return True
    return False
