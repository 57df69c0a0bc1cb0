"""Owns one streamed answer of an OpenAI-compatible server: events in, chunks out, and how many tokens each held."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perfsuite.core.errors import EndpointError
from perfsuite.core.sample import Chunk
from perfsuite.strategies._sse import EventDecoder
from perfsuite.strategies._token_counts import Counter, divided, from_running_totals

DONE = "[DONE]"
THOUGHT = ("reasoning_content", "reasoning")
"""Where a chat's delta holds what a model thinks, which are tokens, too; a server may fill both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The server's own counts; `None` for what it does not tell."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What one event says of the answer."""

    text: str = ""
    token_ids: tuple[int, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None


class Answer:
    """Reads one answer to its end; then `usage` and `token_counts` hold."""

    def __init__(self) -> None:
        self.usage = Usage()
        self._pieces: list[tuple[Event, ...]] = []
        self._ended = False

    def read(self, pieces: Iterable[bytes]) -> Iterator[Chunk]:
        """A chunk for every piece of the network that brought tokens or the answer's end; EndpointError if it breaks.

        Events that came in one piece arrived at once and are one chunk. An event without text and ids (the role of a
        chat) is no token's arrival, unless the server's running count of tokens rose with it. It is read to the end of
        the body, so that the connection can be used again.
        """
        decoder = EventDecoder()
        for piece in pieces:
            events = tuple(event for data in decoder.feed(piece) if (event := self._take(data)))
            if events:
                self._pieces.append(events)
                yield _joined(events)
        if decoder.is_within_an_event:
            raise EndpointError(f"the stream broke off within an event, after {len(self._pieces)} chunks")
        if not self._ended:
            raise EndpointError(f"the stream ended after {len(self._pieces)} chunks without a finish reason")

    def _take(self, data: str) -> Event | None:
        """What an event says, `None` if it brought nothing."""
        if data.strip() == DONE:
            return None
        event, before = read_event(data), self.usage.output_tokens or 0
        running = event.usage.output_tokens if event.usage else None
        rose = not self._ended and running is not None and running > before
        self.usage = event.usage or self.usage
        self._ended = self._ended or event.finish_reason is not None
        return event if event.text or event.token_ids or event.finish_reason or rose else None

    def token_counts(self, counter: Counter | None) -> tuple[int, ...] | None:
        """Tokens of each chunk; `None` if the chunks have their ids. EndpointError for an answer without a token."""
        events = [event for piece in self._pieces for event in piece]
        if any(event.token_ids for event in events):
            return None
        totals = [
            event.usage.output_tokens for event in events if event.usage and event.usage.output_tokens is not None
        ]
        if len(totals) == len(events):
            counts = from_running_totals(totals)
        else:
            counts = divided([event.text for event in events], self.usage.output_tokens, counter)
        if not sum(counts):
            raise EndpointError("the answer has zero tokens; the prompt may end the sequence at once")
        each = iter(counts)
        return tuple(sum(next(each) for _ in piece) for piece in self._pieces)


def _joined(events: tuple[Event, ...]) -> Chunk:
    return Chunk(
        token_ids=tuple(token for event in events for token in event.token_ids),
        text="".join(event.text for event in events),
        finish_reason=next((event.finish_reason for event in events if event.finish_reason), None),
    )


def read_event(data: str) -> Event:
    """One event's data of a streamed completion or chat completion; EndpointError for an error or what is no event."""
    try:
        said = json.loads(data)
    except ValueError as error:
        raise EndpointError(f"an event is not JSON: {data[:60]!r}") from error
    if not isinstance(said, dict):
        raise EndpointError(f"an event is not an object: {data[:60]!r}")
    if said.get("error"):
        raise EndpointError(f"the server broke off: {error_text(said)}")
    choices = said.get("choices") or [{}]
    choice = choices[0] if isinstance(choices, list) and isinstance(choices[0], dict) else {}
    return Event(
        text=_text(choice),
        token_ids=_ids(choice.get("token_ids")),
        finish_reason=choice.get("finish_reason") or None,
        usage=_usage(said.get("usage")),
    )


def error_text(said: object) -> str:
    """The server's own words: of OpenAI's error object, of FastAPI's detail, or whatever there is."""
    if isinstance(said, Mapping):
        inner = next((said[key] for key in ("error", "detail", "message") if said.get(key)), said)
        return error_text(inner) if inner is not said else json.dumps(inner)
    if isinstance(said, list) and said:
        return error_text(said[0])
    return " ".join(str(said).split())


def _text(choice: Mapping[str, Any]) -> str:
    delta = choice.get("delta")
    if isinstance(delta, Mapping):
        thought = next((delta[key] for key in THOUGHT if isinstance(delta.get(key), str)), "")
        return thought + (delta["content"] if isinstance(delta.get("content"), str) else "")
    return text if isinstance(text := choice.get("text"), str) else ""


def _ids(ids: object) -> tuple[int, ...]:
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(type(each) is int for each in ids):
        raise EndpointError(f"token_ids are no list of whole numbers: {str(ids)[:60]}")
    return tuple(ids)


def _usage(usage: object) -> Usage | None:
    if not isinstance(usage, Mapping):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    found = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
    prompt, output, cached = (value if type(value) is int else None for value in found)
    return Usage(prompt_tokens=prompt, output_tokens=output, cached_tokens=cached)
