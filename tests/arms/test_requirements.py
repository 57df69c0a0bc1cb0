from pathlib import Path

import pytest

from perfsuite.arms.requirements import own_needs, requirements_of
from perfsuite.core.errors import OptionError

PYPROJECT = '[project]\nname = "x"\nversion = "{version}"\ndependencies = ["torch==2.11", "attrs"]\n'


def digest(folder: Path) -> str:
    found = requirements_of(folder)
    assert found is not None
    return found.digest


def test_a_lock_comes_before_requirements_and_those_before_the_pyproject(tmp_path: Path) -> None:
    assert requirements_of(tmp_path) is None
    for name, text in (
        ("pyproject.toml", PYPROJECT.format(version=1)),
        ("requirements.txt", "torch\n"),
        ("requirements.lock", "torch==2\n"),
    ):
        (tmp_path / name).write_text(text)
        found = requirements_of(tmp_path)
        assert found is not None
        assert found.source == name


def test_of_a_pyproject_only_the_dependencies_count(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.format(version=1))
    before = digest(tmp_path)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.format(version=2))
    assert digest(tmp_path) == before
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.format(version=2).replace("2.11", "2.12"))
    assert digest(tmp_path) != before


def test_included_files_and_constraints_count_and_comments_do_not(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# ours\n-r more.txt\n-c pins.txt\n-e .\ntorch\n")
    (tmp_path / "more.txt").write_text("attrs\n")
    (tmp_path / "pins.txt").write_text("attrs==1\n")
    found = requirements_of(tmp_path)
    assert found is not None
    assert (found.lines, found.constraints) == (("# ours", "attrs", "torch"), ("attrs==1",))
    before = found.digest
    (tmp_path / "requirements.txt").write_text("-r more.txt\n-c pins.txt\n\ntorch\n")
    assert digest(tmp_path) == before
    (tmp_path / "pins.txt").write_text("attrs==2\n")
    assert digest(tmp_path) != before


def test_a_pyproject_without_dependencies_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert requirements_of(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("pyproject.toml", "[project", "is no TOML"), ("requirements.txt", "-r gone.txt\n", "gone.txt: cannot be read")],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(OptionError, match=words):
        requirements_of(tmp_path)


def test_what_measures_comes_along_and_pytest_stays() -> None:
    names = {line.split(">")[0] for line in own_needs()}
    assert {"numpy", "scipy", "nvidia-ml-py"} <= names
    assert "pytest" not in names
