"""What a session asks a cluster for."""

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.fleet.demand import TRACE, Node, Wanted, demand_of, usable


def node(name: str = "a", **offers: float) -> Node:
    return Node(id=name, name=name, offers=offers)


def h200(name: str, gpus: int, cpus: int) -> Node:
    return node(name, **{"GPU": gpus, "CPU": cpus, "accelerator_type:H200": 1})


def test_on_processors_a_session_asks_for_all_of_a_node() -> None:
    nodes = (node("a", CPU=8), node("b", CPU=8))
    demand = demand_of(nodes, Wanted())
    assert (demand.options, demand.gpus) == ({"num_cpus": 8, "num_gpus": 0, "resources": {}}, 0)
    assert [demand.slots(each) for each in nodes] == [1, 1]


def test_beside_neighbours_that_are_not_trusted_it_asks_for_every_gpu_of_a_node_and_uses_its_own() -> None:
    nodes = (h200("a", 8, 128), h200("b", 8, 96))
    demand = demand_of(nodes, Wanted(gpus_each=2))
    assert demand.resources == {"GPU": 8, "CPU": 96, "accelerator_type:H200": TRACE}
    assert (demand.gpus, demand.has_all, [demand.slots(each) for each in nodes]) == (2, True, [1, 1])


def test_beside_trusted_ones_it_asks_for_its_gpus_their_product_and_their_share_of_the_processors() -> None:
    nodes = (h200("a", 8, 128), h200("b", 4, 128))
    demand = demand_of(nodes, Wanted(gpus_each=2, trusted=True))
    assert demand.resources == {"GPU": 2, "CPU": 32, "accelerator_type:H200": TRACE}
    assert (demand.gpus, demand.has_all, [demand.slots(each) for each in nodes]) == (2, False, [4, 2])


def test_a_node_of_another_product_cannot_run_it() -> None:
    demand = demand_of((h200("a", 2, 16),), Wanted())
    assert not demand.fits(node("b", **{"GPU": 2, "CPU": 16, "accelerator_type:H100": 1}))


@pytest.mark.parametrize(
    ("nodes", "device", "chosen"),
    [
        ((h200("a", 1, 8), node("b", CPU=8)), "auto", ["a"]),
        ((h200("a", 1, 8), node("b", CPU=8)), "cpu", ["a", "b"]),
        ((node("head", CPU=0), node("b", CPU=8)), "auto", ["b"]),
    ],
)
def test_gpus_are_used_where_there_are_any_unless_a_processor_was_asked_for(nodes, device, chosen) -> None:
    assert [each.name for each in usable(nodes, Wanted(device=device))] == chosen


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(device="cuda", gpus_each=4), "no node offers 4 GPUs to Ray; there is node a (2 GPUs, 8 processors)"),
        (Wanted(device="cuda", gpus_each=3), "no node offers 3 GPUs"),
    ],
)
def test_a_cluster_without_what_is_wanted_is_one_line(wanted: Wanted, words: str) -> None:
    with pytest.raises(OptionError, match=r"^--perf-cluster: no node offers") as found:
        usable((h200("a", 2, 8),), wanted)
    assert words in str(found.value)


def test_nodes_of_two_sizes_are_one_line_where_a_session_has_its_node_for_itself() -> None:
    with pytest.raises(OptionError, match="offer Ray different numbers of GPU"):
        demand_of((h200("a", 8, 64), h200("b", 4, 64)), Wanted())
    with pytest.raises(OptionError, match="offer Ray different numbers of CPU"):
        demand_of((node("a", CPU=8), node("b", CPU=4)), Wanted())
