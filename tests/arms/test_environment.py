"""Environments are really built here, by pip, from wheels that lie in a folder: no registry is asked."""

import os
import subprocess
from pathlib import Path

import pytest

from perfsuite.arms import environment
from perfsuite.arms.environment import laid_over, own_environment
from perfsuite.arms.requirements import Requirements
from perfsuite.core.errors import OptionError
from tests.wheels import make_wheel

pytestmark = pytest.mark.slow


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows; what perfsuite measures with is one wheel in it."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "kernels", "1.0", "SPEED = 1\n")
    make_wheel(folder, "kernels", "2.0", "SPEED = 2\n")
    make_wheel(folder, "measures", "1.0", "")
    make_wheel(folder, "newer", "1.0", "", requires="kernels>=2")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(environment, "own_needs", lambda: ("measures",))
    monkeypatch.setattr(environment.shutil, "which", lambda _: None)
    return folder


def of(python: Path, code: str) -> str:
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def needs(*lines: str) -> Requirements:
    return Requirements(source="requirements.txt", lines=lines)


def test_an_environment_holds_what_the_checkout_needs_and_what_measures_and_nothing_of_the_run(
    wheels: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    python = own_environment(
        needs("kernels==1.0"), tmp_path, where="--perf-against", say=said.append, cache=tmp_path / "cache"
    )
    assert of(python, "import kernels, measures; print(kernels.SPEED)") == "1"
    assert of(python, "import numpy") == "ModuleNotFoundError: No module named 'numpy'"
    assert len(said) == 1
    again = own_environment(
        needs("kernels==1.0"), tmp_path, where="--perf-against", say=said.append, cache=tmp_path / "cache"
    )
    assert again == python
    assert len(said) == 1


def test_what_the_checkout_pins_is_not_moved_for_what_perfsuite_needs(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "own_needs", lambda: ("newer",))
    with pytest.raises(OptionError, match="--perf-against: its environment does not build: ERROR: "):
        own_environment(needs("kernels==1.0"), tmp_path, where="--perf-against", say=print, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_requirement_lies_over_what_the_running_environment_has(wheels: Path, tmp_path: Path) -> None:
    python = laid_over("kernels==2.0", where="--perf-against", say=lambda _: None, cache=tmp_path / "cache")
    assert of(python, "import kernels, numpy; print(kernels.SPEED)") == "2"


def test_a_wheel_of_the_same_name_and_other_content_is_another_environment(wheels: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "own", "kernels", "3.0", "SPEED = 3\n")
    first = laid_over(str(wheel), where="x", say=lambda _: None, cache=tmp_path / "cache")
    make_wheel(tmp_path / "own", "kernels", "3.0", "SPEED = 33\n")
    second = laid_over(str(wheel), where="x", say=lambda _: None, cache=tmp_path / "cache")
    assert [of(python, "import kernels; print(kernels.SPEED)") for python in (first, second)] == ["3", "33"]


def test_what_does_not_build_is_one_line_and_leaves_nothing(wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as refused:
        laid_over("kernels==9", where="--perf-against", say=lambda _: None, cache=tmp_path / "cache")
    assert str(refused.value).startswith("--perf-against: its environment does not build: ERROR: ")
    assert "\n" not in str(refused.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_interrupted_build_leaves_nothing(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "_install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        laid_over("kernels==1.0", where="x", say=lambda _: None, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_four_used_last_stay_and_nothing_of_a_run_that_was_killed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f"killed.{gone.pid}").mkdir()
    (tmp_path / f"building.{os.getpid()}").mkdir()
    for number in range(6):
        (tmp_path / str(number)).mkdir()
        os.utime(tmp_path / str(number), (number, number))
    environment._prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "4", "5", f"building.{os.getpid()}"]
