from dataclasses import replace

import pytest

from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import OptionError
from perfsuite.core.verdict import Judgement, Outcome, Verdict
from perfsuite.core.workload import ModelSpec
from perfsuite.plugin.twin import confirmed, doubts
from perfsuite.plugin.twin_settings import parse_arms
from tests.builders import make_cell, make_verdict


def judgement(*verdicts: Verdict) -> Judgement:
    return Judgement(cell=make_cell(), verdicts=verdicts)


def second(stored: Outcome, twin: Outcome, metric: str = "ttft.p50") -> Verdict:
    found = confirmed(
        judgement(make_verdict(stored, metric, reason="as stored")),
        judgement(replace(make_verdict(twin, metric, reason="as found"), mode="twin")),
    )
    (verdict,) = found.verdicts
    return verdict


@pytest.mark.parametrize("stored", [Outcome.REGRESSED, Outcome.INCONCLUSIVE])
@pytest.mark.parametrize("twin", [Outcome.PASSED, Outcome.IMPROVED, Outcome.REGRESSED, Outcome.INVALID])
def test_what_the_twin_decides_stands_for_what_the_baseline_doubts(stored: Outcome, twin: Outcome) -> None:
    verdict = second(stored, twin)
    assert (verdict.outcome, verdict.mode) == (twin, "twin")
    assert verdict.reason == f"as found; the stored baseline called it {stored.value}"


def test_a_twin_that_cannot_tell_leaves_the_baselines_verdict() -> None:
    verdict = second(Outcome.REGRESSED, Outcome.INCONCLUSIVE)
    assert verdict.outcome is Outcome.REGRESSED
    assert verdict.reason == "as stored; in turns it is inconclusive, too: as found"
    assert second(Outcome.INCONCLUSIVE, Outcome.INCOMPARABLE).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("stored", [Outcome.PASSED, Outcome.NO_BASELINE, Outcome.INVALID, Outcome.INCOMPARABLE])
def test_what_the_baseline_does_not_doubt_stays(stored: Outcome) -> None:
    assert second(stored, Outcome.REGRESSED).outcome is stored
    assert not doubts(judgement(make_verdict(stored)))


def test_a_tail_cannot_be_confirmed() -> None:
    assert not doubts(judgement(make_verdict(Outcome.REGRESSED, "ttft.p99")))
    assert doubts(judgement(make_verdict(Outcome.INCONCLUSIVE, "ttft.mean")))


def test_two_strategies_are_two_arms() -> None:
    first, other = parse_arms("eager, jit", ("fake",))
    assert (first.strategy, other.strategy, first.text, other.text) == ("eager", "jit", "eager", "jit")


def test_option_sets_change_the_model_and_the_environment_of_the_runs_strategy() -> None:
    first, other = parse_arms("dtype=float32,dtype=bfloat16 max-model-len=512 OMP_NUM_THREADS='1 2'", ("eager",))
    base = ModelSpec(name="tiny", load_format="dummy")
    assert (first.strategy, other.strategy) == ("eager", "eager")
    assert first.model(base) == replace(base, dtype="float32")
    assert other.model(base) == replace(base, dtype="bfloat16", engine=EngineOptions(max_model_len=512))
    assert other.variables == {"OMP_NUM_THREADS": "1 2"}


def test_an_arm_without_a_strategy_needs_a_run_with_one() -> None:
    with pytest.raises(OptionError, match="'dtype=float32' names no strategy, and --perf-strategy names several"):
        parse_arms("dtype=float32,dtype=bfloat16", ("eager", "jit"))
