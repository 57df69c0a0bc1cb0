"""Owns what sessions ask of a cluster: which of its nodes can run them, and the resources that one session takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfsuite.core.errors import OptionError

OPTION = "--perf-cluster"
ACCELERATOR = "accelerator_type:"
TRACE = 0.001
"""So much of a resource that a node only has to have: Ray gives every node with a GPU one of its product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that lives, and what it offers to Ray by the names of resources."""

    id: str
    name: str
    offers: Mapping[str, float] = field(hash=False)

    @property
    def gpus(self) -> int:
        return int(self.offers.get("GPU", 0))

    @property
    def cpus(self) -> int:
        return int(self.offers.get("CPU", 0))

    @property
    def accelerator(self) -> str | None:
        """'accelerator_type:H200'; `None` where Ray does not know."""
        return next((name for name in self.offers if name.startswith(ACCELERATOR)), None)

    @property
    def words(self) -> str:
        return f"node {self.name} ({self.gpus} GPUs, {self.cpus} processors)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What sessions need: `device` is a model's ('auto': GPUs if there are any), `gpus_each` of one `product`.

    Unless neighbours are `trusted` a session has its node for itself.
    """

    device: str = "auto"
    gpus_each: int = 1
    product: str = ""
    trusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The resources that a session asks Ray for; `gpus` of them are the session's, 0 on a processor."""

    gpus: int
    has_all: bool
    resources: Mapping[str, float]

    @property
    def options(self) -> dict[str, Any]:
        """As Ray's tasks take them."""
        custom = {name: count for name, count in self.resources.items() if name not in ("CPU", "GPU")}
        return {
            "num_cpus": self.resources.get("CPU", 0),
            "num_gpus": self.resources.get("GPU", 0),
            "resources": custom,
        }

    @property
    def words(self) -> str:
        """'GPU: 1, CPU: 8, accelerator_type:H200: 0.001'."""
        return ", ".join(f"{name}: {count:g}" for name, count in self.resources.items())

    def fits(self, node: Node) -> bool:
        """Whether a node could ever run such a session."""
        return all(node.offers.get(name, 0) >= count for name, count in self.resources.items())

    def slots(self, node: Node) -> int:
        """How many such sessions a node can run at once."""
        counts = [int(node.offers.get(name, 0) // count) for name, count in self.resources.items() if count >= 1]
        return min(counts, default=0) if self.fits(node) else 0


def usable(nodes: Sequence[Node], wanted: Wanted) -> tuple[Node, ...]:
    """The nodes with the devices that are wanted; OptionError if there are none."""
    if uses_gpus(nodes, wanted):
        found = tuple(node for node in nodes if node.gpus >= wanted.gpus_each)
        missing = f"{wanted.gpus_each} GPU{'s' if wanted.gpus_each > 1 else ''}"
    else:
        found, missing = tuple(node for node in nodes if node.cpus), "a processor"
    if not found:
        told = ", ".join(node.words for node in nodes) or "no node"
        raise OptionError(f"{OPTION}: no node offers {missing} to Ray; there is {told}")
    return found


def uses_gpus(nodes: Sequence[Node], wanted: Wanted) -> bool:
    """Whether sessions run on GPUs: if they were asked for, or there are any and nobody asked for a processor."""
    return wanted.device.startswith("cuda") or (wanted.device == "auto" and any(node.gpus for node in nodes))


def demand_of(nodes: Sequence[Node], wanted: Wanted) -> Demand:
    """What one session asks for on these nodes, which are of one product.

    On processors, and on GPUs whose neighbours are not trusted, all of a node; OptionError if nodes differ in what that
    is. Else its GPUs with their share of the node's processors.
    """
    if not uses_gpus(nodes, wanted):
        return Demand(gpus=0, has_all=True, resources={"CPU": _same(nodes, "CPU")})
    product = {each: TRACE for node in nodes if (each := node.accelerator)}
    if wanted.trusted:
        cpus = min(node.cpus * wanted.gpus_each // node.gpus for node in nodes)
        resources = {"GPU": wanted.gpus_each, "CPU": cpus, **product}
        return Demand(gpus=wanted.gpus_each, has_all=False, resources=resources)
    cpus = min(node.cpus for node in nodes)
    return Demand(gpus=wanted.gpus_each, has_all=True, resources={"GPU": _same(nodes, "GPU"), "CPU": cpus, **product})


def _same(nodes: Sequence[Node], resource: str) -> float:
    """What every node offers of a resource, so that a session that takes it has the node for itself."""
    first = nodes[0]
    for node in nodes[1:]:
        if node.offers.get(resource) != first.offers.get(resource):
            raise OptionError(
                f"{OPTION}: a session has its node for itself, and {first.words} and {node.words} offer Ray different "
                f"numbers of {resource}; start their Ray with the same, or with 0 where nothing is to be measured"
            )
    return first.offers[resource]
