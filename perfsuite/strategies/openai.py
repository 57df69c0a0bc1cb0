"""Owns the strategy that asks an OpenAI-compatible server: streamed completions, or chat completions, over HTTP.

What runs there is not known here: neither the memory that it takes nor the time of its device.
"""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from perfsuite.core.engine import KEY_VARIABLE
from perfsuite.core.errors import EndpointError, OptionError, StrategyUnavailableError
from perfsuite.core.recording import Evidence
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, SamplingParams, Workload
from perfsuite.measure.environment import host_name
from perfsuite.measure.standard import Borrowed
from perfsuite.measure.strategy import Ability
from perfsuite.models.presets import check_positions
from perfsuite.strategies._answer import Answer
from perfsuite.strategies._endpoint import Endpoint
from perfsuite.strategies._exchange import Exchange
from perfsuite.strategies._prompt_texts import PromptTexts
from perfsuite.strategies._served_model import UNKNOWN_DTYPE, ServedModel
from perfsuite.strategies._servers import UNKNOWN, Server, body, entries, recognized

REMEDIES = {
    "HTTP 401": f"; put the key into the environment variable {KEY_VARIABLE}",
    "HTTP 403": f"; put a key that may do this into the environment variable {KEY_VARIABLE}",
    "HTTP 404": "; is the model's name right, and does the URL end in /v1?",
}
PROBE = SamplingParams(temperature=0)
PROBE_TOKENS = 32
MOST_ROWS = 64
"""Requests at once; each has a connection and a thread."""


class OpenAIStrategy:
    """The rows of a batch are requests that are sent at once; prompts are token ids where the server takes them."""

    name = "openai"
    abilities: frozenset[Ability] = UNKNOWN.abilities | {Ability.BATCH, Ability.CONCURRENCY}
    place = "an endpoint"

    def __init__(self) -> None:
        self._endpoint: Endpoint | None = None
        self._server: Server = UNKNOWN
        self._model = ""
        self._version: str | None = None
        self._texts: PromptTexts | None = None
        self._sends_text = False
        self._prepared: dict[tuple[int, ...], str] = {}
        self._facts: ModelFacts | None = None
        self._exchange = Exchange(0)
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._cached_prompts: int | None = None
        self._served: ServedModel | None = None
        self._tokenizer_notes: tuple[str, ...] = ()
        self._tells_ids = False
        self._reference: Borrowed | str | None = None

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        """Find out what the server is and takes, and ask it once; EndpointError in one line if it cannot be used."""
        if model.engine.endpoint is None:
            raise StrategyUnavailableError("strategy 'openai' asks a server; name it with --perf-endpoint URL")
        rows = max((workload.batch_size for workload in workloads), default=MOST_ROWS)
        if rows > MOST_ROWS:
            raise OptionError(
                f"--perf-batch-size: {rows} is not allowed with strategy 'openai', at most {MOST_ROWS} is"
            )
        yield "connect"
        self._pool = ThreadPoolExecutor(max_workers=rows, thread_name_prefix="perfsuite-endpoint")
        self._endpoint = endpoint = Endpoint(model.engine.endpoint, model.engine.request_timeout_ns)
        endpoint.connect()
        self._model, self._cached_prompts = model.name, None
        with _refusals_told(endpoint):
            listed = self._recognize(endpoint, model, workloads)
            self._served = served = ServedModel(spec=model, listed=listed, is_chat=endpoint.is_chat)
            self._facts, self._tokenizer_notes = self._find_facts(served), served.notes()
            yield "first answer"
            self._find_prompts(endpoint)

    def _recognize(self, endpoint: Endpoint, model: ModelSpec, workloads: tuple[Workload, ...]) -> dict[str, object]:
        """What the server lists of the model; OptionError if it lists others only, or if a workload is too long."""
        models = endpoint.get("/models")
        openapi = (
            None
            if entries(models) and recognized(models, None) is not UNKNOWN
            else endpoint.get_from_root("/openapi.json")
        )
        self._server = recognized(models, openapi)
        self.abilities = self._server.abilities | {Ability.BATCH, Ability.CONCURRENCY}
        version = endpoint.get_from_root("/version") if self._server.lists_all else None
        self._version = str(version.get("version")) if isinstance(version, dict) and version.get("version") else None
        known = {str(entry.get("id")): dict(entry) for entry in entries(models)}
        if self._server.lists_all and model.name not in known:
            raise EndpointError(f"it serves no model {model.name!r}; give --perf-model {' or '.join(known)}")
        found = known.get(model.name, {})
        positions = found.get("max_model_len")
        check_positions(model.name, positions if isinstance(positions, int) else None, workloads)
        return found

    def _find_facts(self, served: ServedModel) -> ModelFacts:
        endpoint, vocabulary = self._open_endpoint, served.vocabulary
        if vocabulary is None or endpoint.is_chat or not self._server.takes_ids:
            self._texts = served.texts
            vocabulary = vocabulary or (self._texts.vocabulary if self._texts else None)
        if vocabulary is None:
            raise OptionError(
                f"model {served.spec.name!r}: no tokenizer of it is here, so that no prompt can be drawn; name its "
                "Hugging Face id or folder with --perf-tokenizer"
            )
        where = f"endpoint {endpoint.address}" + (f" on {host_name()}" if endpoint.is_on_this_machine else "")
        return ModelFacts(
            vocabulary=vocabulary,
            positions=served.positions,
            parameters=0,
            dtype=UNKNOWN_DTYPE,
            device=where,
            fingerprint=served.fingerprint,
        )

    def _find_prompts(self, endpoint: Endpoint) -> None:
        """Ask for two tokens with ids as the prompt, else with text; what the server counts must be what was sent."""
        ids = tuple(range(PROBE_TOKENS))
        self._sends_text = endpoint.is_chat or self._server.takes_ids is False
        if not self._sends_text:
            try:
                self._probe(ids)
                _check_prompt(self._exchange.answers[0], len(ids))
                return
            except EndpointError as error:
                if self._server.takes_ids or not str(error).startswith(("HTTP 400", "HTTP 422")) or not self._texts:
                    raise
                self._sends_text = True
        if self._texts is None:
            raise EndpointError("it takes prompts as text, and no tokenizer is here; name one with --perf-tokenizer")
        self._probe(ids)
        if endpoint.is_chat:
            self._texts.overhead = self._overhead(len(ids))
        else:
            _check_prompt(self._exchange.answers[0], len(ids))

    def _probe(self, ids: tuple[int, ...]) -> None:
        request = Request(
            prompts=(tuple(token % self.facts().vocabulary for token in ids),), output_tokens=2, sampling=PROBE
        )
        self.prepare(request)
        for _ in self._ask(request):
            pass
        self._tells_ids = self.token_counts() is None

    def _overhead(self, sent: int) -> int:
        counted = self._exchange.answers[0].usage.prompt_tokens
        return max(counted - sent, 0) if counted is not None else 0

    @property
    def _open_endpoint(self) -> Endpoint:
        if self._endpoint is None:
            raise RuntimeError("the strategy is not open")
        return self._endpoint

    def prepare(self, request: Request) -> None:
        """Make the prompts texts, if the server takes no ids, and a failed connection anew: nobody's latency."""
        self._open_endpoint.mend()
        if self._sends_text and self._texts is not None:
            self._prepared = {ids: self._texts.text(ids) for ids in request.prompts}

    def stream(self, request: Request) -> Iterator[Chunk]:
        """A chunk for every piece that holds tokens; EndpointError if an answer breaks, or is one to another prompt."""
        if self._sends_text and not self._prepared.keys() >= set(request.prompts):
            self.prepare(request)
        yield from self._ask(request)
        for answer, ids in zip(self._exchange.answers, request.prompts, strict=True):
            _check_prompt(answer, len(ids))
            cached = answer.usage.cached_tokens
            if cached is not None:
                self._cached_prompts = (self._cached_prompts or 0) + bool(cached)

    def _ask(self, request: Request) -> Iterator[Chunk]:
        endpoint = self._open_endpoint

        def ask(row: int, answer: Answer) -> Generator[Chunk, None, None]:
            ids = request.prompts[row]
            prompt = self._prepared[ids] if self._sends_text else list(ids)
            asked = body(self._server, request, model=self._model, prompt=prompt, is_chat=endpoint.is_chat, row=row)
            with endpoint.stream(asked) as pieces:
                yield from answer.read(pieces)

        self._exchange = Exchange(len(request.prompts))
        yield from self._exchange.chunks(ask, self._pool)

    def token_counts(self) -> tuple[int, ...] | None:
        """Tokens of each chunk of the last request; `None` if the server told their ids."""
        return self._exchange.token_counts(self._texts.count if self._texts else None)

    def reference(self) -> Borrowed | str:
        """Eager on the same weights, if the model's name is a folder that holds them; they must be those served."""
        if self._reference is None and self._served is not None:
            self._reference = self._served.reference(is_told_texts=self._sends_text, tells_ids=self._tells_ids)
        return self._reference or "it is not open"

    def facts(self) -> ModelFacts:
        if self._facts is None:
            raise RuntimeError("the strategy is not open")
        return self._facts

    def evidence(self) -> Evidence:
        """What was asked of which server; prompts answered from a cached prefix, if the server tells of any."""
        endpoint = self._open_endpoint
        notes = (
            f"server: {self._server.name}{f' {self._version}' if self._version else ''}",
            f"API: {'chat completions' if endpoint.is_chat else 'completions'}",
            f"prompts sent as: {'text' if self._sends_text else 'token ids'}",
            f"connections: {endpoint.connections}",
            *self._tokenizer_notes,
        )
        return Evidence(cached_prefix_hits=self._cached_prompts, notes=notes)

    def close(self) -> None:
        """Give the connections back; may be called twice."""
        if self._endpoint is not None:
            self._endpoint.close()
        self._pool.shutdown()
        self._endpoint = self._facts = self._texts = self._served = self._reference = None


def _check_prompt(answer: Answer, sent: int) -> None:
    """EndpointError if the server counts another number of prompt tokens than were meant."""
    counted = answer.usage.prompt_tokens
    if counted is not None and counted != sent:
        raise EndpointError(
            f"the server counts {counted} prompt tokens where {sent} were meant; name the model's own tokenizer "
            "with --perf-tokenizer"
        )


@contextmanager
def _refusals_told(endpoint: Endpoint) -> Iterator[None]:
    """What goes wrong with a server while it is opened, with its URL and what to do about it; other cells go on."""
    try:
        yield
    except EndpointError as error:
        text = str(error)
        remedy = next((remedy for status, remedy in REMEDIES.items() if text.startswith(status)), "")
        raise EndpointError(f"--perf-endpoint: {endpoint.base}: {text}{remedy}") from None
