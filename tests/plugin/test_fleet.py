"""What a run with several devices does with its baselines: how much neighbours may change, what is cut."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric, Statistic
from perfsuite.core.options import GateOptions, Options
from perfsuite.core.recording import Recording
from perfsuite.fleet import cores
from perfsuite.fleet.devices import seats
from perfsuite.fleet.place import Outcome, Seat
from perfsuite.fleet.shares import session_ns
from perfsuite.measure.environment import cpu_product
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import SessionJob
from perfsuite.measure.session_check import CHECK_AGAIN_NS, CHECK_NS
from perfsuite.plugin.bench import Bench
from perfsuite.plugin.fleet import Fleet
from perfsuite.plugin.fleet_settings import FleetSettings
from perfsuite.plugin.selection import Ask
from perfsuite.plugin.sessions import one_each
from perfsuite.plugin.shelf import Shelf
from perfsuite.store import BaselineStore
from tests.builders import make_baseline, make_cell, make_environment, make_recording

CELLS = [make_cell(prompt=length) for length in (10, 20, 30, 40)]
TTFT = Metric(series="ttft", statistic=Statistic.P50)
TOLERANCES = {TTFT: 0.04}


def fleet(folder: Path, past: Any = lambda *_: None, product: str = "NVIDIA H200", **options: Any) -> Fleet:
    """A run on two devices."""
    seats = tuple(Seat(name=f"device {index}", product=product, gpus=()) for index in range(2))
    settings: Any = SimpleNamespace(fleet=FleetSettings(seats=seats), root=folder, options=Options(**options))
    display: Any = SimpleNamespace(said=lambda _: None)
    return Fleet(settings, display, past, TOLERANCES)


def shelf_with(folder: Path, *devices: str, step: float = 1.2) -> Shelf:
    """Baselines of all cells by these devices, the last one the newest; their sessions differ by 20 %, or so."""
    for month, device in enumerate(devices, start=1):
        for cell in CELLS:
            kept = [
                make_recording(cell, session=i, ttft_ms=ms, noise=0.001, seed=i, environment=make_environment(device))
                for i, ms in enumerate((40, 40 * step, 40 * step**2, 40 * step, 40 * step))
            ]
            BaselineStore(folder).save(replace(make_baseline(*kept), saved_at=f"2026-{month:02}-01T00:00:00Z"))
    return Shelf(folder)


@pytest.mark.parametrize(
    ("device", "options", "allowed"),
    [
        ("NVIDIA H200", {}, 0.0645),
        ("2 x NVIDIA H200", {}, 0.0645),
        ("NVIDIA H200 NVL", {}, 0.01),
        ("NVIDIA H200", {"save_baseline": True}, 0.01),
    ],
)
def test_how_much_sessions_of_this_product_differ_counts_where_they_are_judged(
    device: str, options: dict[str, Any], allowed: float, tmp_path: Path
) -> None:
    found = fleet(tmp_path, shelf_with(tmp_path, device).past, **options)._harmless(CELLS)
    assert found == {"ttft": pytest.approx(allowed, rel=0.02)}


def test_how_much_sessions_on_groups_of_cores_differ_counts_too(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cores, "allowed", lambda: (0, 1))
    monkeypatch.setattr(cores, "quota", lambda: None)
    past, (seat, _) = shelf_with(tmp_path, cpu_product()).past, seats("cpu:0,cpu:1")
    assert fleet(tmp_path, past, seat.product)._harmless(CELLS) == {"ttft": pytest.approx(0.0645, rel=0.02)}


def test_a_newer_baseline_of_another_product_hides_none_of_this_one(tmp_path: Path) -> None:
    past = shelf_with(tmp_path, "NVIDIA H200", "NVIDIA H100").past
    assert fleet(tmp_path, past)._harmless(CELLS) == {"ttft": pytest.approx(0.0645, rel=0.02)}


def test_a_broken_baseline_of_another_product_hides_none_of_this_one(tmp_path: Path) -> None:
    past = shelf_with(tmp_path, "NVIDIA H100", "NVIDIA H200").past
    broken = list(tmp_path.glob("*h100*/**/*.json"))
    assert len(broken) == len(CELLS)
    for file in broken:
        file.write_text("{")
    assert fleet(tmp_path, past)._harmless(CELLS) == {"ttft": pytest.approx(0.0645, rel=0.02)}


def test_neighbours_may_change_what_the_strictest_test_lets_them(tmp_path: Path) -> None:
    """A quarter of what a marker asks for, where that is less than the run's own tolerance."""

    def ask(**tolerances: float) -> Ask:
        named = {Metric(series=name, statistic=Statistic.P50): value for name, value in tolerances.items()}
        return Ask(cell=CELLS[0], tolerances=tuple(named.items()))

    options = Options(gate=GateOptions(tolerances=TOLERANCES))
    bench = Bench(Shelf(tmp_path), options, (), lambda _: ())
    assert bench.strictest == TOLERANCES
    bench.gated = (ask(ttft=0.05), ask(ttft=0.02, tpot=0.1))
    assert bench.strictest == {TTFT: 0.02, Metric(series="tpot", statistic=Statistic.P50): 0.1}


def test_what_there_is_to_say_of_the_devices_is_among_the_notes_of_the_run(tmp_path: Path) -> None:
    (said,) = fleet(tmp_path).notes
    assert "2 sessions at a time have no cores of their own" in said


class Owner:
    """Nothing was measured in this run yet."""

    def count(self, cell: Cell) -> int:
        return 0

    def of(self, cell: Cell) -> tuple[Recording, ...]:
        return ()

    def is_open(self, cell: Cell) -> bool:
        return True

    def job(self, cells: Sequence[Cell], session: int) -> SessionJob:
        return SessionJob(reference="x:Y", cells=tuple(cells), session=session, measure=Options().measure)


def test_trials_are_no_part_of_the_first_pass_by_which_a_run_is_limited(tmp_path: Path) -> None:
    made, owner = fleet(tmp_path), Owner()
    times = iter([5, 65, 100, 101])
    made._clock = SimpleNamespace(now_ns=lambda: next(times))  # type: ignore[assignment]
    made._isolation = SimpleNamespace(may_share=lambda *_: True)  # type: ignore[assignment]
    keeper: Any = owner
    assert all(made._may_share(cells, keeper) for cells in (CELLS[:1], CELLS[1:]))
    assert made.trials_ns == 61


@pytest.mark.parametrize(("options", "sizes"), [({}, [2, 2]), ({"save_baseline": True}, [4])])
def test_the_cells_of_one_strategy_are_shared_out_unless_they_become_a_baseline(
    options: dict[str, Any], sizes: list[int], tmp_path: Path
) -> None:
    owner: Any = Owner()
    planned = fleet(tmp_path, **options)._courses([CELLS], one_each, owner, 2)
    assert [len(next(each.chain).job.cells) for each in planned] == sizes


def test_what_is_stored_tells_which_strategy_all_others_would_wait_for(tmp_path: Path) -> None:
    """Four cells of eager take a minute each, that of jit a second: eager is cut though no place would stay empty."""
    seconds = {"eager": 60, "jit": 1}

    def past(cell: Cell, _: object) -> Baseline:
        return make_baseline(make_recording(cell, n=1, decode=0, ttft_ms=1000 * seconds[cell.strategy]))

    owner: Any = Owner()
    planned = fleet(tmp_path, past)._courses([CELLS, [make_cell("jit")]], one_each, owner, 2)
    assert [next(each.chain).job.cells for each in planned] == [
        tuple(CELLS[::2]),
        tuple(CELLS[1::2]),
        (make_cell("jit"),),
    ]


def test_nobody_knows_how_long_cells_take_of_which_one_is_known(tmp_path: Path) -> None:
    """Else three cells that were never measured would seem to take no time."""

    def past(cell: Cell, _: object) -> Baseline | None:
        return make_baseline(make_recording(cell)) if cell == CELLS[0] else None

    owner: Any = Owner()
    expected = fleet(tmp_path, past)._expecting(owner)
    assert expected(CELLS) is None
    assert expected(CELLS[:1]) == session_ns([make_recording(CELLS[0])], was_checked=False)


def test_a_session_whose_cells_were_checked_in_this_run_is_expected_to_take_less(tmp_path: Path) -> None:
    owner: Any = Owner()
    owner.of = lambda cell: (make_recording(cell),)
    first = fleet(tmp_path)._expecting(owner)(CELLS)
    owner.job = lambda cells, session: replace(Owner().job(cells, session), was_checked=True)
    again = fleet(tmp_path)._expecting(owner)(CELLS)
    assert first is not None
    assert again is not None
    assert first - again == CHECK_NS - CHECK_AGAIN_NS


def test_a_session_is_made_on_the_device_that_made_the_fewest_of_its_cell(tmp_path: Path) -> None:
    """Those that a resumed run has kept count."""
    environment = replace(make_environment(), noted={"place": "cuda:0"})
    made = fleet(tmp_path)
    made._isolation = SimpleNamespace(may_share=lambda *_: True)  # type: ignore[assignment]
    made._places = tuple(
        SimpleNamespace(name=f"cuda:{index}", run=lambda *_: Outcome(end=SessionEnd(broken="no model")))
        for index in range(2)
    )
    began: list[str] = []
    owner: Any = Owner()
    owner.of = lambda cell: (make_recording(cell, environment=environment),)
    owner.began = lambda _, place: began.append(place)
    owner.ended = lambda *_: None
    owner.accept = lambda *_: ()
    made.deal([[CELLS[0]]], one_each, owner)
    assert began == ["cuda:1"]
