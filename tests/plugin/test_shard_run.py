"""Runs of --perf-shard, and what `perfsuite merge` makes of them: the verdicts of the run that nobody dealt."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perfsuite import cli
from perfsuite.cli.compare import baselines_of, judge
from perfsuite.cli.documents import read_document
from perfsuite.cli.merge import merge
from perfsuite.cli.shards import read_shards
from perfsuite.cli.sources import source_at
from perfsuite.core.options import GateOptions, merge_tolerances, parse_tolerances
from perfsuite.core.shard import place_of
from perfsuite.core.suite import Question, judge_suite
from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.plugin.conftest import SMALL, Run
from tests.steady import STEADY

pytestmark = pytest.mark.slow

LENGTHS = tuple(range(10, 130, 10))
"""Twelve cells: with fewer than ten no noise is pooled over a suite."""
NOISY = json.dumps({"session_sd": 0.012, "sample_sd": 0.02})
SUITE = (
    "--perf-strategy=steady.py:Steady",
    f"--perf-prompt-lengths={','.join(map(str, LENGTHS))}",
    "--perf-output-tokens=4",
    "--perf-samples=60",
    "--perf-tolerance=ttft.p99=off,e2e.p50=off",
    "--perf-budget=10m",  # the default depends on the clock
)
TWO_GATES = """
import pytest

@pytest.mark.perf
@pytest.mark.parametrize("metric", ["ttft.p50", "tpot.p50"])
def test_latency(perf_judgement, metric):
    perf_judgement.require(metric)

@pytest.mark.perf(tolerance="ttft.p50=8%,memory=off")
def test_loosely(perf_judgement):
    perf_judgement.require("ttft.p50")
"""


def report(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def verdicts(data: dict[str, Any]) -> dict[str, Any]:
    return {cell["id"]: cell["verdicts"] for cell in data["cells"]}


@pytest.fixture
def dealt(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """whole.json and 1.json, 2.json, 3.json: the same suite at once and dealt, one cell slower, one nearly so."""
    project.makepyfile(steady=STEADY, test_speed=TWO_GATES)
    monkeypatch.setenv(SCRIPT_VARIABLE, NOISY)

    def run(name: str, seed: int, *arguments: str, slow: str = "") -> int:
        count = str(project.path / f"{name}.count")
        environment = {**os.environ, "STEADY_COUNT": count, "STEADY_SEED": str(seed), "STEADY_SLOW": slow}
        command = [sys.executable, "-m", "pytest", "-p", "perfsuite.plugin", *SUITE, *arguments]
        return subprocess.run(command, cwd=project.path, env=environment, capture_output=True, check=False).returncode

    assert run("saved", 1, "--save-baseline") == 0
    slow = "20:1.1,50:1.03,70:0.9"
    assert run("whole", 2, "--perf", "--perf-json=whole.json", slow=slow) == 1
    for index in (1, 2, 3):
        run(str(index), 2, "--perf", f"--perf-json={index}.json", f"--perf-shard={index}/3", slow=slow)
    return project.path


def test_merged_shards_have_the_verdicts_of_one_run_to_the_last_digit(
    dealt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(dealt)
    assert cli.main(["merge", "3.json", "1.json", "2.json", "-o", "merged.json"]) == 1
    whole, merged = report(dealt / "whole.json"), report(dealt / "merged.json")
    assert verdicts(merged) == verdicts(whole)
    assert [cell["drifts"] for cell in merged["cells"]] == [cell["drifts"] for cell in whole["cells"]]
    outcomes = {verdict["outcome"] for own in verdicts(whole).values() for verdict in own}
    assert {"regressed", "passed", "improved"} <= outcomes
    sessions = {len(cell["recordings"]) for cell in whole["cells"]}
    assert len(sessions) > 1, "every cell was decided at the first look: the schedule was not put to the test"
    for index in (1, 2, 3):
        own = verdicts(report(dealt / f"{index}.json"))
        assert own == {cell: verdicts(whole)[cell] for cell in own}, "it plans its sessions as the whole run does"
    told = capsys.readouterr().out
    assert told.startswith("3 shards: 12 cells, ")
    assert "Steady/tiny/p20-o4: TTFT P50 regressed " in told
    assert "  reproduce: pytest --perf -p perfsuite.plugin --perf-strategy=steady.py:Steady " in told
    assert "--perf-shard" not in told
    assert told.endswith("report written to merged.json\n")

    shards = read_shards([dealt / f"{index}.json" for index in (1, 2, 3)])
    together = merge(shards).judgements
    for shard in shards:
        alone = judge_suite(
            [
                Question(cell=c.cell, gates=g, recordings=c.recordings, stored=c.stored, save_command=c.data["save"])
                for c in shard.cells
                for g in c.gates
            ],
            shard.gate,
        )
        assert not set(alone) <= set(together), "what a shard's own cells say is not what all cells say"


def test_a_cell_is_in_the_same_shard_whatever_else_is_measured(run: Run, project: pytest.Pytester) -> None:
    result = run("--perf", "--perf-shard=2/2", "--perf-json=two.json")
    (shard,) = (report(project.path / "two.json")["shard"],)
    assert shard["cells"] == ["fake/tiny/p10-o4", "fake/tiny/p20-o4"]
    assert shard["own"] == [each for each in shard["cells"] if place_of(("tiny", each.rpartition("/")[2]), 2) == 2]
    more = (*SMALL[:1], "--perf-prompt-lengths=5,10,15,20,25,30,35", *SMALL[2:])
    project.runpytest_subprocess("-p", "perfsuite.plugin", *more, "--perf", "--perf-shard=2/2", "--perf-json=more.json")
    own = report(project.path / "more.json")["shard"]["own"]
    assert {"fake/tiny/p10-o4", "fake/tiny/p20-o4"} & set(own) == set(shard["own"])
    assert result.ret == 0


def test_an_empty_shard_says_so_and_is_merged(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--save-baseline")
    off = "--perf-tolerance=ttft.p99=off"
    count = 4
    taken = {place_of(("tiny", f"p{length}-o4"), count) for length in (10, 20)}
    results = {
        index: run("--perf", off, f"--perf-shard={index}/{count}", f"--perf-json={index}.json")
        for index in range(1, count + 1)
    }
    for index, result in results.items():
        assert result.ret == 0
        if index not in taken:
            told = f"shard {index}/4: none of the run's 2 cells is in it, nothing was measured"
            result.stdout.fnmatch_lines([told, "report written to *.json"])
        else:
            result.stdout.fnmatch_lines([f"shard {index}/4: * of the run's 2 cells; its verdicts are preliminary, *"])
    monkeypatch.chdir(project.path)
    files = [f"{index}.json" for index in results]
    assert cli.main(["merge", *files, "-o", "merged.json"]) == 0
    assert "perfsuite: 10 gates: 10 passed" in capsys.readouterr().out
    merged = report(project.path / "merged.json")
    assert [cell["id"] for cell in merged["cells"]] == ["fake/tiny/p10-o4", "fake/tiny/p20-o4"]
    assert merged["shard"] is None


def test_shards_on_tiny_have_the_verdicts_of_their_sessions_in_one_run(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real times differ from run to run; so the gate judges the sessions of all shards by the stored baselines."""
    text = "ttft.p50=60%,tpot.p50=60%,e2e.p50=60%,ttft.p99=off"
    real = ("--perf-strategy=eager", "--perf-samples=20", f"--perf-tolerance={text}", "--perf-sessions=2")
    assert run("--save-baseline", *real).ret == 0
    for index in (1, 2):
        run("--perf", *real, f"--perf-shard={index}/2", f"--perf-json={index}.json")
    monkeypatch.chdir(project.path)
    assert cli.main(["merge", "1.json", "2.json", "-o", "merged.json"]) in (0, 1, 3)
    tolerances = merge_tolerances(GateOptions().tolerances, parse_tolerances(text, where="test"))
    options = GateOptions(tolerances=dict(sorted(tolerances.items(), key=lambda each: each[0].rank)), sessions=2)
    measured = source_at(Path("merged.json")).recordings()
    assert len(measured) == 2
    expected = judge(baselines_of(source_at(Path("baselines")), measured), measured, options)
    found = read_document(Path("merged.json")).judgements
    assert [each.all for each in without_remedies(found)] == [each.all for each in without_remedies(expected)]


def without_remedies(judgements: Any) -> Any:
    """A remedy quotes the command line of whoever judges."""

    def bare(verdicts: Any) -> Any:
        return tuple(replace(verdict, remedy="") for verdict in verdicts)

    return [replace(each, verdicts=bare(each.verdicts), resources=bare(each.resources)) for each in judgements]


def test_live_strategies_are_opened_in_one_shard_and_other_tests_run_in_every_one(
    run: Run, project: pytest.Pytester
) -> None:
    project.makepyfile(
        test_speed="""
        import pytest

        @pytest.mark.perf
        def test_live(perf_strategy):
            pass

        @pytest.mark.perf
        def test_cell(perf_cell):
            pass

        def test_other():
            pass
        """
    )
    passed = [run("--perf", f"--perf-shard={index}/3", "-v").parseoutcomes()["passed"] for index in (1, 2, 3)]
    assert sum(passed) == 1 + 2 + 3


def test_a_shard_that_has_no_test_at_all_is_fine(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_speed="import pytest\n@pytest.mark.perf\ndef test_live(perf_strategy): pass")
    results = [run("--perf", f"--perf-shard={index}/3") for index in (1, 2, 3)]
    assert [result.ret for result in results] == [0, 0, 0]
    assert sum(result.parseoutcomes().get("passed", 0) for result in results) == 1
    assert run("--perf", "--perf-shard=1/3", "-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_strategies_that_are_compared_are_in_one_shard(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        steady="from perfsuite.strategies.fake import FakeStrategy\nclass Other(FakeStrategy):\n    name = 'other'\n",
        test_speed="""
        import pytest

        @pytest.mark.perf
        def test_other(perf_compare):
            perf_compare.ratio("ttft.p50", than="fake")
        """,
    )
    arguments = ("--perf", "--perf-strategy=fake,steady.py:Other")
    results = [run(*arguments, f"--perf-shard={index}/3") for index in (1, 2, 3)]
    assert sum(result.parseoutcomes().get("passed", 0) for result in results) == 4
    assert [result.ret for result in results] == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--perf-shard=4/3",), "--perf-shard: '4/3' is not a shard; write its number and how many there are"),
        (("--perf-shard=1/2", "--perf-selftest"), "--perf-shard: not together with --perf-selftest"),
        (("--perf-shard=1/2", "--perf-arms=eager,jit"), "--perf-shard: not together with --perf-arms"),
    ],
)
def test_a_shard_that_cannot_be_used_is_one_line(run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run("--perf", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line.startswith("ERROR: ")]
    assert words in line


def test_cells_of_other_shards_are_not_missed(run: Run) -> None:
    run("--save-baseline")
    result = run("--perf", "--perf-shard=1/2")
    result.stdout.no_fnmatch_line("stored but not measured in this run*")


def test_a_run_of_the_same_ci_knows_its_number(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_RUN_ID", "1234")
    run("--perf", "--perf-shard=1/1", "--perf-json=one.json")
    assert report(project.path / "one.json")["shard"]["run"] == "GITHUB_RUN_ID 1234"


def test_baselines_are_saved_shard_by_shard(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in (1, 2, 3):
        assert run("--save-baseline", f"--perf-shard={index}/3", f"--perf-json={index}.json").ret == 0
    assert len(list((project.path / "baselines").rglob("*.json"))) == 2
    monkeypatch.chdir(project.path)
    assert cli.main(["merge", "1.json", "2.json", "3.json", "-o", "merged.json"]) == 0
