"""Owns the reading of several streams at once, each by a thread of its own."""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, wait
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

T = TypeVar("T")


def merged(streams: Sequence[Generator[T, None, None]], pool: Executor) -> Iterator[tuple[int, T]]:
    """(row, item) of all streams as items come; an error of one is raised once the others have ended, too.

    A single stream is read where it is asked for, without a thread in between. `pool` needs a thread for each stream.
    """
    if len(streams) == 1:
        yield from ((0, item) for item in streams[0])
        return
    arrived: SimpleQueue[tuple[int, T] | None] = SimpleQueue()
    abandoned = Event()

    def read(row: int, stream: Generator[T, None, None]) -> None:
        try:
            for item in stream:
                arrived.put((row, item))
                if abandoned.is_set():
                    return
        finally:
            stream.close()
            arrived.put(None)

    reading = [pool.submit(read, row, stream) for row, stream in enumerate(streams)]
    try:
        going = len(streams)
        while going:
            found = arrived.get()
            if found is None:
                going -= 1
            else:
                yield found
        for future in reading:
            future.result()
    finally:
        abandoned.set()
        wait(reading)
