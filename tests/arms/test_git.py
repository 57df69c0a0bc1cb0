import os
import subprocess
import sys
from pathlib import Path

import pytest

from perfsuite.arms.git import GitError, commit_named, is_dirty, subject_of, sweep, top_of, worktree
from tests.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "project")
    made.commit("one", model_py="SPEED = 1\n")
    made.commit("two", model_py="SPEED = 2\n")
    return made


def test_a_worktree_holds_the_commit_and_is_gone_afterwards(repository: Repository) -> None:
    commit = commit_named(repository.folder, "HEAD~1")
    assert commit is not None
    with worktree(repository.folder, commit) as folder:
        assert (folder / "model.py").read_text() == "SPEED = 1\n"
        assert folder.name == "project"
    assert not folder.parent.exists()
    assert len(repository.git("worktree", "list").splitlines()) == 1


def test_a_worktree_is_gone_after_an_interruption_too(repository: Repository) -> None:
    with pytest.raises(KeyboardInterrupt), worktree(repository.folder, repository.git("rev-parse", "HEAD")) as folder:
        raise KeyboardInterrupt
    assert not folder.parent.exists()
    assert len(repository.git("worktree", "list").splitlines()) == 1


def test_the_users_checkout_is_left_alone(repository: Repository) -> None:
    repository.write(model_py="SPEED = 3\n")
    before = repository.git("status", "--porcelain", "--branch")
    with worktree(repository.folder, repository.git("rev-parse", "HEAD~1")):
        assert (repository.folder / "model.py").read_text() == "SPEED = 3\n"
    assert repository.git("status", "--porcelain", "--branch") == before


def test_hooks_of_the_repository_do_not_run(repository: Repository) -> None:
    hook = repository.folder / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\ntouch ran-here\n")
    hook.chmod(0o755)
    with worktree(repository.folder, repository.git("rev-parse", "HEAD")) as folder:
        assert not (folder / "ran-here").exists()


def test_worktrees_of_a_run_that_was_killed_are_swept_up(repository: Repository) -> None:
    code = (
        "import sys, os; from pathlib import Path; from perfsuite.arms.git import worktree; "
        "manager = worktree(Path(sys.argv[1]), 'HEAD'); print(manager.__enter__(), flush=True); os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(repository.folder)], capture_output=True, text=True, check=False
    )
    left = Path(done.stdout.strip())
    assert left.is_dir()
    sweep(repository.folder)
    assert not left.parent.exists()


def test_the_worktree_of_a_run_that_goes_on_is_not_swept_up(repository: Repository) -> None:
    with worktree(repository.folder, repository.git("rev-parse", "HEAD")) as folder:
        sweep(repository.folder)
        assert folder.is_dir()


def test_what_names_no_commit_is_none(repository: Repository) -> None:
    assert commit_named(repository.folder, "HEAD") == repository.git("rev-parse", "HEAD")
    for text in ("no-such-branch", "--help", "HEAD:model.py", ""):
        assert commit_named(repository.folder, text) is None


def test_changes_and_new_files_make_a_tree_dirty(repository: Repository) -> None:
    assert not is_dirty(repository.folder)
    repository.write(other_py="")
    assert is_dirty(repository.folder)


def test_a_folder_without_git_has_no_top(tmp_path: Path) -> None:
    assert top_of(tmp_path) is None


def test_a_commit_is_told_by_its_subject(repository: Repository) -> None:
    assert subject_of(repository.folder, "HEAD").endswith(") two")


def test_git_says_in_its_own_words_why_it_refuses(repository: Repository) -> None:
    with pytest.raises(GitError, match="invalid reference: nowhere"), worktree(repository.folder, "nowhere"):
        pass
    assert not [name for name in os.listdir(repository.folder.parent) if name.startswith("perfsuite-twin")]
