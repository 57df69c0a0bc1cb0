"""The command `perfsuite show`: what it says of files and cells, and its exit codes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from perfsuite import cli

Show = Callable[..., int]


@pytest.fixture
def show(measured: Path, monkeypatch: pytest.MonkeyPatch) -> Show:
    monkeypatch.chdir(measured)
    return lambda *arguments: cli.main(["show", *arguments])


def test_a_report_is_shown_with_its_tables_and_verdicts(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    assert show("slow.json") == 1
    told = capsys.readouterr().out
    assert told.startswith("slow.json: report of perfsuite 0.1.0, layout ")
    assert "; 2 cells, " in told.splitlines()[0]
    assert "fake, tiny (none) on scripted: batch 1, 4 output tokens" in told
    assert "fake/tiny/p10-o4: TTFT P50 regressed " in told
    assert "  environment: block 20, " in told


def test_a_report_that_stays_open_ends_with_three(show: Show) -> None:
    assert show("same.json") == 3


def test_a_run_is_shown_without_verdicts(show: Show, measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = sorted((measured / ".perfsuite" / "runs").iterdir())
    assert show(str(runs[0])) == 0
    told = capsys.readouterr().out
    assert "session of a run, layout 3; 2 cells, 16 recordings" in told
    assert "regressed" not in told


@pytest.mark.parametrize("what", ["fake/tiny/p10-o4", "p10", "baselines/scripted/tiny/fake/p10-o4.json"])
def test_a_stored_cell_is_shown_by_its_id_or_its_file(
    what: str, show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(what) == 0
    told = capsys.readouterr().out
    assert f"{what}: baseline; 1 cell, 8 recordings" in told
    assert "fake/tiny/p10-o4: 8 sessions, 20" in told
    assert "  saved: 20" in told
    assert "  startup: load " in told
    assert "p20" not in told


@pytest.mark.parametrize("what", ["baselines", "baselines/scripted"])
def test_a_folder_of_baselines_shows_all_of_its_cells(
    what: str, show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(what) == 0
    assert "2 cells, 16 recordings" in capsys.readouterr().out


def test_a_text_shows_every_cell_that_contains_it(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    assert show("fake/tiny") == 0
    assert "2 cells, 16 recordings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["jit/tiny"], "'jit/tiny' is neither a file nor a cell of baselines/scripted; stored are fake/tiny/p10-o4, "),
        (["gone.json"], "gone.json: there is no such file"),
        (["p10", "--baseline-dir=elsewhere"], "elsewhere: there are no baselines; record some with"),
        (["p10", "--device=h100"], "--device: 'h100' is not in baselines; choose from scripted"),
        (["same.json", "--device=scripted"], "--device: same.json is no folder of baselines, which alone hold several"),
        (["baselines/scripted", "--device=h100"], "baselines/scripted is the folder of one device; leave --device out"),
        (["same.json", "-k", "p33"], "same.json: no cell's id contains 'p33'; it has fake/tiny/p10-o4"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    arguments: list[str], told: str, show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
