"""Ratio gates between the strategies of one run, without a baseline."""

import json

import pytest

from tests.plugin.conftest import Run

pytestmark = pytest.mark.slow

QUICK = """
from dataclasses import replace
from perfsuite.strategies.fake import FakeStrategy, script_from_environment

class Quick(FakeStrategy):
    "Half the time of fake for every step."
    def __init__(self):
        script = script_from_environment()
        halves = {name: getattr(script, name) // 2 for name in ("prefill_ns", "prompt_token_ns", "step_ns")}
        super().__init__(replace(script, **halves))
"""
COMPARE = """
import pytest

@pytest.mark.perf(strategy=["fake", "quick.py:Quick"], prompt_tokens=10)
def test_quick_is_quicker(perf_compare):
    perf_compare.require({metric!r}, than={than!r}, at_least={at_least!r})
"""
ONE_LENGTH = ("--perf-output-tokens=4", "--perf-samples=60")


@pytest.fixture
def compare(run: Run, project: pytest.Pytester):
    def make(*arguments: str, metric: str = "ttft.p50", than: str = "fake", at_least: object = 1.5):
        project.makepyfile(quick=QUICK, test_speed=COMPARE.format(metric=metric, than=than, at_least=at_least))
        return run("--perf", "-rs", *ONE_LENGTH, *arguments, small=False)

    return make


def test_a_strategy_that_is_faster_by_more_passes_without_a_baseline(compare) -> None:
    result = compare()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.re_match_lines([".*times as fast as fake.*", r"Quick +(1\.9|2\.0)\dx \(\d\.\d\d\.\.\d\.\d\d\).*"])
    result.stdout.fnmatch_lines(["*not compared with itself*"])


def test_strategies_take_turns_block_by_block_and_their_table_says_so(compare, project: pytest.Pytester) -> None:
    result = compare("--perf-json=out.json")
    result.stdout.fnmatch_lines(["measured in turns with fake, block by block: Quick"])
    cells = json.loads((project.path / "out.json").read_text())["cells"]
    beside = {cell["cell"]["strategy"]: {tuple(r["beside"]) for r in cell["recordings"]} for cell in cells}
    assert beside == {"fake": {("quick.py:Quick",)}, "quick.py:Quick": {("fake",)}}


def test_without_a_test_that_compares_the_tables_ratios_have_intervals_too(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(quick=QUICK)
    result = run("--perf", "--perf-strategy=fake,quick.py:Quick", "--perf-prompt-lengths=10", *ONE_LENGTH, small=False)
    result.stdout.re_match_lines([r"Quick +(1\.9|2\.0)\dx \(\d\.\d\d\.\.\d\.\d\d\).*"])


def test_turns_can_be_switched_off(compare) -> None:
    result = compare("--perf-interleave=off", "--perf-sessions=1")
    result.stdout.fnmatch_lines(["measured one after the other with fake: Quick"])


def test_what_has_a_baseline_is_measured_by_itself_as_the_baseline_was(compare) -> None:
    compare("--save-baseline", "--perf-sessions=2")
    result = compare("--perf-sessions=1")
    result.stdout.fnmatch_lines(["measured one after the other with fake: Quick"])
    assert "incomparable" not in str(result.stdout)
    forced = compare("--perf-sessions=1", "--perf-interleave=on")
    forced.stdout.fnmatch_lines(["measured in turns with fake, block by block: Quick"])


CRAMPED = """
import os
from pathlib import Path
from perfsuite.core.errors import DeviceMemoryError
from quick import Quick

PLACE = Path("who.is.here")

def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

class Cramped(Quick):
    "Finds no room while the process of another one lives."
    def open(self, model, workloads):
        yield "load"
        if PLACE.exists() and is_alive(int(PLACE.read_text())):
            raise DeviceMemoryError("model 'tiny': cuda:0 is out of memory")
        PLACE.write_text(str(os.getpid()))
        yield from super().open(model, workloads)

class Roomy(Cramped):
    pass
"""


def test_strategies_that_do_not_fit_together_are_measured_one_after_the_other_and_it_is_said(
    run: Run, project: pytest.Pytester
) -> None:
    project.makepyfile(quick=QUICK, cramped=CRAMPED)
    both = "--perf-strategy=cramped.py:Roomy,cramped.py:Cramped"
    result = run("--perf", both, "--perf-prompt-lengths=10", *ONE_LENGTH, "--perf-sessions=1", small=False)
    result.stdout.fnmatch_lines(["measured one after the other with Roomy: Cramped"])
    result.stdout.fnmatch_lines(
        ["Roomy/tiny, Cramped/tiny: measured by themselves, as not all strategies open beside each other"]
    )
    assert "out of memory" not in str(result.stdout)


def test_another_word_for_turns_is_one_line(run: Run) -> None:
    result = run("--perf", "--perf-interleave=maybe")
    assert result.ret == 4
    assert "--perf-interleave: 'maybe' is not allowed; it must be one of auto, on, off" in str(result.stderr)


def test_one_that_is_faster_by_less_fails_in_one_line(compare) -> None:
    result = compare(at_least=3)
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["Quick/tiny/p10-o4: TTFT P50 is ?.??x as fast as fake (95 % CI *, 4 and 4 sessions in turns), asked for 3x"]
    )


def test_one_session_is_undecided_and_fails_a_strict_run(compare) -> None:
    result = compare("--perf-sessions=1")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*(no interval, 1 and 1 sessions), asked for 1.5x: inconclusive; to decide: more*"])
    compare("--perf-sessions=1", "--perf-strict").assert_outcomes(failed=1, skipped=1)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"than": "eager"},
            "perf_compare: eager/tiny/p10-o4 is not measured in this run; name it with --perf-strategy",
        ),
        ({"at_least": "2x"}, "perf_compare: at_least='2x' is not a factor; write 1.3 for 1.3 times as fast"),
        ({"metric": "ttft"}, "perf_compare: 'ttft' is not a metric"),
        ({"metric": "ttft.p99", "at_least": 1.5}, "asked for 1.5x"),
    ],
)
def test_what_cannot_be_compared_is_one_line(compare, asked, words) -> None:
    result = compare("--perf-strict", "--perf-sessions=1", **asked)
    assert result.ret == 1
    assert words in str(result.stdout)
    assert "Traceback" not in str(result.stdout)
