"""Owns which cores of this host sessions get for themselves: whole cores, of one NUMA node where there is room."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from perfsuite.measure.procfs import control_groups

SYSTEM = Path("/sys/devices/system")


def allowed() -> tuple[int, ...]:
    """The cores that this process may use, none where nobody can be bound to cores."""
    return tuple(sorted(os.sched_getaffinity(0))) if sys.platform == "linux" else ()


def quota(groups: Iterable[Path] | None = None) -> int | None:
    """How many processors the control group may keep busy at a time, `None` for as many as there are.

    A group has no more than any of those that it is in: Slurm and systemd limit one further up. Sessions on more cores
    than that hold each other back, whichever cores they are.
    """
    own = control_groups() if groups is None else groups
    limits = (_limit(each) for each in {each for folder in own for each in (folder, *folder.parents)})
    return min((limit for limit in limits if limit is not None), default=None)


def _limit(folder: Path) -> int | None:
    """By cpu.max in version 2, by cpu.cfs_quota_us and cpu.cfs_period_us in version 1."""
    words = _text(folder / "cpu.max").split() or [
        _text(folder / "cpu.cfs_quota_us"),
        _text(folder / "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        return None  # 'max' and -1 stand for no limit
    return max(1, int(words[0]) // int(words[1]))


def shares(
    near: Sequence[int | None], cores: Sequence[int], system: Path = SYSTEM, *, most: int | None = None
) -> tuple[tuple[int, ...], ...]:
    """Cores for each share, disjoint; of cores that are threads of one core the first only; `most` in all (`quota`).

    `near` names the NUMA node that each share would like, `None` for any. A share lies within one node as long as every
    node has enough cores for its shares, else all cores are dealt without regard to nodes. Empty tuples if there are
    fewer cores than shares, or may be fewer busy.
    """
    whole = _whole_cores(cores, system)
    if len(whole) < len(near):
        return ((),) * len(near)
    nodes = _by_node(whole, system)
    homes = _homes(near, nodes)
    if any(len(nodes[node]) < homes.count(node) for node in homes):
        nodes, homes = {0: whole}, [0] * len(near)
    found: list[tuple[int, ...]] = []
    for index, node in enumerate(homes):
        before, of_all = homes[:index].count(node), homes.count(node)
        own = nodes[node]
        found.append(tuple(own[len(own) * before // of_all : len(own) * (before + 1) // of_all]))
    return tuple(share[: most // len(near)] if most else share for share in found)


def _homes(near: Sequence[int | None], nodes: dict[int, list[int]]) -> list[int]:
    """A node for each share: the one it would like, else the one with most cores for each of its shares."""
    homes = [wanted if wanted in nodes else None for wanted in near]
    for index, home in enumerate(homes):
        if home is None:
            homes[index] = max(nodes, key=lambda node: len(nodes[node]) / (1 + homes.count(node)))
    return [home for home in homes if home is not None]


def _whole_cores(cores: Sequence[int], system: Path) -> list[int]:
    """One logical processor of each core: a core's threads disturb each other."""
    taken: set[int] = set()
    whole: list[int] = []
    for core in cores:
        if core not in taken:
            whole.append(core)
            taken |= {core, *_listed(system / "cpu" / f"cpu{core}" / "topology" / "thread_siblings_list")}
    return whole


def _by_node(cores: Sequence[int], system: Path) -> dict[int, list[int]]:
    """Cores by NUMA node; all on node 0 where the system tells of none."""
    nodes = {int(path.name[4:]): _listed(path / "cpulist") for path in (system / "node").glob("node[0-9]*")}
    found = {node: [core for core in cores if core in members] for node, members in sorted(nodes.items())}
    found = {node: members for node, members in found.items() if members}
    return found if sum(map(len, found.values())) == len(cores) else {0: list(cores)}


def _listed(path: Path) -> frozenset[int]:
    """The numbers of a list such as '0-3,8'; none if it cannot be read."""
    ranges = [part.partition("-") for part in _text(path).split(",") if part]
    return frozenset(core for first, _, last in ranges for core in range(int(first), int(last or first) + 1))


def _text(path: Path) -> str:
    """What a small file says, '' if it cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
