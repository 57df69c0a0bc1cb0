"""Two workers that share a machine: of two sessions one works at a time, and whatever breaks ends both."""

import os
import sys
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.sample import Phase
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure import pair
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.pair import Ends, Launch, lacked_room, run_in_turns, run_one_by_one, turn_for
from perfsuite.measure.recipe import Recipe
from perfsuite.measure.session import SessionJob
from perfsuite.measure.turns import Turn
from tests.scripted import MS

ARMS = ("old", "new")


def launches(folder: Path, strategy: str = "InTurns", silence_ns: int = 60 * 10**9, **variables: str) -> list[Launch]:
    cells = tuple(
        Cell(strategy="scripted", model=ModelSpec(name="tiny"), workload=Workload(prompt_tokens=n, output_tokens=2))
        for n in (10, 20)
    )
    measure = MeasureOptions(samples=8, decode_samples=4, block_size=2, warmup=1, silence_ns=silence_ns, monitor=False)
    job = SessionJob(
        reference=f"tests.scripted:{strategy}",
        cells=cells,
        session=0,
        measure=measure,
        import_path=tuple(sys.path),
        turns=True,
        is_checked=False,
    )
    return [Launch(job=job, recipe=Recipe(folder=str(folder), variables={"ARM": arm, **variables})) for arm in ARMS]


def in_turns(folder: Path, seed: int = 0, **variables: str) -> Ends:
    return run_in_turns(*launches(folder, **variables), lambda _: None, seed=seed)


def log(folder: Path) -> list[tuple[str, str, str]]:
    """Who began or ended what, in the order it happened."""
    lines = [line.split(" ", 2) for line in (folder / "turns.log").read_text().splitlines()]
    return [(arm, verb, what) for arm, verb, what in lines]


def test_nobody_works_while_the_other_does(tmp_path: Path) -> None:
    in_turns(tmp_path)
    entries = log(tmp_path)
    for (began, first, what), (ended, second, same) in zip(entries[::2], entries[1::2], strict=True):
        assert (first, second) == ("begins", "ends")
        assert (began, what) == (ended, same)


def test_after_opening_they_take_turns_block_by_block_in_an_order_that_is_drawn_anew(tmp_path: Path) -> None:
    in_turns(tmp_path, seed=3)
    turns = [arm for arm, same in groupby(arm for arm, _, _ in log(tmp_path)) for _ in range(len(list(same)) > 0)]
    assert set(turns) == set(ARMS)
    works = [arm for arm, verb, _ in log(tmp_path) if verb == "begins"]
    assert works.count("old") == works.count("new")
    assert len(turns) > 6
    pairs = _pairs_of_blocks(tmp_path)
    assert len(pairs) == 8
    assert all(set(pair) == set(ARMS) for pair in pairs)
    assert len(set(pairs)) == 2


def _pairs_of_blocks(folder: Path) -> list[tuple[str, ...]]:
    """Who came first and second in each pair of blocks: four requests each, the first of which does not count."""
    begun = [arm for arm, verb, _ in log(folder) if verb == "begins"]
    measured = begun[2 * (1 + 2 * 2) :]  # opening, and a warm-up of two requests for each of two cells
    blocks = [measured[index] for index in range(0, len(measured), 4)]
    return [tuple(blocks[index : index + 2]) for index in range(0, len(blocks), 2)]


def test_both_arms_answer_the_same_requests_in_the_same_order(tmp_path: Path) -> None:
    old, new = in_turns(tmp_path)
    assert old is not None
    assert new is not None
    assert [r.cell for r in old.recordings] == [r.cell for r in new.recordings]
    for ours, theirs in zip(old.recordings, new.recordings, strict=True):
        assert [(s.phase, s.block) for s in ours.samples] == [(s.phase, s.block) for s in theirs.samples]
        assert len(ours.of_phase(Phase.PREFILL)) == 8
    asked = {arm: [what for who, verb, what in log(tmp_path) if (who, verb) == (arm, "begins")] for arm in ARMS}
    assert asked["old"] == asked["new"]


def test_the_first_request_after_waiting_does_not_count(tmp_path: Path) -> None:
    old, _ = in_turns(tmp_path)
    assert old is not None
    for recording in old.recordings:
        assert len(recording.samples) == 8 + 4
        assert len(recording.warmups) == 2 + 4
        assert recording.canaries == ()


@pytest.mark.parametrize(
    ("request_ms", "most", "requests"),
    [
        ((1, 1), 5, 5),
        ((4, 6), 5, 3),
        ((19, 6), 5, 1),
        ((4, 35), 5, 1),
        ((1, 1), 2, 2),
        ((0, 0), 5, 5),
        ((1, None), 5, None),
    ],
)
def test_a_turn_is_for_as_many_requests_as_20_ms_have_room_for(
    request_ms: tuple[int | None, ...], most: int, requests: int | None
) -> None:
    asked = [() if each is None else (each * MS,) for each in request_ms]
    assert turn_for(asked, most).requests == requests


@pytest.mark.parametrize(
    ("of_arms", "requests", "first_counts"),
    [
        (((35,), (34,)), 1, True),
        (((2, 35), (2, 35)), 1, False),
        (((10, 35), (11, 36)), 1, True),
        (((9,), (9,)), 2, False),
    ],
)
def test_the_slowest_cell_says_how_many_and_the_fastest_whether_the_first_counts(
    of_arms: tuple[tuple[int, ...], ...], requests: int, first_counts: bool
) -> None:
    asked = [tuple(each * MS for each in of_cells) for of_cells in of_arms]
    assert turn_for(asked, 5) == Turn(requests=requests, first_counts=first_counts)


class Asked:
    """A worker that notes the turns it is given, and ends after so many."""

    request_ns = (MS,)

    def __init__(self, turns: int) -> None:
        self.given: list[Turn] = []
        self._left = turns

    def give_turn(self, count: int = 1, turn: Turn | None = None) -> None:
        assert turn is not None
        self.given.append(turn)

    def follow(self) -> SessionEnd | None:
        self._left -= 1
        return SessionEnd(died="enough") if self._left < 0 else None


def test_both_turns_of_a_pair_are_on_one_core_and_another_one_is_drawn_for_each_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = [Asked(40), Asked(40)]
    waiting = iter(workers)
    monkeypatch.setattr(pair, "started", lambda *_: nullcontext(next(waiting)))
    monkeypatch.setattr(pair, "allowed_cores", lambda: frozenset({3, 4, 9}))
    run_in_turns(*launches(tmp_path), lambda _: None, seed=0)
    old, new = ([turn.core for turn in worker.given] for worker in workers)
    assert old[:39] == new[:39]
    assert set(old) == {3, 4, 9}


def test_long_requests_take_turns_one_by_one_and_all_of_them_count(tmp_path: Path) -> None:
    ends = in_turns(tmp_path, SLOW="old,new")
    for end in ends:
        assert end is not None
        for recording in end.recordings:
            assert [sample.block for sample in recording.of_phase(Phase.PREFILL)] == list(range(8))
            assert len(recording.of_phase(Phase.DECODE)) == 4
            assert len(recording.warmups) == 2
    begun = [arm for arm, verb, what in log(tmp_path) if verb == "begins" and what.startswith("1 ")]
    measured = begun[2 * 2 :]  # a warm-up of one such request for each of two cells
    assert all(set(arms) == set(ARMS) for arms in zip(measured[::2], measured[1::2], strict=True))


@pytest.mark.parametrize("slow", ARMS)
def test_turns_are_as_short_as_the_slower_arm_asks_for(tmp_path: Path, slow: str) -> None:
    for end in in_turns(tmp_path, SLOW=slow):
        assert end is not None
        for recording in end.recordings:
            assert [sample.block for sample in recording.of_phase(Phase.PREFILL)] == list(range(8))
            assert len(recording.warmups) == 2 + 8


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_that_is_killed_ends_the_pair_and_names_its_cell(tmp_path: Path, arm: str) -> None:
    ends = in_turns(tmp_path, BREAKS=arm, HOW="kill")
    end = ends[ARMS.index(arm)]
    assert end is not None
    assert end.died == "the worker process was killed by SIGKILL during 'warm-up'"
    assert end.culprit is not None
    assert end.culprit.workload.prompt_tokens == 20
    assert ends[1 - ARMS.index(arm)] is None


def test_an_arm_that_hangs_is_ended_although_the_other_waits(tmp_path: Path) -> None:
    first, second = launches(tmp_path, silence_ns=5 * 10**9, BREAKS="new", HOW="hang")
    _, end = run_in_turns(first, second, lambda _: None, seed=0)
    assert end is not None
    assert end.died is not None
    assert "said nothing for 5.00 s" in end.died


def test_two_arms_that_do_not_fit_together_say_so_and_fit_one_after_the_other(tmp_path: Path) -> None:
    arms = launches(tmp_path, HOW="room")
    ends = run_in_turns(*arms, lambda _: None, seed=0)
    assert lacked_room(ends) == ("model 'tiny': cuda:0 is out of memory: the weights take 12.6 GiB, 3.1 GiB were free")
    (tmp_path / "one.is.open").unlink(missing_ok=True)
    alone = run_one_by_one(*arms, lambda _: None, seed=0)
    assert lacked_room(alone) is None
    assert [len(end.recordings) for end in alone if end is not None] == [2, 2]


def test_a_recipe_changes_variables_and_takes_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("DROPPED", "1")
    found = Recipe(variables={"DROPPED": None, "NEW": "2"}).environment(MARK="3")
    assert (found["KEPT"], found["NEW"], found["MARK"], "DROPPED" in found) == ("1", "2", "3", False)
    assert "DROPPED" in os.environ


def test_scripted_time_is_unmoved_by_waiting(tmp_path: Path) -> None:
    old, _ = in_turns(tmp_path)
    assert old is not None
    assert {sample.ttft_ns for sample in old.recordings[0].samples} == {5 * MS}
