"""Owns what a history keeps of a run: every session by its numbers, and every verdict. Raw samples stay in reports."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from perfsuite.core.metrics import SERIES
from perfsuite.core.recording import Recording
from perfsuite.core.resources import RESOURCES
from perfsuite.core.statistics import summarize
from perfsuite.core.summary import Summary
from perfsuite.core.validity import problems
from perfsuite.core.verdict import Judgement

SCHEMA = 1
"""Number of the layout, of entries in files and of the tables of a database."""
STARTUP = "startup"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """One session of one cell: `values` by metric, nanoseconds ('ttft.p50', 'startup'), bytes ('memory') or joules.

    `problem` says why the numbers may not be believed, empty if they may; `slowed` is an injected slowdown.
    """

    cell: str
    device: str
    session: int
    started_at: str
    slowed: float
    problem: str
    environment: Mapping[str, str]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictEntry:
    """One verdict; `change`, `low` and `high` are fractions, `None` where nothing was compared."""

    cell: str
    metric: str
    outcome: str
    tolerance: float
    change: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One run under an id that no other run has; `kind` is 'judged' or 'baseline', `started_at` ISO 8601 in UTC."""

    id: str
    started_at: str
    commit: str
    perfsuite: str
    kind: str
    sessions: tuple[SessionEntry, ...]
    verdicts: tuple[VerdictEntry, ...]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema: {self.schema}; this perfsuite reads {SCHEMA}")


def run_entry(
    recordings: Iterable[Recording],
    judgements: Iterable[Judgement],
    *,
    run_id: str,
    commit: str,
    perfsuite: str,
    kind: str,
) -> RunEntry:
    """What a history keeps of these recordings, at least one, and of what was decided on them."""
    sessions = _numbered([session_entry(recording) for recording in recordings])
    return RunEntry(
        id=run_id,
        started_at=min(session.started_at for session in sessions),
        commit=commit,
        perfsuite=perfsuite,
        kind=kind,
        sessions=sessions,
        verdicts=tuple(_verdict_entries(judgements)),
    )


def _numbered(sessions: Iterable[SessionEntry]) -> tuple[SessionEntry, ...]:
    """The sessions of each cell counted from 0: cells that skip a process may have one number twice."""
    counts: Counter[str] = Counter()
    numbered = []
    for session in sessions:
        numbered.append(replace(session, session=counts[session.cell]))
        counts[session.cell] += 1
    return tuple(numbered)


def session_entry(recording: Recording) -> SessionEntry:
    """The numbers of one recording: quantiles that have samples enough, the mean, startup, memory and energy."""
    values = {key: value for name in SERIES for key, value in _of_series(name, recording)}
    used = {name: resource.of_recording(recording) for name, resource in RESOURCES.items()}
    startup = {STARTUP: float(recording.startup_ns)} if recording.startup else {}
    return SessionEntry(
        cell=recording.cell.id,
        device=recording.environment.slug,
        session=recording.session,
        started_at=recording.started_at,
        slowed=recording.injected_slowdown,
        problem=next(iter(problems(recording)), ""),
        environment=dict(recording.environment.must_agree),
        values={**values, **startup, **{name: float(value) for name, value in used.items() if value is not None}},
    )


def _of_series(name: str, recording: Recording) -> Iterator[tuple[str, float]]:
    values = SERIES[name].values(recording)
    if not values:
        return
    summary: Summary = summarize(values)
    yield f"{name}.mean", summary.mean
    for statistic in ("p50", "p95", "p99"):
        value = getattr(summary, statistic).value
        if value is not None:
            yield f"{name}.{statistic}", float(value)


def _verdict_entries(judgements: Iterable[Judgement]) -> Iterator[VerdictEntry]:
    for judgement in judgements:
        for verdict in judgement.all:
            yield VerdictEntry(
                cell=judgement.cell.id,
                metric=verdict.metric,
                outcome=verdict.outcome.value,
                tolerance=verdict.tolerance,
                change=verdict.change,
                low=verdict.interval.low if verdict.interval else None,
                high=verdict.interval.high if verdict.interval else None,
            )
