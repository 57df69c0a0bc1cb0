"""The commands `perfsuite trend` and `perfsuite history import`: output, exit codes, one-line errors."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from perfsuite import cli, runs
from perfsuite.core.entry import run_entry
from perfsuite.core.errors import BaselineError
from perfsuite.core.sample import Failure
from perfsuite.history import open_history
from tests.builders import make_cell, make_environment, make_recording

NESTED: list[object] = []
for _ in range(500):
    NESTED = [NESTED]
CELLS = (make_cell(), make_cell(prompt=200))


@pytest.fixture
def history(tmp_path: Path) -> str:
    """One run of two cells, the first of them on a second device, too."""
    path = str(tmp_path / "history.db")
    for run_id, device, cells in (("a", "H100", CELLS), ("b", "H200", CELLS[:1])):
        recordings = [make_recording(cell, environment=make_environment(device)) for cell in cells]
        entry = run_entry(recordings, [], run_id=run_id, commit="abc", perfsuite="0.1", kind="judged")
        open_history(path, where="test").append(entry)
    return path


def test_a_part_of_the_id_that_only_one_cell_has_is_enough(history: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trend", "p200", "--history", history, "--metric", "startup"]) == 0
    assert capsys.readouterr().out.startswith("eager/tiny/p200-o4 on h100: startup, 1 run, 1 session\n")


def test_one_of_several_devices_is_chosen(history: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trend", "p100", "--history", history, "--device", "h200"]) == 0
    assert "on h200: TTFT P50" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["eager"], "'eager' is 2 cells: eager/tiny/p100-o4, eager/tiny/p200-o4; name one"),
        (["jit"], "'jit' is none of its cells: eager/tiny/p100-o4, eager/tiny/p200-o4; name one"),
        (["p100"], "--device: eager/tiny/p100-o4 ran on several devices; choose h100 or h200"),
        (["p100", "--device=b200"], "did not run on 'b200'; choose from h100, h200"),
        (["p200", "--metric=memory"], "no usable session with 'memory' of eager/tiny/p200-o4 on h100; it has e2e.mean"),
        (["p200", "--metric=speed"], "--metric: 'speed' is not a metric; write SERIES.STATISTIC"),
    ],
)
def test_a_trend_that_cannot_be_shown_is_one_line(
    arguments: list[str], told: str, history: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["trend", *arguments, "--history", history]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("perfsuite trend: ")
    assert told in line


def test_a_kept_run_is_imported_once(tmp_path: Path, history: str, capsys: pytest.CaptureFixture[str]) -> None:
    entry = run_entry([make_recording()], [], run_id="c", commit="abc", perfsuite="0.1", kind="judged")
    path = runs.keep_entry(tmp_path, entry)
    assert [cli.main(["history", "import", str(path), history]) for _ in range(2)] == [0, 0]
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"run c of 2026-01-02T03:04:00Z, 1 recording: added to sqlite:///{history}"
    assert second.endswith(f"was already in sqlite:///{history}")


def test_a_file_that_is_no_kept_run_names_the_key_and_the_layout(
    tmp_path: Path, history: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = run_entry([make_recording()], [], run_id="c", commit="abc", perfsuite="0.1", kind="judged")
    path = runs.keep_entry(tmp_path, entry)
    data = json.loads(path.read_text())
    cases: tuple[tuple[dict[str, object], str], ...] = (
        ({"schema": 2}, "run: schema: 2; this perfsuite reads 1"),
        ({"kind": 5}, "run.kind: expected str, found 5"),
        ({"sessions": NESTED}, "not what a run kept for its history: nested too deeply"),
    )
    for change, told in cases:
        path.write_text(json.dumps({**data, **change}))
        assert cli.main(["history", "import", str(path), history]) == 3
        assert told in capsys.readouterr().err
    path.write_text('{"schema": ' + "1" * 5000 + "}")
    assert cli.main(["history", "import", str(path), history]) == 3
    assert "history: it holds a number of thousands of digits" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "told"), [("none.json", "No such file or directory"), ("", "Is a directory")])
def test_a_file_that_is_not_there_cannot_be_imported(
    name: str, told: str, tmp_path: Path, history: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["history", "import", str(tmp_path / name), history]) == 2
    assert f"cannot be read ({told}); name what the run kept" in capsys.readouterr().err


def test_a_kept_run_with_text_that_no_database_takes_is_imported(tmp_path: Path, history: str) -> None:
    recording = make_recording(failures=(Failure(stage="worker", message="half \ud800"),))
    entry = run_entry([recording], [], run_id="c", commit="abc", perfsuite="0.1", kind="judged")
    assert cli.main(["history", "import", str(runs.keep_entry(tmp_path, entry)), history]) == 0


def test_what_json_cannot_hold_is_not_kept_and_one_line(tmp_path: Path) -> None:
    entry = run_entry([make_recording()], [], run_id="c", commit="abc", perfsuite="0.1", kind="judged")
    broken = replace(entry, sessions=(replace(entry.sessions[0], slowed=math.nan),))
    with pytest.raises(BaselineError, match=r"c\.json: the run cannot be written: Out of range float values"):
        runs.keep_entry(tmp_path, broken)


def test_import_into_a_database_that_is_gone_hides_the_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = run_entry([make_recording()], [], run_id="c", commit="abc", perfsuite="0.1", kind="judged")
    path = runs.keep_entry(tmp_path, entry)
    assert cli.main(["history", "import", str(path), "postgresql://ci:geheim@127.0.0.1:1/perf"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("perfsuite history: postgresql://ci:***@127.0.0.1:1/perf: ")
    assert "geheim" not in told
