"""Owns server-sent events: bytes in whatever pieces the network gave them in, the data of whole events out."""

from perfsuite.core.errors import EndpointError


class EventDecoder:
    """Keeps what is not complete yet; text is decoded by whole lines, so that no character can be cut in two."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    @property
    def is_within_an_event(self) -> bool:
        """Whether the bytes so far end before an event does."""
        return bool(self._rest.strip() or self._data)

    def feed(self, piece: bytes) -> list[str]:
        """The data of every event that this piece completes; comments and fields other than data are left out."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        events: list[str] = []
        for line in lines:
            text = _text(line.removesuffix(b"\r"))
            if text.startswith("data:"):
                self._data.append(text.removeprefix("data:").removeprefix(" "))
            elif not text and self._data:
                events.append("\n".join(self._data))
                self._data = []
        return events


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise EndpointError(f"the stream is not UTF-8: {line[:40]!r}") from error
