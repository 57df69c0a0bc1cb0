"""Owns what documentation pages quote: the fenced blocks of a page, by a line before them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def quoted(page: str, mark: str) -> str:
    """The text of the block that follows `<!-- mark -->` in a page of docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"<!-- {re.escape(mark)} -->\n```[a-z]*\n(.*?)```", text, re.DOTALL)
    return str(found)
