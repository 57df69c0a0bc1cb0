import sys
from pathlib import Path

import pytest

from perfsuite.arms.reference import Kind, Reference, parse_reference
from perfsuite.core.errors import OptionError
from tests.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "project")
    made.commit("one")
    return made


def parse(text: str, repository: Repository) -> Reference:
    return parse_reference(text, root=repository.folder, where="--perf-against")


def test_a_branch_is_a_revision_named_with_its_commit(repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    found = parse("main", repository)
    assert (found.kind, found.target, found.label) == (Kind.REVISION, commit, f"main ({commit[:7]})")
    assert parse(commit[:10], repository).label == commit[:10]


def test_a_folder_an_interpreter_and_a_wheel_are_found_on_disk(repository: Repository) -> None:
    (repository.folder / "old").mkdir()
    wheel = repository.folder / "model-1.0-py3-none-any.whl"
    wheel.touch()
    assert parse("old", repository).kind is Kind.FOLDER
    assert parse(sys.executable, repository) == Reference(
        text=sys.executable, kind=Kind.INTERPRETER, target=sys.executable
    )
    assert parse(wheel.name, repository) == Reference(text=wheel.name, kind=Kind.REQUIREMENT, target=str(wheel))


def test_a_revision_wins_over_a_folder_of_its_name(repository: Repository) -> None:
    (repository.folder / "main").mkdir()
    assert parse("main", repository).kind is Kind.REVISION


@pytest.mark.parametrize(
    "text", ["transformers==5.16.0", "torch<2.13", "a.b-c[extra]~=1.2", "x @ https://example.com/x"]
)
def test_a_requirement_is_what_pip_reads_as_one(repository: Repository, text: str) -> None:
    assert parse(text, repository) == Reference(text=text, kind=Kind.REQUIREMENT, target=text)


@pytest.mark.parametrize("text", ["v9.9", "no/such/folder", "transformers", "--help"])
def test_what_is_nothing_of_all_that_is_one_line(repository: Repository, text: str) -> None:
    with pytest.raises(OptionError) as refused:
        parse(text, repository)
    assert str(refused.value) == (
        f"--perf-against: {text!r} is neither a revision of {repository.folder}, a folder, an interpreter nor a "
        "requirement like 'a==1.2'"
    )


def test_a_file_that_is_neither_wheel_nor_program_is_refused(repository: Repository) -> None:
    (repository.folder / "notes.txt").touch()
    with pytest.raises(OptionError, match="neither a wheel nor an interpreter that can be run"):
        parse("notes.txt", repository)


def test_outside_of_git_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="this is no git repository"):
        parse_reference("main", root=tmp_path, where="--perf-against")
