"""The pages and their files as they are served."""

import re
from pathlib import Path

import aiohttp
import pytest

from quota_service.api.pages import FOLDER, PAGES
from tests.support.client import ApiClient

PAGE = "/exams/exam-1"
PLAIN = {"Accept-Encoding": "identity"}
WIRE_MAX_BYTES = 120 * 1024


async def test_a_page_may_load_from_its_own_origin_alone_and_run_no_script_within(
    api: ApiClient,
) -> None:
    page = await api.get(PAGE, key=None)

    policy = page.headers["Content-Security-Policy"]
    assert page.status == 200
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.html")), ids=lambda path: path.name)
def test_no_page_has_scripts_or_styles_within_or_from_elsewhere(path: Path) -> None:
    html = path.read_text()

    assert not re.search(r"<style|\bstyle=|\bon[a-z]+=|<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"(?:src|href)=\"(?!/|data:)", html)


async def test_files_of_a_page_are_kept_for_ever_under_its_version(api: ApiClient) -> None:
    page = await api.get(PAGE, key=None)
    addresses = re.findall(r'"(/web/[^"]+)"', page.body.decode())

    files = [await api.get(address, key=None) for address in addresses]

    assert len(files) > 4
    assert {file.status for file in files} == {200}
    assert all("immutable" in file.headers["Cache-Control"] for file in files)
    assert len({address.split("/")[2] for address in addresses}) == 1


async def test_a_file_without_a_version_or_of_another_is_asked_for_again(api: ApiClient) -> None:
    for address in ("/web/app/base.css", "/web/0123456789ab/app/base.css"):
        first = await api.get(address, key=None)
        again = await api.get(address, key=None, headers={"If-None-Match": first.headers["ETag"]})

        assert first.headers["Cache-Control"] == "no-cache"
        assert (again.status, again.body) == (304, b"")


async def test_a_file_is_packed_for_those_who_unpack(api: ApiClient) -> None:
    plain = await api.call("GET", "/web/app/base.css", key=None, headers=PLAIN)
    # The client of the tests unpacks.
    packed = await api.call(
        "GET", "/web/app/base.css", key=None, headers={"Accept-Encoding": "gzip"}
    )

    assert plain.body == (FOLDER / "app/base.css").read_bytes() == packed.body
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "address",
    [
        "/web/app/none.js",
        "/web/../pages.py",
        "/web/%2e%2e/api/pages.py",
        "/web//etc/passwd",
        "/web/",
    ],
)
async def test_there_is_nothing_beside_the_files(api: ApiClient, address: str) -> None:
    answer = await api.get(address, key=None)

    assert (answer.status, answer.slug) == (404, "not-found")


async def test_a_page_takes_get_and_head_alone(api: ApiClient) -> None:
    head = await api.call("HEAD", PAGE, key=None)
    post = await api.call("POST", PAGE, key=None)

    assert (head.status, head.body) == (200, b"")
    assert (post.status, post.headers["Allow"]) == (405, "GET, HEAD")


async def test_all_pages_together_are_small(api: ApiClient) -> None:
    """A reader of one language gets all files but the words of the other."""
    names = [path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*")]
    wanted = [name for name in names if name.endswith((".html", ".css", ".js", ".json"))]
    of_the_api_page = {"docs.html", "docs.js"}
    sizes = {}
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        for name in set(wanted) - of_the_api_page:
            async with session.get(f"{api.url}/web/{name}") as response:
                assert response.headers["Content-Encoding"] == "gzip", name
                sizes[name] = len(await response.read())

    for other in (".en.json", ".zh.json"):
        read = {name: size for name, size in sizes.items() if not name.endswith(other)}
        assert sum(read.values()) <= WIRE_MAX_BYTES, read
    assert {"vendor/preact.js", "app/api.js", *PAGES.values()} <= sizes.keys()


async def test_scripts_are_sent_without_comments_and_indentation(api: ApiClient) -> None:
    sent = (await api.get("/web/app/api.js", key=None)).body.decode().splitlines()
    ours = (FOLDER / "app/api.js").read_text().splitlines()

    code = [line.strip() for line in ours if not re.match(r"\s*(//|/\*\*| \*)", line)]
    assert [line for line in sent if line] == [line for line in code if line]
