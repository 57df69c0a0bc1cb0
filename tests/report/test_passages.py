"""What is shown of the text that a strategy wrote."""

from dataclasses import replace

import pytest

from perfsuite.core.codec import decode, encode
from perfsuite.core.recording import Recording
from perfsuite.core.sampling_check import Passage, SamplingCheck
from perfsuite.report.passages import MOST, passages, quoted
from tests.builders import make_recording


def wrote(text: str, session: int = 0) -> Recording:
    check = SamplingCheck(draws=1, passage=Passage(before="def f(", text=text))
    return replace(make_recording(session=session), sampling=check)


def test_a_strategy_on_a_model_has_one_line_for_all_its_sessions() -> None:
    lines = [line.text for line in passages([wrote("self):\n    return"), wrote("other", 1)])]
    assert lines == [r'text of eager/tiny: "self):\n    return" after "def f("']


def test_where_nothing_was_written_nothing_is_shown() -> None:
    without = replace(make_recording(), sampling=SamplingCheck(draws=1))
    assert list(passages([without, make_recording()])) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", '""'),
        ("tab\tand\r\n", r'"tab\tand\r\n"'),
        ("\x1b[31mred\x07", r'"\x1b[31mred\x07"'),
        ('say "no" \\', r'"say \"no\" \\"'),
        ("é 漢 \N{REPLACEMENT CHARACTER}", '"é 漢 \N{REPLACEMENT CHARACTER}"'),
        ("\u202eltr\u2028", r'"\u202eltr\u2028"'),
        ("\ud800", r'"\ud800"'),
        ("a" * MOST, '"' + "a" * MOST + '"'),
        ("a" * (MOST + 1), '"' + "a" * MOST + '"…'),
        ("a" * (MOST - 1) + "\n" + "b", '"' + "a" * (MOST - 1) + '"…'),
    ],
)
def test_text_is_quoted_on_one_printable_line_and_cut_where_it_is_long(text: str, shown: str) -> None:
    assert quoted(text) == shown
    assert shown.isprintable()


def test_a_recording_keeps_its_passage_and_older_ones_have_none() -> None:
    recording = wrote("x")
    data = encode(recording)
    assert decode(Recording, data) == recording
    for later in ("passage", "left_out"):
        del data["sampling"][later]
    older = decode(Recording, data)
    assert older.sampling == SamplingCheck(draws=1)
