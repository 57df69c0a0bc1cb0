"""Owns what else changed since a baseline was saved: versions, settings, the machine and choices of the strategy.

Whoever looks for the cause of a regression looks there before they look at the code. It decides nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from perfsuite.core.baseline import Baseline
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import NOTED_PACKAGES, Recording
from perfsuite.core.twin import IN_TURNS
from perfsuite.core.units import format_percent
from perfsuite.core.verdict import Judgement, Outcome

_OF_A_SESSION = frozenset(
    {"compile cache", "engine cache", "nodes in engines", "connections", "passes prepared after opening"}
)
"""Heads of evidence notes that differ with the workloads and caches of a session of the same code."""
_OF_A_PLACE = frozenset({"node", "place"})
"""What is noted of where a run put a session."""
_OTHER = {"uuid": "another GPU of the product"}
"""What is said where the values themselves tell a reader nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known to be different, a phrase each, since a baseline that some regressed cells share."""

    cells: tuple[Cell, ...]
    commit: str
    saved_at: str
    changes: tuple[str, ...]


def circumstances(
    judgements: Sequence[Judgement],
    baselines: Mapping[Cell, Baseline],
    recordings: Mapping[Cell, Sequence[Recording]],
) -> tuple[Circumstances, ...]:
    """Of all cells that got slower by their stored baseline, those together of which the same is to be said."""
    found: dict[tuple[str, str, tuple[str, ...]], list[Cell]] = {}
    for cell in dict.fromkeys(each.cell for each in judgements if _is_slower(each)):
        stored, measured = baselines.get(cell), recordings.get(cell, ())
        if stored and measured:
            day = stored.saved_at.partition("T")[0]
            found.setdefault((stored.commit, day, changes(stored.recordings, measured)), []).append(cell)
    return tuple(
        Circumstances(cells=tuple(cells), commit=commit, saved_at=day, changes=changed)
        for (commit, day, changed), cells in found.items()
    )


def _is_slower(judgement: Judgement) -> bool:
    """What was judged in turns with old code has no baseline from which something could have changed."""
    return any(each.outcome is Outcome.REGRESSED and each.mode != IN_TURNS for each in judgement.all)


def changes(before: Sequence[Recording], now: Sequence[Recording]) -> tuple[str, ...]:
    """'transformers 5.16.0 -> 5.17.0', a phrase for everything that is noted and that no session before had."""
    there, here = _seen(before), _seen(now)
    phrases = (_phrase(name, there.get(name, ()), here.get(name, ())) for name in sorted({*there, *here}))
    slowed = max((each.injected_slowdown for each in now), default=0.0)
    injected = f"--perf-inject-slowdown {format_percent(slowed)}" if slowed else ""
    return tuple(filter(None, (injected, *phrases)))


def _phrase(name: str, there: Sequence[str], here: Sequence[str]) -> str:
    """Nothing where a session before had all that is seen now, nor where one side did not look."""
    was_looked_for = bool(there and here) or name in NOTED_PACKAGES
    if not was_looked_for or (here and set(here) <= set(there)):
        return ""
    return _OTHER.get(name) or f"{name} {_joined(there)} -> {_joined(here)}"


def _joined(values: Sequence[str]) -> str:
    return " and ".join(values) or "none"


def _seen(recordings: Iterable[Recording]) -> dict[str, list[str]]:
    """By name every value that a recording has, each once."""
    found: dict[str, list[str]] = {}
    for recording in recordings:
        for name, value in _told(recording):
            if value not in found.setdefault(name, []):
                found[name].append(value)
    return found


def _told(recording: Recording) -> Iterator[tuple[str, str]]:
    environment = recording.environment
    yield from (
        (n, text) for n, text in {**environment.noted, **environment.must_agree}.items() if n not in _OF_A_PLACE
    )
    heads = (note.partition(": ") for note in recording.evidence.notes)
    yield from ((head, text) for head, mark, text in heads if mark and head not in _OF_A_SESSION)
