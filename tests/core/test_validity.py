"""What makes a recording unbelievable, and what only keeps it from becoming a baseline."""

from dataclasses import replace

import pytest

from perfsuite.core.recording import Evidence, Recording
from perfsuite.core.sample import Failure, Phase, Sample
from perfsuite.core.sampling_check import SamplingCheck
from perfsuite.core.validity import problems, unsavable
from tests.builders import make_recording, make_roofline, make_sample


def with_sample(sample: Sample) -> Recording:
    recording = make_recording(noise=0.01)
    return replace(recording, samples=(*recording.samples, sample))


def failures(count: int, stage: str = "measure") -> tuple[Failure, ...]:
    return tuple(Failure(stage=stage, message=f"error {index}") for index in range(count))


def test_a_sound_recording_has_no_problem() -> None:
    assert problems(make_recording(noise=0.01, device=True)) == ()


def test_a_recording_without_samples_is_a_problem() -> None:
    assert problems(make_recording(n=0, decode=0)) == ("no samples were taken",)


def test_one_failure_in_a_hundred_requests_is_allowed() -> None:
    assert problems(make_recording(n=95, decode=4, failures=failures(1))) == ()


def test_more_failures_are_counted_and_the_first_is_quoted() -> None:
    assert problems(make_recording(n=94, decode=4, failures=failures(2))) == (
        "2 of 100 requests failed, allowed are 1 %; the first at 'measure': error 0",
    )


@pytest.mark.parametrize("stage", ["open", "worker"])
def test_a_session_that_did_not_open_or_died_is_a_problem_whatever_it_measured(stage: str) -> None:
    recording = make_recording(n=1000, failures=(*failures(1), *failures(1, stage)))
    assert problems(recording) == (f"stage '{stage}' failed: error 0",)


@pytest.mark.parametrize(
    ("phase", "tokens", "finding"),
    [(Phase.DECODE, 3, "(decode) has 3 instead of 4"), (Phase.PREFILL, 2, "(prefill) has 2 instead of 1")],
)
def test_a_wrong_number_of_output_tokens_is_a_problem(phase: Phase, tokens: int, finding: str) -> None:
    (problem,) = problems(with_sample(make_sample(phase, tokens, ttft_ms=40.0)))
    assert problem == f"1 of 25 samples with a wrong number of output tokens; sample 25 {finding}"


@pytest.mark.parametrize("arrivals", [(5, 4, 6, 7), (5, 5, 6, 7), (-1, 1, 2, 3), (0, 1, 2, 3)])
def test_times_that_do_not_increase_are_a_problem(arrivals: tuple[int, ...]) -> None:
    (problem,) = problems(with_sample(Sample(phase=Phase.DECODE, block=0, arrivals_ns=arrivals, tokens=(1, 1, 1, 1))))
    assert problem == "1 of 25 samples with times that are negative or do not increase; the first is sample 25"


def test_a_negative_device_time_is_a_problem() -> None:
    sample = Sample(phase=Phase.PREFILL, block=0, arrivals_ns=(5,), tokens=(1,), device_ns=(-1,))
    assert len(problems(with_sample(sample))) == 1


def timed(sample: Sample, *, doubt: float = 1.25) -> Recording:
    """A sound recording and one sample more, where a prompt pass and a decode step read for 1 ms."""
    return replace(with_sample(sample), roofline=make_roofline(read_ms=1.0, doubt=doubt))


def test_times_above_their_floors_are_no_problem() -> None:
    recording = make_recording(ttft_ms=2.1, tpot_ms=2.1, device=True)
    assert problems(replace(recording, roofline=make_roofline(read_ms=1.0))) == ()


def test_a_first_token_before_its_floor_is_a_problem() -> None:
    """0.79 ms where 1 ms was measured and 0.8 ms is the least that the doubt leaves."""
    assert problems(timed(make_sample(Phase.PREFILL, 1, ttft_ms=0.79))) == (
        "1 of 25 samples faster than the device can be; sample 25 has a TTFT of 0.790 ms, "
        "the floor is 1.00 ms (read bandwidth 1.00 TB/s; with all doubt about that 0.800 ms)",
    )


def test_a_time_that_the_doubt_about_the_limits_leaves_possible_is_no_problem() -> None:
    assert problems(timed(make_sample(Phase.PREFILL, 1, ttft_ms=0.81))) == ()
    assert len(problems(timed(make_sample(Phase.PREFILL, 1, ttft_ms=0.81), doubt=1.1))) == 1


def test_a_first_token_of_a_full_request_is_checked_too() -> None:
    assert len(problems(timed(make_sample(Phase.DECODE, 4, ttft_ms=0.5, tpot_ms=2.0)))) == 1


def test_a_prompt_is_bounded_by_its_operations_as_well() -> None:
    """100 prompt tokens of 0.1 ms each take 10 ms."""
    recording = replace(
        make_recording(ttft_ms=7.9, tpot_ms=2.0, n=3), roofline=make_roofline(read_ms=1.0, token_ms=0.1)
    )
    (problem,) = problems(recording)
    assert problem.startswith("7 of 7 samples faster than the device can be; sample 1 has a TTFT of 7.90 ms, ")
    assert "the floor is 10.0 ms (matrix rate 1.00 TFLOP/s; with all doubt about that 8.00 ms)" in problem


def test_decode_steps_below_their_floor_are_a_problem() -> None:
    (problem,) = problems(timed(make_sample(Phase.DECODE, 4, ttft_ms=2.0, tpot_ms=0.5)))
    assert "sample 25 has decode steps of 0.500 ms, the floor is 1.00 ms" in problem


def test_a_token_that_came_close_behind_a_late_one_is_no_problem() -> None:
    """Steps of 1 ms; the host noticed the second token 0.9 ms late."""
    arrivals = (2_000_000, 3_900_000, 4_000_000, 5_000_000)
    assert problems(timed(Sample(phase=Phase.DECODE, block=0, arrivals_ns=arrivals, tokens=(1, 1, 1, 1)))) == ()


def test_several_tokens_of_one_step_are_judged_as_one_step() -> None:
    sample = Sample(phase=Phase.DECODE, block=0, arrivals_ns=(2_000_000, 3_000_000), tokens=(1, 3))
    assert problems(timed(sample)) == ()


@pytest.mark.parametrize(("device_ns", "step"), [((500_000, *[2_000_000] * 3), 0), ((*[2_000_000] * 3, 500_000), 3)])
def test_a_step_of_the_device_below_its_floor_is_a_problem(device_ns: tuple[int, ...], step: int) -> None:
    sample = replace(make_sample(Phase.DECODE, 4, ttft_ms=3.0, tpot_ms=3.0), device_ns=device_ns)
    (problem,) = problems(timed(sample))
    assert f"sample 25 has step {step} on the device of 0.500 ms, the floor is 1.00 ms" in problem


def test_without_limits_no_time_is_too_short() -> None:
    assert problems(make_recording(ttft_ms=0.000_001, tpot_ms=0.000_001)) == ()


def test_a_recording_without_samples_has_no_floor_to_fall_below() -> None:
    recording = replace(make_recording(n=0, decode=0), roofline=make_roofline())
    assert problems(recording) == ("no samples were taken",)


def test_what_lies_below_its_floor_must_not_become_a_baseline() -> None:
    assert len(unsavable(timed(make_sample(Phase.PREFILL, 1, ttft_ms=0.1)))) == 1


def with_evidence(**counts: int) -> Recording:
    return replace(make_recording(n=3, decode=2), evidence=Evidence(**counts))


@pytest.mark.parametrize(
    ("counts", "finding"),
    [
        ({"recompiles": 2}, "2 recompilations fell into the measured window"),
        ({"graph_breaks": 1}, "1 graph breaks left parts of a pass uncompiled"),
        ({"kernel_fallbacks": 7}, "7 kernel fallbacks: not everything ran as the strategy says"),
        ({"cached_prefix_hits": 5}, "5 prompts were answered from a cached prefix"),
    ],
)
def test_what_did_not_run_as_the_strategy_says_is_a_problem(counts: dict[str, int], finding: str) -> None:
    assert problems(with_evidence(**counts)) == (finding,)
    assert problems(with_evidence(**dict.fromkeys(counts, 0))) == ()


@pytest.mark.parametrize(
    ("counts", "finding"),
    [
        ({"compiled_regions": 0}, "no region was compiled"),
        ({"engines": 0}, "no engine was built"),
        ({"graphs_captured": 2, "graphs_replayed": 0}, "no CUDA graph was replayed"),
        ({"graphs_captured": 0, "graphs_replayed": 0}, "no CUDA graph was captured, no CUDA graph was replayed"),
    ],
)
def test_a_strategy_that_did_not_engage_is_a_problem_whatever_it_measured(counts: dict[str, int], finding: str) -> None:
    recording = with_evidence(**counts)
    assert problems(recording) == (f"strategy {recording.cell.strategy!r} did not engage: {finding}",)


def test_a_strategy_that_engaged_is_no_problem() -> None:
    assert problems(with_evidence(compiled_regions=2, engines=1, graphs_captured=2, graphs_replayed=1000)) == ()


def test_every_step_of_warm_up_and_samples_must_be_a_replay() -> None:
    """Two warm-ups and three requests of one token, two of four: 13 steps."""
    assert problems(with_evidence(graphs_replayed=13)) == ()
    assert problems(with_evidence(graphs_replayed=12)) == (
        "12 CUDA graphs were replayed in 13 steps; the others ran without a graph",
    )


def test_an_injected_slowdown_is_no_problem_but_must_not_be_saved() -> None:
    recording = make_recording(injected_slowdown=0.1)
    assert problems(recording) == ()
    assert unsavable(recording) == ("it was slowed by 10 % on purpose (injected slowdown)",)


def test_what_is_a_problem_must_not_be_saved_either() -> None:
    recording = make_recording(n=0, decode=0, injected_slowdown=0.1)
    assert unsavable(recording)[0] == "no samples were taken"
    assert len(unsavable(recording)) == 2


def test_tokens_that_are_no_legal_sample_are_a_problem_and_what_was_not_checked_is_none() -> None:
    recording = make_recording(noise=0.01)
    wrong = SamplingCheck(draws=64, problems=("support: token 7 was drawn", "effect: top-p is ignored"))
    assert problems(replace(recording, sampling=wrong)) == (
        "its tokens are no legal sample: support: token 7 was drawn",
    )
    assert unsavable(replace(recording, sampling=wrong)) == problems(replace(recording, sampling=wrong))
    for fine in (None, SamplingCheck(draws=64, open=("top-p is ignored",)), SamplingCheck(not_checked="no logits")):
        assert problems(replace(recording, sampling=fine)) == ()
