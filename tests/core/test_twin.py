from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric, Statistic
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Failure, Phase, Sample
from perfsuite.core.twin import Evidence, TwinJudgement, TwinSession, arm_bias, judge_twin, ratios, twin_gates
from perfsuite.core.verdict import Outcome
from tests.builders import make_cell, make_environment, make_recording

TTFT = Metric(series="ttft", statistic=Statistic.P50)
P99 = Metric(series="ttft", statistic=Statistic.P99)
PAIRS, BLOCK = 160, 10
CELL = make_cell()


def recording(times_ns: NDArray[np.float64], *, drop: int | None = None, session: int = 0) -> Recording:
    """One-token requests that took these times, in blocks of ten; sample `drop` is missing."""
    samples = tuple(
        Sample(phase=Phase.PREFILL, block=index // BLOCK, arrivals_ns=(round(time),), tokens=(1,))
        for index, time in enumerate(times_ns)
        if index != drop
    )
    return replace(make_recording(CELL, session=session), samples=samples)


class Machine:
    """A host whose speed wanders by a quarter within seconds; what runs side by side in time meets the same speed."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)

    def session(self, slowdown: float = 0.0, bias: float = 0.0) -> TwinSession:
        """Old takes 2 ms; the new one `slowdown` more, the second place `bias`; a place has its own 0.2 %."""
        host = np.exp(np.repeat(self._draw.normal(0, 0.25, PAIRS // 20), 20))
        old, new = (
            2e6 * host * np.exp(self._draw.normal(0, 0.002) + self._draw.normal(0, 0.05, PAIRS)) for _ in range(2)
        )
        return TwinSession(old=recording(old), new=recording(new * (1 + slowdown) * (1 + bias)))

    def run(self, slowdown: float, *, bias: float = 0.0) -> tuple[TwinJudgement, int]:
        """A whole run: three rounds, then one by one until it is decided; and how many rounds there were."""
        same: tuple[TwinSession, ...] = ()
        changed: tuple[TwinSession, ...] = ()
        found: TwinJudgement | None = None
        for rounds in range(1, GateOptions().twin_sessions + 1):
            same += (self.session(bias=bias),)
            changed += (self.session(slowdown, bias),)
            if rounds >= 3:
                found = judged(Evidence(same=same, changed=changed), gates=3)
                if outcome(found) is not Outcome.INCONCLUSIVE:
                    return found, rounds
        assert found is not None
        return found, rounds


def judged(evidence: Evidence, *, gates: int = 1, cell: Cell = CELL) -> TwinJudgement:
    return judge_twin(
        cell, evidence, old_label="main", tolerances={TTFT: 0.05, P99: 0.1}, gates=gates, options=GateOptions()
    )


def outcome(found: TwinJudgement) -> Outcome:
    (verdict,) = found.judgement.verdicts
    return verdict.outcome


def evidence(slowdown: float = 0.0, sessions: int = 3, seed: int = 1) -> Evidence:
    machine = Machine(seed)
    same = tuple(machine.session() for _ in range(sessions))
    return Evidence(same=same, changed=tuple(machine.session(slowdown) for _ in range(sessions)))


def test_a_hundred_runs_of_the_same_code_are_never_red_and_green_nine_times_in_ten() -> None:
    found = [outcome(Machine(seed).run(0.0)[0]) for seed in range(100)]
    assert Outcome.REGRESSED not in found
    assert found.count(Outcome.PASSED) >= 90


@pytest.mark.parametrize("slowdown", [0.05, pytest.param(0.08, marks=pytest.mark.slow)])
def test_a_real_slowdown_is_red_in_95_of_100_runs_and_never_green(slowdown: float) -> None:
    found = [outcome(Machine(seed).run(slowdown)[0]) for seed in range(100)]
    assert found.count(Outcome.REGRESSED) >= 95
    assert Outcome.PASSED not in found


def test_the_same_machine_leaves_a_stored_baseline_undecided() -> None:
    """What twin mode is for: unpaired, its sessions say nothing at 5 %."""
    from perfsuite.core.gate import judge

    machine = Machine(3)
    sessions = [machine.session(0.05) for _ in range(9)]
    old, new = ([[s.ttft_ns for s in getattr(each, side).samples] for each in sessions] for side in ("old", "new"))
    assert judge(old[:5], new[5:], tolerance=0.05).outcome is Outcome.INCONCLUSIVE


def test_a_place_that_is_always_slower_is_told_apart_from_a_slower_version() -> None:
    found, _ = Machine(4).run(0.0, bias=0.06)
    assert outcome(found) is Outcome.PASSED
    assert found.biases["ttft.p50"].change == pytest.approx(0.06, abs=0.01)
    interval = found.biases["ttft.p50"].interval
    assert interval is not None
    assert interval.low < 0.06 < interval.high


def test_a_verdict_tells_ratio_levels_and_pairs() -> None:
    found = judged(evidence(0.2, sessions=4))
    (verdict,) = found.judgement.verdicts
    assert (verdict.outcome, verdict.mode) == (Outcome.REGRESSED, "twin")
    assert verdict.change == pytest.approx(0.2, abs=0.02)
    assert verdict.baseline is not None
    assert verdict.candidate is not None
    assert verdict.candidate / verdict.baseline == pytest.approx(1.2, abs=0.03)
    assert found.pairs == {"ttft.p50": 4 * PAIRS}


def test_tails_are_left_out() -> None:
    assert [verdict.metric for verdict in judged(evidence()).judgement.verdicts] == ["ttft.p50"]
    assert twin_gates([(evidence(), (TTFT, P99))]) == 1


def test_sample_i_is_held_against_sample_i() -> None:
    times = np.arange(1.0, PAIRS + 1) * 1e6
    session = TwinSession(old=recording(times), new=recording(times * 1.1))
    assert ratios(TTFT, session) == pytest.approx(np.full(PAIRS, 1.1))


def test_a_block_that_lost_a_request_on_one_side_takes_no_part_and_shifts_no_pair() -> None:
    times = np.arange(1.0, PAIRS + 1) * 1e6
    session = TwinSession(old=recording(times, drop=3), new=recording(times * 1.1))
    found = ratios(TTFT, session)
    assert found.size == PAIRS - BLOCK
    assert found == pytest.approx(np.full(PAIRS - BLOCK, 1.1))


def test_one_session_has_a_bias_without_an_interval_and_none_has_none() -> None:
    bias = arm_bias(TTFT, evidence(sessions=1).same)
    assert bias is not None
    assert (bias.interval, bias.sessions) == (None, 1)
    assert arm_bias(TTFT, ()) is None


def broken(recording: Recording) -> Recording:
    return replace(recording, failures=(Failure(stage="worker", message="it was killed"),))


def elsewhere(recording: Recording) -> Recording:
    return replace(recording, environment=make_environment("a CPU"))


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        (lambda s: replace(s, new=broken(s.new)), Outcome.INVALID, "stage 'worker' failed: it was killed"),
        (lambda s: replace(s, old=broken(s.old)), Outcome.INCOMPARABLE, "main: stage 'worker' failed"),
        (lambda s: replace(s, old=elsewhere(s.old)), Outcome.INCOMPARABLE, "main: device: 'a CPU' there"),
    ],
)
def test_a_broken_arm_is_no_verdict(
    change: Callable[[TwinSession], TwinSession], expected: Outcome, words: str
) -> None:
    whole = evidence()
    found = judged(replace(whole, changed=tuple(change(each) for each in whole.changed)))
    assert outcome(found) is expected
    assert words in found.judgement.verdicts[0].reason


def test_what_would_decide_is_told_in_sessions_of_the_twin() -> None:
    machine = Machine(9)
    noisy = [
        TwinSession(old=each.old, new=recording(np.array([s.ttft_ns for s in each.new.samples]) * factor))
        for factor in (0.9, 1.0, 1.12, 1.1)
        for each in [machine.session()]
    ]
    found = judged(Evidence(same=tuple(noisy[:2]), changed=tuple(noisy[2:])))
    (verdict,) = found.judgement.verdicts
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "both versions in turns" not in verdict.remedy
    assert "baseline sessions" not in verdict.remedy


def test_another_round_is_thought_to_help_where_both_kinds_of_session_are_to_come() -> None:
    """Three sessions each of sd 2.5 %: three more candidates alone would decide nothing, three more of both do."""
    from perfsuite.core.contrast import Contrast, Rule
    from perfsuite.core.noise import Spread
    from perfsuite.core.remedy import sessions_can_decide

    contrast = Contrast(theta=0.042, spread=Spread(variance=0.025**2, freedom=4.0), m=3, k=3, n=640, agreeing=3)
    rule = Rule(statistic=Statistic.P50)
    assert not sessions_can_decide(contrast, rule)
    assert sessions_can_decide(contrast, replace(rule, in_turns=True))
