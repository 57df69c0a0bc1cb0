"""Sessions of several strategies share a machine: one works at a time, and in every round each measures one block."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.room import Room, room
from perfsuite.measure.rounds import run_in_rounds
from perfsuite.measure.session import SessionJob

BOUNDLESS = Room(gpu=None, host=None)
GIB = 2**30


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def job(strategy: str) -> SessionJob:
    workloads = [Workload(prompt_tokens=tokens, output_tokens=2) for tokens in (10, 20)]
    return SessionJob(
        reference=f"tests.scripted:{strategy}",
        cells=tuple(Cell(strategy=strategy, model=ModelSpec(name="tiny"), workload=each) for each in workloads),
        session=0,
        measure=MeasureOptions(samples=8, decode_samples=4, block_size=2, warmup=1, monitor=False),
        import_path=tuple(sys.path),
        turns=True,
        is_checked=False,
    )


def run(*strategies: str, rooms: tuple[Room, ...] = (), seed: int = 0) -> tuple[SessionEnd | None, ...]:
    """`rooms` are what is found free, one look after the other; the last stays."""
    left = list(rooms or (BOUNDLESS,))
    return run_in_rounds(
        [job(strategy) for strategy in strategies],
        lambda job, progress: None,
        seed=seed,
        room=lambda: left.pop(0) if len(left) > 1 else left[0],
    )


def test_those_that_end_are_told_at_once_with_their_company() -> None:
    told: list[tuple[int, list[int], int]] = []
    jobs = [job(strategy) for strategy in ("FirstInRounds", "Unavailable", "SecondInRounds")]
    ends = run_in_rounds(
        jobs,
        lambda job, progress: None,
        seed=0,
        room=lambda: BOUNDLESS,
        on_end=lambda index, end, company: told.append((index, sorted(company), len(end.recordings))),
    )
    assert sorted(told) == [(0, [2], 2), (2, [0], 2)]
    assert [len(end.recordings) for end in ends if end] == [2, 0, 2]


def test_when_turns_are_not_worth_it_each_measures_to_its_end_and_the_rest_is_not_begun() -> None:
    """Two open while turns go on; the third would be begun after that."""
    looks = 0

    def goes_on() -> bool:
        nonlocal looks
        looks += 1
        return looks <= 2 + 4

    told: list[frozenset[int]] = []
    ends = run_in_rounds(
        [job(strategy) for strategy in ("FirstInRounds", "SecondInRounds")],
        lambda job, progress: None,
        seed=0,
        room=lambda: BOUNDLESS,
        goes_on=goes_on,
        on_end=lambda index, end, company: told.append(company),
    )
    assert [len(end.recordings) for end in ends if end] == [2, 2]
    assert told == [frozenset(), frozenset()]
    measured = [who for who, _ in turns()]
    assert measured[-1] != measured[0] or len(set(measured)) == 2
    last = len(measured) - 1 - measured[::-1].index(next(who for who in set(measured) if who != measured[-1]))
    assert set(measured[last + 1 :]) == {measured[-1]}
    assert len(measured[last + 1 :]) > 4  # blocks of both prompts, without a turn between them
    looks = 0
    begun = run_in_rounds(
        [job(strategy) for strategy in ("FirstInRounds", "SecondInRounds", "ThirdInRounds")],
        lambda job, progress: None,
        seed=0,
        room=lambda: BOUNDLESS,
        goes_on=lambda: goes_on() and looks <= 2,
    )
    assert begun[2] is None
    assert [len(end.recordings) for end in begun if end] == [2, 2]


def test_one_whose_opening_took_all_the_time_for_turns_is_measured_without_opening_again() -> None:
    looks: list[bool] = []

    def goes_on() -> bool:
        looks.append(not looks)
        return looks[-1]

    told: list[tuple[int, frozenset[int]]] = []
    first, second = run_in_rounds(
        [job(strategy) for strategy in ("FirstInRounds", "SecondInRounds")],
        lambda job, progress: None,
        seed=0,
        room=lambda: BOUNDLESS,
        goes_on=goes_on,
        on_end=lambda index, end, company: told.append((index, company)),
    )
    assert first is not None
    assert [len(recording.samples) for recording in first.recordings] == [12, 12]
    assert second is None
    assert told == [(0, frozenset())]
    assert {who for who, _ in turns()} == {"FirstInRounds"}


def turns() -> list[tuple[str, str]]:
    """Who worked on which prompts, in the order in which it happened, each turn once."""
    lines = [tuple(line.split()) for line in Path("rounds.log").read_text().splitlines()]
    return [(who, what) for who, what in lines[:1]] + [
        (who, what) for before, (who, what) in pairwise(lines) if before != (who, what)
    ]


def test_every_round_has_a_block_of_each_at_the_same_prompts_in_an_order_that_is_drawn_anew() -> None:
    ends = run("FirstInRounds", "SecondInRounds", "ThirdInRounds", seed=1)
    assert [len(end.recordings) for end in ends if end] == [2, 2, 2]
    blocks = turns()[-4 * 2 * 3 :]
    rounds = [blocks[start : start + 3] for start in range(0, len(blocks), 3)]
    assert all({who for who, _ in each} == {"FirstInRounds", "SecondInRounds", "ThirdInRounds"} for each in rounds)
    assert all(len({what for _, what in each}) == 1 for each in rounds)
    assert len({tuple(who for who, _ in each) for each in rounds}) > 1


def test_one_that_breaks_leaves_the_others_to_go_on() -> None:
    broken, whole = run("DiesAt20", "FirstInRounds")
    assert broken is not None
    assert "killed by SIGKILL" in str(broken.died)
    assert whole is None
    first, broken, second = run("FirstInRounds", "DiesAt20", "SecondInRounds")
    assert broken is None
    assert first is not None
    assert second is not None
    assert len(first.recordings) == len(second.recordings) == 2


def test_what_would_not_fit_is_not_begun() -> None:
    tight = (Room(gpu=80 * GIB, host=None), Room(gpu=50 * GIB, host=None), Room(gpu=30 * GIB, host=None))
    assert run("FirstInRounds", "SecondInRounds", rooms=tight) == (None, None)
    assert {who for who, _ in turns()} == {"FirstInRounds"}


def test_what_finds_no_room_while_it_opens_is_left_to_be_measured_by_itself() -> None:
    first, without, second = run("FirstInRounds", "WithoutRoom", "SecondInRounds")
    assert without is None
    assert first is not None
    assert second is not None


def test_what_cannot_run_here_says_so() -> None:
    _, unavailable = run("FirstInRounds", "Unavailable")
    assert unavailable is not None
    assert "pip install engine" in str(unavailable.unavailable)


@pytest.mark.parametrize(
    ("free", "fits"),
    [
        (Room(gpu=34 * GIB, host=None), True),
        (Room(gpu=32 * GIB, host=None), False),
        (Room(gpu=None, host=9 * GIB), False),
        (BOUNDLESS, True),
    ],
)
def test_one_more_fits_if_what_the_greediest_took_and_a_tenth_more_is_free(free: Room, fits: bool) -> None:
    before, after = Room(gpu=80 * GIB, host=60 * GIB), Room(gpu=50 * GIB, host=50 * GIB)
    assert free.holds([after.taken_since(before), Room(gpu=GIB, host=GIB)]) is fits


def test_the_hosts_free_memory_is_known_here_and_a_gpus_only_where_there_is_one() -> None:
    found = room("cpu")
    assert found.gpu is None
    assert found.host is None or found.host > 2**20
