from pathlib import Path

import pytest

from tests.docs.quoted import filled, pages


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_what_a_page_quotes_is_what_is_written_today(path: Path) -> None:
    """If not: python -m tests.docs.quoted."""
    assert filled(path) == path.read_text(encoding="utf-8")
