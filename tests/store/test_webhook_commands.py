"""Webhook endpoints on the command line."""

from quota_service.app.opening import Service
from tests.support.command_line import CommandLine
from tests.support.webhooks import happen


async def test_endpoints_are_administered_on_the_command_line(
    service: Service, command_line: CommandLine
) -> None:
    done = await command_line(
        *("webhook", "make", "https://hook.example/in", "--kind", "exam.paused"),
        *("--description", "the portal", "--reason", "it asked"),
    )
    endpoint, secret = done.printed.strip().split("\t")
    why = (endpoint, "--reason", "told by the portal")
    listed = await command_line("webhook", "list")
    rotated = await command_line("webhook", "rotate-secret", *why, "--keep-old", "0")
    changed = [await command_line("webhook", name, *why) for name in ("disable", "enable", "test")]
    replayed = await command_line("webhook", "replay", *why, "--since", "2023-03-14T04:00:00Z")
    await happen(service)
    sent = await command_line("webhook", "deliveries", endpoint)
    deleted = await command_line("webhook", "delete", *why)
    again = await command_line("webhook", "delete", *why)

    assert [each.status for each in (listed, rotated, *changed, replayed, sent, deleted)] == [0] * 8
    assert secret.startswith("whsec_")
    assert rotated.printed.split("\t")[1] != secret
    assert "kinds" not in listed.printed
    assert "exam.paused" in listed.printed
    assert changed[0].printed.split("\t")[1].endswith("(ops)")
    assert replayed.printed == "0 events are sent again\n"
    assert sent.printed.split("\t")[1:2] == ["webhook.test"]
    assert again.status == 1
    assert "there is no webhook endpoint" in again.complaints
