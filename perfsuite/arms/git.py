"""Owns the calls of git: what a revision is, whether files differ from it, and worktrees that go again."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perfsuite.core.errors import OptionError

PREFIX = "perfsuite-twin"
QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
"""The user's hooks are for the user's checkouts."""


class GitError(OptionError):
    """Git refused; the text is its own last line, `output` all that it said."""

    output = ""


def git(folder: Path, *arguments: str) -> str:
    """What git printed, run in `folder`; GitError if it refuses or is not there."""
    command = ["git", "-C", str(folder), *QUIET, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror}") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        refused = GitError(lines[-1] if lines else f"git {arguments[0]} ended with {done.returncode}")
        refused.output = done.stdout + done.stderr
        raise refused
    return done.stdout.strip()


def top_of(folder: Path) -> Path | None:
    """The root of the repository around `folder`; `None` if there is none."""
    try:
        return Path(git(folder, "rev-parse", "--show-toplevel"))
    except GitError:
        return None


def commit_named(folder: Path, text: str) -> str | None:
    """The commit that `text` names, 40 digits; `None` if it names none."""
    if text.startswith("-"):
        return None
    try:
        return git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    except GitError:
        return None


def is_dirty(folder: Path) -> bool:
    """Whether tracked files differ from the commit that is checked out, or new ones lie beside them."""
    return bool(git(folder, "status", "--porcelain"))


def subject_of(folder: Path, commit: str) -> str:
    """'3f2a1c9 (2026-01-02) Make it slow'."""
    return git(folder, "log", "-1", "--format=%h (%cs) %s", commit)


@contextmanager
def worktree(top: Path, commit: str) -> Iterator[Path]:
    """A folder with this commit checked out, gone afterwards whatever happens; the user's checkout is not touched.

    GitError if git refuses. Worktrees of runs that were killed are removed as well.
    """
    sweep(top)
    parent = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-"))
    folder = parent / top.name
    try:
        git(top, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        yield folder
    finally:
        _remove(top, folder)


def sweep(top: Path) -> None:
    """Remove the worktrees of runs that are gone."""
    listed = git(top, "worktree", "list", "--porcelain")
    for line in listed.splitlines():
        path = Path(line.removeprefix("worktree "))
        owner = re.fullmatch(rf"{PREFIX}-(\d+)-.*", path.parent.name)
        if line.startswith("worktree ") and owner and not is_alive(int(owner[1])):
            _remove(top, path)


def _remove(top: Path, folder: Path) -> None:
    with suppress(GitError):
        git(top, "worktree", "remove", "--force", "--force", str(folder))
    shutil.rmtree(folder.parent, ignore_errors=True)
    with suppress(GitError):
        git(top, "worktree", "prune")


def is_alive(pid: int) -> bool:
    """Whether there is a process of this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
