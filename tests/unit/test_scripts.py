"""The contract of the Lua scripts: a header says what the code does and what callers expect.

The scripts are read as text. What only running can tell stands in `tests/store`.
"""

import re

from quota_service.seats.codes import Code
from quota_service.seats.keys import SHARD_KEYS
from quota_service.seats.record import FIELDS
from quota_service.seats.scripts import CHOSEN_KEYS
from tests.support.facts import for_each
from tests.support.lua_sources import LUA, LuaSource, read_sources

SCRIPTS = read_sources()
INCLUDES = read_sources(LUA / "include")
CALL = re.compile(r"redis\.p?call\('(\w+)'(?:,\s*([^,()]+(?:\[[^\]]*\])?))?")
READS = {
    "GET",
    "MGET",
    "HGET",
    "HMGET",
    "HGETALL",
    "ZRANGE",
    "ZCARD",
    "ZSCORE",
    "XLEN",
    "HLEN",
    "HEXISTS",
    "ZCOUNT",
    "ZMSCORE",
    "TIME",
    "EXISTS",
    "XRANGE",
    "HSCAN",
    "SISMEMBER",
    "SMISMEMBER",
}
WRITES = {
    *("SET", "SETNX", "MSET", "DEL", "INCR", "INCRBY"),
    *("HSET", "HSETNX", "HDEL", "HINCRBY", "ZADD", "ZREM"),
    *("XADD", "XTRIM", "RENAME", "UNLINK", "PFADD", "SADD", "SREM"),
    "PFCOUNT",  # it writes what it has counted beside the registers
    *("ZREMRANGEBYSCORE", "ZREMRANGEBYRANK", "PEXPIRE"),
}
CODES = "|".join(code.name for code in Code)
FENCES = {
    **dict.fromkeys(
        ("claim", "clear", "forget_room", "put", "put_unpaid", "reopen", "seed", "spend", "forget"),
        "fence of the recovery, <epoch>/recovery@<run>",
    ),
    "open": "fence to open under, <epoch>@<run>",
}
"""The first argument of scripts that are not for a shard that is open."""
WITHOUT_EPOCH = {"open", "claim", "shard_status"}
"""Scripts that serve a shard that is not open to the caller: they open, close and look at it."""
WRITES_EPOCH = {"open", "claim", "reopen", "forget"}
"""Scripts that open and close a shard."""
STORED_STEP_NAMES = {
    "begin_payment": {"pin"},
    "abandon_payment": {"unpin"},
    "finish_change": {"settle_change"},
    "put": {"expire", "unpin"},
    "open_returned": {"open"},
    "level_returned": {"open"},
}
"""Scripts whose journal entries have other names: stored ones stay, or those of other scripts."""
UNTOLD = {
    *("open", "claim", "clear", "seed", "spend", "define", "reopen", "trim_journal", "forget_room"),
    "forget",
    *("join_room", "give_numbers", "claim_place", "finish_place", "count_room"),
    *("report", "room_statistics", "put_unpaid"),
    *("enlist", "relist", "delist"),
    *("begin_dealing", "finish_offers"),
    "note_extended",
}
"""Scripts that take no step of a reservation."""
WORDS_FOR = {"limit": "at most", "sessions": "session", "subjects": "subject", "venues": "venue"}
"""Names whose meaning is told in other words in a header."""

each_script = for_each(SCRIPTS)
each_include = for_each(INCLUDES)
each_source = for_each({**SCRIPTS, **INCLUDES})


def writers() -> set[str]:
    """Return the names of the shared functions that write, directly or through another."""
    bodies = {
        name: body for source in INCLUDES.values() for name, (_, body) in source.functions.items()
    }
    found: set[str] = set()
    while True:
        more = {
            name
            for name, body in bodies.items()
            if {command for command, _ in CALL.findall(body)} & WRITES or calls(body, found)
        }
        if more == found:
            return found
        found = more


def calls(code: str, names: set[str]) -> list[str]:
    return [name for name in sorted(names) if re.search(rf"\b{name}\(", code)]


def first_write(code: str, names: set[str]) -> int:
    """Return where the first write stands in a piece of code, or its length."""
    commands = [found.start() for found in CALL.finditer(code) if found[1] in WRITES]
    functions = [found.start() for name in names for found in re.finditer(rf"\b{name}\(", code)]
    return min([*commands, *functions, len(code)])


@each_script
def test_a_header_says_what_the_script_is_for_and_why_it_is_a_script(source: LuaSource) -> None:
    lines = source.header.splitlines()

    assert re.match(rf"-- {source.name}: \w", lines[0])
    assert re.search(r"^-- Why (atomic|a script): \S", source.header, re.MULTILINE)


@each_include
def test_a_shared_part_says_what_it_is_for(source: LuaSource) -> None:
    assert re.match(rf"-- {source.name}: \w", source.header)


@each_script
def test_a_header_lists_its_keys_and_arguments_in_order(source: LuaSource) -> None:
    assert [number for number, _, _ in source.keys] == list(range(1, len(source.keys) + 1))
    assert [number for number, _ in source.args] == list(range(1, len(source.args) + 1))
    assert len(re.findall(r"^-- KEYS\[", source.header, re.MULTILINE)) == len(source.keys)
    assert len(re.findall(r"^-- ARGV\[", source.header, re.MULTILINE)) == len(source.args)


@each_script
def test_every_key_is_in_the_catalogue_with_its_type(source: LuaSource) -> None:
    known = {**SHARD_KEYS, **CHOSEN_KEYS}

    assert [(kind, name) for _, kind, name in source.keys if known.get(name) != kind] == []
    assert len({name for _, _, name in source.keys}) == len(source.keys)


@each_script
def test_the_epoch_is_the_first_key_and_the_fence_the_first_argument(source: LuaSource) -> None:
    fence = FENCES.get(source.name, "fence the caller knows, <epoch>@<run>")

    assert source.keys[0] == (1, "string", "epoch")
    assert source.args[0] == (1, fence)


@each_script
def test_only_scripts_that_open_and_close_a_shard_write_its_epoch(source: LuaSource) -> None:
    written = [
        command
        for command, key in CALL.findall(source.code)
        if command in WRITES and key.strip() in {"epoch_key", "KEYS[1]"}
    ]

    assert bool(written) == (source.name in WRITES_EPOCH)


@each_script
def test_the_code_uses_every_key_and_argument_of_its_header_and_no_other(source: LuaSource) -> None:
    for table, lines in (("KEYS", source.keys), ("ARGV", source.args)):
        listed = {number for number, *_ in lines}
        named = {int(number) for number in re.findall(rf"\b{table}\[(\d+)\]", source.code)}
        others = re.findall(rf"\b{table}\[(\D[^\]]*)\]|#({table})\b|unpack\(({table})", source.code)

        # What is not used by its number is the last one, which may repeat.
        assert named <= listed, table
        assert listed - named <= ({max(listed)} if others else set()), table


@each_script
def test_a_key_or_argument_that_repeats_follows_the_fixed_ones(source: LuaSource) -> None:
    constants = {name: int(value) for name, value in source.assignments if name.isupper()}

    if "FIXED_KEYS" in constants:
        assert constants["FIXED_KEYS"] == len(source.keys) - 1
    if "FIXED_ARGS" in constants:
        assert constants["FIXED_ARGS"] == len(source.args) - 1


@each_script
def test_names_in_the_code_are_the_names_in_the_header(source: LuaSource) -> None:
    keys = {number: name for number, _, name in source.keys}
    args = dict(source.args)
    for local, value in source.assignments:
        key = re.fullmatch(r"KEYS\[(\d+)\]", value)
        if key:
            assert local == f"{keys[int(key[1])]}_key"
        arg = re.fullmatch(r"(?:tonumber\()?ARGV\[(\d+)\]\)?", value)
        if arg:
            meaning = args[int(arg[1])]
            word = local.removesuffix("_ms").removesuffix("_at")
            assert WORDS_FOR.get(word, word).rstrip("s") in meaning, f"{local}: {meaning}"
            assert local.endswith("_ms") == bool(re.search(r"\bms\b", meaning)), local


@each_script
def test_every_number_in_the_arguments_of_a_header_has_a_unit(source: LuaSource) -> None:
    for local, value in source.assignments:
        for number in re.findall(r"tonumber\(ARGV\[(\d+)\]\)", value):
            meaning = dict(source.args)[int(number)]

            assert re.search(r"\bms\b|minor units|at most|\bnumbers?\b", meaning), local


@each_script
def test_the_codes_a_header_lists_are_the_codes_the_code_returns(source: LuaSource) -> None:
    listed = set(re.findall(rf"\{{({CODES})\b", source.returns))
    returned = set(re.findall(rf"\b({CODES})\b(?!\])", source.code))

    assert listed == returned
    assert "DONE" in listed
    assert "NOT_READY" in listed


def test_the_codes_of_lua_and_of_python_are_the_same() -> None:
    in_lua = {name: int(value) for name, value in INCLUDES["codes"].assignments}

    assert in_lua == {code.name: int(code) for code in Code}


def test_every_code_is_returned_by_some_script() -> None:
    returned = {
        name
        for source in SCRIPTS.values()
        for name in re.findall(rf"\b({CODES})\b", source.returns)
    }

    assert returned == {code.name for code in Code}


def test_a_refusal_is_negative_and_nothing_else_is() -> None:
    assert {code for code in Code if code >= 0} == {Code.DONE, Code.DONE_BEFORE}


def test_the_fields_of_a_record_stand_in_the_same_order_in_lua_and_in_python() -> None:
    fields = [
        (name.lower(), int(value))
        for name, value in INCLUDES["record"].assignments
        if name.isupper() and value.isdigit() and not name.endswith("_TTL_MS")
    ]

    assert fields == [(name, i) for i, name in enumerate(FIELDS, start=1)]


def test_a_new_record_is_written_with_every_field() -> None:
    written = re.search(r"record_text\(\{(.*?)\n  \}\)", SCRIPTS["reserve"].code, re.DOTALL)

    assert written is not None
    flat = re.sub(r"\([^()]*\)", "", written[1])
    assert len([part for part in flat.split(",") if part.strip()]) == len(FIELDS)


@each_source
def test_every_redis_command_is_a_known_read_or_write(source: LuaSource) -> None:
    assert {command for command, _ in CALL.findall(source.code)} <= READS | WRITES
    assert source.code.count("redis.") == len(CALL.findall(source.code))


@each_source
def test_no_command_touches_a_key_that_did_not_come_in_keys(source: LuaSource) -> None:
    for command, key in CALL.findall(source.code):
        if command == "MSET":
            pairs = source.code.count("record_pairs[#record_pairs + 1] = ")
            assert f"{key}(record_pairs)" == "unpack(record_pairs)"
            assert (pairs, source.code.count("record_pairs[#record_pairs + 1] = record_key")) == (
                2,
                1,
            )
        elif command == "MGET":
            assert "'MGET', unpack(KEYS," in source.code
        elif command != "TIME":
            assert re.fullmatch(r"KEYS\[\d+\]|(\w+_)?key", key.strip()), f"{command} {key}"
    for local, value in source.assignments:
        if local.endswith("key"):
            assert re.fullmatch(r"KEYS\[\d+\]", value), f"{local} = {value}"


@each_script
def test_keys_handed_to_functions_came_in_keys(source: LuaSource) -> None:
    functions = {
        name: parameters
        for part in [*(INCLUDES[include] for include in source.includes), source]
        for name, (parameters, _) in part.functions.items()
    }
    for name, parameters in functions.items():
        for given in re.findall(rf"(?<!function )\b{name}\(([^()]*)\)", source.code):
            words = [word.strip() for word in given.split(",")]
            for parameter, word in zip(parameters, words, strict=False):
                if parameter.endswith("key"):
                    assert re.fullmatch(r"KEYS\[[^\]]+\]|\w+_key", word), f"{name}({given})"


@each_script
def test_a_script_includes_what_it_uses_and_nothing_else(source: LuaSource) -> None:
    used = []
    for name, part in INCLUDES.items():
        names = {local for local, _ in part.assignments if local.isupper()} | set(part.functions)
        if re.search(rf"\b({'|'.join(sorted(names))})\b", source.code):
            used.append(name)

    # `seats` and `record` build on parts that come before them.
    needed = set(used) | ({"record"} if "seats" in used else set())
    assert set(source.includes) == needed


@each_script
def test_parts_are_included_after_the_parts_they_build_on(source: LuaSource) -> None:
    order = [
        "codes",
        "shard",
        "definition",
        "record",
        "journal",
        "seats",
        "opening",
        "places",
        "unpaid",
        "key_share",
        "list",
        "dealing",
    ]

    assert source.includes == [name for name in order if name in source.includes]


@each_script
def test_the_epoch_is_checked_before_anything_else(source: LuaSource) -> None:
    if source.name in WITHOUT_EPOCH:
        return
    main = source.main

    check = re.search(r"if not is_open\([^)]*\) then\n  return \{ NOT_READY \}\nend\n", main)

    assert check is not None
    assert CALL.search(main[: check.start()]) is None


@each_script
def test_every_refusal_stands_before_the_first_write(source: LuaSource) -> None:
    pieces = {name: body for name, (_, body) in source.functions.items() if name != "refuse"}
    for name, code in {**pieces, "main": source.main}.items():
        refusals = re.finditer(rf"return (?:\{{ (?!DONE\b)\w*(?:{CODES})\b|refus)", code)
        last_refusal = max([found.start() for found in refusals], default=0)

        assert last_refusal < first_write(code, writers()) or last_refusal == 0, name


@each_script
def test_a_script_that_only_reads_says_so_and_one_that_writes_does_not(source: LuaSource) -> None:
    reads_only = first_write(source.code, writers()) == len(source.code)

    assert ("no-writes" in source.flags) == reads_only


@each_script
def test_a_script_that_may_run_when_redis_is_full_says_why(source: LuaSource) -> None:
    assert ("allow-oom" in source.flags) == ("It may run when Redis is full" in source.header)
    assert source.flags <= {"no-writes", "allow-oom"}


@each_script
def test_a_step_of_a_reservation_is_journalled(source: LuaSource) -> None:
    told = re.findall(
        r"append(?:\(version_key|_as\(version \+ n), journal_key, fence, (?:entry\.)?by, ([^,]+),",
        source.code,
    )
    verbs = {verb for words in told for verb in re.findall(r"'(\w+)'", words)}

    if "no-writes" not in source.flags and source.name not in UNTOLD:
        assert STORED_STEP_NAMES.get(source.name, {source.name}) <= verbs


@each_script
def test_a_script_has_no_global_variables(source: LuaSource) -> None:
    # A line that ends in a comma is a field of a table.
    assigned = re.findall(r"^\s*(\w+)(?:, \w+)* = .*[^,]$", source.code, re.MULTILINE)
    declared = re.findall(r"^\s*local (\w+(?:, \w+)*)$", source.code, re.MULTILINE)
    local = {name for name, _ in source.assignments}
    local |= {name for names in declared for name in names.split(", ")}

    assert set(assigned) <= local
