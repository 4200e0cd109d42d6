"""What QUOTA_REDIS_URL may be: one server, Sentinels, a Cluster; and what is wrong with others."""

import pytest

from quota_service.observability.metrics import Metrics
from quota_service.seats.cluster import ClusterRunners
from quota_service.seats.connection import ScriptRunner
from quota_service.seats.scripts import load_scripts
from quota_service.seats.servers import Runners, SentinelRunner, open_runners
from quota_service.settings import Settings, SettingsError, describe


def opened(url: str) -> Runners:
    return open_runners(Settings(redis_url=url), load_scripts(), Metrics())


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://user:word@a:7000/1", ScriptRunner),
        ("rediss://a", ScriptRunner),
        ("unix:///run/redis.sock", ScriptRunner),
        ("redis+sentinel://a:26379,b,c:26381/seats", SentinelRunner),
        ("rediss+sentinel://u:w@a,b/seats/2?sentinel_password=x", SentinelRunner),
        ("redis+cluster://a:7000,b:7001,[::1]:7002", ClusterRunners),
        ("rediss+cluster://u:w@a:7000,b:7001/0?ssl_cert_reqs=required", ClusterRunners),
    ],
)
async def test_a_url_names_one_server_sentinels_or_a_cluster(url: str, kind: type) -> None:
    runners = opened(url)
    await runners.aclose()

    assert type(runners) is kind


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://a", "must start with one of redis://"),
        ("redis+proxy://a", "must start with one of redis://"),
        ("redis://a:7000,b:7001", "lists several servers: a Cluster is redis+cluster://"),
        ("redis+cluster://a:7000,:7001", "':7001' is no address"),
        ("redis+cluster://a:port", "'a:port' is no address"),
        ("redis+cluster://", "'' is no address"),
        ("redis+cluster://a/3", "no databases but 0"),
        (f"redis+cluster://{','.join(['a'] * 65)}", "more than 64 addresses"),
        ("redis+sentinel://a,b", "need the name of the primary"),
        ("redis+sentinel://a/seats/one", "need the name of the primary"),
        ("redis+cluster://a?socket_timeout=long", "Invalid value for 'socket_timeout'"),
    ],
)
def test_another_url_is_refused_with_what_it_should_be(url: str, told: str) -> None:
    with pytest.raises(SettingsError, match=r"^QUOTA_REDIS_URL") as refused:
        opened(url)

    assert told in str(refused.value)


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+sentinel"])
def test_of_several_servers_the_password_alone_is_hidden(scheme: str) -> None:
    url = f"{scheme}://user:word@a:7000,b:7001/seats?sentinel_password=word"
    shown = {row[0]: row[1] for row in describe(Settings(redis_url=url))}["QUOTA_REDIS_URL"]

    assert "word@" not in shown
    assert "=word" not in shown
    assert ("user:" in shown, "a:7000,b:7001/seats" in shown) == (True, True)
