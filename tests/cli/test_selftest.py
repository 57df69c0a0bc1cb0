"""The command `perfsuite selftest`: its output, its one-line errors and its exit codes."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perfsuite import cli
from perfsuite.core.baseline import Baseline
from perfsuite.core.selftest import Gated, Trial
from perfsuite.core.verdict import Judgement, Outcome
from perfsuite.store import BaselineStore
from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.builders import make_baseline, make_environment, make_recording, make_sessions, make_verdict
from tests.measured import QUIET, quiet_baselines

Selftest = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with six sessions of two cells of the scripted strategy in baselines/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(SCRIPT_VARIABLE, QUIET)
    store(*quiet_baselines())
    return tmp_path


@pytest.fixture
def selftest(folder: Path) -> Selftest:
    return lambda *arguments: cli.main(["selftest", "--tolerance=ttft.p99=off", "--replays=3", *arguments])


def store(*baselines: Baseline) -> None:
    for baseline in baselines:
        BaselineStore(Path("baselines")).save(baseline)


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_right_gate_ends_with_zero_after_replays_and_real_sessions(
    selftest: Selftest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert selftest() == 0
    told = capsys.readouterr()
    assert "self-test of fake on tiny: baselines of 2 cells, 6 sessions" in told.out
    assert "same code: 0 of 3 replays of the suite had a red gate, at most 63.2 % with 95 % confidence" in told.out
    assert "perfsuite: self-test: no false alarm, 6 of 6 slowed gates red, none passed silently" in told.out
    assert "fake/tiny, slowed by 10 %: session 3, 2 cells" in told.err


def test_no_real_makes_no_session(selftest: Selftest, capsys: pytest.CaptureFixture[str]) -> None:
    assert selftest("--no-real") == 0
    told = capsys.readouterr()
    assert told.err == "replaying 2 cells 3 times\n"
    assert "replays only, no real session was tried" in told.out


def test_cells_are_chosen_by_their_id(selftest: Selftest, capsys: pytest.CaptureFixture[str]) -> None:
    assert selftest("--no-real", "-k", "p20") == 0
    assert "baselines of 1 cell, 6 sessions" in capsys.readouterr().out
    assert selftest("-k", "p33") == 2
    assert errors(capsys) == [
        "perfsuite selftest: -k: no cell's id contains 'p33'; stored are fake/tiny/p10-o4, fake/tiny/p20-o4"
    ]


def test_several_devices_are_listed_and_one_can_be_chosen(
    selftest: Selftest, capsys: pytest.CaptureFixture[str]
) -> None:
    store(make_baseline(*make_sessions(make_recording(environment=make_environment("H200"), noise=0.02), 3)))
    assert selftest() == 2
    assert errors(capsys) == [
        "perfsuite selftest: --device: baselines has baselines of several environments; "
        "choose h200_torch-2.11.0 or scripted"
    ]
    assert selftest("--no-real", "--device", "h200") == 0
    assert "not replayed, 6 sessions are needed: eager/tiny/p100-o4 has 3" in capsys.readouterr().out
    assert selftest("--device", "h300") == 2
    assert errors(capsys) == [
        "perfsuite selftest: --device: 'h300' is not in baselines; choose from h200_torch-2.11.0, scripted"
    ]


def test_without_baselines_the_command_that_records_them_is_named(
    selftest: Selftest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert selftest("--baseline-dir", "elsewhere") == 2
    assert errors(capsys) == [
        "perfsuite selftest: elsewhere: there are no baselines; record some with: pytest --save-baseline"
    ]


def test_baselines_of_a_gpu_are_not_tried_where_there_is_none(
    selftest: Selftest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.selftest, "has_gpu", lambda: False)
    environment = make_environment("H200", cuda="13.0")
    store(make_baseline(*make_sessions(make_recording(environment=environment, noise=0.02), 3)))
    assert selftest("--device", "h200") == 2
    assert errors(capsys)[0].endswith("and there is no GPU here; use --no-real for replays alone")


def test_a_strategy_that_is_gone_is_named(selftest: Selftest, capsys: pytest.CaptureFixture[str]) -> None:
    own = quiet_baselines()[0]
    cell = replace(own.cell, strategy="gone")
    store(replace(own, cell=cell, recordings=tuple(replace(each, cell=cell) for each in own.recordings)))
    assert selftest("-k", "gone") == 2
    assert errors(capsys)[0].startswith("perfsuite selftest: gone/tiny/p10-o4: 'gone' is not a strategy; choose from")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["selftest", "--replays", "0"], "argument --replays: '0' is not a whole number from 1 up"),
        (["selftest", "--inject"], "argument --inject: expected one argument"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert [line.partition(": ")[2] for line in errors(capsys)] == [told]


def test_an_injection_without_its_unit_is_refused(selftest: Selftest, capsys: pytest.CaptureFixture[str]) -> None:
    assert selftest("--inject", "10") == 2
    assert errors(capsys)[0].startswith("perfsuite selftest: --inject: '10' is not a percentage")


@pytest.mark.parametrize(
    ("clean", "slowed", "code"),
    [
        (Outcome.PASSED, Outcome.REGRESSED, 0),
        (Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE, 0),
        (Outcome.REGRESSED, Outcome.REGRESSED, 1),
        (Outcome.PASSED, Outcome.PASSED, 1),
        (Outcome.INVALID, Outcome.REGRESSED, 2),
    ],
)
def test_the_exit_code_says_whether_the_gate_was_wrong(
    clean: Outcome, slowed: Outcome, code: int, selftest: Selftest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scripted_trial(gated: tuple[Gated, ...], ways: object, *, slowdown: float) -> Trial:
        verdict = make_verdict(slowed if slowdown else clean)
        judgement = Judgement(cell=gated[0].cell, verdicts=(verdict,))
        return Trial(slowdown=slowdown, judgements=(judgement,), sessions_ns=(10**9,), spent_ns={})

    monkeypatch.setattr(cli.selftest, "try_gate", scripted_trial)
    assert selftest() == code


def test_the_commands_own_process_imports_neither_torch_nor_pytest(folder: Path) -> None:
    code = (
        "import sys; from perfsuite.cli import main; code = main(['selftest', '--replays=1', '--no-real']); "
        "print([name for name in ('torch', 'pytest', 'transformers') if name in sys.modules], code)"
    )
    environment = {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.splitlines()[-1] == "[] 0"


def test_the_script_is_named_in_the_package() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert 'perfsuite = "perfsuite.cli:main"' in project.read_text(encoding="utf-8")


def test_all_baselines_of_a_device_come_in_the_order_of_their_lengths(folder: Path) -> None:
    long = replace(quiet_baselines()[0].cell.workload, prompt_tokens=100)
    own = quiet_baselines()[0]
    cell = replace(own.cell, workload=long)
    store(replace(own, cell=cell, recordings=tuple(replace(each, cell=cell) for each in own.recordings)))
    stored = BaselineStore(Path("baselines"))
    assert stored.devices() == ("scripted",)
    assert [each.cell.workload.prompt_tokens for each in stored.load_all("scripted")] == [10, 20, 100]
