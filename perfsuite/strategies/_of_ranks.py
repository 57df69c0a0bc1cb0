"""Owns what it means for a strategy to be one of several ranks: who they are, and what all of them do together."""

import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from perfsuite.core.recording import Memory
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.models.load import require_parallel
from perfsuite.models.ranks import ALONE, Seat, backend_of, join, leave, require_devices, world_size
from perfsuite.strategies._gauges import Link, LinkGauge

if TYPE_CHECKING:
    from perfsuite.strategies._team import Team

Method = TypeVar("Method", bound=Callable[..., Any])


def on_every_rank(method: Method) -> Method:
    """A method that all ranks of a split model have to run together; it gives what it gives on this one."""

    @wraps(method)
    def run(strategy: "OfRanks", *arguments: Any) -> Any:
        return strategy.together(method, arguments, others_too=False)[0]

    return run  # type: ignore[return-value]


def _nobody_waits() -> None:
    """A rank that leads, or is alone, has nobody to tell that it is there."""


class OfRanks:
    """One rank of a split model: that which answers and leads the others or, once it `sit`s elsewhere, one of those.

    With one device for the whole model it is alone, and everything happens here.
    """

    def __init__(self) -> None:
        self.seat = ALONE
        self._team: Team | None = None
        self._say_present: Callable[[], None] = _nobody_waits

    def sit(self, seat: Seat, say_present: Callable[[], None]) -> None:
        """Follow another process's lead from now on, as this rank; what to do when it is about to meet the others."""
        self.seat, self._say_present = seat, say_present

    def join_ranks(self, spec: ModelSpec, workloads: tuple[Workload, ...], device: torch.device) -> None:
        """Where several ranks share the model, start the others, unless this is one of them, and meet them.

        Whatever can be known to be wrong is raised before: OptionError or StrategyUnavailableError.
        """
        size = spec.engine.tensor_parallel_size
        if size == 1:
            return
        if self.seat is ALONE:
            require_devices(spec.device, size)
            require_parallel(spec, size)
            from perfsuite.strategies._team import Team

            self._team = Team(_reference_of(self), spec, workloads, size, self.release_graphs)
            self.seat = self._team.seat
            self._team.await_present()
        self._say_present()
        join(self.seat, device)
        if world_size() != size:
            raise RuntimeError(f"{world_size()} ranks met where {size} were asked for")

    @contextmanager
    def all_ranks_ready(self) -> Iterator[None]:
        """Around what an opening rank does with the others, at its end; raises what one of them could not open for."""
        with self._team.opening() if self._team is not None else nullcontext():
            yield

    def release_graphs(self) -> None:
        """Destroy what was captured, in any thread: no group of ranks ends before the graphs that sum over it."""
        return

    def part_from_ranks(self) -> None:
        """The end of all ranks that this one leads, or of its following."""
        if self._team is not None:
            self._team.close()
        elif self.seat.size > 1:
            leave()
        self._team, self.seat, self._say_present = None, ALONE, _nobody_waits

    @property
    def is_broken(self) -> bool:
        """Whether a rank is gone, so that none can be asked anything."""
        return self._team is not None and self._team.broken is not None

    def on_all_ranks(self, method: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
        """What a method gives on every rank, this one first."""
        return self.together(method, arguments, others_too=True)

    def together(self, method: Callable[..., Any], arguments: tuple[Any, ...], *, others_too: bool) -> tuple[Any, ...]:
        """The same; what it gives on the `others_too`, or nothing that would have to come here from there."""
        own = partial(method, self, *arguments)
        if self._team is None:
            return (own(),)
        return self._team.run(method.__name__, arguments, own, others_too=others_too)

    def stream_on_all_ranks(self, request: Request, own: Callable[[Request], Iterator[Chunk]]) -> Iterator[Chunk]:
        """The chunks of this rank, while the others draw the same."""
        return self._team.stream(request, own) if self._team else own(request)

    def told_of_ranks(self, device: torch.device) -> tuple[str, ...]:
        """What evidence notes of them."""
        if self.seat.size == 1:
            return ()
        size = self.seat.size
        ranks = f"ranks: {size} processes by {backend_of(device)}"
        return (f"tensor parallel: {size}", ranks, f"memory: sum over {size} ranks")

    def link_gauges(self) -> Iterator[LinkGauge]:
        """What shows how fast the ranks send to each other, where there are several."""
        if self._team is not None:
            yield LinkGauge(self.link(), self.seat.size, self.send_to_all)

    @abstractmethod
    def link(self) -> Link:
        """The end on this rank of what they send to each other by, on its device."""

    @on_every_rank
    def send_to_all(self) -> None:
        """A few sums over all ranks; each has a link on a device of its own."""
        self.link().send()


def _reference_of(strategy: object) -> str:
    """What makes another process of the same class: 'module:Class', 'file.py:Class' where a file became a module."""
    kind = type(strategy)
    module = sys.modules[kind.__module__]
    place = module.__file__ if kind.__module__.startswith("perfsuite_user_") else kind.__module__
    return f"{place}:{kind.__qualname__}"


def summed(memories: Iterable[Memory]) -> Memory:
    """What all ranks take together; the host's memory of those alone that tell it."""
    found = tuple(memories)
    return Memory(
        weights=total(each.weights for each in found),
        peak_allocated=total(each.peak_allocated for each in found),
        peak_reserved=total(each.peak_reserved for each in found),
        host_peak=total(each.host_peak for each in found if each.host_peak is not None),
    )


def total(numbers: Iterable[int | None]) -> int | None:
    """Their sum; `None` if there are none, or one is not known."""
    known = tuple(numbers)
    return sum(number for number in known if number is not None) if known and None not in known else None
