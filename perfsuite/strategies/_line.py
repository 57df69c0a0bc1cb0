"""Owns the line between the rank that answers and one that follows: values as they are, one after the other.

A second connection ends when the process at its other end does, however that came about, and tells of errors before.
"""

import pickle
import socket
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

COMMANDS, LIFE = "commands", "life"
"""What a connection is for, as it introduces itself."""


class Line:
    """Values of perfsuite's own processes, which trust each other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, value: object) -> None:
        self.send_packed(packed(value))

    def send_packed(self, value: bytes) -> None:
        self._connection.send_bytes(value)

    def receive(self) -> Any:
        """The next value; EOFError or OSError if the other process has ended."""
        return pickle.loads(self._connection.recv_bytes())  # noqa: S301 - of a process that we have started

    def is_there(self, timeout_s: float) -> bool:
        """Whether a value comes within that time."""
        return self._connection.poll(timeout_s)

    def close(self) -> None:
        self._connection.close()


def packed(value: object) -> bytes:
    """A value, once for all lines that it goes out on."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def connect(address: str, purpose: str, rank: int) -> Connection:
    """A connection to the rank that answers."""
    end = socket.socket(socket.AF_UNIX)
    end.connect(address)
    connection = Connection(end.detach())
    connection.send_bytes(packed((purpose, rank)))
    return connection


class Door:
    """Where the ranks that follow come in."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "ranks")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.address)
        self._socket.listen()

    def next_in(self, timeout_s: float) -> tuple[str, int, Connection] | None:
        """Purpose, rank and connection of who comes within that time."""
        self._socket.settimeout(timeout_s)
        try:
            end, _ = self._socket.accept()
        except TimeoutError:
            return None
        end.setblocking(True)
        connection = Connection(end.detach())
        purpose, rank = pickle.loads(connection.recv_bytes())  # noqa: S301 - of a process that we have started
        return purpose, rank, connection

    def close(self) -> None:
        self._socket.close()
