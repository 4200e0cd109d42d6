"""Blocks of documents that a test runs."""

import re
import textwrap


def runnable(text: str) -> list[str]:
    """Return the blocks of a document that are marked as runnable."""
    blocks = re.findall(r"^ *```sh run\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks]
