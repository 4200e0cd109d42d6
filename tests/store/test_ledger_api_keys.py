"""API keys: shown once, kept as a hash, revoked for good."""

import re

import pytest

from quota_service.ledger.api_keys import KEY_SCOPES, ApiKeyLedger, Scope, hash_secret, split_key
from quota_service.ledger.errors import LedgerRefused
from tests.support.ledgers import LedgerUnderTest

BOTH = KEY_SCOPES


async def test_a_key_is_found_by_the_hash_of_its_secret(books: LedgerUnderTest) -> None:
    keys = ApiKeyLedger(books.ledger)

    whole = await keys.create("frontend 前端", BOTH)

    (stored,) = await keys.all()
    parts = split_key(whole)
    assert parts is not None
    assert (stored.id, stored.secret_hash) == (parts[0], hash_secret(parts[1]))
    assert (stored.name, stored.scopes, stored.revoked_at) == ("frontend 前端", BOTH, None)


async def test_the_table_holds_nothing_a_key_could_be_made_from(books: LedgerUnderTest) -> None:
    whole = await ApiKeyLedger(books.ledger).create("ops", frozenset({Scope.OPS}))

    ((row,),) = await books.rows("SELECT api_keys::text FROM api_keys")

    parts = split_key(whole)
    assert parts is not None
    assert parts[1] not in row
    assert parts[0] in row


async def test_a_revoked_key_stays_in_the_table_and_is_revoked_once(
    books: LedgerUnderTest,
) -> None:
    keys = ApiKeyLedger(books.ledger)
    first = split_key(await keys.create("first", BOTH))
    second = split_key(await keys.create("second", BOTH))
    assert first is not None
    assert second is not None

    ended = [await keys.revoke(first[0]), await keys.revoke(first[0]), await keys.revoke("absent")]

    assert ended == [True, False, False]
    assert [(key.id, key.revoked_at is None) for key in await keys.all()] == [
        (first[0], False),
        (second[0], True),
    ]


async def test_an_id_stands_for_one_key(books: LedgerUnderTest) -> None:
    await books.ledger.fetch("insert_api_key", "same", "first", ["ops"], "hash", None, None)

    with pytest.raises(LedgerRefused, match="api_keys_pk"):
        await books.ledger.fetch("insert_api_key", "same", "second", ["ops"], "hash", None, None)


async def test_keys_are_long_random_and_survive_being_copied(books: LedgerUnderTest) -> None:
    keys = ApiKeyLedger(books.ledger)

    made = [await keys.create("many", BOTH) for _ in range(20)]

    assert len(set(made)) == 20
    for key in made:
        parts = split_key(key)
        assert parts is not None
        assert re.fullmatch(r"quota_[0-9a-f]{12}_[\w-]{43}", key)
        assert key == f"quota_{parts[0]}_{parts[1]}"


@pytest.mark.parametrize(
    "text", ["", "quota_", "quota_id", "quota_id_", "quota__secret", "Quota_id_secret", "id_secret"]
)
def test_a_text_of_another_form_is_no_key(text: str) -> None:
    assert split_key(text) is None


def test_a_secret_may_hold_the_sign_that_separates() -> None:
    assert split_key("quota_id_se_cret") == ("id", "se_cret")
