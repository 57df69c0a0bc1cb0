from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Memory, Recording
from perfsuite.core.sample import Failure, Phase
from perfsuite.core.verdict import Interval, Judgement, Outcome, Verdict
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.report.terminal import Line, comparison, saved, tables, verdict_line, verdicts
from perfsuite.report.verdicts import Commands
from tests.builders import (
    make_baseline,
    make_cell,
    make_environment,
    make_recording,
    make_roofline,
    make_sessions,
    make_verdict,
)

CELL = make_cell(output=32)
PROMPTS = (10, 50, 400)


def by_cell(*recordings: Recording) -> dict[Cell, list[Recording]]:
    held: dict[Cell, list[Recording]] = {}
    for recording in recordings:
        held.setdefault(recording.cell, []).append(recording)
    return held


def texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]


def starting(lines: Iterable[Line], *begin: str) -> list[str]:
    return [line.text for line in lines if line.text.strip().startswith(begin)]


def styled(lines: Iterable[Line], style: str) -> list[str]:
    return [line.text for line in lines if line.style == style]


def sweep(strategy: str = "eager", prompts: Sequence[int] = PROMPTS, **made: float | bool | int) -> list[Recording]:
    return [make_recording(make_cell(strategy, prompt=prompt), **made) for prompt in prompts]  # type: ignore[arg-type]


def test_a_table_is_this_text() -> None:
    """40 ms without noise: every statistic is 40; 299 samples are the fewest that have a P99."""
    recording = make_recording(make_cell(prompt=100, output=4), n=299, decode=2)
    assert texts(tables(by_cell(recording))) == [
        "eager, tiny (float16) on NVIDIA H100 80GB HBM3: batch 1, 4 output tokens, 1 session",
        "temperature 0.7, top-k 50, top-p 0.9, repetition penalty 1.1",
        "prompt  ------------------------ TTFT, ms -----------------------  - P50, ms --  startup  memory",
        "tokens    P50     ±    P95    P99   mean   std    min    max    n   TPOT    E2E        s     MiB",
        "   100  40.00  0.00  40.00  40.00  40.00  0.00  40.00  40.00  299  2.000  46.00     2.50     100",
        "  startup, medians: load 2.00 s, first call 0.50 s",
        "  weights: 90 MiB",
        "  warm-ups: 2 requests, in no number above",
        "",
        "± is half of the 95 % interval of P50 (order statistics); the samples of all sessions of a cell are pooled",
    ]


def test_rows_go_from_the_shortest_prompt_to_the_longest() -> None:
    lines = tables(by_cell(*sweep(prompts=(400, 10, 50))))
    assert [row.split()[0] for row in starting(lines, "10 ", "50 ", "400 ")] == ["10", "50", "400"]


def test_the_samples_of_all_sessions_are_pooled() -> None:
    recordings = [make_recording(CELL, ttft_ms=ttft, session=session) for session, ttft in enumerate((40, 60))]
    lines = tables(by_cell(*recordings))
    (row,) = starting(lines, "100 ")
    assert row.split()[1] == "50.00"
    assert row.split()[9] == "40"
    assert "2 sessions" in lines[0].text


def test_a_quantile_below_its_floor_shows_the_floor_and_a_note_what_is_missing() -> None:
    lines = tables(by_cell(make_recording(CELL, n=100)))
    (row,) = starting(lines, "100 ")
    assert row.split()[4] == "n<299"
    assert starting(lines, "TTFT P99") == [
        "  TTFT P99 needs n=299: 199 samples missing at 100; take more with --perf-samples"
    ]


def test_samples_missing_everywhere_are_one_note() -> None:
    lines = tables(by_cell(*sweep(n=100)))
    assert starting(lines, "TTFT P99")[0].startswith(
        "  TTFT P99 needs n=299: 199 samples missing at every prompt length"
    )


def test_the_device_s_own_time_is_a_column_only_where_there_is_one() -> None:
    with_device, without = (tables(by_cell(make_recording(CELL, device=device))) for device in (True, False))
    assert "device" in with_device[3].text
    assert starting(with_device, "100 ")[0].split()[10] == "20.00"
    assert "device" not in without[3].text


def limited(recording: Recording, doubt: float = 1.25) -> Recording:
    """On a device of 1 TB/s, with weights of 1 GB and prompt tokens of 0.01 ms."""
    return replace(recording, roofline=make_roofline(read_ms=1.0, token_ms=0.01, doubt=doubt))


def test_what_was_achieved_of_the_limit_is_a_share_beside_the_medians() -> None:
    """1 ms of 40 ms and of 2 ms."""
    lines = tables(by_cell(limited(make_recording(CELL))))
    assert lines[2].text.endswith("- P50, ms --  - of limit   startup  memory")
    assert lines[3].text.endswith("   TPOT    E2E   TTFT  TPOT        s     MiB")
    assert lines[4].text.endswith("  2.000  102.0  2.5 %  50 %     2.50     100")
    assert starting(lines, "limits") == ["  limits, measured: read bandwidth 1.00 TB/s, matrix rate 1.00 TFLOP/s"]
    assert starting(lines, "of limit is floor / P50")


def test_without_limits_nothing_is_said_of_them() -> None:
    assert not [line for line in tables(by_cell(make_recording(CELL))) if "limit" in line.text]


def test_a_cell_that_knows_no_limits_has_dashes_beside_one_that_does() -> None:
    known, unknown = limited(make_recording(make_cell(prompt=10))), make_recording(make_cell(prompt=400))
    rows = starting(tables(by_cell(known, unknown)), "10 ", "400 ")
    assert rows[0].split()[-6:-2] == ["2.5", "%", "50", "%"]
    assert rows[1].split()[-4:-2] == ["-", "-"]


def test_a_cell_without_samples_achieved_nothing_that_could_be_said() -> None:
    lines = tables(by_cell(limited(make_recording(CELL, n=0, decode=0))))
    assert "of limit" not in lines[2].text


def test_a_column_has_one_count_of_decimals() -> None:
    fast, slow = make_recording(make_cell(prompt=10), ttft_ms=4.5), make_recording(make_cell(prompt=400), ttft_ms=450)
    rows = starting(tables(by_cell(fast, slow)), "10 ", "400 ")
    assert [row.split()[1] for row in rows] == ["4.500", "450.000"]


def test_columns_are_aligned_under_their_heads() -> None:
    lines = tables(by_cell(*sweep(n=300, noise=0.1, device=True)))
    table = [line.text for line in lines[2:7]]
    assert len({len(text) for text in table}) == 1


@pytest.mark.parametrize("ttft_ms", [0.5, 5.0, 50.0, 500.0])
def test_a_table_fits_a_wide_terminal(ttft_ms: float) -> None:
    lines = tables(by_cell(*map(limited, sweep(n=300, noise=0.1, ttft_ms=ttft_ms, device=True))))
    assert max(len(line.text) for line in lines) <= 120


def test_each_strategy_has_its_own_table() -> None:
    lines = tables(by_cell(*sweep("eager"), *sweep("jit")))
    assert [text.partition(",")[0] for text in styled(lines, "bold") if " on " in text] == ["eager", "jit"]


def test_workloads_that_differ_in_more_than_the_prompt_have_their_own_tables() -> None:
    cells = [replace(CELL, workload=replace(CELL.workload, batch_size=size)) for size in (1, 4)]
    lines = tables(by_cell(*(make_recording(cell) for cell in cells)))
    assert [text.partition(": ")[2] for text in styled(lines, "bold") if " on " in text] == [
        "batch 1, 32 output tokens, 1 session",
        "batch 4, 32 output tokens, 1 session",
    ]


@pytest.mark.parametrize(
    ("params", "phrase"),
    [
        (SamplingParams(temperature=0), "greedy, repetition penalty off"),
        (SamplingParams(), "temperature 1, top-k off, top-p off, repetition penalty off"),
        (SamplingParams(top_k=5, seed=3), "temperature 1, top-k 5, top-p off, repetition penalty off, seed 3"),
    ],
)
def test_sampling_that_is_off_is_said_to_be_off(params: SamplingParams, phrase: str) -> None:
    cell = replace(CELL, workload=Workload(prompt_tokens=100, sampling=params))
    assert tables(by_cell(make_recording(cell)))[1].text == phrase


def test_memory_is_shown_in_gib_once_it_fills_one() -> None:
    recording = replace(make_recording(CELL), memory=Memory(peak_reserved=13 * 2**30 + 2**28))
    lines = tables(by_cell(recording))
    assert lines[3].text.split()[-1] == "GiB"
    assert starting(lines, "100 ")[0].split()[-1] == "13.25"


def test_unknown_memory_and_startup_are_dashes() -> None:
    recording = replace(make_recording(CELL), memory=Memory(), startup=())
    assert starting(tables(by_cell(recording)), "100 ")[0].split()[-2:] == ["-", "-"]


def test_a_cell_without_samples_is_a_row_of_dashes() -> None:
    lines = tables(by_cell(make_recording(CELL, n=0, decode=0)))
    assert set(starting(lines, "100 ")[0].split()[1:-2]) == {"-"}


def test_failures_are_counted_by_stage_with_the_first_message() -> None:
    failures = (
        *[Failure(stage="measure", message="CUDA out of memory\nTraceback")] * 2,
        Failure(stage="open", message=""),
    )
    lines = tables(by_cell(make_recording(CELL, failures=failures)))
    assert styled(lines, "yellow") == ["  failures: 2 in 'measure', 1 in 'open'; the first: CUDA out of memory"]


def test_a_session_that_broke_before_its_first_sample_names_no_device() -> None:
    broken = make_recording(CELL, environment=make_environment("unknown"), n=0, decode=0, session=1)
    assert "on NVIDIA H100 80GB HBM3:" in tables(by_cell(make_recording(CELL), broken))[0].text


def test_an_injected_slowdown_is_said_loudly() -> None:
    lines = tables(by_cell(make_recording(CELL, injected_slowdown=0.1)))
    (loud,) = styled(lines, "red")
    assert loud.startswith("INJECTED SLOWDOWN +10.0 %")


def test_nothing_measured_is_no_table() -> None:
    assert tables({}) == tables({CELL: []}) == ()


def test_one_strategy_is_compared_with_nothing() -> None:
    assert comparison(by_cell(*sweep())) == ()


def test_strategies_are_compared_at_the_shortest_the_middle_and_the_longest_prompt() -> None:
    prompts = (10, 50, 100, 150, 200)
    lines = comparison(by_cell(*sweep("eager", prompts), *sweep("jit", prompts, ttft_ms=20, tpot_ms=1)))
    assert texts(lines) == [
        "tiny by strategy: batch 1, 4 output tokens; P50 and P99 are of TTFT, TPOT is its P50",
        "          -- prompt 10, ms --  -- prompt 100, ms -  -- prompt 200, ms -  startup  memory",
        "strategy    P50    P99   TPOT    P50    P99   TPOT    P50    P99   TPOT        s     MiB",
        "eager     40.00  n<299  2.000  40.00  n<299  2.000  40.00  n<299  2.000     2.50     100",
        "jit       20.00  n<299  1.000  20.00  n<299  1.000  20.00  n<299  1.000     2.50     100",
        "times as fast as eager, 95 % interval over sessions where there are two of each",
        "          --- prompt 10 ----  --- prompt 100 ---  --- prompt 200 ---",
        "strategy  TTFT P50  TPOT P50  TTFT P50  TPOT P50  TTFT P50  TPOT P50",
        "jit              -         -         -         -         -         -",
        "measured one after the other with eager: jit",
        "requests of 200 prompt and 4 output tokens by E2E P50: jit pays back against eager at once: "
        "it starts no later than eager and takes no longer a request",
        "",
    ]


def test_a_strategy_that_lacks_a_length_has_dashes_there() -> None:
    lines = comparison(by_cell(*sweep("eager"), *sweep("jit", (10,))))
    assert starting(lines, "jit")[0].split()[4:10] == ["-"] * 6


NO_NUMBERS = Verdict(metric="ttft.p50", outcome=Outcome.NO_BASELINE, tolerance=0.05)


def unnumbered(outcome: Outcome, metric: str = "ttft.p50", reason: str = "", remedy: str = "") -> Verdict:
    return replace(NO_NUMBERS, outcome=outcome, metric=metric, reason=reason, remedy=remedy)


def judged(cell: Cell, *found: Verdict) -> Judgement:
    return Judgement(cell=cell, verdicts=found)


COMMANDS = Commands(
    reproduce=lambda cell: f"pytest --perf -k {cell.workload.slug}",
    save=lambda cell: f"pytest --save-baseline -k {cell.workload.slug}",
    save_all="pytest --save-baseline",
)


def lines_of(*judgements: Judgement) -> list[str]:
    return texts(verdicts(judgements, COMMANDS))


def test_a_regression_is_this_line() -> None:
    assert verdict_line(CELL, make_verdict()) == (
        "eager/tiny/p100-o32: TTFT P50 regressed 41.2 ms -> 47.9 ms "
        "(+16.3 %, 95 % CI +12.1..+20.4 %, n=50 vs 5x50), tolerance 5 %"
    )


def test_an_undecided_metric_says_why_and_what_would_decide_it() -> None:
    verdict = make_verdict(Outcome.INCONCLUSIVE, "ttft.p99", reason="one session is too few", remedy="2 more sessions")
    assert verdict_line(CELL, verdict).endswith(", tolerance 5 %: one session is too few; to decide: 2 more sessions")


def test_a_missing_baseline_is_said_once_with_its_remedy() -> None:
    remedy = "record one with: pytest --save-baseline -k vllm"
    verdict = unnumbered(Outcome.NO_BASELINE, reason="no baseline for 'NVIDIA H100 80GB HBM3'", remedy=remedy)
    assert verdict_line(CELL, verdict) == f"eager/tiny/p100-o32: no baseline for 'NVIDIA H100 80GB HBM3'; {remedy}"


def test_a_reason_of_several_lines_becomes_one() -> None:
    verdict = unnumbered(Outcome.INVALID, reason="the worker died:\n  Killed\n")
    assert verdict_line(CELL, verdict) == "eager/tiny/p100-o32: TTFT P50 invalid: the worker died: Killed"


def test_a_metric_that_is_no_latency_keeps_its_name() -> None:
    assert verdict_line(CELL, unnumbered(Outcome.INVALID, metric="sampling")) == "eager/tiny/p100-o32: sampling invalid"


def test_the_worst_verdict_comes_first_and_the_count_last() -> None:
    judgements = [judged(make_cell(prompt=n), make_verdict(outcome)) for n, outcome in enumerate(reversed(Outcome), 1)]
    words = ["regressed", "invalid", "incomparable", "no baseline", "inconclusive", "passed", "improved"]
    told = [line for line in lines_of(*judgements) if not line.startswith("  ")]
    assert [word for line, word in zip(told[:-1], words, strict=True) if word in line] == words
    assert told[-1] == (
        "perfsuite: 7 gates: "
        "1 improved, 1 passed, 1 inconclusive, 1 no baseline, 1 incomparable, 1 invalid, 1 regressed"
    )


def test_a_failing_cell_is_followed_by_one_command_for_all_its_metrics() -> None:
    told = lines_of(judged(CELL, make_verdict(), make_verdict(metric="e2e.p50")))
    assert [line.split(" regressed")[0] for line in told[:2]] == [f"{CELL.id}: TTFT P50", f"{CELL.id}: E2E P50"]
    assert told[2:4] == [
        "  reproduce: pytest --perf -k p100-o32",
        "  if it is intended: pytest --save-baseline -k p100-o32",
    ]


def test_what_passed_is_one_line_a_cell() -> None:
    interval = Interval(low=-0.005, high=0.011)
    passed = [
        replace(make_verdict(Outcome.PASSED, metric), change=0.003, interval=interval)
        for metric in ("ttft.p50", "tpot.p50")
    ]
    assert lines_of(judged(CELL, *passed)) == [
        "eager/tiny/p100-o32: passed TTFT P50 +0.3 % (95 % CI -0.5..+1.1 %, n=50 vs 5x50), "
        "TPOT P50 +0.3 % (95 % CI -0.5..+1.1 %, n=50 vs 5x50)",
        "perfsuite: 2 gates: 2 passed",
    ]


def test_metrics_invalid_for_one_reason_are_one_line() -> None:
    found = [unnumbered(Outcome.INVALID, metric, reason="3 requests failed") for metric in ("ttft.p50", "e2e.p50")]
    assert lines_of(judged(CELL, *found))[0] == "eager/tiny/p100-o32: TTFT P50, E2E P50 invalid: 3 requests failed"


def without_baseline(count: int) -> list[Judgement]:
    reason = "no baseline for 'NVIDIA H100 80GB HBM3'"
    return [
        judged(cell, unnumbered(Outcome.NO_BASELINE, reason=reason, remedy=f"record one with -k {cell.workload.slug}"))
        for cell in (make_cell(prompt=prompt) for prompt in range(1, count + 1))
    ]


def test_three_cells_without_a_baseline_are_three_lines() -> None:
    assert len(lines_of(*without_baseline(3))) == 3 + 1


def test_more_cells_without_a_baseline_are_one_line_with_their_count() -> None:
    assert lines_of(*without_baseline(9)) == [
        "eager/tiny/p1-o4 and 8 more cells: no baseline for 'NVIDIA H100 80GB HBM3'; "
        "record them with: pytest --save-baseline",
        "perfsuite: 9 gates: 9 no baseline",
    ]


def test_nothing_judged_is_said_and_is_no_success() -> None:
    (line,) = verdicts((), COMMANDS)
    assert line == Line("perfsuite: 0 gates: nothing was judged", "yellow")


@pytest.mark.parametrize(
    ("outcomes", "style"),
    [
        ((Outcome.PASSED, Outcome.IMPROVED), "green"),
        ((Outcome.PASSED, Outcome.INCONCLUSIVE), "yellow"),
        ((Outcome.PASSED, Outcome.NO_BASELINE), "yellow"),
        ((Outcome.INCONCLUSIVE, Outcome.REGRESSED), "red"),
        ((Outcome.INVALID,), "red"),
    ],
)
def test_the_count_is_green_only_if_everything_was_decided_well(outcomes: tuple[Outcome, ...], style: str) -> None:
    found = (make_verdict(outcome) for outcome in outcomes)
    assert verdicts((judged(CELL, *found),), COMMANDS)[-1].style == style


def test_a_first_baseline_is_told_by_its_levels() -> None:
    assert saved(None, make_baseline()) == (
        "eager/tiny/p100-o4: saved 5 sessions, new: "
        "TTFT P50 40.0 ms, TTFT P99 too few samples, TPOT P50 2.00 ms, E2E P50 46.0 ms"
    )


def test_a_replaced_baseline_is_told_by_its_changes() -> None:
    old, new = (make_baseline(*make_sessions(make_recording(ttft_ms=ttft, n=100), 3)) for ttft in (40, 38))
    assert saved(old, new) == (
        "eager/tiny/p100-o4: saved 3 sessions: TTFT P50 40.0 ms -> 38.0 ms (-5.0 %), "
        "TTFT P99 40.0 ms -> 38.0 ms (-5.0 %), TPOT P50 2.00 ms -> 2.00 ms (+0.0 %), "
        "E2E P50 46.0 ms -> 44.0 ms (-4.3 %)"
    )


def test_a_line_holds_one_line_in_a_known_style() -> None:
    assert Line("a \n  b\u2028c").text == "a b c"
    with pytest.raises(ValueError, match="not a line in one of plain, bold, red, green, yellow"):
        Line("a", "pink")


def test_tokens_that_came_together_are_told_as_such() -> None:
    recording = make_recording(make_cell(output=4))
    bundled = [replace(s, arrivals_ns=s.arrivals_ns[:2], tokens=(1, 3)) for s in recording.of_phase(Phase.DECODE)]
    samples = (*recording.of_phase(Phase.PREFILL), *(replace(s, device_ns=None) for s in bundled))
    lines = tables(by_cell(replace(recording, samples=samples)))
    assert "  tokens per chunk: 2.00 in the mean; gaps between chunks are ICL, not ITL" in texts(lines)
    assert not starting(tables(by_cell(recording)), "tokens per chunk")
