"""An OpenAI-compatible server on loopback that answers what a test wrote down, and misbehaves on purpose."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SSE = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as the server saw it; `connection` numbers the TCP connection."""

    path: str
    key: str | None
    body: Any
    connection: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """`pieces` go out one by one; `is_cut` closes the connection after them, `hangs` says nothing more."""

    pieces: tuple[bytes, ...] = ()
    status: int = 200
    kind: str = SSE
    is_cut: bool = False
    hangs: bool = False


def as_json(value: object, status: int = 200) -> Reply:
    return Reply(pieces=(json.dumps(value).encode(),), status=status, kind="application/json")


def event(value: object) -> bytes:
    return f"data: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}\n\n".encode()


def chunk(text: str = "", finish: str | None = None, ids: list[int] | None = None, usage: Any = None) -> bytes:
    """One event of a streamed completion."""
    choice = {"index": 0, "text": text, "finish_reason": finish, **({} if ids is None else {"token_ids": ids})}
    return event({"choices": [choice], **({} if usage is None else {"usage": usage})})


def usage(output: int | None, prompt: int | None = None, cached: int | None = None) -> dict[str, Any]:
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"completion_tokens": output, "prompt_tokens": prompt, **details}


def counted(output: int | None, prompt: int | None = None, cached: int | None = None) -> bytes:
    """The event that ends OpenAI's streams: no choices, the usage."""
    return event({"choices": [], "usage": usage(output, prompt, cached)})


DONE = event("[DONE]")


def models(*names: str, owner: str = "vllm", **more: Any) -> Reply:
    return as_json({"object": "list", "data": [{"id": name, "owned_by": owner, **more} for name in names]})


Completions = Callable[[Asked], Reply]


def spoken(asked: Asked) -> Reply:
    """What vLLM answers: token ids beside the text, the usage at the end."""
    count, prompt = asked.body["max_tokens"], asked.body.get("prompt", [0] * 40)
    pieces = [chunk(f"w{i} ", "length" if i + 1 == count else None, [i]) for i in range(count)]
    return Reply(pieces=(*pieces, counted(count, len(prompt)), DONE))


@dataclass(slots=True)
class Server:
    """What it answers is changed by a test at any time; `asked` is every request so far."""

    url: str = ""
    completions: Completions = spoken
    pages: dict[str, Reply] = field(default_factory=lambda: {"/v1/models": models("served")})
    asked: list[Asked] = field(default_factory=list)

    @property
    def last(self) -> Any:
        """The body of the last completion asked for."""
        return next(asked.body for asked in reversed(self.asked) if asked.body is not None)


class Listening(ThreadingHTTPServer):
    """Knows the server that a test writes, and the event that lets hanging answers end."""

    daemon_threads = True
    request_queue_size = 128  # as many connections come at once

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.written, self.released, self.connections = server, threading.Event(), 0
        server.url = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *arguments: object) -> None:
        pass  # clients that leave in the middle


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # small writes would wait for the acknowledgement of the one before
    server: Listening

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.number = self.server.connections

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def answer(self, body: Any) -> None:
        asked = Asked(path=self.path, key=self.headers.get("authorization"), body=body, connection=self.number)
        written = self.server.written
        written.asked.append(asked)
        missing = as_json({"detail": "Not Found"}, 404)
        is_answer = body is not None and self.path in ("/v1/completions", "/v1/chat/completions")
        self.send(written.completions(asked) if is_answer else written.pages.get(self.path, missing))

    def send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("content-type", reply.kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in reply.pieces:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        if reply.hangs:
            self.server.released.wait()
        if reply.is_cut or reply.hangs:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of loopback, until the end of the block."""
    server = Server()
    with Listening(server) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.released.set()
            listening.shutdown()
            thread.join()
