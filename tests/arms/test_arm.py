import os
import subprocess
import sys
from pathlib import Path

import pytest

from perfsuite.arms import arm as arms
from perfsuite.arms.arm import Arm, prepared, working_tree
from perfsuite.arms.reference import parse_reference
from perfsuite.core.errors import OptionError
from tests.repository import Repository


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "project")
    (made.folder / "src").mkdir()
    (made.folder / "src" / "model.py").write_text("SPEED = 1\n")
    made.commit("one")
    (made.folder / "src" / "model.py").write_text("SPEED = 2\n")
    made.commit("two")
    monkeypatch.chdir(made.folder)
    monkeypatch.setattr(sys, "path", [str(made.folder), str(made.folder / "src"), *sys.path])
    return made


def ready(text: str, repository: Repository, *models: str):
    reference = parse_reference(text, root=repository.folder, where="--perf-against")
    return prepared(reference, repository.folder, where="--perf-against", say=print, models=models)


def test_the_import_path_inside_the_repository_is_that_of_the_checkout(repository: Repository) -> None:
    with ready("HEAD~1", repository) as arm:
        folder = Path(arm.import_path[0])
        assert folder.name == repository.folder.name
        assert folder != repository.folder
        assert arm.import_path[1] == str(folder / "src")
        assert arm.import_path[2:] == tuple(str(Path(entry).absolute()) for entry in sys.path[2:])
        assert (arm.recipe.folder, arm.foreign) == (str(folder), str(repository.folder))
        assert (folder / "src" / "model.py").read_text() == "SPEED = 1\n"
    assert not folder.exists()


def test_a_folder_that_holds_none_of_the_code_is_refused(repository: Repository, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "src").mkdir(parents=True)
    (empty / "src" / "other.py").touch()
    with pytest.raises(OptionError) as refused, ready(str(empty), repository):
        pass
    told = f"--perf-against: '{empty}' holds none of the code that is imported from {repository.folder} (model)"
    assert str(refused.value) == f"{told}; name a folder that is laid out like it"
    (empty / "src" / "model.py").touch()
    with ready(str(empty), repository) as arm:
        assert arm.import_path[1] == str(empty / "src")


def test_a_worker_of_the_arm_has_the_running_perfsuite_and_the_old_code(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository.folder / "src"))
    with ready("HEAD~1", repository) as arm:
        code = "import sys; sys.path[0] = sys.argv[1]; import perfsuite, model; print(perfsuite.__file__, model.SPEED)"
        done = subprocess.run(
            [arm.recipe.python, "-c", code, arm.recipe.home],
            env=arm.recipe.environment(),
            cwd=arm.recipe.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        file, speed = done.stdout.split()
        assert os.listdir(arm.recipe.home) == ["perfsuite"]
        assert Path(file).resolve() == Path(arms.perfsuite.__file__).resolve()
        assert speed == "1"


def test_files_that_are_named_absolutely_move_along(repository: Repository) -> None:
    with ready("HEAD~1", repository) as arm:
        moved = arm.reference(f"{repository.folder}/src/model.py:Model")
        assert moved == f"{arm.import_path[1]}/model.py:Model"
        assert arm.reference("model:Model") == "model:Model"
        assert arm.reference("/elsewhere/model.py:Model") == "/elsewhere/model.py:Model"


def test_the_same_requirements_share_this_environment_and_others_get_their_own(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def build(needs, folder, **_):
        built.append(needs.source)
        return Path("/own/bin/python")

    monkeypatch.setattr(arms, "own_environment", build)
    repository.commit("needs", requirements_txt="torch==2.11\n")
    repository.commit("same needs", other_txt="")
    with ready("HEAD~1", repository) as arm:
        assert arm.recipe.python == sys.executable
        assert "needs the same (requirements.txt)" in arm.notes[0]
    (repository.folder / "requirements.txt").write_text("torch==2.13\n")
    with ready("HEAD", repository) as arm:
        assert arm.recipe.python == "/own/bin/python"
        assert [Path(entry).name for entry in arm.import_path] == ["project", "src"]
        assert arm.recipe.variables["PYTHONPATH"] is None
        assert arm.recipe.environment()["PATH"].startswith(f"/own/bin{os.pathsep}")
    assert built == ["requirements.txt"]


def test_a_model_that_git_does_not_track_is_the_same_in_both_arms(repository: Repository) -> None:
    (repository.folder / "weights").mkdir()
    (repository.folder / "weights" / "config.json").write_text("{}")
    with ready("HEAD~1", repository, "./weights", "tiny") as arm:
        assert (Path(arm.import_path[0]) / "weights" / "config.json").read_text() == "{}"
    assert (repository.folder / "weights" / "config.json").exists()


def test_an_interpreter_runs_the_working_trees_code(repository: Repository) -> None:
    with ready(sys.executable, repository) as arm:
        assert arm.recipe.python == sys.executable
        assert [str(repository.folder), str(repository.folder / "src")] == list(arm.import_path[:2])
        assert not any("site-packages" in entry for entry in arm.import_path)
        assert arm.foreign is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("#!/bin/sh\necho gone >&2; exit 3\n", "cannot measure (gone)"), ("no program", "is no interpreter that runs")],
)
def test_an_interpreter_that_cannot_measure_is_one_line(repository: Repository, text: str, words: str) -> None:
    python = repository.folder / "python"
    python.write_text(text)
    python.chmod(0o755)
    with pytest.raises(OptionError) as refused, ready("python", repository):
        pass
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_working_tree_is_what_runs_here_and_says_if_it_is_dirty(repository: Repository) -> None:
    assert working_tree(repository.folder) == Arm(label="the working tree")
    repository.write(new_py="")
    (note,) = working_tree(repository.folder).notes
    assert note == "the working tree has changes that are not committed: they are measured"


def test_the_same_commit_and_the_installed_version_are_named_as_a_a_runs(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    with ready("HEAD", repository) as arm:
        assert "is the same code as the working tree: this is an A/A run" in arm.notes[0]
    monkeypatch.setattr(arms, "laid_over", lambda *_, **__: Path(sys.executable))
    with ready(f"numpy=={metadata.version('numpy')}", repository) as arm:
        assert arm.notes[0].endswith("is what is installed here: this is an A/A run")
    with ready("numpy==0.1", repository) as arm:
        assert arm.notes == ()
