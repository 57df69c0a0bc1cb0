from perfsuite.report.html.markup import Markup, details, join, number, table, tag, void


def test_plain_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "a<b & c", tag("b", "x")) == "<p>a&lt;b &amp; c<b>x</b></p>"


def test_attributes_are_escaped_and_none_is_left_out() -> None:
    assert void("path", class_="a", stroke_width=1.25, d='"><script>', fill=None) == (
        '<path class="a" stroke-width="1.2" d="&quot;&gt;&lt;script&gt;"/>'
    )


def test_numbers_have_one_decimal_at_most() -> None:
    assert [number(value) for value in (1.0, 1.04, 1.26, -3.0)] == ["1", "1", "1.3", "-3"]


def test_a_folded_part_opens_without_a_script() -> None:
    assert details("more", "text") == "<details><summary>more</summary>text</details>"
    assert details("more", is_open=True).startswith('<details open="">')


def test_a_table_scrolls_by_itself_and_its_rows_have_heads() -> None:
    drawn = table(("cell", "ms"), [("a", "1")], label="numbers", numbers=1)
    assert drawn.startswith('<div class="scroll" tabindex="0" role="region" aria-label="numbers"><table>')
    assert '<th scope="row">a</th><td class="n">1</td>' in drawn


def test_joined_parts_are_markup() -> None:
    assert isinstance(join(("<", Markup("<br>"))), Markup)
    assert join(("<", Markup("<br>"))) == "&lt;<br>"
