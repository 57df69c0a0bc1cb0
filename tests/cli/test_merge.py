"""The command `perfsuite merge`: shards of one run become its report; what does not belong together is one line."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import perfsuite
from perfsuite import cli
from perfsuite.core.codec import encode
from perfsuite.core.judgement import judge_cell
from perfsuite.core.matrix import Cell
from perfsuite.core.options import DEFAULT_TOLERANCES, Options
from perfsuite.core.recording import Environment, Recording
from perfsuite.core.sample import Failure
from perfsuite.core.shard import Portion
from perfsuite.core.suite import Gates, Question, judge_suite
from perfsuite.core.verdict import Judgement
from perfsuite.report import json_report
from perfsuite.report.run import Run
from tests.builders import make_baseline, make_cell, make_environment, make_recording

LENGTHS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120)
CELLS = tuple(make_cell(prompt=length) for length in LENGTHS)
IDS = tuple(cell.id for cell in CELLS)
TOLERANCES = {metric: value for metric, value in DEFAULT_TOLERANCES.items() if metric.key in ("ttft.p50", "tpot.p50")}
GATES = Gates(tolerances=TOLERANCES, resources={"memory": 0.02})
Change = Callable[[dict[str, Any]], object]


def sessions(cell: Cell, count: int, *, seed: int, factor: float = 1.0, **others: Any) -> tuple[Recording, ...]:
    length = cell.workload.prompt_tokens
    return tuple(
        make_recording(
            cell,
            session=session,
            noise=0.02,
            n=60,
            decode=10,
            ttft_ms=40 * factor * (1 + 0.001 * ((session * 7 + length) % 5)),
            tpot_ms=2 * factor,
            seed=seed + length,
            **others,
        )
        for session in range(count)
    )


BASELINES = {cell: make_baseline(*sessions(cell, 6, seed=1)) for cell in CELLS}


def question(cell: Cell, recordings: tuple[Recording, ...]) -> Question:
    return Question(
        cell=cell, gates=GATES, recordings=recordings, stored=BASELINES[cell], save_command=f"save {cell.id}"
    )


def measured(slow: Mapping[int, float]) -> dict[Cell, tuple[Recording, ...]]:
    return {cell: sessions(cell, 3, seed=99, factor=slow.get(cell.workload.prompt_tokens, 1.0)) for cell in CELLS}


def portion(index: int, count: int, own: tuple[str, ...], **changes: Any) -> Portion:
    made = Portion(
        index=index, count=count, cells=IDS, own=own, code="abc1234", run="CI 1", versions={"torch": "2.13.0"}
    )
    return replace(made, **changes)


def write_shard(
    path: Path,
    index: int,
    recordings: Mapping[Cell, tuple[Recording, ...]],
    *,
    count: int = 3,
    options: Options | None = None,
    notes: tuple[str, ...] = (),
    change: Change = lambda _: None,
    **of_portion: Any,
) -> Path:
    """Every third cell, judged by itself."""
    own = {cell: recordings[cell] for cell in CELLS[index - 1 :: count]}
    judgements: tuple[Judgement, ...] = judge_suite([question(cell, own[cell]) for cell in own], Options().gate)
    run = Run(
        options=options or Options(),
        recordings=own,
        judgements=judgements,
        baselines={cell: BASELINES[cell] for cell in own},
        gates=dict.fromkeys(own, (GATES,)),
        notes=notes,
        command=f"pytest --perf --perf-shard {index}/{count} --perf-model tiny",
        reproduce=lambda cell: f"measure {cell.id}",
        save=lambda cell: f"save {cell.id}",
        portion=portion(index, count, tuple(cell.id for cell in own), **of_portion),
    )
    data = json.loads(json_report.text(run))
    change(data)
    path.write_text(json.dumps(data))
    return path


def write_shards(folder: Path, recordings: Mapping[Cell, tuple[Recording, ...]], **others: Any) -> list[str]:
    return [str(write_shard(folder / f"{index}.json", index, recordings, **others)) for index in (1, 2, 3)]


def write_calm_shards(folder: Path) -> list[str]:
    """The shards of a run in which nothing is slower."""
    paths = [folder / f"{index}.json" for index in (1, 2, 3)]
    for path, data in zip(paths, calm_shards(), strict=True):
        path.write_bytes(data)
    return [str(path) for path in paths]


@cache
def calm_shards() -> tuple[bytes, ...]:
    with TemporaryDirectory() as folder:
        return tuple(Path(path).read_bytes() for path in write_shards(Path(folder), measured({})))


@pytest.mark.parametrize(("slow", "code"), [({}, 0), ({30: 1.2, 70: 0.8}, 1)])
def test_the_verdicts_are_those_of_all_cells_judged_together(tmp_path: Path, slow: dict[int, float], code: int) -> None:
    recordings = measured(slow)
    paths = write_shards(tmp_path, recordings)
    assert cli.main(["merge", *reversed(paths), "-o", str(tmp_path / "all.json")]) == code
    merged = json.loads((tmp_path / "all.json").read_text())
    expected = judge_suite([question(cell, recordings[cell]) for cell in CELLS], Options().gate)
    assert [cell["id"] for cell in merged["cells"]] == list(IDS)
    assert [cell["verdicts"] for cell in merged["cells"]] == [[encode(v) for v in each.all] for each in expected]
    dealt = {cell["id"]: cell["verdicts"] for path in paths for cell in json.loads(Path(path).read_text())["cells"]}
    assert [dealt[cell["id"]] for cell in merged["cells"]] != [cell["verdicts"] for cell in merged["cells"]]


def test_nothing_that_was_measured_or_said_is_lost(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, measured({}), notes=("a note",))
    cli.main(["merge", *paths, "-o", str(tmp_path / "all.json")])
    merged = json.loads((tmp_path / "all.json").read_text())
    schema = json.loads(files("perfsuite.report").joinpath("report.schema.json").read_text(encoding="utf-8"))
    assert list(Draft202012Validator(schema).iter_errors(merged)) == []
    whole = {cell["id"]: cell for path in paths for cell in json.loads(Path(path).read_text())["cells"]}
    anew = ("verdicts", "drifts", "stored")
    for cell in merged["cells"]:
        assert {k: v for k, v in cell.items() if k not in anew} == {
            k: v for k, v in whole[cell["id"]].items() if k not in anew
        }
    assert merged["notes"] == ["a note"]
    assert merged["command"] == "pytest --perf --perf-model tiny"
    assert (merged["shard"], merged["cells"][0]["stored"]) == (None, None)
    assert len(merged["environments"]) == 1


def test_what_has_no_baseline_keeps_the_verdict_of_its_shard(tmp_path: Path) -> None:
    recordings = measured({})
    alone = judge_cell(CELLS[0], None, recordings[CELLS[0]], tolerances=TOLERANCES, gates=1, options=Options().gate)

    def forget(data: dict[str, Any]) -> None:
        data["cells"][0] |= {"stored": None, "verdicts": [encode(verdict) for verdict in alone.all]}

    paths = write_calm_shards(tmp_path)
    write_shard(tmp_path / "1.json", 1, recordings, change=forget)
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "all.json")]) == 3
    merged = json.loads((tmp_path / "all.json").read_text())
    assert merged["cells"][0]["verdicts"] == [encode(verdict) for verdict in alone.all]
    assert merged["cells"][1]["verdicts"][0]["outcome"] == "passed"


def test_cells_of_an_interrupted_shard_are_named_and_leave_it_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = {**measured({}), CELLS[1]: ()}
    paths = write_shards(tmp_path, recordings)
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "all.json")]) == 3
    assert f"not measured: {IDS[1]}" in capsys.readouterr().out


def test_what_cannot_run_there_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings = {**measured({}), CELLS[1]: ()}
    paths = write_shards(tmp_path, recordings)

    def lack(data: dict[str, Any]) -> None:
        data["unavailable"] = {IDS[1]: "jit is not installed"}

    write_shard(tmp_path / "2.json", 2, recordings, change=lack)
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "all.json")]) == 0
    assert "jit is not installed" in capsys.readouterr().out


def test_a_session_that_broke_before_it_knew_its_machine_is_merged_and_invalid(tmp_path: Path) -> None:
    unknown = Environment(device="unknown", must_agree={}, noted={})
    broken = make_recording(
        CELLS[1], n=0, decode=0, environment=unknown, failures=(Failure(stage="open", message="no"),)
    )
    recordings = {**measured({}), CELLS[1]: (broken,)}
    paths = write_shards(tmp_path, recordings)
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "all.json")]) == 3
    merged = json.loads((tmp_path / "all.json").read_text())
    assert {verdict["outcome"] for verdict in merged["cells"][1]["verdicts"]} == {"invalid"}


OTHER_MACHINE = {cell: sessions(cell, 3, seed=99, environment=make_environment("H200")) for cell in CELLS}
OTHER_TORCH = {cell: sessions(cell, 3, seed=99, environment=make_environment(torch="2.12.0")) for cell in CELLS}
LESS = Options(measure=replace(Options().measure, samples=60))


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"count": 4}, "2.json: of another run than {0}/1.json: number of shards: 3 there, 4 here"),
        ({"run": "CI 2"}, "2.json: of another run than {0}/1.json: run: CI 1 there, CI 2 here"),
        ({"code": "def5678"}, "2.json: of another run than {0}/1.json: code: abc1234 there, def5678 here"),
        ({"versions": {"torch": "2.12.0"}}, "1.json: version of torch: 2.13.0 there, 2.12.0 here"),
        ({"cells": (*IDS, "eager/tiny/p1-o1")}, "cells of the run: nothing more there, eager/tiny/p1-o1 here"),
        ({"cells": IDS[::-1]}, "cells of the run: nothing more there, in another order here"),
        ({"options": LESS}, "1.json: options.measure.samples: 320 there, 60 here"),
        ({"recordings": OTHER_MACHINE}, "2.json: measured elsewhere than {0}/1.json: device: 'NVIDIA H100 80GB HBM3' "),
        (
            {"recordings": OTHER_TORCH},
            "2.json: measured elsewhere than {0}/1.json: torch: '2.11.0' there, '2.12.0' here",
        ),
        ({"index": 1}, "2.json: shard 1/3, which {0}/1.json is already; name it once"),
        ({"change": lambda d: d.update(perfsuite="0.0.9")}, "of perfsuite 0.0.9, this is layout "),
        ({"change": lambda d: d.update(schema=99)}, "2.json: layout 99 of perfsuite "),
        ({"change": lambda d: d.update(shard=None)}, "2.json: not the report of a shard; merge takes what --perf-json"),
        (
            {"change": lambda d: d["shard"]["own"].append(IDS[0])},
            f"2.json: lacks {IDS[0]}; measure it again: pytest --perf ",
        ),
        (
            {"change": lambda d: d["shard"]["own"].pop()},
            f"2.json: holds {IDS[10]}, which is no cell of its shard; measure it again: pytest --perf ",
        ),
        (
            {"change": lambda d: d["cells"].append(d["cells"][0])},
            f"2.json: holds {IDS[1]} twice; measure it again: pytest --perf ",
        ),
        ({"change": lambda d: d["cells"].pop()}, "2.json: lacks eager/tiny/p110-o4; measure it again: pytest --perf "),
    ],
)
def test_shards_that_do_not_belong_together_are_one_line_and_nothing_is_written(
    others: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = measured({})
    paths = write_calm_shards(tmp_path)
    given = {"index": 2, "recordings": recordings, **others}
    write_shard(tmp_path / "2.json", **given)
    before = {path: Path(path).read_bytes() for path in paths}
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "all.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("perfsuite merge: ")
    assert told.format(tmp_path) in line
    assert not (tmp_path / "all.json").exists()
    assert {path: Path(path).read_bytes() for path in paths} == before


def test_a_mismatch_that_the_run_allows_is_allowed(tmp_path: Path) -> None:
    allowing = Options(gate=replace(Options().gate, ignored_environment=frozenset({"torch"})))
    paths = write_shards(tmp_path, measured({}), options=allowing)
    write_shard(tmp_path / "2.json", 2, OTHER_TORCH, options=allowing)
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "all.json")]) == 0


def test_a_missing_shard_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write_calm_shards(tmp_path)
    assert cli.main(["merge", paths[0], paths[2], "-o", str(tmp_path / "all.json")]) == 2
    told = (
        "perfsuite merge: shard 2/3 is missing; name what its --perf-json wrote, or measure it with: --perf-shard 2/3\n"
    )
    assert capsys.readouterr().err == told


def test_of_many_missing_shards_the_first_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_shard(tmp_path / "1.json", 1, measured({}), count=999_999)
    assert cli.main(["merge", str(path), "-o", str(tmp_path / "all.json")]) == 2
    told = capsys.readouterr().err
    assert "shard 2/999999, 3/999999, " in told
    assert "9/999999 and 999990 more is missing; " in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["shard"].pop("code"), ": shard: lacks code"),
        (lambda d: d["cells"][0].pop("stored"), ": cells[0]: lacks 'stored'"),
        (lambda d: d["cells"][0]["gates"][0].update(tolerances={"ttft.p42": 0.1}), ": cells[0].gates: no tolerances ("),
        (lambda d: d["cells"][0]["gates"][0]["resources"].update(memory=10**400), ": cells[0].gates: no tolerances ("),
        (lambda d: d["cells"][1]["recordings"][0].pop("samples"), ": cells[1].recordings[0]: lacks samples"),
        (lambda d: d["options"].pop("gate"), ": options: lacks 'gate'"),
        (lambda d: d["options"]["gate"].pop("sessions"), ": options.gate: lacks 'sessions'"),
        (
            lambda d: d["options"]["gate"].update(family_error="few"),
            ": options.gate.family_error: expected float, found",
        ),
        (lambda d: d["options"].pop("save_baseline"), ": options: lacks 'save_baseline'"),
        (lambda d: d.update(options=7), ": options: lacks 'save_baseline'"),
        (lambda d: d.update(unavailable=[]), ".unavailable: expected an object, found []"),
        (lambda d: d.update(notes={"a": 1}), ".notes: the columns a are not lists"),
        (lambda d: d.update(command="pytest '"), ": command: no command line (No closing quotation)"),
        (lambda d: d["cells"][0].update(id=["a"]), ": cells[0].id: expected str, found ['a']"),
        (lambda d: d["cells"][0].update(id=IDS[1]), f": cells[0]: id: '{IDS[1]}', but its cell is {IDS[0]}"),
        (lambda d: d["cells"][0].update(verdicts=None), ": cells[0].verdicts: expected a list"),
    ],
)
def test_a_broken_shard_names_the_key(
    change: Change, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_shard(tmp_path / "1.json", 1, measured({}), count=1, change=change)
    assert cli.main(["merge", str(path), "-o", str(tmp_path / "all.json")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"perfsuite merge: {path}")
    assert told in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"cells": [', "1.json: broken, not JSON: "),
        ("[" * 500 + "]" * 500, "1.json: broken, no JSON that can be read: nested too deeply"),
        ("[" * 100_000, "1.json: broken, no JSON that can be read: nested too deeply"),
        (
            '{"cells": ' + "1" * 5000 + "}",
            "1.json: broken, no JSON that can be read: it holds a number of thousands of digits",
        ),
    ],
)
def test_a_shard_that_was_cut_off_or_is_no_json_is_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.json").write_text(text)
    assert cli.main(["merge", str(tmp_path / "1.json"), "-o", str(tmp_path / "all.json")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not (tmp_path / "all.json").exists()


def test_a_cell_that_two_shards_hold_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings = measured({})
    paths = write_calm_shards(tmp_path)
    first = json.loads((tmp_path / "1.json").read_text())

    def hold(data: dict[str, Any]) -> None:
        data["cells"].append(first["cells"][0])
        data["shard"]["own"].append(IDS[0])

    write_shard(tmp_path / "2.json", 2, recordings, change=hold)
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "all.json")]) == 2
    assert f"2.json: {IDS[0]} is in {tmp_path}/1.json, too; " in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_found_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["merge", str(tmp_path / "nowhere.json"), "-o", str(tmp_path / "file" / "all.json")]) == 2
    assert "file/all.json cannot be written (Not a directory)" in capsys.readouterr().err


def test_people_get_a_page_and_github_a_summary_of_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    paths = write_shards(tmp_path, measured({30: 1.2}))
    html = str(tmp_path / "all.html")
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "all.json"), "--html", html]) == 1
    assert f"report written to {html}" in capsys.readouterr().out
    for text in (Path(html).read_text(), (tmp_path / "summary.md").read_text()):
        assert "12 cells" in text
        assert "eager/tiny/p30-o4" in text
        assert "shard" not in text.replace("--perf-shard", "")


def test_a_page_that_fails_changes_no_verdict_and_costs_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("perfsuite.cli.merge.page", lambda run: 1 / 0)
    paths = write_calm_shards(tmp_path)
    html = str(tmp_path / "all.html")
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "all.json"), "--html", html]) == 0
    assert "it could not be made (ZeroDivisionError: " in capsys.readouterr().out
    assert json.loads((tmp_path / "all.json").read_text())["cells"]


@pytest.mark.parametrize("option", ["-o", "--html"])
def test_a_result_is_no_place_for_a_report(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write_calm_shards(tmp_path)
    places = {"-o": str(tmp_path / "all.json"), "--html": str(tmp_path / "all.html"), option: paths[1]}
    before = Path(paths[1]).read_bytes()
    assert cli.main(["merge", *paths, *(word for pair in places.items() for word in pair)]) == 2
    assert f"{option}: {paths[1]} is one of the results; name another file" in capsys.readouterr().err
    assert Path(paths[1]).read_bytes() == before


@pytest.mark.parametrize("again", ["all.json", "below/../all.json"])
def test_two_reports_in_one_file_are_refused_before_anything_is_written(
    tmp_path: Path, again: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    paths = write_calm_shards(tmp_path)
    places = ["-o", str(tmp_path / "all.json"), "--html", str(tmp_path / again)]
    assert cli.main(["merge", *paths, *places]) == 2
    told = "perfsuite merge: -o and --html: two reports in one file; name a file for each\n"
    assert capsys.readouterr().err == told
    assert not (tmp_path / "all.json").exists()


def test_everything_is_written_before_anything_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfsuite.cli.merge.write", lambda lines: 1 / 0)
    paths = write_calm_shards(tmp_path)
    with pytest.raises(ZeroDivisionError):
        cli.main(["merge", *paths, "-o", str(tmp_path / "all.json"), "--html", str(tmp_path / "all.html")])
    assert (tmp_path / "all.json").exists()
    assert (tmp_path / "all.html").exists()


def test_a_shard_is_shown_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_shard(tmp_path / "2.json", 2, measured({}))
    assert cli.main(["show", str(path)]) == 0
    assert ", shard 2/3 of its run; 4 cells, 12 recordings" in capsys.readouterr().out.splitlines()[0]


def test_merging_imports_neither_torch_nor_pytest(tmp_path: Path) -> None:
    paths = write_calm_shards(tmp_path)
    code = (
        "import sys; from perfsuite.cli import main; "
        f"code = main(['merge', *{paths!r}, '-o', 'all.json']); "
        "print([name for name in ('torch', 'pytest', 'transformers', 'sqlalchemy') if name in sys.modules], code)"
    )
    environment = {"PYTHONPATH": str(Path(perfsuite.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.splitlines()[-1] == "[] 0"
