"""Owns the connection to a Ray cluster: which of its nodes are measured on, and that they are alike."""

import logging
import platform
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from perfsuite.core.codec import decode, encode
from perfsuite.core.errors import OptionError
from perfsuite.core.secret import masked
from perfsuite.fleet.demand import OPTION, Node, Wanted, demand_of, usable, uses_gpus
from perfsuite.fleet.node import OF_THE_RUN, Facts, facts, in_words, software

INSTALL = f"{OPTION}: needs the package 'ray'; install it with: pip install 'perfsuite[ray]'"
PATIENCE_S = 120
"""How long nodes may take to say what they are: a fresh process there imports this package."""
CONNECT_S = 10
SAME = "install the same everywhere"


class Cluster:
    """A connection; OptionError for what cannot be reached, has no such device or whose nodes are not alike.

    `expected` is what every node is like, `names` are theirs by id, `demand` is what a session asks for, `slots` how
    many sessions may run at once.
    """

    def __init__(self, address: str, wanted: Wanted) -> None:
        self.ray = _ray()
        self._connect(address)
        with self.closed_on_failure():
            every = self.nodes()
            nodes, self.expected = _alike(self._facts_of(usable(every, wanted), uses_gpus(every, wanted)), wanted)
            self.names: Mapping[str, str] = {node.id: node.name for node in nodes}
            self.demand = demand_of(nodes, wanted)
        self.slots = sum(self.demand.slots(node) for node in nodes)

    def _connect(self, address: str) -> None:
        _check_listening(address)
        try:
            self.ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            raise OptionError(f"{OPTION}: {masked(address)!r} cannot be used: {masked(first_line(error))}") from error

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Let go of the cluster where this fails; OptionError for what Ray says, but not for a fault of our own."""
        try:
            yield
        except (self.ray.exceptions.RayError, ConnectionError, RuntimeError, OSError) as error:
            self.close()
            raise OptionError(f"{OPTION}: the cluster cannot be used: {masked(first_line(error))}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the cluster; what is still running there for this run is ended by Ray."""
        with suppress(Exception):
            self.ray.shutdown()

    def nodes(self) -> tuple[Node, ...]:
        """All that live now."""
        return tuple(
            Node(id=each["NodeID"], name=each.get("NodeName") or each["NodeManagerHostname"], offers=each["Resources"])
            for each in self.ray.nodes()
            if each["Alive"]
        )

    def has_room(self) -> bool:
        """Whether any node could run a session if it were free."""
        return any(self.demand.fits(node) for node in self.nodes())

    def _facts_of(self, nodes: Sequence[Node], wants_gpus: bool) -> dict[Node, Facts]:
        """What each node says of itself, asked all at once."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask = self.ray.remote(_facts)
        asked = {
            node: ask.options(
                num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
            ).remote(wants_gpus)
            for node in nodes
        }
        return {node: self._answer(node, answer) for node, answer in asked.items()}

    def _answer(self, node: Node, answer: Any) -> Facts:
        try:
            return decode(Facts, self.ray.get(answer, timeout=PATIENCE_S), where=f"node {node.name}")
        except Exception as error:
            raise OptionError(
                f"{OPTION}: node {node.name} cannot say what it is: {last_line(error)}; {SAME}, perfsuite too"
            ) from error


def _facts(wants_gpus: bool) -> Any:
    """Runs on a node."""
    return encode(facts(wants_gpus))


def _check_listening(address: str) -> None:
    """OptionError if nobody listens there: Ray itself would ask for a minute and then end this process.

    So it would for a user in front of the host, whom Ray does not know.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # a word that Ray knows, or something that it refuses by itself
    if "@" in host:
        raise OptionError(f"{OPTION}: {masked(address)!r} names a user, whom Ray does not know; write ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError, ValueError) as error:  # the last: no name of a host at all
        told = f"nobody listens at {masked(address)!r} ({error}); check that the cluster runs"
        raise OptionError(f"{OPTION}: {told}") from error


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise OptionError(INSTALL) from error
    return ray


def _alike(found: Mapping[Node, Facts], wanted: Wanted) -> tuple[tuple[Node, ...], Facts]:
    """The nodes of the product that is wanted, and what they are all like; OptionError for the first difference."""
    chosen = {node: each for node, each in found.items() if wanted.product.lower() in each.product.lower()}
    if not chosen:
        there = ", ".join(f"{each.product!r} (node {node.name})" for node, each in found.items())
        raise OptionError(f"--perf-devices: {wanted.product!r} is no product of this cluster; it has {there}")
    (first, expected), *others = chosen.items()
    if len(set(expected.products)) > 1:
        raise OptionError(f"{OPTION}: node {first.name} has {expected.product}; a run measures one product")
    _check_of_the_run(first, expected)
    for node, each in others:
        differing = expected.differences(each)
        if differing:
            remedy = "choose one with --perf-devices PRODUCT" if differing[0][0] == "product" else SAME
            raise OptionError(f"{OPTION}: {in_words(f'node {first.name}', node.name, differing[0])}; {remedy}")
    return tuple(chosen), expected


def _check_of_the_run(node: Node, told: Facts) -> None:
    """What answers must be what asks; the engines need be on the nodes only."""
    own = software()
    for name in OF_THE_RUN:
        here, there = own.get(name, "none"), told.alike.get(name, "none")
        if here != there:
            words = in_words(f"this run on {platform.node()}", node.name, (name, here, there))
            raise OptionError(f"{OPTION}: {words}; {SAME}")


def first_line(error: BaseException) -> str:
    """The first line of what Ray says, which may go on for pages; with the last, if it only announces that."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [*lines[:1], *(lines[-1:] if lines and lines[0].endswith(":") else [])]
    return (" ".join(told) or type(error).__name__)[:300]


def last_line(error: BaseException) -> str:
    """The last line of what Ray says: of an error over there the one that names it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
