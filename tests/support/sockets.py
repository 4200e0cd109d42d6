"""Which process serves which connection, as the kernel tells it (Linux)."""

from pathlib import Path

_ADDRESSES = ("tcp", "tcp6")


def client_ports(pid: int) -> set[int]:
    """Return the ports of the peers that a process has TCP connections with."""
    ports_by_inode = {}
    for kind in _ADDRESSES:
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            ports_by_inode[fields[9]] = int(fields[2].rpartition(":")[2], 16)
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        inode = target.removeprefix("socket:[").removesuffix("]")
        if inode in ports_by_inode:
            found.add(ports_by_inode[inode])
    return found
