"""Owns the text that a strategy wrote as a report shows it: between quotes, on one line, cut where it is long."""

from collections.abc import Iterable, Iterator

from perfsuite.core.recording import Recording
from perfsuite.report.layout import Line

MOST = 72
"""Characters of a text that are shown, escapes counted as they stand."""


def passages(recordings: Iterable[Recording]) -> Iterator[Line]:
    """A line for each strategy on a model that has written something; nothing is judged by it."""
    shown: set[str] = set()
    for recording in recordings:
        arm = f"{recording.cell.strategy_slug}/{recording.cell.model.slug}"
        passage = recording.sampling.passage if recording.sampling else None
        if passage and arm not in shown:
            shown.add(arm)
            yield Line(f"text of {arm}: {quoted(passage.text)} after {quoted(passage.before)}")


def quoted(text: str) -> str:
    r"""'"a\nb"': control characters, quotes and backslashes escaped; what is cut off leaves '…' behind the quotes."""
    pieces: list[str] = []
    room = MOST
    for character in text:
        piece = _escaped(character)
        room -= len(piece)
        if room < 0:
            return f'"{"".join(pieces)}"…'
        pieces.append(piece)
    return f'"{"".join(pieces)}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
