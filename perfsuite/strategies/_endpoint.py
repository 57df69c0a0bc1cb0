"""Owns the connection to an OpenAI-compatible server: one client, kept alive, and what is said of what goes wrong.

httpx is imported when a connection is made. The key comes from the environment and leaves this file only as a header.
"""

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from perfsuite.core.engine import KEY_VARIABLE
from perfsuite.core.errors import EndpointError, OptionError, StrategyUnavailableError
from perfsuite.core.units import format_seconds, to_s
from perfsuite.strategies._answer import error_text

PATHS = {"/chat/completions": True, "/completions": False}
"""What the URL of an endpoint may end in besides the base, and whether that is a chat."""
CONNECT_TIMEOUT_S = 10.0
LONGEST_WORDS = 200
STREAM = "text/event-stream"
HIDDEN = "***"


def _key() -> str:
    """The key, '' for none; OptionError, which does not show it, if no header can hold it."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise OptionError(
            f"{KEY_VARIABLE}: it holds a line break or what is not ASCII; put the key into it, and no more"
        )
    return key


class Endpoint:
    """A server behind a URL, with the key of the environment; OptionError if no header can hold that.

    Every other error is an EndpointError of one line that does not hold the key.
    """

    def __init__(self, url: str, timeout_ns: int) -> None:
        self._url = url.rstrip("/")
        self._timeout_ns = timeout_ns
        self._key = _key()
        self._client: Any = None
        self._has_failed = False
        self.connections = 0
        ending = next((path for path in PATHS if self._url.endswith(path)), "")
        self.base = self._url.removesuffix(ending)
        self.is_chat = PATHS.get(ending, False)

    def __repr__(self) -> str:
        return f"Endpoint({self.base!r})"

    @property
    def address(self) -> str:
        """'host:8000', or 'host' where the port is the scheme's own."""
        return urlsplit(self.base).netloc

    @property
    def is_on_this_machine(self) -> bool:
        host = urlsplit(self.base).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def connect(self) -> None:
        """Make a client, or a fresh one; nothing is sent yet. StrategyUnavailableError without httpx."""
        self.close()
        self._has_failed = False
        try:
            import httpx
        except ImportError as error:
            raise StrategyUnavailableError(
                "strategy 'openai' needs httpx; install it with: pip install 'perfsuite[openai]'"
            ) from error
        timeout = httpx.Timeout(to_s(self._timeout_ns), connect=min(CONNECT_TIMEOUT_S, to_s(self._timeout_ns)))
        self._client = httpx.Client(
            headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {self._key}"} if self._key else {})},
            timeout=timeout,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None),
            trust_env=not self.is_on_this_machine,  # a proxy for what is here would be measured as well
        )

    def get(self, path: str) -> object:
        """What the server says under a path of its base; `None` unless that is JSON. EndpointError if out of reach."""
        return self._json(f"{self.base}{path}")

    def get_from_root(self, path: str) -> object:
        """The same under a path of the server itself."""
        parts = urlsplit(self.base)
        return self._json(f"{parts.scheme}://{parts.netloc}{path}")

    def mend(self) -> None:
        """A fresh connection, open and used once, if the last answer broke: some servers drop theirs after an error."""
        if self._has_failed:
            self.connect()
            with self._errors_told():
                self._client.get(f"{self.base}/models", extensions={"trace": self._count})

    def _json(self, url: str) -> object:
        with self._errors_told():
            response = self._client.get(url, headers={"Connection": "close"})
            if response.status_code in (401, 403):
                raise EndpointError(self._refusal(response.status_code, response.content))
            try:
                return response.json() if response.is_success else None
            except ValueError:
                return None

    @contextmanager
    def stream(self, body: dict[str, Any]) -> Iterator[Iterator[bytes]]:
        """The pieces of one streamed answer as the network gives them, the connection kept for the next request."""
        path = next(path for path, is_chat in PATHS.items() if is_chat == self.is_chat)
        extensions = {"trace": self._count}
        with (
            self._errors_told(),
            self._client.stream("POST", f"{self.base}{path}", json=body, extensions=extensions) as response,
        ):
            if not response.is_success:
                raise EndpointError(self._refusal(response.status_code, response.read()))
            kind = response.headers.get("content-type", "").partition(";")[0].strip()
            if kind != STREAM:
                raise EndpointError(
                    f"the server does not stream: it answered with {kind or 'no content type'!r} instead of {STREAM!r}"
                )
            yield response.iter_raw()

    def _count(self, event: str, info: object) -> None:
        if event == "connection.connect_tcp.complete":
            self.connections += 1

    def _refusal(self, status: int, content: bytes) -> str:
        import json

        try:
            words = error_text(json.loads(content))
        except ValueError:
            words = " ".join(content.decode(errors="replace").split())
        return self._hide(f"HTTP {status}: {words or 'no words'}")

    def _hide(self, text: str) -> str:
        """Servers have been seen to repeat a key that they do not like."""
        shown = text.replace(self._key, HIDDEN) if self._key else text
        return shown[:LONGEST_WORDS]

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        import httpx

        had_failed, self._has_failed = self._has_failed, True  # until the block has ended well
        try:
            yield
            self._has_failed = had_failed
        except EndpointError as error:
            raise EndpointError(self._hide(str(error))) from None
        except httpx.TimeoutException as error:
            waited = "to connect" if isinstance(error, httpx.ConnectTimeout) else "to be sent anything"
            limit = CONNECT_TIMEOUT_S * 10**9 if isinstance(error, httpx.ConnectTimeout) else self._timeout_ns
            raise EndpointError(
                f"waited {format_seconds(min(limit, self._timeout_ns))} {waited} (--perf-request-timeout)"
            ) from None
        except httpx.ConnectError as error:
            raise EndpointError(self._hide(_connect_words(str(error)))) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise EndpointError(self._hide(f"the connection broke off: {error or type(error).__name__}")) from None

    def close(self) -> None:
        """Give the connection back; may be called twice."""
        if self._client is not None:
            self._client.close()
        self._client = None


def _connect_words(text: str) -> str:
    if "SSL" in text or "certificate" in text.lower():
        return f"TLS failed (name the authority's certificates in the environment variable SSL_CERT_FILE): {text}"
    return f"cannot be reached: {text}"
