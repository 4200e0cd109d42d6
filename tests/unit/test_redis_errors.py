"""What each failure of Redis is told as, from the very words the server sends."""

import pytest
from redis.exceptions import (
    AuthenticationError,
    MaxConnectionsError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.utils import HIREDIS_AVAILABLE

from quota_service.domain.errors import SeatsUnavailable
from quota_service.seats.connection import as_unavailable
from quota_service.seats.pipelined import UnsupportedServerError

if HIREDIS_AVAILABLE:
    from redis._parsers import _AsyncHiredisParser as Parser
else:
    from redis._parsers import _AsyncRESP2Parser as Parser

REFUSALS = [
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "NOPERM User default has no permissions to run the 'evalsha' command",
    "MISCONF Errors writing to the AOF file: No space left on device",
    "NOREPLICAS Not enough good replicas to write.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "NOSCRIPT No matching script. Please use EVAL.",
]
OURS = [
    "ERR user_script:12: attempt to perform arithmetic on a nil value script: 0f3a",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "BUSYKEY Target key name already exists.",
    "CROSSSLOT Keys in request don't hash to the same slot",
]


@pytest.mark.parametrize("reply", REFUSALS)
def test_a_reply_that_blames_the_server_is_unavailable_and_had_no_effect(reply: str) -> None:
    told = as_unavailable(Parser.parse_error(reply))

    assert isinstance(told, SeatsUnavailable)
    assert told.applied is False


def test_a_server_that_is_too_old_is_unavailable_and_nothing_was_asked_of_it() -> None:
    told = as_unavailable(UnsupportedServerError("redis is version 6.2.14"))

    assert isinstance(told, SeatsUnavailable)
    assert told.applied is False


@pytest.mark.parametrize("reply", OURS)
def test_a_reply_that_blames_our_command_stays_as_it_is(reply: str) -> None:
    error = Parser.parse_error(reply)

    assert isinstance(error, ResponseError)
    assert as_unavailable(error) is error


@pytest.mark.parametrize(
    "error",
    [
        RedisConnectionError("closed"),
        RedisTimeoutError("slow"),
        MaxConnectionsError("none left"),
        AuthenticationError("wrong password"),
        TimeoutError("slow"),
        ConnectionResetError("gone"),
        OSError("unreachable"),
    ],
)
def test_a_lost_answer_is_unavailable_and_of_unknown_effect(error: Exception) -> None:
    told = as_unavailable(error)

    assert isinstance(told, SeatsUnavailable)
    assert told.applied is None
