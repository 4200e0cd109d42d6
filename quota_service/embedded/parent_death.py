"""Having the kernel end a child when its parent dies, in whatever way the parent dies.

Linux signals a child at its parent's death if the child asks for it (`prctl`, PR_SET_PDEATHSIG).
Two of its rules shape the code here and in `children`. The wish is dropped when a process changes
its user, so it is made in `preexec_fn`, which CPython calls after it has switched the user. And
"parent" means the thread that made the child, not its process, so a server is made by a thread that
lives as long as the server. Other systems have no such thing: there a killed parent's server stays.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["die_with_parent"]

_PR_SET_PDEATHSIG = 1
_EXIT_STATUS = 127


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return a `preexec_fn` by which the child gets `number` when the thread starting it dies.

    None where the system cannot do it. The function returned does two system calls and nothing
    else: it runs between fork and exec, where locks of other threads may be held for ever.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    wish = (
        ctypes.c_int(_PR_SET_PDEATHSIG),
        ctypes.c_ulong(number),
        *(ctypes.c_ulong(0) for _ in range(3)),
    )
    parent_pid = os.getpid()

    def arm() -> None:
        # A parent that died before the wish was made is no longer our parent.
        if prctl(*wish) != 0 or os.getppid() != parent_pid:
            os._exit(_EXIT_STATUS)

    return arm
