"""Reports of a run for people, CI and other tools, and what must not go wrong with them."""

import json
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.plugin.conftest import Run

pytestmark = pytest.mark.slow

SCHEMA = json.loads(files("perfsuite.report").joinpath("report.schema.json").read_text(encoding="utf-8"))
ALL = ("--perf-json=out/report.json", "--perf-html=out/report.html", "--perf-openmetrics=out/metrics.txt")
SLOW = "--perf-inject-slowdown=10%"
BROKEN = """
import perfsuite.plugin.reports as reports

def broken(run):
    raise ZeroDivisionError("a fault\\nof its own")

for name in {names!r}:
    reports.MAKERS[name] = broken
"""


def line_of(path: Path, words: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if words in line)


def test_a_red_run_writes_every_report_that_was_asked_for(run: Run, project: pytest.Pytester) -> None:
    run("--save-baseline")
    result = run("--perf", SLOW, *ALL)
    assert result.ret == 1
    out = project.path / "out"
    report = json.loads((out / "report.json").read_text())
    assert list(Draft202012Validator(SCHEMA).iter_errors(report)) == []
    assert {verdict["outcome"] for cell in report["cells"] for verdict in cell["verdicts"]} >= {"regressed"}
    assert report["command"].startswith("pytest ")
    assert f"--perf {SLOW} --perf-json=out/report.json" in report["command"]
    assert report["cells"][0]["baseline"]["sessions"] == 8
    assert "gates regressed</h1>" in (out / "report.html").read_text()
    assert "INJECTED SLOWDOWN" in (out / "report.html").read_text()
    names = {family.name for family in text_string_to_metric_families((out / "metrics.txt").read_text())}
    assert {"perfsuite_latency_seconds", "perfsuite_verdict", "perfsuite_change_ratio"} <= names
    result.stdout.fnmatch_lines([f"report written to {out}/{name}" for name in ("report.json", "report.html")])


def test_a_saving_run_writes_them_without_verdicts(run: Run, project: pytest.Pytester) -> None:
    run("--save-baseline", *ALL).assert_outcomes(passed=8)
    report = json.loads((project.path / "out/report.json").read_text())
    assert list(Draft202012Validator(SCHEMA).iter_errors(report)) == []
    assert [cell["verdicts"] for cell in report["cells"]] == [[], []]
    assert "nothing judged</h1>" in (project.path / "out/report.html").read_text()


@pytest.mark.parametrize("flag", ["--perf-json", "--perf-html", "--perf-openmetrics"])
def test_a_path_that_cannot_be_written_is_found_before_measuring(run: Run, project: pytest.Pytester, flag: str) -> None:
    (project.path / "file").write_text("")
    result = run("--perf", f"{flag}=file/report")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {flag}: */file/report cannot be written (Not a directory); name a file in *"])
    assert not (project.path / ".perfsuite").exists()


@pytest.mark.parametrize("again", ["report", "below/../report"])
def test_two_reports_in_one_file_are_refused(run: Run, project: pytest.Pytester, again: str) -> None:
    (project.path / "below").mkdir()
    result = run("--perf", "--perf-json=report", f"--perf-html={again}")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --perf-json and --perf-html: two reports in one file; name a file for each"])


@pytest.mark.parametrize(("slowdown", "status"), [((), 0), ((SLOW,), 1)])
def test_a_report_that_breaks_changes_no_verdict_and_costs_no_other_report(
    run: Run, project: pytest.Pytester, slowdown: tuple[str, ...], status: int
) -> None:
    run("--save-baseline")
    project.makeconftest(BROKEN.format(names=["html", "openmetrics"]))
    result = run("--perf", "--perf-tolerance=ttft.p99=off", *slowdown, *ALL)
    assert result.ret == status
    result.stdout.fnmatch_lines(
        ["--perf-html: it could not be made (ZeroDivisionError: a fault of its own); verdicts and other reports stand"]
    )
    assert json.loads((project.path / "out/report.json").read_text())["cells"]
    assert not (project.path / "out/report.html").exists()


def test_a_json_report_that_breaks_costs_no_other_report(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(BROKEN.format(names=["json"]))
    result = run("--perf", *ALL)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["--perf-json: it could not be made (ZeroDivisionError: *"])
    assert (project.path / "out/report.html").exists()


def test_a_part_of_the_summary_that_breaks_costs_no_other_part(run: Run, project: pytest.Pytester) -> None:
    run("--save-baseline")
    project.makeconftest(
        "import perfsuite.plugin.summary as summary\n"
        "def broken(*_):\n    raise KeyError('ttft')\n"
        "summary.terminal.tables = broken\n"
    )
    result = run("--perf", SLOW)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["a part of this summary is missing: it could not be made (KeyError: 'ttft'); *", "perfsuite: 12 gates: *"]
    )


def test_a_report_that_cannot_be_written_in_the_end_changes_no_verdict(run: Run, project: pytest.Pytester) -> None:
    """The folder of the page becomes a file while sessions run."""
    project.makeconftest(
        "import pathlib\n"
        "def pytest_runtest_setup(item):\n"
        "    pathlib.Path('pages').exists() or pathlib.Path('pages').write_text('')\n"
    )
    result = run("--perf", "--perf-json=report.json", "--perf-html=pages/report.html")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["--perf-html: /*/pages/report.html cannot be written (*)"])
    assert json.loads((project.path / "report.json").read_text())["cells"]


def test_every_test_has_its_cells_numbers_as_junit_properties(run: Run, project: pytest.Pytester) -> None:
    run("--save-baseline")
    run("--perf", SLOW, "--junitxml=junit.xml")
    cases = ET.parse(project.path / "junit.xml").getroot().iter("testcase")  # noqa: S314 - our own file
    found = {
        case.attrib["name"]: {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")} for case in cases
    }
    own = found["test_latency[fake/tiny/p10-o4-ttft.p50]"]
    assert own["cell"] == "fake/tiny/p10-o4"
    assert float(own["ttft_ms.p50"]) > 0
    assert own["ttft.p50.verdict"] == "regressed"
    assert len(found) == 8
    assert all(properties["cell"] in name for name, properties in found.items())


def test_properties_that_break_are_a_note(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        "import perfsuite.plugin.properties as told\n"
        "def broken(*_):\n    raise KeyError('ttft')\n"
        "told.properties = broken\n"
    )
    result = run("--perf", "--junitxml=junit.xml")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["properties for JUnit: it could not be made (KeyError: 'ttft'); *"])


def test_on_github_failing_cells_are_annotated_at_their_test_and_the_job_has_a_summary(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--save-baseline")
    summary = project.path / "summary.md"
    summary.write_text("from a step before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path.parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = run("--perf", SLOW, "-q")
    line = line_of(project.path / "test_speed.py", "@pytest.mark.perf")
    where = f"file={project.path.name}/test_speed.py,line={line}"
    result.stdout.fnmatch_lines(
        [f"::error {where},title=perfsuite%3A fake/tiny/p?0-o4 regressed::fake/tiny/p?0-o4: * regressed *%25*"]
    )
    text = summary.read_text()
    assert text.startswith("from a step before\n## perfsuite: ▲ ")
    assert text.index("### Changed") < text.index("<details><summary>All 2 cells</summary>")


def test_elsewhere_nothing_is_annotated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    run("--save-baseline")
    run("--perf", SLOW).stdout.no_fnmatch_line("::error*")


def test_a_summary_that_cannot_be_written_is_said_before_measuring_and_stops_nothing(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.path / "file").write_text("")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "file" / "summary.md"))
    result = run("--perf")
    assert result.ret == 0
    told = "GITHUB_STEP_SUMMARY: */file/summary.md cannot be written (Not a directory); *; the job gets no summary"
    result.stdout.fnmatch_lines([told, "perf fake/tiny session 1, 2 cells: done*"])


def test_quiet_leaves_the_verdict_lines_and_no_commands(run: Run) -> None:
    run("--save-baseline")
    result = run("--perf", SLOW, "-q", "--perf-json=report.json")
    result.stdout.fnmatch_lines(["fake/tiny/p?0-o4: TTFT P50 regressed *", "perfsuite: 12 gates: *"])
    for words in ("*reproduce: *", "*if it is intended*", "*TTFT, ms*", "sampling of*", "report written to *"):
        result.stdout.no_fnmatch_line(words)


def test_the_commands_of_a_red_cell_run_as_they_are_printed(run: Run, project: pytest.Pytester) -> None:
    """The first measures that cell alone and is red again, the second records its baseline alone."""
    run("--save-baseline")
    told = run("--perf", SLOW, "--perf-json=out/report.json").stdout.str()
    commands = dict(re.findall(r"^  (reproduce|if it is intended): (pytest .*)$", told, re.MULTILINE))
    cell = re.search(r"\[(fake/tiny/p\d+-o4)'", commands["reproduce"])[1]  # type: ignore[index]

    def paste(command: str) -> subprocess.CompletedProcess[str]:
        """As a shell reads it, with the pytest that runs these tests."""
        words = shlex.split(command)
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=project.path, capture_output=True, text=True, check=False
        )

    again = paste(commands["reproduce"])
    assert again.returncode == 1
    assert f"{cell}: TTFT P50 regressed" in again.stdout
    assert set(re.findall(r"fake/tiny/p\d+-o4(?=: )", again.stdout)) == {cell}
    saved = paste(commands["if it is intended"])
    assert saved.returncode == 0
    assert re.findall(r"^(\S+): saved 8 sessions", saved.stdout, re.MULTILINE) == [cell]


def test_a_green_run_prints_its_numbers(run: Run) -> None:
    run("--save-baseline")
    result = run("--perf", "--perf-tolerance=ttft.p99=off")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*TTFT, ms*", "    10 *", "fake/tiny/p10-o4: passed TTFT P50 *95 % CI*n=*"])
