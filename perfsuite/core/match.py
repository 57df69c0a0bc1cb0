"""Owns one gate over many replays of its stored sessions: what it reads of each, and its verdict on some of them.

It judges as judgement.judge_cell does, on values that are read once; it finds no words for a reader.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from perfsuite.core.contrast import Rule, compare, decide
from perfsuite.core.gate import LEAST_BASELINE_SESSIONS
from perfsuite.core.injection import NONE, Injection
from perfsuite.core.judgement import MOST_VOID_SESSIONS, is_void
from perfsuite.core.machine import Ranges, Seen, canary_ranges, guards, matched, seen
from perfsuite.core.metrics import SERIES, Metric
from perfsuite.core.noise import Noise
from perfsuite.core.remedy import obstacle, sessions_can_decide
from perfsuite.core.selftest import Gated
from perfsuite.core.statistics import (
    FloatArray,
    UnusableSamplesError,
    cut_short,
    first_common,
    readable,
    session_estimates,
)
from perfsuite.core.verdict import Outcome

SessionKey = tuple[int, frozenset[int]]
"""A session, and which of its canary readings are out of range: all that its values depend on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a gate says after a candidate session, and whether another one may help."""

    outcome: Outcome
    is_open: bool = False


UNDECIDED = Answer(outcome=Outcome.INCONCLUSIVE)
INVALID = Answer(outcome=Outcome.INVALID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One session as one gate sees it, slowed or not; `values` is `None` if no statistic may be taken of it."""

    seen: Seen
    values: FloatArray | None

    @property
    def slowed_view(self) -> Seen:
        return self.seen if self.values is None else replace(self.seen, values=self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One metric of one cell; it keeps every session it has read, slowed in every way asked for.

    `seed` draws which samples an injection hits: the same places in every metric of a session.
    """

    gated: Gated
    metric: Metric
    rule: Rule
    seed: int = 0
    _seen: dict[SessionKey, Seen] = field(default_factory=dict)
    _parts: dict[tuple[SessionKey, str], Part] = field(default_factory=dict)

    def read(self, session: int, ranges: Ranges) -> SessionKey:
        """The key under which the session, as `machine.seen` shows it, is kept from now on."""
        places = guards(SERIES[self.metric.series], self.gated.baseline.mode(self.metric), ranges)
        recording = self.gated.baseline.recordings[session]
        outside = (
            index
            for index, reading in enumerate(recording.canaries)
            if reading.canary in places and not places[reading.canary].holds(reading.duration_ns)
        )
        key = (session, frozenset(outside))
        if key not in self._seen:
            self._seen[key] = seen(self.metric, recording, self.gated.baseline.mode(self.metric), ranges)
        return key

    def part(self, key: SessionKey, injection: Injection = NONE) -> Part:
        """A session that was read, its samples slowed."""
        if (key, injection.name) not in self._parts:
            self._parts[key, injection.name] = self._slowed(self._seen[key], injection, key[0])
        return self._parts[key, injection.name]

    def _slowed(self, view: Seen, injection: Injection, session: int) -> Part:
        try:
            values = readable(view.values)
        except UnusableSamplesError:
            return Part(seen=view, values=None)
        worse = self.metric.direction.value  # slower means larger for a latency, smaller for a rate
        factors = injection.factors(values**worse, np.random.default_rng((self.seed, session)))
        return Part(seen=view, values=values * factors**worse)

    def effect(self, injection: Injection) -> float:
        """What the injection does to the metric itself, as a fraction: the mean change over the stored sessions."""
        ranges = canary_ranges(self.gated.baseline.recordings)
        changes = []
        for session in range(len(self.gated.baseline.recordings)):
            key = self.read(session, ranges)
            plain, slowed = (self.part(key, each).values for each in (NONE, injection))
            if plain is not None and slowed is not None:
                before, after = session_estimates(np.stack([plain, slowed]), self.metric.statistic)
                changes.append(self.metric.direction.value * (after - before))
        return float(np.expm1(np.mean(changes))) if changes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One gate in one replay: the sessions that play its baseline and its candidate, and the noise of all cells'."""

    gate: Gate
    stored: tuple[Part, ...]
    candidates: tuple[SessionKey, ...]
    noise: Noise
    _blocked: dict[int, bool] = field(default_factory=dict)

    def answer(self, look: int, injection: Injection) -> Answer:
        """The verdict on the first `look` candidate sessions, slowed."""
        candidates = [self.gate.part(key, injection) for key in self.candidates[:look]]
        views = [part.seen for part in candidates]
        if is_void(views):
            void = sum(view.void is not None for view in views)
            return Answer(outcome=Outcome.INCONCLUSIVE, is_open=void <= MOST_VOID_SESSIONS)
        if not (_are_times(self.stored) and _are_times(candidates)):
            return INVALID
        sides = matched([part.slowed_view for part in self.stored], [part.slowed_view for part in candidates])
        if not sides.is_fair:
            return UNDECIDED
        stored, measured = sides.stored, sides.measured
        if cut_short([*stored, *measured]) is not None:
            return UNDECIDED
        n = min(values.size for values in (*stored, *measured))
        rows = first_common(stored, n)
        if len(rows) < LEAST_BASELINE_SESSIONS or self._is_blocked(rows):
            return UNDECIDED
        contrast = compare(rows, first_common(measured, n), self.gate.rule, self.noise)
        outcome = decide(contrast, self.gate.rule)
        is_open = outcome is Outcome.INCONCLUSIVE and sessions_can_decide(contrast, self.gate.rule)
        return Answer(outcome=outcome, is_open=is_open)

    def _is_blocked(self, rows: FloatArray) -> bool:
        """Whether no candidate session can bring a verdict on this tail."""
        n = rows.shape[1]
        if n not in self._blocked:
            is_tail = self.gate.rule.statistic.is_tail
            self._blocked[n] = is_tail and obstacle(rows, self.gate.rule, self.noise) is not None
        return self._blocked[n]


def _are_times(parts: Sequence[Part]) -> bool:
    """Whether there are sessions that are not void, and each of them is a list of times."""
    kept = [part for part in parts if part.seen.void is None]
    return bool(kept) and all(part.values is not None for part in kept)
