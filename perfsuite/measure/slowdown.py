"""Owns the slowdown that perfsuite injects to prove that a gate can go red."""

from collections.abc import Callable, Iterator

from perfsuite.core.sample import Chunk, Request
from perfsuite.measure.clock import Clock

Stream = Callable[[Request], Iterator[Chunk]]


def slowed(stream: Stream, fraction: float, clock: Clock) -> Stream:
    """`stream` with every event later by `fraction` of the time it took (0.1: 10 % slower), by really waiting."""

    def slow_stream(request: Request) -> Iterator[Chunk]:
        before_ns = clock.now_ns()
        for chunk in stream(request):
            clock.wait_ns(round((clock.now_ns() - before_ns) * fraction))
            yield chunk
            before_ns = clock.now_ns()

    return slow_stream
