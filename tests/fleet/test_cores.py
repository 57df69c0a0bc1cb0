"""Which cores shares of a host get."""

from pathlib import Path

import pytest

from perfsuite.fleet.cores import quota, shares


def system(folder: Path, siblings: dict[int, str], nodes: dict[int, str]) -> Path:
    """A /sys/devices/system with these threads of a core and these cores of a NUMA node."""
    for core, text in siblings.items():
        place = folder / "cpu" / f"cpu{core}" / "topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(text + "\n")
    for node, text in nodes.items():
        (folder / "node" / f"node{node}").mkdir(parents=True)
        (folder / "node" / f"node{node}" / "cpulist").write_text(text + "\n")
    return folder


def test_cores_are_split_evenly_and_no_core_is_in_two_shares(tmp_path: Path) -> None:
    assert shares([None, None, None], range(7), tmp_path) == ((0, 1), (2, 3), (4, 5, 6))


def test_of_the_threads_of_a_core_only_the_first_is_used(tmp_path: Path) -> None:
    threads = {core: f"{core % 4},{core % 4 + 4}" for core in range(8)}
    assert shares([None, None], range(8), system(tmp_path, threads, {})) == ((0, 1), (2, 3))


def test_a_share_lies_on_the_node_that_it_would_like(tmp_path: Path) -> None:
    there = system(tmp_path, {}, {0: "0-3", 1: "4-7"})
    assert shares([1, 1, 0], range(8), there) == ((4, 5), (6, 7), (0, 1, 2, 3))


def test_shares_that_like_no_node_are_spread_over_the_nodes(tmp_path: Path) -> None:
    there = system(tmp_path, {}, {0: "0-3", 1: "4-7"})
    assert shares([None, None], range(8), there) == ((0, 1, 2, 3), (4, 5, 6, 7))


def test_where_a_node_has_too_few_cores_all_are_dealt(tmp_path: Path) -> None:
    there = system(tmp_path, {}, {0: "0-5", 1: "6"})
    assert shares([1, 1], range(7), there) == ((0, 1, 2), (3, 4, 5, 6))


def test_cores_that_this_process_may_not_use_are_nobodys(tmp_path: Path) -> None:
    there = system(tmp_path, {}, {0: "0-3", 1: "4-7"})
    assert shares([0, 1], (2, 3, 6), there) == ((2, 3), (6,))


def test_with_fewer_cores_than_shares_nobody_has_any(tmp_path: Path) -> None:
    assert shares([None, None], (0,), tmp_path) == ((), ())


def test_shares_have_no_more_cores_than_the_control_group_may_keep_busy(tmp_path: Path) -> None:
    """Else one that compiles on all of its cores holds its neighbours back, though they have cores of their own."""
    there = system(tmp_path, {}, {0: "0-31", 1: "32-63"})
    assert shares([0, 1], range(64), there, most=16) == (tuple(range(8)), tuple(range(32, 40)))
    assert shares([0, 1], range(64), there, most=2) == ((0,), (32,))


@pytest.mark.parametrize(("groups", "most"), [(2, 1), (4, 2)])
def test_more_shares_than_the_control_group_may_keep_busy_get_no_cores(tmp_path: Path, groups: int, most: int) -> None:
    assert shares([None] * groups, range(8), tmp_path, most=most) == ((),) * groups


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"cpu.max": "3250000 100000\n"}, 32),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.cfs_quota_us": "800000\n", "cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_control_group_says_how_many_processors_it_may_keep_busy(
    tmp_path: Path, files: dict[str, str], found: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert quota([tmp_path / "nowhere", tmp_path]) == found


def test_of_two_control_groups_the_narrower_counts(tmp_path: Path) -> None:
    for name, text in (("own", "400000 100000"), ("container", "200000 100000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cpu.max").write_text(text)
    assert quota([tmp_path / "own", tmp_path / "container"]) == 2


def test_the_limit_of_a_group_further_up_counts(tmp_path: Path) -> None:
    """Slurm limits the job, and a session's process is in a task of a step of it."""
    own = tmp_path / "slurm" / "job_7" / "step_0" / "user" / "task_0"
    own.mkdir(parents=True)
    (own / "cpu.max").write_text("max 100000")
    (tmp_path / "slurm" / "job_7" / "cpu.max").write_text("400000 100000")
    (tmp_path / "slurm" / "cpu.max").write_text("1600000 100000")
    assert quota([own]) == 4
