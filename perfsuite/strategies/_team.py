"""Owns the ranks that follow, as the one that answers has them: what they are told, their replies, and who is gone.

Nothing but a command goes out before a pass begins, and nothing comes back before its last token is on the host: what
holds the ranks together in between is the sums over them.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from perfsuite.core.errors import DeviceLostError, one_line
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.units import NS_PER_S
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.clock import HostClock
from perfsuite.models.ranks import Seat
from perfsuite.strategies._follower import CLOSE, STREAM, Charge, Reply
from perfsuite.strategies._launch import Followers
from perfsuite.strategies._line import COMMANDS, Door, Line, packed
from perfsuite.strategies._parting import Parting
from perfsuite.strategies._vigil import STRAGGLING_S, Vigil

LOOK_S = 0.5
READY_S = 1800.0
"""How long a rank may take to be ready: one may have to compile what another finds in a cache."""
COMING_TO_REST_S = 20.0
"""How long the others may take to reply once rank 0 has broken off: where they wait for it, they never will."""


class Team:
    """The ranks 1 to size - 1 of a strategy that is opened here as rank 0; `release` destroys its graphs."""

    def __init__(
        self,
        reference: str,
        spec: ModelSpec,
        workloads: tuple[Workload, ...],
        size: int,
        release: Callable[[], None],
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="perfsuite-ranks-")
        self.seat = Seat(rank=0, size=size, store=str(Path(self._folder.name) / "store"))
        self._threads = torch.get_num_threads()
        self._share = max(1, self._threads // size) if self.seat.of(spec).device == "cpu" else 0
        self._lines: dict[int, Line] = {}
        self._lives: dict[int, Connection] = {}
        self._is_ready = False
        door = Door(Path(self._folder.name))
        self._followers = Followers(door.address, size, self._folder.name)
        self._parting = Parting(release)
        self._vigil: Vigil | None = None
        try:
            self._admit(door)
        except BaseException:
            self.close()
            raise
        finally:
            door.close()
        self._vigil = Vigil(self._followers, self._lives, self._lines, self._parting.get_away)
        for rank, line in self._lines.items():
            seat = Seat(rank=rank, size=size, store=self.seat.store)
            line.send(
                Charge(reference=reference, seat=seat, spec=seat.of(spec), workloads=workloads, threads=self._share)
            )
        if self._share:
            torch.set_num_threads(self._share)

    @property
    def vigil(self) -> Vigil:
        if self._vigil is None:
            raise RuntimeError("the ranks are not there yet")
        return self._vigil

    @property
    def broken(self) -> str | None:
        """Which rank has ended or does not go on; from then on every call raises it as a DeviceLostError."""
        return self._vigil.broken if self._vigil else None

    def _admit(self, door: Door) -> None:
        ranks, clock = set(range(1, self.seat.size)), HostClock()
        until_ns = clock.now_ns() + round(READY_S * NS_PER_S)
        while set(self._lines) != ranks or set(self._lives) != ranks:
            came = door.next_in(LOOK_S)
            gone = [rank for rank in ranks if self._followers.has_ended(rank)]
            if gone:
                raise DeviceLostError(self._followers.ending(gone[0]))
            if clock.now_ns() > until_ns:
                late = min(ranks - (set(self._lines) & set(self._lives)))
                raise DeviceLostError(f"rank {late} of {self.seat.size} has not come for {READY_S:.0f} s")
            if came is not None and came[0] == COMMANDS:
                self._lines[came[1]] = Line(came[2])
            elif came is not None:
                self._lives[came[1]] = came[2]

    def await_present(self) -> None:
        """Until all ranks are about to meet; raises what one of them came no further for."""
        self._replies("loaded torch and the strategy", READY_S)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Around the last that this rank does to open; at the end all are open, or it raises what one was not for."""
        try:
            yield
        except Exception as error:
            try:
                self._replies(f"opened the strategy after rank 0 broke off ({one_line(error)})", COMING_TO_REST_S)
            except Exception as cause:
                raise cause from error
            raise
        self._replies("opened the strategy", READY_S)
        self._is_ready = True

    def run(
        self, name: str, arguments: tuple[Any, ...], own: Callable[[], Any], *, others_too: bool
    ) -> tuple[Any, ...]:
        """What a method of the strategy gives on every rank, rank 0 first; `None` of others, unless `others_too`."""
        self._tell(name, arguments, others_too)
        with self._all_ranks(f"answered {name!r}", READY_S) as others:
            value = own()
        return (value, *others)

    def stream(self, request: Request, own: Callable[[Request], Iterator[Chunk]]) -> Iterator[Chunk]:
        """The chunks of rank 0; at the end all ranks have drawn the same, or a RuntimeError says which has not.

        Whoever stops listening does not stop the ranks: they go on to the request's end.
        """
        self._tell(STREAM, (request,), True)
        chunks = own(request)
        ids: list[int] = []
        with self._all_ranks("ended the request", STRAGGLING_S) as others:
            try:
                for chunk in self._watched(chunks):
                    ids.extend(chunk.token_ids)
                    yield chunk
            except GeneratorExit:
                ids.extend(token for chunk in self._watched(chunks) for token in chunk.token_ids)
                raise
        self._require_same(tuple(ids), others)

    def _watched(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """The same; while this rank works on a step, which whoever reads them does not, others must go on."""
        try:
            while True:
                self.vigil.require_whole()
                self.vigil.is_stepping = True
                chunk = next(chunks, None)
                self.vigil.is_stepping = False
                self.vigil.require_whole()  # NCCL ends a sum with a rank that is gone without an error
                if chunk is None:
                    return
                self.vigil.steps += 1
                yield chunk
        finally:
            self.vigil.is_stepping = False

    def _require_same(self, own: tuple[int, ...], others: list[tuple[int, ...]]) -> None:
        for rank, drawn in enumerate(others, start=1):
            if drawn != own:
                same = next((index for index, (a, b) in enumerate(zip(own, drawn, strict=False)) if a != b), len(own))
                raise RuntimeError(
                    f"rank {rank} of {self.seat.size} drew other tokens than rank 0, from token {same} on"
                )

    def _tell(self, name: str, arguments: tuple[Any, ...], is_value_wanted: bool) -> None:
        self.vigil.require_whole()
        told = packed((name, arguments, is_value_wanted))
        for line in self._lines.values():
            with suppress(OSError):  # it has ended; whoever waits for its reply says so
                line.send_packed(told)

    @contextmanager
    def _all_ranks(self, what: str, patience_s: float) -> "Iterator[list[Any]]":
        """The values of the other ranks, there when the block has ended.

        What went wrong in it is raised, unless a rank is gone, of which it then was the consequence.
        """
        others: list[Any] = []
        try:
            yield others
        except GeneratorExit:
            self._replies(what, patience_s)
            raise
        except Exception as error:
            self._explain(error, what)
            raise
        except BaseException:  # an interrupt: this rank will not come to where the others wait for it
            self.vigil.break_off(f"rank 0 of {self.seat.size} was interrupted")
            raise
        others.extend(self._replies(what, patience_s))

    def _explain(self, error: Exception, what: str) -> None:
        """DeviceLostError if a rank is gone, or out of step; else all have replied, and can go on."""
        try:
            self._replies(f"{what} after rank 0 broke off ({one_line(error)})", COMING_TO_REST_S)
        except DeviceLostError as lost:
            raise lost from error
        except Exception:  # noqa: BLE001 - the same as here, seen there
            if self.broken is not None:
                raise DeviceLostError(self.broken) from error

    def _replies(self, what: str, patience_s: float) -> list[Any]:
        replies = {rank: self._reply(rank, line, what, patience_s) for rank, line in self._lines.items()}
        for rank, reply in replies.items():
            if reply.error is not None:
                raise type(reply.error)(f"rank {rank} of {self.seat.size}: {reply.error}")
        return [reply.value for reply in replies.values()]

    def _reply(self, rank: int, line: Line, what: str, patience_s: float) -> Reply:
        clock = HostClock()
        until_ns = clock.now_ns() + round(patience_s * NS_PER_S)
        try:
            while not line.is_there(LOOK_S):
                if clock.now_ns() > until_ns:
                    self.vigil.break_off(f"rank {rank} of {self.seat.size} has not {what} for {patience_s:.0f} s")
                self.vigil.require_whole()
            reply: Reply = line.receive()
            self.vigil.taken[rank] += 1
        except (EOFError, OSError) as error:
            self.vigil.break_off(self._followers.ending(rank))
            self.vigil.require_whole()
            raise DeviceLostError(str(error)) from error
        return reply

    def close(self) -> None:
        """End all ranks; where one is gone, or was not ready yet, without waiting for any."""
        if self._vigil is not None:
            self._vigil.end()
        if self.broken is None and self._is_ready:
            for line in self._lines.values():
                with suppress(OSError):
                    line.send((CLOSE, (), False))
            self._parting.leave()
            self._followers.await_ends()
        self._followers.end()
        self._parting.give_up()
        self._parting.leave()
        ends: tuple[Line | Connection, ...] = (*self._lines.values(), *self._lives.values())
        for end in ends:
            end.close()
        if self._share:
            torch.set_num_threads(self._threads)
        self._folder.cleanup()
