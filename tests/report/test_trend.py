"""The words and the plot of a trend."""

from perfsuite.core.trend import Step
from perfsuite.report.trend import HEIGHT, WIDTH, plot, trend
from tests.core.test_trend import series

DOTS = [40e6, 41e6, 40e6, 49e6]


def texts(*arguments: object) -> list[str]:
    return [line.text for line in trend("eager/tiny/p10-o4", "h100", *arguments)]


def test_a_trend_has_a_line_a_run_and_says_that_few_runs_show_no_change() -> None:
    lines = texts("ttft.p50", series(DOTS), ())
    assert lines[0] == "eager/tiny/p10-o4 on h100: TTFT P50, 4 runs, 4 sessions"
    assert lines[6].split() == ["2026-01-01T00:03:00Z", "abc", "1", "49.0", "ms", "+22.5", "%"]
    assert lines[-1] == "no change of level can be seen in fewer than 8 runs, there are 4"


def test_a_change_is_told_with_its_size_and_what_else_changed() -> None:
    step = Step(at=3, change=0.225, gain=40.8, differing=("torch 2.11 -> 2.13",))
    lines = texts("ttft.p50", series(DOTS), (step,))
    assert lines[6].endswith("+22.5 %  <- another level")
    assert lines[-1] == (
        "another level since 2026-01-01T00:03:00Z, commit abc (run 4 of 4): "
        "+22.5 %, evidence 41 (10 is needed); torch 2.11 -> 2.13"
    )


def test_only_the_latest_runs_have_a_line() -> None:
    lines = texts("startup", series([2e9] * 50), ())
    assert lines[3] == "… 30 earlier runs"
    assert sum("2.00 s" in line and line.startswith("2026") for line in lines) == 20
    assert lines[-1] == "no change of level"


def test_other_quantities_have_their_own_units() -> None:
    assert "peak memory, 1 run" in texts("memory", series([2.0**30]), ())[0]
    assert any("1.0 GiB" in line for line in texts("memory", series([2.0**30]), ()))


def test_the_plot_has_a_dot_a_run_at_its_height() -> None:
    lines = [line.text for line in plot([1.0, 2.0, 10.0], [2], lambda value: f"{value:g}")]
    assert len(lines) == HEIGHT
    assert (lines[0], lines[-1], lines[-2]) == ("10 ┤  •", " 1 ┤• │", "   ┤ •│")


def test_many_runs_share_columns() -> None:
    lines = [line.text for line in plot([float(index) for index in range(1000)], [], lambda value: f"{value:g}")]
    assert max(len(line.partition("┤")[2]) for line in lines) == WIDTH


def test_levels_that_are_all_the_same_are_one_row() -> None:
    lines = [line.text for line in plot([3.0, 3.0], [], lambda value: f"{value:g}")]
    assert [line for line in lines if "•" in line] == ["3 ┤••"]
