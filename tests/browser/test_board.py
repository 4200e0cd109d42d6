"""The availability board in a browser."""

import pytest

from tests.conftest import Running
from tests.support.browser import Pages, barriers

pytestmark = pytest.mark.browser


async def test_the_board_of_an_exam_has_its_name(running: Running, pages: Pages) -> None:
    page = await pages.open(f"{running.client.url}/exams/exam-1")

    await page.get_by_role("heading", level=1).wait_for()
    assert await barriers(page) == []
