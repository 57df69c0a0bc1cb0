"""Owns which cores of this host sessions get for themselves: whole cores, of one NUMA node where there is room."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

SYSTEM = Path("/sys/devices/system")


def allowed() -> tuple[int, ...]:
    """The cores that this process may use, none where nobody can be bound to cores."""
    return tuple(sorted(os.sched_getaffinity(0))) if sys.platform == "linux" else ()


def shares(near: Sequence[int | None], cores: Sequence[int], system: Path = SYSTEM) -> tuple[tuple[int, ...], ...]:
    """Cores for each share, disjoint; of cores that are threads of one core the first only.

    `near` names the NUMA node that each share would like, `None` for any. A share lies within one node as long as every
    node has enough cores for its shares, else all cores are dealt without regard to nodes. Empty tuples if there are
    fewer cores than shares.
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
    return tuple(found)


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
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return frozenset()
    ranges = [part.partition("-") for part in text.split(",") if part]
    return frozenset(core for first, _, last in ranges for core in range(int(first), int(last or first) + 1))
