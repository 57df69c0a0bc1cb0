"""The contract with pytest-benchmark: the real command line of the installed version, on what a run measured."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.plugin.conftest import Run

pytestmark = pytest.mark.slow

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed: pip install 'perfsuite[benchmark]'")

NAMES = {f"perfsuite::{series}[fake/tiny/p{length}-o4]" for series in ("ttft", "tpot", "e2e") for length in (10, 20)}


@pytest.fixture(autouse=True)
def as_a_user_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own tests may run side by side; pytest-benchmark would take that for its own run."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def beside_other_plugins() -> bool:
    return True


def benchmarks(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text())
    return {each["fullname"]: each for each in document["benchmarks"]}


def command_line(folder: Path, *arguments: str) -> str:
    """What `pytest-benchmark` prints."""
    command = [sys.executable, "-m", "pytest_benchmark", *arguments]
    environment = {**os.environ, "COLUMNS": "300"}
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def test_every_cell_is_a_benchmark_of_each_latency_with_its_samples(run: Run, project: pytest.Pytester) -> None:
    assert run("--perf", "--benchmark-json=b.json", "--perf-json=p.json").ret == 0
    found = benchmarks(project.path / "b.json")
    assert set(found) == NAMES
    ttft = found["perfsuite::ttft[fake/tiny/p10-o4]"]
    (cell,) = [each for each in json.loads((project.path / "p.json").read_text())["cells"] if "/p10-" in each["id"]]
    arrivals = cell["recordings"][0]["samples"]["arrivals_ns"]
    assert ttft["stats"]["data"] == [times[0] / 1e9 for times in arrivals if len(times) == 1]
    assert ttft["stats"]["rounds"] == 60
    assert ttft["group"] == "ttft"


def test_percentiles_and_other_metrics_are_beside_the_benchmark(run: Run, project: pytest.Pytester) -> None:
    run("--save-baseline")
    run("--perf", "--benchmark-json=b.json", "--perf-json=p.json")
    info = benchmarks(project.path / "b.json")["perfsuite::tpot[fake/tiny/p20-o4]"]["extra_info"]
    (cell,) = [each for each in json.loads((project.path / "p.json").read_text())["cells"] if "/p20-" in each["id"]]
    for key in ("ttft.p50", "ttft.p95", "tpot.p50", "e2e.p50"):
        series, statistic = key.split(".")
        assert info[f"{series}_ms.{statistic}"] == pytest.approx(cell["summaries"][series][statistic]["value"] / 1e6)
    assert info["startup_s"] > 0
    assert info["device"] == "scripted"
    assert info["verdicts"]["ttft.p50"] == "passed"


def test_every_recording_is_seen_by_itself_in_the_benchmark_of_its_cell(run: Run, project: pytest.Pytester) -> None:
    """Sessions of a cell follow each other in `data`; their number may differ from run to run, names may not."""
    assert run("--save-baseline", "--perf-sessions=3", "--benchmark-json=b.json", "--perf-json=p.json").ret == 0
    found = benchmarks(project.path / "b.json")
    assert set(found) == NAMES
    for cell in json.loads((project.path / "p.json").read_text())["cells"]:
        for series in ("ttft", "tpot", "e2e"):
            benchmark = found[f"perfsuite::{series}[{cell['id']}]"]
            shown, data = benchmark["extra_info"]["recordings"], benchmark["stats"]["data"]
            assert [each["session"] for each in shown] == [each["session"] for each in cell["recordings"]] == [0, 1, 2]
            assert [each["started_at"] for each in shown] == [each["started_at"] for each in cell["recordings"]]
            assert sum(each["rounds"] for each in shown) == benchmark["stats"]["rounds"] == len(data)
            for each in shown:
                own, data = data[: each["rounds"]], data[each["rounds"] :]
                assert each[f"{series}_ms.p50"] == pytest.approx(1000 * median(own), rel=1e-3)


def test_nothing_is_measured_twice(run: Run, project: pytest.Pytester) -> None:
    run("--perf", "--benchmark-json=b.json")
    (folder,) = (project.path / ".perfsuite" / "runs").iterdir()
    assert [path.name for path in folder.glob("session-*.json")] == ["session-1.json"]


def test_what_is_read_by_continuous_benchmarking_services_is_there(run: Run, project: pytest.Pytester) -> None:
    """github-action-benchmark (src/extract.ts at 04dcc2c41a0a) reads fullname and stats.ops, .mean, .stddev, .rounds,
    and refuses a file without benchmarks. Bencher (adapters/python/pytest.rs at 0b66275369bb) reads fullname, 1 to 1024
    characters, and stats.median, .iqr, or .mean, .stddev, numbers of seconds; it wants machine_info and commit_info to
    be objects. Both were run by hand over such a file.
    """
    run("--perf", "--benchmark-json=b.json")
    document = json.loads((project.path / "b.json").read_text())
    assert all(isinstance(document[name], dict) for name in ("machine_info", "commit_info"))
    assert len(document["benchmarks"]) == len(NAMES)
    for each in document["benchmarks"]:
        stats = each["stats"]
        assert all(isinstance(stats[name], float) for name in ("mean", "stddev", "median", "iqr", "ops"))
        assert stats["ops"] == pytest.approx(1 / stats["mean"])
        assert stats["rounds"] == len(stats["data"]) > 0
        assert len(each["fullname"]) < 1024


def test_runs_are_saved_and_compared_by_its_command(run: Run, project: pytest.Pytester) -> None:
    run("--perf", "--benchmark-save=first")
    second = run("--perf", "--benchmark-save=second", "--benchmark-compare", "--perf-inject-slowdown=50%")
    second.stdout.fnmatch_lines(["*benchmark 'ttft': 4 tests*", "ttft*p10-o4* (0001_first)*"])
    listed = command_line(project.path, "list")
    assert [Path(line).name for line in listed.splitlines()] == ["0001_first.json", "0002_second.json"]
    told = command_line(project.path, "compare", "--group-by=fullname", "--columns=median,rounds")
    assert "benchmark 'perfsuite::ttft[fake/tiny/p10-o4]': 2 tests" in told
    rows = [line.split() for line in told.splitlines() if line.startswith("ttft[fake/tiny/p10-o4]")]
    assert len(rows) == 2
    assert float(rows[1][2]) == pytest.approx(1.5 * float(rows[0][2]), rel=0.05)


def test_groups_can_be_made_of_what_a_cell_is(run: Run, project: pytest.Pytester) -> None:
    result = run("--perf", "--benchmark-json=b.json", "--benchmark-group-by=param:prompt_tokens")
    result.stdout.fnmatch_lines(["*benchmark 'prompt_tokens=10': 3 tests*", "*benchmark 'prompt_tokens=20': 3 tests*"])


@pytest.mark.skipif(importlib.util.find_spec("pygal") is None, reason="pygal is not installed")
def test_a_histogram_is_drawn_for_each_latency(run: Run, project: pytest.Pytester) -> None:
    """Importing pygal replaces the finder of metadata, and pytester would undo one half of that."""
    assert run("--perf", "--benchmark-histogram=plots/run").ret == 0
    drawn = {path.name: path.read_text() for path in (project.path / "plots").iterdir()}
    assert set(drawn) == {"run-e2e.svg", "run-tpot.svg", "run-ttft.svg"}
    assert "perfsuite::ttft[fake/tiny/p20-o4] - 60 rounds" in drawn["run-ttft.svg"]


@pytest.mark.parametrize("arguments", [(), ("--benchmark-sort=mean",), ("--benchmark-skip", "--benchmark-json=b.json")])
def test_without_being_asked_for_its_table_stays_silent(
    arguments: tuple[str, ...], run: Run, project: pytest.Pytester
) -> None:
    result = run("--perf", *arguments)
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*benchmark 'ttft'*")
    result.stdout.no_fnmatch_line("*Rounds*")


def test_a_cell_that_broke_is_left_out_and_named(run: Run, project: pytest.Pytester) -> None:
    broken = ("--perf-strategy=tests.scripted:DiesAt20", "--benchmark-json=b.json")
    result = run("--perf", *broken)
    result.stdout.fnmatch_lines(["pytest-benchmark: DiesAt20/tiny/p20-o4 is left out: stage 'worker' failed*"])
    assert {name.partition("[")[2] for name in benchmarks(project.path / "b.json")} == {"DiesAt20/tiny/p10-o4]"}


def test_without_pytest_benchmark_nothing_changes(run: Run) -> None:
    result = run("--perf", "-p", "no:benchmark")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*benchmark '*")
    result.stdout.no_fnmatch_line("pytest-benchmark:*")


def test_a_version_that_takes_nothing_from_outside_is_a_note(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("import pytest_benchmark.stats as stats\ndel stats.Metadata.update")
    result = run("--perf", "--benchmark-json=b.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["pytest-benchmark: this version takes no results from outside (*update*"])


def test_a_report_that_could_not_be_written_is_told_before_measuring(run: Run, project: pytest.Pytester) -> None:
    result = run("--perf", "--benchmark-json=nowhere/b.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --benchmark-json: nowhere/b.json cannot be written; name a file in a folder*"])
    assert not (project.path / ".perfsuite").exists()


def test_a_histogram_without_pygal_is_told_before_measuring(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("import sys; sys.modules['pygal'] = None")
    result = run("--perf", "--benchmark-histogram")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --benchmark-histogram: needs pygal; pip install 'pytest-benchmark[histogram]'"]
    )
