"""What a run does to the stored baselines: replace them, add to their sessions, or tell them of later noise."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from perfsuite.core.baseline import Baseline
from perfsuite.core.canary import Canary
from perfsuite.core.recording import Recording
from perfsuite.plugin.shelf import MOST_LATER, Shelf
from perfsuite.store import BaselineStore
from tests.builders import make_block_recording, make_cell, make_environment, make_recording, make_sessions

CELL = make_cell()
FACTORS = (0.94, 0.97, 1.0, 1.03, 1.06)


def on_hosts(factors: Sequence[float]) -> tuple[Recording, ...]:
    """A session on each of these hosts: TTFT and the host's canary take so many times 40 and 1 ms."""
    return tuple(
        make_block_recording([[39.9 * factor, 40.1 * factor]] * 2, {Canary.HOST: (factor, factor)}, session=session)
        for session, factor in enumerate(factors)
    )


def shelf_of(folder: Path, recordings: Sequence[Recording]) -> Shelf:
    """A shelf that has read what is stored for these recordings."""
    shelf = Shelf(folder)
    shelf.load({CELL: tuple(recordings)})
    return shelf


def save(folder: Path, recordings: Sequence[Recording], *, append: bool = False) -> Shelf:
    shelf = shelf_of(folder, recordings)
    shelf.save({CELL: tuple(recordings)}, "abc1234", append=append)
    return shelf


def add_noise(folder: Path, recordings: Sequence[Recording]) -> Shelf:
    shelf = shelf_of(folder, recordings)
    shelf.add_noise({CELL: tuple(recordings)})
    return shelf


def stored(folder: Path) -> Baseline:
    baseline = BaselineStore(folder).load(CELL, make_environment())
    assert baseline is not None
    return baseline


def started(recordings: Sequence[Recording]) -> list[str]:
    return [recording.started_at for recording in recordings]


def test_saving_chooses_the_modes_and_stores_them(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    assert stored(tmp_path).modes["ttft.p50"].label == "host^1.00"


def test_sessions_without_canaries_are_stored_raw(tmp_path: Path) -> None:
    save(tmp_path, make_sessions(make_recording(noise=0.02), 5))
    assert {mode.label for mode in stored(tmp_path).modes.values()} == {"raw"}


def test_saving_replaces_the_sessions(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    save(tmp_path, on_hosts(FACTORS[:3]))
    assert len(stored(tmp_path).recordings) == 3


def test_appended_sessions_stand_behind_the_stored_ones_in_new_numbers(tmp_path: Path) -> None:
    old, new = on_hosts(FACTORS), on_hosts((0.99, 1.01))
    save(tmp_path, old)
    save(tmp_path, new, append=True)
    recordings = stored(tmp_path).recordings
    assert started(recordings) == started((*old, *new))
    assert [recording.session for recording in recordings] == list(range(7))


def test_what_cannot_be_saved_says_whether_the_sessions_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    folder.write_text("a file")
    for on_disk, words in (
        (True, "the sessions are kept: mend it and use --save-baseline --perf-resume"),
        (False, "the sessions could not be kept either: mend it and use --save-baseline"),
    ):
        shelf = Shelf(folder)
        shelf.save({CELL: on_hosts(FACTORS)}, "abc1234", on_disk=on_disk)
        assert shelf.errors[CELL].endswith(words)


def test_modes_are_chosen_anew_from_all_sessions(tmp_path: Path) -> None:
    """Two sessions choose no canary; with three more there is one."""
    save(tmp_path, on_hosts(FACTORS[:2]))
    before = stored(tmp_path).modes["ttft.p50"]
    save(tmp_path, on_hosts(FACTORS[2:]), append=True)
    assert (before.label, stored(tmp_path).modes["ttft.p50"].label) == ("raw", "host^1.00")


def test_appending_to_nothing_saves(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS), append=True)
    assert len(stored(tmp_path).recordings) == 5


def test_appending_keeps_what_later_sessions_told(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    add_noise(tmp_path, on_hosts((1.0,)))
    save(tmp_path, on_hosts((1.02,)), append=True)
    assert (len(stored(tmp_path).recordings), len(stored(tmp_path).later)) == (6, 1)


def test_saving_anew_forgets_what_later_sessions_told(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    add_noise(tmp_path, on_hosts((1.0,)))
    save(tmp_path, on_hosts(FACTORS))
    assert stored(tmp_path).later == ()


def elsewhere(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    other = make_environment(torch="2.13.0")
    return tuple(replace(recording, environment=other) for recording in recordings)


def test_sessions_of_another_environment_are_not_appended_and_nothing_is_lost(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    before = stored(tmp_path)
    shelf = save(tmp_path, elsewhere(on_hosts(FACTORS)), append=True)
    assert shelf.errors[CELL].startswith(
        "eager/tiny/p100-o4: --perf-baseline-append: these sessions do not fit: "
        "torch: '2.11.0' there, '2.13.0' here; the sessions are kept"
    )
    assert "\n" not in shelf.errors[CELL]
    assert shelf.saved == []
    assert stored(tmp_path) == before


def test_one_session_of_another_environment_is_enough(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    before = stored(tmp_path)
    shelf = save(tmp_path, (*on_hosts((1.0,)), *elsewhere(on_hosts((1.0,)))), append=True)
    assert "sessions of two environments are mixed" in shelf.errors[CELL]
    assert stored(tmp_path) == before


def test_a_broken_file_is_not_appended_to(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    path = BaselineStore(tmp_path).path(CELL, make_environment())
    path.write_text("{")
    shelf = save(tmp_path, on_hosts(FACTORS), append=True)
    assert shelf.errors[CELL].startswith(f"{path}: the file ends too early")
    assert path.read_text() == "{"


def test_later_sessions_change_neither_level_nor_modes(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    before = stored(tmp_path)
    shelf = add_noise(tmp_path, on_hosts((1.3, 0.7)))
    after = stored(tmp_path)
    assert shelf.updated == [CELL]
    assert len(after.later) == 2
    assert replace(after, later=()) == before


def test_the_oldest_later_sessions_go_once_there_are_twenty(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    first, more = on_hosts((1.0,) * 15), on_hosts((1.1,) * 7)
    add_noise(tmp_path, first)
    add_noise(tmp_path, more)
    later = stored(tmp_path).later
    assert len(later) == MOST_LATER == 20
    assert started(later) == started((*first[2:], *more))
    assert [recording.session for recording in later] == list(range(20))


def test_noise_is_added_to_no_baseline_that_is_not_there(tmp_path: Path) -> None:
    shelf = add_noise(tmp_path, on_hosts((1.0,)))
    assert (shelf.updated, shelf.errors, list(tmp_path.iterdir())) == ([], {}, [])


def test_noise_of_another_environment_is_refused_and_said(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    before = stored(tmp_path)
    shelf = add_noise(tmp_path, elsewhere(on_hosts((1.0,))))
    assert (shelf.updated, shelf.errors) == ([], {})
    assert "--perf-update-noise: eager/tiny/p100-o4: sessions of two environments are mixed" in shelf.not_updated[CELL]
    assert stored(tmp_path) == before


def test_sessions_that_may_not_be_believed_are_not_saved(tmp_path: Path) -> None:
    slowed = tuple(replace(recording, injected_slowdown=0.1) for recording in on_hosts(FACTORS))
    shelf = save(tmp_path, slowed)
    assert shelf.errors == {CELL: "eager/tiny/p100-o4: not saved: it was slowed by 10 % on purpose (injected slowdown)"}


def test_a_session_that_is_stored_already_is_stored_once(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    again = stored(tmp_path).recordings[-2:]
    save(tmp_path, again, append=True)
    assert len(stored(tmp_path).recordings) == len(FACTORS)


def test_sessions_of_another_size_do_not_join(tmp_path: Path) -> None:
    save(tmp_path, on_hosts(FACTORS))
    shorter = tuple(replace(each, samples=each.samples[: len(each.samples) // 2]) for each in on_hosts((1.0,)))
    shelf = save(tmp_path, shorter, append=True)
    assert "these sessions do not fit: prefill samples:" in shelf.errors[CELL]
    assert len(stored(tmp_path).recordings) == len(FACTORS)
