"""Owns what is said of sampling: what was checked and found in order, what stayed open, what was not checked."""

from collections.abc import Iterable, Iterator

from perfsuite.core.recording import Recording
from perfsuite.core.sampling_check import SamplingCheck, drawn_alike, joined, repeated
from perfsuite.core.workload import SamplingParams
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line

NAMED = 2
"""How many open misreadings a line names."""

Looks = dict[tuple[SamplingParams, int], dict[tuple[int, SamplingCheck], None]]
"""The checks of a strategy on a model, each with its session, by what is drawn alike."""


def sampling(recordings: Iterable[Recording]) -> Iterator[Line]:
    """A line for each strategy on a model; what is wrong is said by the verdicts, which are invalid then."""
    arms: dict[str, Looks] = {}
    for recording in recordings:
        if recording.sampling is not None:
            arm = f"{recording.cell.strategy.rsplit(':', 1)[-1]}/{recording.cell.model.slug}"
            looks = arms.setdefault(arm, {}).setdefault(drawn_alike(recording.cell.workload), {})
            looks[recording.session, recording.sampling] = None
    for arm, kinds in arms.items():
        found = joined(repeated(check for _, check in looks) for looks in kinds.values())
        words = f"{_words(found)}{'' if found.not_checked else _unlooked(kinds)}"
        yield Line(f"sampling of {arm}: {words}", "yellow" if found.not_checked or found.problems else "plain")


def _words(found: SamplingCheck) -> str:
    if found.problems:
        return f"not a legal sample: {found.problems[0]}"
    if found.not_checked:
        return f"not checked: {found.not_checked}"
    return f"{found.draws} draws are what the parameters ask for{_ruled_out(found)}{_left_out(found)}"


def _unlooked(kinds: Looks) -> str:
    """How many of several checks looked at nothing, and why the first of them did not."""
    checks = [check for looks in kinds.values() for _, check in looks]
    reasons = [check.not_checked for check in checks if check.not_checked]
    return f"; {len(reasons)} of {len(checks)} checks looked at nothing: {reasons[0]}" if reasons else ""


def _ruled_out(found: SamplingCheck) -> str:
    if not found.open:
        return f", {counted(len(found.told), 'known mistake')} ruled out" if found.told or not found.left_out else ""
    named = ", ".join(found.open[:NAMED]) + (", …" if len(found.open) > NAMED else "")
    return f", too few to rule out {len(found.open)} of {len(found.told)} known mistakes ({named})"


def _left_out(found: SamplingCheck) -> str:
    return f"; its time was over before {', '.join(found.left_out)}" if found.left_out else ""
