"""Strategies are tried beside busy neighbours, in real processes with scripted latencies."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from perfsuite.fleet import neighbours
from perfsuite.fleet.isolation import Isolation
from perfsuite.fleet.neighbours import try_beside
from perfsuite.fleet.place import Seat
from perfsuite.measure.launcher import SessionEnd, Worker
from tests.fleet.jobs import make_job

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")

ALLOWED = {"ttft": 0.0125, "tpot": 0.0125}
SEATS = (Seat(name="cpu:0", gpus=()), Seat(name="cpu:1", gpus=()))


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits until a neighbour is awake or held, which Steady ones do not notice."""
    monkeypatch.setattr(neighbours, "AWAKE_NS", 0)


def isolation(folder: Path, said: list[str], way: str = "auto") -> Isolation:
    return Isolation(SEATS, folder / "neighbours", way=way, say=said.append)


def test_a_strategy_that_busy_neighbours_slow_is_found_with_the_size_of_the_effect() -> None:
    ttft, tpot = try_beside(make_job("Jostled"), SEATS[0], SEATS[1:], ALLOWED)
    assert ttft.change == pytest.approx(3 / 5, rel=0.1)
    assert not ttft.is_harmless
    assert tpot.is_harmless


def test_what_neighbours_leave_alone_may_share_the_host_and_is_measured_once(tmp_path: Path, at_once: None) -> None:
    said: list[str] = []
    assert isolation(tmp_path, said).may_share(make_job("Steady"), lambda: ALLOWED)
    assert len(said) == 2
    again = isolation(tmp_path, said)
    assert again.may_share(make_job("Steady"), lambda: ALLOWED)
    assert len(said) == 2
    assert again.notes == (said[1],)
    assert "Steady/tiny may share the host: beside 1 busy: TTFT " in said[1]


def test_what_was_found_is_judged_by_what_is_harmless_now(tmp_path: Path) -> None:
    said: list[str] = []
    assert not isolation(tmp_path, said).may_share(make_job("Jostled"), lambda: ALLOWED)
    assert isolation(tmp_path, said).may_share(make_job("Jostled"), lambda: {"ttft": 0.9, "tpot": 0.9})
    assert len(said) == 2


def test_what_was_found_counts_for_these_seats_and_this_strategy_only(tmp_path: Path, at_once: None) -> None:
    said: list[str] = []
    isolation(tmp_path, said).may_share(make_job("Steady"), lambda: ALLOWED)
    isolation(tmp_path, said).may_share(make_job("Other"), lambda: ALLOWED)
    assert len(said) == 4


def test_a_stored_file_that_is_damaged_is_measured_again(tmp_path: Path, at_once: None) -> None:
    said: list[str] = []
    isolation(tmp_path, said).may_share(make_job("Steady"), lambda: ALLOWED)
    (path,) = (tmp_path / "neighbours").iterdir()
    path.write_text("{")
    isolation(tmp_path, said).may_share(make_job("Steady"), lambda: ALLOWED)
    assert len(said) == 4


def test_a_strategy_whose_trial_fails_runs_alone_and_nothing_is_stored(tmp_path: Path) -> None:
    said: list[str] = []
    tried = isolation(tmp_path, said)
    assert not tried.may_share(make_job("NotThere"), lambda: ALLOWED)
    assert "runs alone, as its trial failed: strategy 'tests.fleet.strategies:NotThere'" in tried.notes[0]
    assert not (tmp_path / "neighbours").exists()


def test_a_neighbour_that_ends_before_the_trial_makes_it_void(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at_once: None
) -> None:
    def take_blocks_after_their_end(own: Worker, busy: Sequence[Worker], beside: Sequence[bool]) -> SessionEnd:
        for worker in busy:
            while worker.follow() is None:
                pass
        return take_blocks(own, busy, beside)

    take_blocks = neighbours._take_blocks
    monkeypatch.setattr(neighbours, "BUSY_BLOCKS", 1)
    monkeypatch.setattr(neighbours, "_take_blocks", take_blocks_after_their_end)
    tried = isolation(tmp_path, [])
    assert not tried.may_share(make_job("Steady"), lambda: ALLOWED)
    assert "its trial failed: a neighbour ended before the trial did" in tried.notes[0]


def test_trust_measures_nothing_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    tried = isolation(tmp_path, said, way="trust")
    assert tried.may_share(make_job("Jostled"), lambda: ALLOWED)
    assert said == []
    assert "was not measured" in tried.notes[0]
