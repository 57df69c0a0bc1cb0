"""The command `perfsuite compare`: its verdicts are those of the run itself, its exit codes, its one-line errors."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import perfsuite
from perfsuite import cli
from perfsuite.cli.compare import baselines_of, judge
from perfsuite.cli.documents import read_document
from perfsuite.cli.sources import source_at
from perfsuite.core import jsontext
from perfsuite.core.baseline import SCHEMA
from perfsuite.core.options import GateOptions, Options
from perfsuite.core.verdict import Judgement
from perfsuite.report import json_report
from tests.builders import make_cell, make_environment, make_recording, make_sessions

pytestmark = pytest.mark.slow

Compare = Callable[..., int]


@pytest.fixture
def compare(measured: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """The command in the folder of the measured runs; P99 has too few samples to be decided."""
    monkeypatch.chdir(measured)
    return lambda *arguments: cli.main(["compare", "--tolerance=ttft.p99=off", *arguments])


def judged(before: Path, after: Path) -> tuple[Judgement, ...]:
    recordings = source_at(after).recordings()
    return judge(baselines_of(source_at(before), recordings), recordings, GateOptions())


def without_remedies(judgements: tuple[Judgement, ...]) -> dict[str, list[object]]:
    """A remedy quotes the command line of whoever judges."""
    return {each.cell.id: [replace(verdict, remedy="") for verdict in each.all] for each in judgements}


def write_report(path: Path, *recordings: Any) -> str:
    path.write_text(jsontext.dumps(json_report.document(Options(), recordings, ())))
    return str(path)


@pytest.mark.parametrize("name", ["same.json", "slow.json"])
def test_the_verdicts_are_those_of_the_run(name: str, measured: Path) -> None:
    found = judged(measured / "baselines", measured / name)
    said = read_document(measured / name).judgements
    assert len(said) == 2
    assert without_remedies(found) == without_remedies(said)


def test_a_runs_folder_gives_the_verdicts_of_its_report(measured: Path) -> None:
    *_, same, slow = sorted((measured / ".perfsuite" / "runs").iterdir())
    for folder, name in ((same, "same.json"), (slow, "slow.json")):
        found = judged(measured / "baselines", folder)
        assert without_remedies(found) == without_remedies(read_document(measured / name).judgements)


@pytest.mark.parametrize("before", ["baselines", "baselines/scripted"])
@pytest.mark.parametrize(("after", "code"), [("same.json", 0), ("slow.json", 1)])
def test_the_exit_code_says_whether_it_regressed(before: str, after: str, code: int, compare: Compare) -> None:
    assert compare(before, after) == code


def test_a_regression_is_told_as_in_a_run(compare: Compare, capsys: pytest.CaptureFixture[str]) -> None:
    compare("baselines", "slow.json")
    told = capsys.readouterr().out
    assert "fake/tiny/p10-o4: TTFT P50 regressed " in told
    assert "reproduce: pytest --perf -p perfsuite.plugin --perf-strategy=fake " in told
    assert "--perf-tolerance ttft.p99=off\n" in told
    counts, cause = told.splitlines()[-2:]
    assert counts == "perfsuite: 10 gates: 4 passed, 6 regressed"
    assert re.fullmatch(
        r"fake/tiny/p10-o4 and 1 more cell: since the baseline of [\d-]+( \(commit \w+\))? also changed: "
        r"--perf-inject-slowdown 10 %",
        cause,
    )


def test_a_run_without_a_report_has_commands_that_are_built(
    measured: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, slow = sorted((measured / ".perfsuite" / "runs").iterdir())
    assert compare("baselines", str(slow)) == 1
    told = "reproduce: pytest --perf --perf-strategy fake --perf-model tiny --perf-prompt-lengths 10 "
    assert told in capsys.readouterr().out


def test_one_baseline_judges_its_own_cell(compare: Compare, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("baselines/scripted/tiny/fake/p10-o4.json", "slow.json", "-k", "p10") == 1
    assert "5 gates: 2 passed, 3 regressed" in capsys.readouterr().out


def test_reports_are_compared_with_each_other(
    tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write_report(tmp_path / "a.json", *(make_recording(session=s, noise=0.02, n=60) for s in range(6)))
    slow = [make_recording(session=s, noise=0.02, n=60, ttft_ms=60, tpot_ms=3, seed=7) for s in range(6)]
    assert compare(before, write_report(tmp_path / "b.json", *slow)) == 1
    assert compare(before, before) == 0
    assert "eager/tiny/p100-o4: TTFT P50 regressed 40.0 ms -> 60.0 ms" in capsys.readouterr().out


def test_what_stays_open_ends_with_three(tmp_path: Path, compare: Compare) -> None:
    one = write_report(tmp_path / "one.json", make_recording(noise=0.02, n=60))
    assert compare(one, one) == 3


def test_another_device_is_incomparable_unless_that_is_allowed(
    tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        write_report(
            tmp_path / f"{device}.json",
            *(make_recording(session=s, noise=0.02, n=60, environment=make_environment(device)) for s in range(6)),
        )
        for device in ("H100", "H200")
    ]
    assert compare(*paths) == 3
    assert "incomparable: device: 'H100' there, 'H200' here" in capsys.readouterr().out
    assert compare(*paths, "--allow-mismatch=device") == 0


def test_a_cell_that_only_one_side_has_is_named(
    tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [make_cell(prompt=length) for length in (10, 20)]
    own = [[make_recording(cell, session=s, noise=0.02, n=60) for s in range(6)] for cell in cells]
    both, first = write_report(tmp_path / "2.json", *own[0], *own[1]), write_report(tmp_path / "1.json", *own[0])
    assert compare(both, first) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "in A but not in B: eager/tiny/p20-o4"
    assert compare(first, both) == 3
    assert "eager/tiny/p20-o4: no baseline" in capsys.readouterr().out


def test_a_folder_of_reports_joins_their_sessions(tmp_path: Path, compare: Compare) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    for session in range(6):
        recording = replace(make_recording(noise=0.02, n=60, seed=session), started_at=f"2026-01-0{session + 1}T00:00Z")
        write_report(folder / f"{session}.json", recording)
    assert {len(own) for own in source_at(folder).recordings().values()} == {6}
    assert compare(str(folder), str(folder)) == 0


def test_a_broken_baseline_makes_its_cell_invalid_and_leaves_the_others(
    measured: Path, tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(measured / "baselines", tmp_path / "baselines")
    broken = tmp_path / "baselines/scripted/tiny/fake/p10-o4.json"
    broken.write_text(broken.read_text()[:1000])
    assert compare(str(tmp_path / "baselines"), "same.json") == 3
    told = capsys.readouterr().out
    assert f"invalid: {broken}: the file ends too early" in told
    assert "fake/tiny/p20-o4: passed" in told


def test_a_broken_baseline_names_the_key_and_the_layout(
    measured: Path, tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads((measured / "baselines/scripted/tiny/fake/p10-o4.json").read_text())
    data["baseline"]["recordings"][2].pop("samples")
    (tmp_path / "p10-o4.json").write_text(json.dumps(data))
    assert compare(str(tmp_path / "p10-o4.json"), "same.json") == 3
    told = capsys.readouterr().err
    assert f"{tmp_path}/p10-o4.json: baseline.recordings[2]: lacks samples; restore it" in told
    assert told.endswith(f"; it has layout {SCHEMA}\n")


def edited(measured: Path, change: Callable[[dict[str, Any]], object]) -> str:
    data = json.loads((measured / "same.json").read_text())
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(schema=2), "schema: 2; this perfsuite reads reports of layout 3 to "),
        (lambda d: d.update(schema=99), "upgrade perfsuite"),
        (lambda d: d.pop("schema"), "schema: None; this perfsuite reads reports of layout"),
        (lambda d: d["cells"][1].pop("recordings"), ": cells[1]: lacks 'recordings'"),
        (
            lambda d: d["cells"][0]["recordings"][0].pop("samples"),
            f"layout {json_report.SCHEMA}: cells[0].recordings[0]: lacks samples",
        ),
        (lambda d: d["cells"][0]["recordings"][0].update(session="one"), "recordings[0].session: expected int"),
        (lambda d: d.update(cells={}), ": cells: expected a list"),
    ],
)
def test_a_broken_or_older_report_names_the_key_and_the_layout(
    change: Callable[[dict[str, Any]], object],
    told: str,
    measured: Path,
    tmp_path: Path,
    compare: Compare,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "report.json"
    path.write_text(edited(measured, change))
    assert compare("baselines", str(path)) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"perfsuite compare: {path}: ")
    assert told in line


def test_a_session_of_an_older_layout_names_it(
    tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "session-1.json").write_text('{"recordings": [], "schema": 1}')
    assert compare("baselines", str(tmp_path)) == 3
    assert "schema: 1; this perfsuite reads sessions of layout" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["baselines", "nowhere.json"], "nowhere.json: there is no such file or folder"),
        (["baselines", "test_speed.py"], "test_speed.py: broken, not JSON"),
        (["baselines", ".perfsuite/runs"], "name one of its runs: 2"),
        (["baselines", "same.json", "--device=scripted"], "--device: same.json is no folder of baselines, which alone"),
        (["baselines", "baselines/scripted", "--device=h100"], "scripted is the folder of one device; leave --device"),
        (["baselines", "same.json", "-k", "p33"], "-k: no cell's id contains 'p33'; same.json has fake/tiny/p10-o4, "),
        (["baselines", "same.json", "--allow-mismatch=colour"], "--allow-mismatch: 'colour' is not a key; choose from"),
        (["baselines", "same.json", "--tolerance=ttft.p50=5"], "'5' is not a percentage above zero"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    arguments: list[str], told: str, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*arguments) == (3 if "broken" in told else 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_files_of_others_beside_baselines_are_left_out_and_told(
    measured: Path, tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "baselines"
    shutil.copytree(measured / "baselines", folder)
    own, foreign = folder / "scripted" / "tiny" / "fake", folder / "docs" / "a" / "b"
    for path in (foreign / "c.json", foreign / "d.json", own / "x.json", folder / ".git" / "a" / "b" / "c.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"name": "other"}')
    expected = "no baseline of perfsuite; a baseline is JSON with 'baseline', 'digest' and 'schema'"
    for after in ("same.json", str(folder)):
        assert compare(str(folder), after) == 0
        told = {line for line in capsys.readouterr().out.splitlines() if line.startswith("left out: ")}
        assert told == {f"left out: {foreign / 'c.json'} and 2 more files, {expected}"}


@pytest.mark.usefixtures("measured")
def test_a_folder_of_other_things_holds_no_baselines(
    tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (".git/a/b/c.json", ".venv/a/b/c.json", "docs/a/b/c.json", "docs/a/b.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"name": "other"}')
    assert compare(str(tmp_path), "same.json") == 2
    assert "there is nothing of perfsuite directly in this folder; name a folder" in capsys.readouterr().err


def test_the_folder_of_a_device_may_be_the_current_one(
    measured: Path, compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(measured / "baselines" / "scripted")
    assert compare(".", str(measured / "same.json")) == 0


def test_json_of_another_tool_is_not_ours(tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text('{"benchmarks": []}')
    assert compare("baselines", str(tmp_path / "other.json")) == 2
    assert "not a file of perfsuite; name a report of --perf-json" in capsys.readouterr().err


def test_an_empty_report_is_nothing_to_compare(tmp_path: Path, compare: Compare) -> None:
    assert compare("baselines", write_report(tmp_path / "empty.json")) == 2


def test_sessions_of_two_environments_cannot_judge(
    tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = [make_recording(noise=0.1), make_recording(noise=0.1, session=1, environment=make_environment(torch="1"))]
    path = write_report(tmp_path / "mixed.json", *mixed)
    assert compare(path, write_report(tmp_path / "b.json", *make_sessions(make_recording(noise=0.1), 3))) == 3
    assert "invalid: eager/tiny/p100-o4: sessions of two environments are mixed" in capsys.readouterr().out


def test_neither_compare_nor_show_imports_torch_or_pytest(measured: Path) -> None:
    code = (
        "import sys; from perfsuite.cli import main; "
        "codes = main(['compare', 'baselines', 'slow.json']), main(['show', 'slow.json']); "
        "print([name for name in ('torch', 'pytest', 'transformers', 'sqlalchemy') if name in sys.modules], codes)"
    )
    environment = {"PYTHONPATH": str(Path(perfsuite.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=measured, capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.splitlines()[-1] == "[] (1, 1)"
