from tests.docs.quoted import PAGE, filled


def test_what_the_page_on_reports_quotes_is_what_is_written_today() -> None:
    """If not: python -m tests.docs.quoted."""
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page
