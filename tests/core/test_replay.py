"""Replays of stored sessions: what turns red, what is missed, and that they judge as a run does."""

from dataclasses import replace

import numpy as np
import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.canary import Canary, CanaryReading, Mode
from perfsuite.core.injection import INJECTIONS
from perfsuite.core.judgement import judge_cell, suite_noise
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric, parse_metric
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.replay import replay, study
from perfsuite.core.selftest import Gated, Tally
from perfsuite.core.verdict import Outcome
from tests.builders import make_baseline, make_cell, make_recording

TTFT, P95, P99, TPOT = (parse_metric(text, where="test") for text in ("ttft.p50", "ttft.p95", "ttft.p99", "tpot.p50"))
CELL = make_cell()


def sessions(cell: Cell, levels_ms: list[float], n: int = 60, decode: int = 0) -> tuple[Recording, ...]:
    return tuple(
        make_recording(cell, session=index, ttft_ms=level, n=n, decode=decode, noise=0.02)
        for index, level in enumerate(levels_ms)
    )


def gated(levels_ms: list[float], tolerances: dict[Metric, float] | None = None, *, n: int = 60) -> Gated:
    return Gated(baseline=make_baseline(*sessions(CELL, levels_ms, n)), tolerances=tolerances or {TTFT: 0.05})


def tally(found: dict[Cell, tuple[Tally, ...]], injection: str, metric: Metric = TTFT, cell: Cell = CELL) -> Tally:
    return next(each for each in found[cell] if each.injection == injection and each.metric == metric)


QUIET = [40.0, 40.04, 39.98, 40.02, 39.96, 40.0, 40.06, 39.94]
NOISY = [40.0, 52.0, 33.0, 61.0, 29.0, 47.0, 38.0, 56.0]


def test_ten_percent_on_a_quiet_baseline_is_caught_in_every_replay_by_three_sessions() -> None:
    found = replay([gated(QUIET)], GateOptions(), gates=1, replays=20)
    ten = tally(found.tallies, "+10 %")
    assert (ten.caught, ten.count, ten.sessions) == (20, 20, 60)
    assert ten.effect == pytest.approx(0.10)


def test_the_same_code_passes_and_no_replay_is_red() -> None:
    found = replay([gated(QUIET)], GateOptions(), gates=1, replays=20)
    none = tally(found.tallies, "nothing")
    assert (none.allowed, none.caught, found.red, found.count) == (20, 0, 0, 20)
    assert found.red_bound == pytest.approx(1 - 0.05 ** (1 / 20))
    assert (found.baseline_sessions, found.candidate_sessions) == (5, 3)


def test_three_percent_passes_and_is_allowed_to() -> None:
    three = tally(replay([gated(QUIET)], GateOptions(), gates=1, replays=20).tallies, "+3 %")
    assert (three.allowed, three.missed) == (20, 0)


def test_a_noisy_baseline_is_never_red_whatever_is_injected() -> None:
    found = replay([gated(NOISY)], GateOptions(), gates=1, replays=40)
    assert found.red == 0
    assert [each.caught for each in found.tallies[CELL] if each.injection != "+10 %"] == [0] * 5
    assert all(each.missed == 0 for each in found.tallies[CELL])


def test_a_slow_path_leaves_the_median_and_is_caught_in_the_tail() -> None:
    both = gated(QUIET, {TTFT: 0.05, P99: 0.1}, n=320)
    found = replay([both], GateOptions(), gates=2, replays=10)
    median, tail = (tally(found.tallies, "slow path, 2 %", metric) for metric in (TTFT, P99))
    assert (median.allowed, tail.caught) == (10, 10)
    assert median.effect < 0.005
    assert tail.effect > 0.5


def test_a_stretched_tail_moves_p95_by_its_ten_percent() -> None:
    both = gated(QUIET, {TTFT: 0.05, P95: 0.1}, n=320)
    found = replay([both], GateOptions(), gates=2, replays=10)
    assert tally(found.tallies, "tail +10 %", P95).effect == pytest.approx(0.10, abs=0.002)
    assert tally(found.tallies, "tail +10 %", P95).caught == 10
    assert tally(found.tallies, "tail +10 %", TTFT).allowed == 10


def test_a_tail_with_too_few_samples_stays_open_in_every_replay() -> None:
    found = replay([gated(QUIET, {P99: 0.1})], GateOptions(), gates=1, replays=5)
    assert [each.undecided for each in found.tallies[CELL]] == [5] * 6


def test_five_sessions_are_too_few_and_are_named() -> None:
    found = replay([gated(QUIET[:5])], GateOptions(), gates=1)
    assert (found.count, found.tallies, found.too_few) == (0, {}, {CELL: 5})
    assert found.red_bound is None


def test_a_cell_with_too_few_sessions_does_not_keep_the_others_from_being_replayed() -> None:
    other = make_cell(prompt=200)
    short = Gated(baseline=make_baseline(*sessions(other, QUIET[:4])), tolerances={TTFT: 0.05})
    found = replay([gated(QUIET), short], GateOptions(), gates=2, replays=3)
    assert (list(found.tallies), found.too_few) == ([CELL], {other: 4})


def test_no_more_sessions_play_the_candidate_than_a_run_may_take() -> None:
    found = replay([gated(QUIET)], GateOptions(sessions=2), gates=1, replays=5)
    assert found.candidate_sessions == 2
    assert tally(found.tallies, "+10 %").undecided == 5


def test_the_same_seed_gives_the_same_replays() -> None:
    first, again, other = (replay([gated(NOISY)], GateOptions(), gates=1, replays=5, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_samples_that_are_no_times_are_never_a_verdict() -> None:
    constant = Gated(
        baseline=make_baseline(*(make_recording(session=index, decode=0) for index in range(6))),
        tolerances={TTFT: 0.05},
    )
    found = replay([constant], GateOptions(), gates=1, replays=2)
    assert [each.undecided for each in found.tallies[CELL]] == [2] * 6


def test_a_study_holds_the_replays_and_what_the_whole_baseline_can_gate() -> None:
    found = study([gated(QUIET)], GateOptions(), gates=1, replays=2)
    assert found.replays.count == 2
    assert [(each.metric, each.sessions, each.can_gate) for each in found.calibrated] == [(TTFT, 8, True)]


def disturbed(baseline: Baseline) -> Baseline:
    """The baseline with a host canary beside every block: now and then, and all through session 7, it is far off."""
    draw = np.random.default_rng(3)
    recordings = tuple(
        replace(
            recording,
            canaries=tuple(
                CanaryReading(block=block, canary=Canary.HOST, duration_ns=round(duration))
                for block, duration in enumerate(
                    1e6 * np.exp(draw.normal(0, 0.003, 5)) * (1.3 if recording.session == 7 else 1)
                )
            ),
        )
        for recording in baseline.recordings
    )
    mode = Mode(canary=Canary.HOST, weight=0.5, reference_ns=1e6)
    return replace(baseline, recordings=recordings, modes={TTFT.key: mode})


def slowed(recording: Recording, fraction: float) -> Recording:
    samples = tuple(
        replace(sample, arrivals_ns=tuple(round(time * (1 + fraction)) for time in sample.arrivals_ns))
        for sample in recording.samples
    )
    return replace(recording, samples=samples)


def obviously(suite: list[Gated], fraction: float, replays: int, seed: int) -> dict[tuple[Cell, str], list[Outcome]]:
    """The outcomes of every replay, by new baselines and judge_cell alone."""
    draw, outcomes = np.random.default_rng(seed), {}
    for _ in range(replays):
        order = draw.permutation(8).tolist()
        parts = {each.cell: [each.baseline.recordings[i] for i in order] for each in suite}
        stored = {
            each.cell: replace(each.baseline, recordings=tuple(parts[each.cell][:-3]), later=()) for each in suite
        }
        noise = suite_noise(list(stored.values()), suite[0].tolerances)
        for each in suite:
            for look in range(1, 4):
                candidate = tuple(slowed(recording, fraction) for recording in parts[each.cell][-3:][:look])
                judgement = judge_cell(
                    each.cell,
                    stored[each.cell],
                    candidate,
                    tolerances=each.tolerances,
                    gates=4,
                    options=GateOptions(),
                    noise=noise,
                )
                if not any(verdict.sessions_help for verdict in judgement.verdicts):
                    break
            for verdict in judgement.verdicts:
                outcomes.setdefault((each.cell, verdict.metric), []).append(verdict.outcome)
    return outcomes


@pytest.mark.parametrize("injection", INJECTIONS[:4], ids=lambda injection: injection.name)
def test_a_replay_judges_as_a_run_does_void_blocks_modes_and_all(injection: object) -> None:
    fraction = injection.fraction  # type: ignore[attr-defined]
    suite = []
    for number, spread in enumerate((0.3, 1.0)):
        cell = make_cell(prompt=100 + number)
        levels = [40 + spread * (level - 40) * 5 for level in QUIET]
        baseline = disturbed(make_baseline(*sessions(cell, levels, n=100, decode=8)))
        suite.append(Gated(baseline=baseline, tolerances={TTFT: 0.05, TPOT: 0.05}))
    found = replay(suite, GateOptions(), gates=4, replays=12, seed=5)
    for (cell, key), outcomes in obviously(suite, fraction, replays=12, seed=5).items():
        counted = tally(found.tallies, injection.name, parse_metric(key, where="test"), cell)  # type: ignore[attr-defined]
        passes = sum(outcome in (Outcome.PASSED, Outcome.IMPROVED) for outcome in outcomes)
        assert (counted.caught, counted.allowed + counted.missed) == (outcomes.count(Outcome.REGRESSED), passes)
        assert counted.undecided == outcomes.count(Outcome.INCONCLUSIVE)
