"""Owns replays: the stored sessions of a suite played again, some as the baseline, the others as a new run.

One replay is one random order of the sessions, the same for all cells, so that what a session's cells have in common
stays common. The first ones play the baseline; the last three come one by one as the candidate, the next only if it
may decide a gate of its cell. Replays share their sessions, and the modes were chosen from all of them: shares found
this way are a little better than those of runs still to come.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from perfsuite.core.calibration import calibrate
from perfsuite.core.contrast import Rule
from perfsuite.core.injection import INJECTIONS, NONE, Injection
from perfsuite.core.judgement import suite_noise
from perfsuite.core.machine import Ranges, canary_ranges
from perfsuite.core.match import Answer, Gate, Match, Part
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric
from perfsuite.core.noise import Noise, Samples
from perfsuite.core.noise_fit import fit_noise
from perfsuite.core.options import GateOptions
from perfsuite.core.selftest import Gated, Replays, SelfTest, Tally, is_over
from perfsuite.core.verdict import Outcome

CANDIDATES = 3
"""Sessions that play the candidate: as many as must agree before anything is red."""
LEAST_SESSIONS = 6
"""Three on either side."""
REPLAYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Role:
    """Which sessions of a cell play the baseline and which the candidate; `ranges` are those of the former."""

    stored: tuple[int, ...]
    candidates: tuple[int, ...]
    ranges: Ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    """The tally of one gate under one injection while it is counted."""

    gate: Gate
    tally: Tally

    def add(self, outcome: Outcome, sessions: int | None) -> "_Count":
        """One replay more, decided after `sessions`."""
        tolerance, tally = self.gate.rule.tolerance, self.tally
        kind = "undecided"
        if outcome is Outcome.REGRESSED:
            kind = "caught"
        elif outcome in (Outcome.PASSED, Outcome.IMPROVED):
            kind = "missed" if is_over(tally.effect, tolerance) else "allowed"
        counted = replace(tally, sessions=tally.sessions + (sessions or 0), **{kind: getattr(tally, kind) + 1})
        return replace(self, tally=counted)


Key = tuple[Cell, Metric, str]


@dataclass(slots=True)
class _Suite:
    """The cells that can be replayed with their gates, and what was counted so far."""

    gates: Mapping[Cell, tuple[Gate, ...]]
    looks: int
    counts: dict[Key, _Count] = field(default_factory=dict)
    red: int = 0
    red_by_metric: dict[str, int] = field(default_factory=dict)

    def replay(self, order: Sequence[int]) -> None:
        """One replay of every cell under every injection."""
        roles = {cell: _role(gates[0].gated, order) for cell, gates in self.gates.items() if gates}
        matches = self._matches(roles)
        red = {
            metric
            for injection in INJECTIONS
            for cell, own in matches.items()
            for metric in self._play(cell, own, injection)
            if injection is NONE
        }
        self.red += bool(red)
        for metric in red:
            self.red_by_metric[metric.key] = self.red_by_metric.get(metric.key, 0) + 1

    def _matches(self, roles: Mapping[Cell, _Role]) -> dict[Cell, tuple[Match, ...]]:
        stored = {
            cell: [
                (gate, tuple(gate.part(gate.read(i, role.ranges)) for i in role.stored)) for gate in self.gates[cell]
            ]
            for cell, role in roles.items()
        }
        noise = _noise(pair for pairs in stored.values() for pair in pairs)
        return {
            cell: tuple(
                Match(
                    gate=gate,
                    stored=parts,
                    candidates=tuple(gate.read(i, roles[cell].ranges) for i in roles[cell].candidates),
                    noise=noise[gate.metric],
                )
                for gate, parts in pairs
            )
            for cell, pairs in stored.items()
        }

    def _play(self, cell: Cell, matches: Sequence[Match], injection: Injection) -> tuple[Metric, ...]:
        """Judge the cell and count; the metrics that are red at the end."""
        ends = _ends(matches, injection, self.looks)
        for match, (outcome, sessions) in zip(matches, ends, strict=True):
            key = (cell, match.gate.metric, injection.name)
            self.counts[key] = self.counts[key].add(outcome, sessions)
        found = zip(matches, ends, strict=True)
        return tuple(match.gate.metric for match, (outcome, _) in found if outcome is Outcome.REGRESSED)

    def tallies(self) -> dict[Cell, tuple[Tally, ...]]:
        return {
            cell: tuple(self.counts[cell, gate.metric, each.name].tally for gate in gates for each in INJECTIONS)
            for cell, gates in self.gates.items()
        }


def _ends(matches: Sequence[Match], injection: Injection, looks: int) -> list[tuple[Outcome, int | None]]:
    """How the gates of one cell end, and after how many candidate sessions each was decided.

    A further session is for all of them: also a gate that was decided is judged again.
    """
    answers: list[Answer] = []
    decided: list[int | None] = [None] * len(matches)
    for look in range(1, looks + 1):
        answers = [match.answer(look, injection) for match in matches]
        decided = [
            (since or look) if answer.outcome.is_decided else None
            for since, answer in zip(decided, answers, strict=True)
        ]
        if not any(answer.is_open for answer in answers):
            break
    return [(answer.outcome, sessions) for answer, sessions in zip(answers, decided, strict=True)]


def replay(
    gated: Sequence[Gated], options: GateOptions, *, gates: int, replays: int = REPLAYS, seed: int = 0
) -> Replays:
    """Every cell with six sessions or more, `replays` times; `gates` is the number of verdicts in a real run.

    Without such a cell the count is 0 and `too_few` says which cells lack sessions.
    """
    able = [each for each in gated if len(each.baseline.recordings) >= LEAST_SESSIONS]
    too_few = {each.cell: len(each.baseline.recordings) for each in gated if each not in able}
    if not able:
        return Replays(count=0, red_by_metric={}, tallies={}, too_few=too_few)
    suite = _suite(able, options, gates, seed)
    draw, sessions = np.random.default_rng(seed), max(len(each.baseline.recordings) for each in able)
    for _ in range(replays):
        suite.replay(draw.permutation(sessions).tolist())
    return Replays(
        count=replays,
        red=suite.red,
        red_by_metric=suite.red_by_metric,
        tallies=suite.tallies(),
        too_few=too_few,
        baseline_sessions=sessions - CANDIDATES,
        candidate_sessions=suite.looks,
    )


def study(gated: Sequence[Gated], options: GateOptions, *, gates: int, replays: int = REPLAYS) -> SelfTest:
    """A self-test without its trials: the replays, and what each baseline can gate with all of its sessions."""
    metrics = dict.fromkeys(metric for each in gated for metric in each.metrics())
    noise = suite_noise([each.baseline for each in gated], metrics)
    return SelfTest(
        gated=tuple(gated),
        replays=replay(gated, options, gates=gates, replays=replays),
        calibrated=tuple(
            calibrated
            for each in gated
            for calibrated in calibrate(
                each.baseline,
                {metric: each.tolerances[metric] for metric in each.metrics()},
                noise=noise,
                gates=gates,
                looks=options.sessions,
            )
        ),
    )


def _suite(gated: Sequence[Gated], options: GateOptions, gates: int, seed: int) -> _Suite:
    found = {
        each.cell: tuple(
            Gate(gated=each, metric=metric, rule=_rule(each, metric, options, gates), seed=seed)
            for metric in each.metrics()
        )
        for each in gated
    }
    counts = {
        (cell, gate.metric, injection.name): _Count(gate=gate, tally=_empty(gate, injection))
        for cell, own in found.items()
        for gate in own
        for injection in INJECTIONS
    }
    return _Suite(gates=found, looks=min(CANDIDATES, options.sessions), counts=counts)


def _rule(gated: Gated, metric: Metric, options: GateOptions, gates: int) -> Rule:
    return Rule(
        statistic=metric.statistic,
        tolerance=gated.tolerances[metric],
        gates=gates,
        metrics=len(gated.tolerances),
        looks=options.sessions,
        family_error=options.family_error,
        direction=metric.direction,
    )


def _empty(gate: Gate, injection: Injection) -> Tally:
    return Tally(metric=gate.metric, injection=injection.name, effect=gate.effect(injection))


def _role(gated: Gated, order: Sequence[int]) -> _Role:
    """Each cell takes its own sessions in the order of all."""
    recordings = gated.baseline.recordings
    own = tuple(session for session in order if session < len(recordings))
    stored, candidates = own[:-CANDIDATES], own[-CANDIDATES:]
    ranges = canary_ranges(recordings[session] for session in stored)
    return _Role(stored=stored, candidates=candidates, ranges=ranges)


def _noise(stored: Iterable[tuple[Gate, Sequence[Part]]]) -> dict[Metric, Noise]:
    """Of every metric, as judgement.suite_noise fits it, from the sessions that play the baseline."""
    cells: dict[Metric, list[list[Samples | None]]] = {}
    for gate, parts in stored:
        if any(part.seen.blocks for part in parts):
            values = [None if part.seen.void else part.seen.values for part in parts]
            cells.setdefault(gate.metric, []).append(values)
    return {metric: fit_noise(own, metric.statistic.value) for metric, own in cells.items()}
