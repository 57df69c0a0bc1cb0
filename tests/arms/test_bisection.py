from collections.abc import Callable
from pathlib import Path

import pytest

from perfsuite.arms.bisection import Bisection, Opinion, bisect
from perfsuite.core.errors import OptionError
from tests.repository import Repository

PLANTED = 11


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A good commit, and sixteen after it."""
    made = Repository(tmp_path_factory.mktemp("bisect") / "project")
    for number in range(17):
        made.commit(f"change {number}", number_txt=str(number))
    return made


def opinion_of(bad_from: int, skipped: tuple[int, ...] = ()) -> Callable[[Path, str], Opinion]:
    def judge(folder: Path, commit: str) -> Opinion:
        number = int((folder / "number.txt").read_text())
        if number in skipped:
            return Opinion.NONE
        return Opinion.BAD if number >= bad_from else Opinion.GOOD

    return judge


def search(
    repository: Repository, *, known_bad: bool = True, bad_from: int = PLANTED, skipped: tuple[int, ...] = ()
) -> Bisection:
    good, bad = repository.git("rev-parse", "HEAD~16"), repository.git("rev-parse", "HEAD")
    return bisect(repository.folder, good, bad, opinion_of(bad_from, skipped), known_bad=known_bad)


@pytest.mark.parametrize("planted", range(1, 17))
def test_the_planted_commit_among_sixteen_is_named_wherever_it_is(repository: Repository, planted: int) -> None:
    found = search(repository, bad_from=planted)
    assert found.first_bad == repository.git("rev-parse", f"HEAD~{16 - planted}")
    assert len(found.tried) <= 4
    assert found.text.startswith("--perf-bisect: the first bad commit is ")
    assert f") change {planted} (" in found.text


def test_a_commit_without_an_opinion_is_skipped(repository: Repository) -> None:
    found = search(repository, skipped=(8,))
    assert found.first_bad == repository.git("rev-parse", f"HEAD~{16 - PLANTED}")
    assert ", 1 skipped)" in found.text


def test_commits_that_cannot_be_told_apart_are_all_named(repository: Repository) -> None:
    found = search(repository, skipped=(9, 10, 11))
    assert found.first_bad is None
    assert "the others cannot be told apart" in found.text
    for number in (9, 10, 11, 12):
        assert f"change {number}" in found.text
    assert "change 13" not in found.text


def test_if_the_last_commit_is_not_bad_the_change_is_not_committed(repository: Repository) -> None:
    found = search(repository, known_bad=False, bad_from=99)
    assert found.first_bad is None
    assert "change 16 is good: look at the changes not committed yet" in found.text


def test_the_users_checkout_stays_and_nothing_is_left(repository: Repository) -> None:
    search(repository)
    assert repository.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert repository.git("status", "--porcelain") == ""
    assert len(repository.git("worktree", "list").splitlines()) == 1
    assert repository.git("for-each-ref", "refs/bisect") == ""


def test_compiled_modules_of_the_commit_before_are_gone(repository: Repository) -> None:
    seen = []

    def judge(folder: Path, commit: str) -> Opinion:
        seen.append((folder / "left.pyc").exists())
        (folder / "left.pyc").touch()
        return opinion_of(PLANTED)(folder, commit)

    bisect(
        repository.folder,
        repository.git("rev-parse", "HEAD~16"),
        repository.git("rev-parse", "HEAD"),
        judge,
        known_bad=True,
    )
    assert len(seen) > 1
    assert not any(seen)


def test_revisions_that_git_cannot_search_between_are_refused_in_its_words(repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    with pytest.raises(OptionError):
        bisect(repository.folder, commit, commit, opinion_of(1), known_bad=True)
