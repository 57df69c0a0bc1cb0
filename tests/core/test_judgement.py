"""The judgement of a cell: what keeps it from being compared, and what is left out."""

from dataclasses import replace

import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.judgement import judge_cell, refuse, suite_noise
from perfsuite.core.metrics import Metric, parse_metric
from perfsuite.core.noise import Noise
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Failure
from perfsuite.core.verdict import Judgement, Outcome
from tests.builders import make_baseline, make_cell, make_environment, make_recording

TTFT, TPOT, DEVICE, P99 = (
    parse_metric(text, where="test") for text in ("ttft.p50", "tpot.p50", "ttft_device.p50", "ttft.p99")
)
TOLERANCES = {TTFT: 0.05, TPOT: 0.05}
CELL = make_cell()


def sessions(count: int, *, ttft_ms: float = 40.0, first: int = 0, **changes: object) -> tuple[Recording, ...]:
    """Sessions whose samples scatter by 2 % and whose medians nearly agree."""
    return tuple(
        make_recording(session=index, ttft_ms=ttft_ms, n=50, decode=10, noise=0.02, **changes)  # type: ignore[arg-type]
        for index in range(first, first + count)
    )


def judged(
    baseline: Baseline | None,
    recordings: tuple[Recording, ...],
    *,
    tolerances: dict[Metric, float] | None = None,
    options: GateOptions | None = None,
    noise: dict[str, Noise] | None = None,
) -> Judgement:
    cell = recordings[0].cell if recordings else CELL
    return judge_cell(
        cell,
        baseline,
        recordings,
        tolerances=tolerances or TOLERANCES,
        gates=2,
        options=options or GateOptions(),
        noise=noise,
    )


def outcomes(judgement: Judgement) -> dict[str, Outcome]:
    return {verdict.metric: verdict.outcome for verdict in judgement.verdicts}


BASELINE = make_baseline(*sessions(5))


def test_an_unchanged_cell_passes_in_every_gated_metric() -> None:
    judgement = judged(BASELINE, sessions(2, first=10))
    assert judgement.cell == CELL
    assert outcomes(judgement) == {"ttft.p50": Outcome.PASSED, "tpot.p50": Outcome.PASSED}


def test_a_slower_first_token_fails_that_metric_alone() -> None:
    judgement = judged(BASELINE, sessions(3, first=10, ttft_ms=44.0))
    assert outcomes(judgement) == {"ttft.p50": Outcome.REGRESSED, "tpot.p50": Outcome.PASSED}


def test_levels_are_nanoseconds() -> None:
    verdict = judged(BASELINE, sessions(2, first=10)).verdict("ttft.p50")
    assert verdict is not None
    assert verdict.baseline == pytest.approx(40e6, rel=0.01)
    assert verdict.samples == 50


def test_without_a_baseline_the_device_and_the_command_are_named() -> None:
    judgement = judged(None, sessions(1))
    assert set(outcomes(judgement).values()) == {Outcome.NO_BASELINE}
    assert judgement.verdicts[0].reason == "no baseline for 'NVIDIA H100 80GB HBM3'"
    assert judgement.verdicts[0].remedy == "record one with: pytest --save-baseline"


def test_a_tolerance_of_zero_takes_a_metric_out() -> None:
    assert outcomes(judged(None, sessions(1), tolerances={TTFT: 0.05, TPOT: 0.0})) == {"ttft.p50": Outcome.NO_BASELINE}


def test_a_cell_with_no_sessions_is_invalid() -> None:
    judgement = judged(BASELINE, ())
    assert set(outcomes(judgement).values()) == {Outcome.INVALID}
    assert judgement.verdicts[0].reason == "no session was measured"


def test_a_broken_session_makes_every_metric_invalid_and_is_named() -> None:
    broken = replace(sessions(1, first=7)[0], failures=(Failure(stage="worker", message="killed by signal 9"),))
    judgement = judged(BASELINE, (*sessions(2, first=10), broken))
    assert set(outcomes(judgement).values()) == {Outcome.INVALID}
    assert judgement.verdicts[1].reason == "session 8: stage 'worker' failed: killed by signal 9"


def test_a_broken_session_is_invalid_even_without_a_baseline_or_a_sample() -> None:
    judgement = judged(None, (make_recording(n=0, decode=0),))
    assert outcomes(judgement) == {"ttft.p50": Outcome.INVALID, "tpot.p50": Outcome.INVALID}


def test_a_slowed_candidate_is_judged() -> None:
    judgement = judged(BASELINE, sessions(3, first=10, ttft_ms=44.0, injected_slowdown=0.1))
    assert outcomes(judgement)["ttft.p50"] is Outcome.REGRESSED


def test_a_baseline_that_was_slowed_on_purpose_judges_nothing() -> None:
    judgement = judged(make_baseline(*sessions(5, injected_slowdown=0.1)), sessions(2, first=10))
    assert set(outcomes(judgement).values()) == {Outcome.INVALID}
    assert judgement.verdicts[0].reason == "baseline session 1: it was slowed by 10 % on purpose (injected slowdown)"


def test_another_environment_is_incomparable_and_the_remedy_allows_its_keys() -> None:
    other = make_environment(torch="2.13.0", driver="590")
    judgement = judged(BASELINE, sessions(2, first=10, environment=other))
    assert set(outcomes(judgement).values()) == {Outcome.INCOMPARABLE}
    verdict = judgement.verdicts[0]
    assert verdict.reason == "driver: None there, '590' here; torch: '2.11.0' there, '2.13.0' here"
    assert verdict.remedy == (
        "record a new baseline with: pytest --save-baseline; "
        "or compare all the same: --perf-allow-mismatch driver,torch"
    )


def test_one_session_of_another_environment_is_enough_to_be_incomparable() -> None:
    odd = sessions(1, first=12, environment=make_environment(torch="2.13.0"))
    assert outcomes(judged(BASELINE, (*sessions(2, first=10), *odd)))["ttft.p50"] is Outcome.INCOMPARABLE


def test_an_allowed_difference_is_compared() -> None:
    other = sessions(2, first=10, environment=make_environment(torch="2.13.0"))
    judgement = judged(BASELINE, other, options=GateOptions(ignored_environment=frozenset({"torch"})))
    assert outcomes(judgement)["ttft.p50"] is Outcome.PASSED


def test_another_workload_can_only_be_recorded_anew() -> None:
    verdict = judged(BASELINE, sessions(2, first=10, cell=make_cell(prompt=200))).verdicts[0]
    assert verdict.outcome is Outcome.INCOMPARABLE
    assert "--perf-allow-mismatch" not in verdict.remedy


def test_a_metric_without_a_value_on_either_side_has_no_verdict() -> None:
    cell = make_cell(output=1)
    baseline, recordings = make_baseline(*sessions(5, cell=cell)), sessions(2, first=10, cell=cell)
    assert outcomes(judged(baseline, recordings)) == {"ttft.p50": Outcome.PASSED}
    assert outcomes(judged(None, recordings)) == {"ttft.p50": Outcome.NO_BASELINE}


def test_a_metric_with_values_on_one_side_only_is_invalid() -> None:
    with_device = make_baseline(*sessions(5, device=True))
    verdict = judged(with_device, sessions(2, first=10), tolerances={DEVICE: 0.02}).verdicts[0]
    assert (verdict.outcome, verdict.reason) == (Outcome.INVALID, "candidate session 1: no samples")


def test_a_tail_of_fifty_samples_stays_open() -> None:
    verdict = judged(BASELINE, sessions(2, first=10), tolerances={P99: 0.1}).verdicts[0]
    assert (verdict.metric, verdict.outcome) == ("ttft.p99", Outcome.INCONCLUSIVE)
    assert verdict.remedy == "250 more samples per session (n = 300)"


def test_the_looks_are_the_sessions_of_the_options() -> None:
    noisy = make_baseline(*(s for index in range(5) for s in sessions(1, first=index, ttft_ms=40 + 0.25 * index)))
    candidate = sessions(1, first=10, ttft_ms=40.5)
    one, many = (
        judged(noisy, candidate, options=GateOptions(sessions=count)).verdicts[0].outcome for count in (1, 1000)
    )
    assert (one, many) == (Outcome.PASSED, Outcome.INCONCLUSIVE)


def test_the_suites_noise_is_fitted_per_metric_to_the_cells_that_have_it() -> None:
    cells = [make_cell(prompt=10 * index, output=1 if index > 11 else 4) for index in range(1, 13)]
    stored = [
        make_baseline(
            *(
                make_recording(cell, session=index, noise=0.02, seed=cell.workload.prompt_tokens * 7)
                for index in range(3)
            )
        )
        for cell in cells
    ]
    noise = suite_noise(stored, TOLERANCES)
    assert (noise["ttft.p50"].cells, noise["tpot.p50"].cells) == (12, 11)
    assert noise["tpot.p50"].ignored == ()
    judgement = judged(stored[0], (make_recording(cells[0], session=9, noise=0.02),), noise=noise)
    assert outcomes(judgement)["ttft.p50"] is Outcome.PASSED


def test_a_refusal_is_the_same_for_every_metric() -> None:
    judgement = refuse(CELL, TOLERANCES, Outcome.INVALID, "the file is broken", "restore it")
    assert [(v.metric, v.reason, v.remedy) for v in judgement.verdicts] == [
        ("ttft.p50", "the file is broken", "restore it"),
        ("tpot.p50", "the file is broken", "restore it"),
    ]
