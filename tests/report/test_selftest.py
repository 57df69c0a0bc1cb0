"""The words of a self-test."""

from collections.abc import Iterable

from perfsuite.core.calibration import Calibrated
from perfsuite.core.canary import RAW
from perfsuite.core.injection import INJECTIONS
from perfsuite.core.metrics import parse_metric
from perfsuite.core.selftest import Gated, Replays, SelfTest, Tally, Trial
from perfsuite.core.verdict import Judgement, Outcome
from perfsuite.report.layout import Line
from perfsuite.report.replays import percent_text
from perfsuite.report.selftest import selftest
from tests.builders import make_baseline, make_cell, make_recording, make_sessions, make_verdict

CELL = make_cell()
P50, P99 = (parse_metric(text, where="test") for text in ("ttft.p50", "ttft.p99"))
GATED = Gated(baseline=make_baseline(*make_sessions(make_recording(n=300), 8)), tolerances={P50: 0.05, P99: 0.1})


def counted(metric: object, caught: dict[str, int], missed: dict[str, int] | None = None) -> tuple[Tally, ...]:
    """A hundred replays per injection: what is neither caught nor missed stayed open."""
    return tuple(
        Tally(
            metric=metric,  # type: ignore[arg-type]
            injection=injection.name,
            effect=injection.fraction or 0.0,
            caught=(found := caught.get(injection.name, 0)),
            missed=(passed := (missed or {}).get(injection.name, 0)),
            undecided=100 - found - passed,
            sessions=3 * found + passed,
        )
        for injection in INJECTIONS
    )


def calibrated(metric: object, smallest: float | None, reason: str = "") -> Calibrated:
    return Calibrated(
        cell=CELL,
        metric=metric,  # type: ignore[arg-type]
        tolerance=GATED.tolerances[metric],  # type: ignore[index]
        mode=RAW,
        sessions=8,
        smallest=smallest,
        reason=reason,
    )


def found(*tallies: Tally, red: int = 0, trials: tuple[Trial, ...] = (), smallest: float | None = 0.22) -> SelfTest:
    return SelfTest(
        gated=(GATED,),
        replays=Replays(
            count=100,
            red=red,
            red_by_metric={"ttft.p50": red} if red else {},
            tallies={CELL: tallies},
            too_few={},
            baseline_sessions=5,
            candidate_sessions=3,
        ),
        calibrated=(calibrated(P50, 0.012), calibrated(P99, smallest, "" if smallest else "too few samples")),
        trials=trials,
    )


def trial(outcome: Outcome, slowdown: float = 0.0) -> Trial:
    return Trial(
        slowdown=slowdown,
        judgements=(Judgement(cell=CELL, verdicts=(make_verdict(outcome),)),),
        sessions_ns=(2 * 10**9, 2 * 10**9),
        spent_ns={CELL: 4 * 10**9},
    )


CAUGHT = counted(P50, {"+5 %": 99, "+10 %": 100})


def texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]


def line_with(lines: Iterable[Line], part: str) -> Line:
    return next(line for line in lines if part in line.text)


def test_a_cell_is_told_in_one_sentence() -> None:
    lines = texts(selftest(found(*CAUGHT, *counted(P99, {}))))
    assert lines[-2] == (
        "eager/tiny/p100-o4: catches +5 % TTFT P50 in 99 of 100 replays; "
        "TTFT P99 below +22.0 % cannot be seen with 300 samples"
    )


def test_what_cannot_be_gated_says_why() -> None:
    lines = selftest(found(*CAUGHT, *counted(P99, {}), smallest=None))
    assert lines[-2].text.endswith("; TTFT P99 cannot be gated (too few samples)")
    assert line_with(lines, "TTFT P99: 0 of 1 cell can hold the tolerance: too few samples").style == "yellow"


def test_a_slowdown_that_passes_more_than_once_in_a_hundred_replays_is_red() -> None:
    once = selftest(found(*counted(P50, {"+5 %": 99}, {"+5 %": 1})))[-2]
    twice = selftest(found(*counted(P50, {"+5 %": 98}, {"+5 %": 2})))[-2]
    assert (once.style, twice.style) == ("plain", "red")
    assert "misses +5 % TTFT P50 in 2 of 100" in twice.text


def test_the_table_has_a_row_per_metric_and_injection_with_the_time_to_a_verdict() -> None:
    lines = texts(selftest(found(*CAUGHT, trials=(trial(Outcome.PASSED),))))
    assert lines[2].split() == ["metric", "injected", "moves", "it", "red", "open", "passed", "missed", "sessions", "s"]
    assert [line.split()[2:4] for line in lines[3:9]] == [
        ["nothing", "+0.0"],
        ["+3", "%"],
        ["+5", "%"],
        ["+10", "%"],
        ["slow", "path,"],
        ["tail", "+10"],
    ]
    assert lines[5].split()[-6:] == ["99.0", "1.0", "0", "0", "3.0", "6.0"]
    assert lines[3].split()[-6:] == ["0", "100", "0", "0", "-", "-"]


def test_false_alarms_come_with_their_upper_bound() -> None:
    right, wrong = (line_with(selftest(found(*CAUGHT, red=red)), "same code:") for red in (0, 2))
    assert right == Line(
        "same code: 0 of 100 replays of the suite had a red gate, at most 3.0 % with 95 % confidence", "green"
    )
    assert wrong.style == "red"
    assert wrong.text.endswith(
        "2 of 100 replays of the suite had a red gate, at most 6.2 % with 95 % confidence (ttft.p50 2)"
    )


def test_trials_that_went_right_are_green() -> None:
    lines = selftest(found(*CAUGHT, trials=(trial(Outcome.PASSED), trial(Outcome.REGRESSED, 0.1))))
    assert "real sessions, same code: 1 passed; 2 sessions, the last verdict after 4.00 s" in texts(lines)
    assert "real sessions, every event 10 % later: 1 regressed; 2 sessions, the last verdict after 4.00 s" in texts(
        lines
    )
    assert lines[-1] == Line(
        "perfsuite: self-test: no false alarm, 1 of 1 slowed gate red, none passed silently", "green"
    )


def test_a_silent_pass_is_red() -> None:
    lines = selftest(found(*CAUGHT, trials=(trial(Outcome.PASSED, 0.1),)))
    assert line_with(lines, "a silent pass: eager/tiny/p100-o4: passed TTFT P50").style == "red"
    assert lines[-1] == Line("perfsuite: self-test: the gate was wrong 1 time in real sessions", "red")


def test_a_trial_that_stays_open_is_not_green() -> None:
    lines = selftest(found(*CAUGHT, trials=(trial(Outcome.INCONCLUSIVE, 0.1),)))
    assert lines[-1].style == "yellow"


def test_a_trial_that_compares_nothing_says_so() -> None:
    lines = selftest(found(*CAUGHT, trials=(trial(Outcome.INVALID),)))
    assert lines[-1] == Line("perfsuite: self-test: 1 gate could not be tried", "yellow")


def test_too_few_sessions_are_told_with_the_command_that_adds_some() -> None:
    none = Replays(count=0, red_by_metric={}, tallies={}, too_few={CELL: 5})
    lines = selftest(SelfTest(gated=(GATED,), replays=none, calibrated=(calibrated(P50, 0.012),)))
    assert lines[1] == Line(
        "not replayed, 6 sessions are needed: eager/tiny/p100-o4 has 5; "
        "add some with: pytest --save-baseline --perf-baseline-append",
        "yellow",
    )
    assert lines[-2].text.startswith("eager/tiny/p100-o4: TTFT P50 below +1.2 % cannot be seen with 300 samples")


def test_little_is_not_told_as_nothing() -> None:
    assert [percent_text(share) for share in (0, 0.0004, 0.023, 0.9996, 1)] == ["0", "<0.1", "2.3", ">99.9", "100"]
