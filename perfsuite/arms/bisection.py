"""Owns the search for the first bad commit: `git bisect` in a worktree of its own, with anybody's opinions."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from perfsuite.arms.git import GitError, commit_named, git, subject_of, worktree

FOUND = re.compile(r"^([0-9a-f]{40}) is the first bad commit", re.MULTILINE)
COMMIT = re.compile(r"^[0-9a-f]{40}$", re.MULTILINE)
ONLY_SKIPPED = "only 'skip'ped commits left"


class Opinion(Enum):
    """What is thought of a commit, in words; its command is git's."""

    GOOD = "good"
    BAD = "bad"
    NONE = "skipped"

    @property
    def command(self) -> str:
        return "skip" if self is Opinion.NONE else self.value


Judge = Callable[[Path, str], Opinion]
"""The opinion of the commit that is checked out in a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """`first_bad` is the commit, `None` if it could not be told apart; `tried` are the commits with their opinions."""

    first_bad: str | None
    tried: tuple[tuple[str, Opinion], ...]
    text: str


def bisect(top: Path, good: str, bad: str, judge: Judge, *, known_bad: bool) -> Bisection:
    """The first bad commit after `good` up to `bad`; GitError if git cannot search between the two.

    Unless it is `known_bad`, `bad` is judged first. The user's checkout is not touched.
    """
    with worktree(top, bad) as folder:
        tried: list[tuple[str, Opinion]] = []
        if not known_bad:
            tried.append((bad, judge(folder, bad)))
            if tried[0][1] is not Opinion.BAD:
                text = (
                    f"the commit {subject_of(top, bad)} is {tried[0][1].value}: look at the changes not committed yet"
                )
                return Bisection(first_bad=None, tried=tuple(tried), text=f"--perf-bisect: {text}")
        told = _step(folder, "start", bad, good)
        while not (FOUND.search(told) or ONLY_SKIPPED in told):
            commit = commit_named(folder, "HEAD") or "HEAD"
            git(folder, "clean", "-ffdxq")  # compiled modules of the commit before
            opinion = judge(folder, commit)
            tried.append((commit, opinion))
            told = _step(folder, opinion.command)
        return _result(top, told, tuple(tried))


def _step(folder: Path, *arguments: str) -> str:
    """What git said; that only skipped commits are left is an answer, too."""
    try:
        return git(folder, "bisect", *arguments)
    except GitError as error:
        if ONLY_SKIPPED in error.output:
            return error.output
        raise


def _result(top: Path, told: str, tried: tuple[tuple[str, Opinion], ...]) -> Bisection:
    skipped = sum(opinion is Opinion.NONE for _, opinion in tried)
    counts = f"{len(tried)} commits tried" + (f", {skipped} skipped" if skipped else "")
    found = FOUND.search(told)
    if found is not None:
        text = f"--perf-bisect: the first bad commit is {subject_of(top, found[1])} ({counts})"
        return Bisection(first_bad=found[1], tried=tried, text=text)
    among = ", ".join(subject_of(top, commit) for commit in COMMIT.findall(told))
    text = f"--perf-bisect: the first bad commit is one of these, the others cannot be told apart: {among} ({counts})"
    return Bisection(first_bad=None, tried=tried, text=text)
