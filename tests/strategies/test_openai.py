"""What an endpoint is asked, what becomes of its answers, and what is said of endpoints that cannot be used."""

import json
import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from perfsuite.core.engine import KEY_VARIABLE, EngineOptions
from perfsuite.core.errors import EndpointError, ModelLoadError, OptionError, StrategyUnavailableError
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Memory
from perfsuite.core.sample import ROW_STEP, Phase, Request
from perfsuite.core.validity import problems
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure.opening import opened
from perfsuite.measure.session import SessionJob
from perfsuite.measure.strategy import ALL_SAMPLING, Ability, KnowsMemory, TimesDevice
from perfsuite.measure.worker import run_job
from perfsuite.strategies.openai import OpenAIStrategy
from tests.strategies.byte_tokenizer import byte_tokenizer
from tests.strategies.server import DONE, SSE, Reply, as_json, chunk, counted, event, models, serving, spoken, usage

pytest.importorskip("httpx", reason="needs the extra openai")
trustme = pytest.importorskip("trustme", reason="needs the extra test")

KEY = "sk-do-not-tell"
PROMPT = tuple(range(10))
SAMPLING = SamplingParams(temperature=0.5, top_k=7, top_p=0.8, repetition_penalty=1.2, seed=11)


def request(output_tokens=3, prompt=PROMPT, sampling=SAMPLING):
    return Request(prompts=(prompt,), output_tokens=output_tokens, sampling=sampling)


@pytest.fixture
def server():
    with serving() as answering:
        yield answering


@pytest.fixture
def folder(tmp_path):
    """The name of a model with a tokenizer and the size of its vocabulary, without weights."""
    byte_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 258}')
    return str(tmp_path)


def spec(url, name="served", *, tokenizer=None, timeout_ms=30_000):
    engine = EngineOptions(endpoint=url, tokenizer=tokenizer, request_timeout_ns=timeout_ms * 10**6)
    return ModelSpec(name=name, engine=engine)


@contextmanager
def live(server, folder, path="", **more):
    with opened(OpenAIStrategy(), spec(server.url + path, tokenizer=folder, **more)) as strategy:
        yield strategy


def refusal(model, workloads=()):
    """The one line in which an endpoint is refused."""
    with pytest.raises((OptionError, EndpointError)) as caught, opened(OpenAIStrategy(), model, workloads):
        pass
    text = str(caught.value)
    assert "\n" not in text
    return text


def answering(*pieces, **more):
    return lambda asked: Reply(pieces=pieces, **more)


def prefixed(said, words):
    """Whether a refusal names the flag and the endpoint, and says these words."""
    return said.startswith("--perf-endpoint: http") and words in said


def test_a_server_that_tells_token_ids_is_asked_with_ids_and_every_parameter(server, folder):
    with live(server, folder) as strategy:
        chunks = list(strategy.stream(request()))
        assert [part.token_ids for part in chunks] == [(0,), (1,), (2,)]
        assert strategy.token_counts() is None
    assert server.last == {
        "model": "served",
        "prompt": list(PROMPT),
        "max_tokens": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.8,
        "seed": 11,
        "top_k": 7,
        "repetition_penalty": 1.2,
        "ignore_eos": True,
        "return_token_ids": True,
    }


@pytest.mark.parametrize(("owner", "top_k_off"), [("vllm", -1), ("sglang", -1), ("tensorrt_llm", 0)])
def test_what_is_off_is_said_in_the_servers_own_words(server, folder, owner, top_k_off):
    server.pages["/v1/models"] = models("served", owner=owner)
    with live(server, folder) as strategy:
        list(strategy.stream(request(sampling=SamplingParams())))
    assert server.last["top_k"] == top_k_off


def test_greedy_is_temperature_0_and_an_end_of_sequence_can_be_allowed(server, folder):
    with live(server, folder) as strategy:
        list(strategy.stream(replace(request(sampling=SamplingParams(top_k=1)), ignore_eos=False)))
    assert (server.last["temperature"], server.last["ignore_eos"]) == (0, False)


def test_abilities_are_those_of_the_server_found(server, folder):
    assert OpenAIStrategy().abilities == {Ability.TEMPERATURE, Ability.TOP_P, Ability.BATCH, Ability.CONCURRENCY}
    for owner, lacking in (("vllm", set()), ("sglang", {Ability.SEED}), ("tensorrt_llm", {Ability.REPETITION_PENALTY})):
        server.pages["/v1/models"] = models("served", owner=owner)
        with live(server, folder) as strategy:
            assert strategy.abilities == (ALL_SAMPLING - lacking) | {Ability.BATCH, Ability.CONCURRENCY}


def test_an_unknown_server_is_asked_openais_fields_only(server, folder):
    server.pages["/v1/models"] = models("served", owner="somebody")
    with live(server, folder) as strategy:
        list(strategy.stream(request()))
    assert set(server.last) == {
        "model", "prompt", "max_tokens", "stream", "stream_options", "temperature", "top_p", "seed"
    }  # fmt: skip


def test_a_server_that_refuses_ids_gets_a_text_of_as_many_tokens(server, folder):
    def words_only(asked):
        if not isinstance(asked.body["prompt"], str):
            return as_json({"detail": "prompt must be a string."}, 400)
        return Reply(pieces=(chunk("a"), chunk("b"), chunk("", "length"), counted(2, len(asked.body["prompt"]))))

    server.pages.clear()
    server.completions = words_only
    with live(server, folder) as strategy:
        chunks = list(strategy.stream(request(2)))
        assert [part.text for part in chunks] == ["a", "b", ""]
        assert strategy.token_counts() == (1, 1, 0)
        assert "prompts sent as: text" in strategy.evidence().notes
    assert len(byte_tokenizer().encode(server.last["prompt"])) == len(PROMPT)


def test_transformers_serve_is_told_by_its_paths_and_asked_in_its_way(server, folder):
    server.pages = {"/openapi.json": as_json({"paths": {"/load_model": {}, "/reset": {}, "/v1/completions": {}}})}
    server.completions = lambda asked: Reply(pieces=(chunk("a", "length", usage=usage(1, len(asked.body["prompt"]))),))
    with live(server, folder) as strategy:
        list(strategy.stream(request(1)))
        assert strategy.abilities == ALL_SAMPLING | {Ability.BATCH, Ability.CONCURRENCY}
    assert json.loads(server.last["generation_config"]) == {
        "do_sample": True,
        "repetition_penalty": 1.2,
        "max_new_tokens": 1,
        "min_new_tokens": 1,
        "top_k": 7,
        "top_p": 0.8,
        "temperature": 0.5,
    }


def test_a_chat_is_asked_for_by_the_url_and_its_template_counts_as_prompt(server, folder):
    def chat(asked):
        assert asked.path == "/v1/chat/completions"
        content = asked.body["messages"][0]["content"]
        delta = {"index": 0, "delta": {"content": "a"}, "finish_reason": "length"}
        return Reply(pieces=(event({"choices": [delta]}), counted(1, len(content) + 6), DONE))

    server.completions = chat
    with live(server, folder, "/chat/completions") as strategy:
        list(strategy.stream(request(1)))
        assert "API: chat completions" in strategy.evidence().notes
    assert len(server.last["messages"][0]["content"]) == len(PROMPT) - 6


def test_one_connection_is_kept_for_all_requests(server, folder):
    with live(server, folder) as strategy:
        for _ in range(5):
            list(strategy.stream(request()))
    answers = {asked.connection for asked in server.asked if asked.body is not None}
    assert len(answers) == 1


def batch(rows, output_tokens=3):
    prompts = tuple((row, *PROMPT[1:]) for row in range(rows))
    return Request(prompts=prompts, output_tokens=output_tokens, sampling=SAMPLING)


@pytest.mark.parametrize("rows", [2, 64])
def test_the_rows_of_a_batch_are_requests_at_once_on_connections_of_their_own(server, folder, rows):
    everybody = threading.Barrier(rows)

    def together(asked):
        if len(asked.body["prompt"]) == len(PROMPT):
            everybody.wait(60)  # nobody is answered before all have asked
        return spoken(asked)

    server.completions = together
    with live(server, folder) as strategy:
        for _ in range(2):
            chunks = list(strategy.stream(batch(rows)))
            assert sorted(chunk.row for chunk in chunks) == sorted([*range(rows)] * 3)
            assert strategy.token_counts() is None
    asked = [each for each in server.asked if each.body and len(each.body["prompt"]) == len(PROMPT)]
    assert {each.body["prompt"][0] for each in asked} == set(range(rows))
    assert len({each.connection for each in asked}) == rows


def test_the_tokens_of_every_row_are_counted_in_the_order_in_which_they_came(server, folder):
    def by_row(asked):
        first = asked.body["prompt"][0]
        pieces = [chunk("a"), chunk("b", "length")] if first else [chunk("ab", "length")]
        return Reply(pieces=(*pieces, counted(2, len(asked.body["prompt"])), DONE))

    server.pages["/v1/models"] = models("served", owner="somebody")
    server.completions = by_row
    with live(server, folder) as strategy:
        chunks = list(strategy.stream(batch(3, 2)))
        counts = strategy.token_counts()
    assert sorted((part.row, count) for part, count in zip(chunks, counts, strict=True)) == [
        (0, 2), (1, 1), (1, 1), (2, 1), (2, 1)
    ]  # fmt: skip


def test_a_row_that_breaks_fails_the_request_once_the_others_have_ended(server, folder):
    def second_breaks(asked):
        return as_json({"error": "overloaded"}, 503) if asked.body["prompt"][0] == 1 else spoken(asked)

    with live(server, folder) as strategy:
        server.completions = second_breaks
        with pytest.raises(EndpointError, match="HTTP 503: overloaded"):
            list(strategy.stream(batch(3)))
        server.completions = spoken
        strategy.prepare(batch(3))
        assert len(list(strategy.stream(batch(3)))) == 9


def test_an_abandoned_batch_does_not_disturb_the_next(server, folder):
    with live(server, folder) as strategy:
        abandoned = strategy.stream(batch(3))
        next(abandoned)
        abandoned.close()
        assert [part.row for part in strategy.stream(request())] == [0, 0, 0]


@pytest.mark.parametrize("key", [f"{KEY}\nsecond", f"{KEY}ü"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(server, folder, monkeypatch, key):
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(OptionError) as caught, live(server, folder):
        pass
    assert str(caught.value).startswith(f"{KEY_VARIABLE}: it holds a line break or what is not ASCII; ")
    assert KEY not in str(caught.value)


def test_the_key_is_sent_and_shown_nowhere(server, folder, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with live(server, folder) as strategy:
        list(strategy.stream(request()))
        assert {asked.key for asked in server.asked} == {f"Bearer {KEY}"}
        server.completions = lambda asked: as_json({"error": {"message": f"invalid key {KEY}"}}, 401)
        with pytest.raises(EndpointError) as caught:
            list(strategy.stream(request()))
        assert str(caught.value) == "HTTP 401: invalid key ***"
        shown = (repr(strategy), repr(strategy._endpoint), repr(strategy.facts()), repr(strategy.evidence()))
        assert not any(KEY in text for text in shown)
    server.completions = lambda asked: Reply(pieces=(event({"error": KEY}),))
    assert KEY not in refusal(spec(server.url, tokenizer=folder))


def test_prompts_answered_from_a_cache_are_counted(server, folder):
    server.completions = answering(chunk("a", "length", [1]), counted(1, cached=0), DONE)
    with live(server, folder) as strategy:
        list(strategy.stream(request(1)))
        assert strategy.evidence().cached_prefix_hits == 0
        server.completions = answering(chunk("a", "length", [1]), counted(1, cached=8), DONE)
        list(strategy.stream(request(1)))
        assert strategy.evidence().cached_prefix_hits == 1


def test_a_server_that_tells_nothing_of_a_cache_has_no_count_of_it(server, folder):
    with live(server, folder) as strategy:
        list(strategy.stream(request()))
        assert strategy.evidence().cached_prefix_hits is None


def test_the_server_and_its_version_are_in_the_evidence(server, folder):
    server.pages["/version"] = as_json({"version": "0.25.1"})
    with live(server, folder) as strategy:
        assert "server: vLLM 0.25.1" in strategy.evidence().notes


def test_memory_and_device_times_of_an_endpoint_are_not_known():
    assert not isinstance(OpenAIStrategy(), (KnowsMemory, TimesDevice))


BROKEN = {
    "HTTP 500: the engine died": lambda asked: as_json({"error": {"message": "the engine died"}}, 500),
    "HTTP 429: slow down": lambda asked: Reply(pieces=(b"slow\ndown",), status=429, kind="text/plain"),
    "the stream ended after 1 chunks without a finish reason": answering(chunk("a", ids=[1])),
    "the connection broke off: peer closed connection": answering(chunk("a", ids=[1]), is_cut=True),
    "the stream broke off within an event, after 1 chunks": answering(chunk("a", ids=[1]), b'data: {"cho'),
    "the stream is not UTF-8": answering(b"data: \xff\xfe\n\n"),
    "an event is not JSON: 'nonsense'": answering(b"data: nonsense\n\n"),
    "the server broke off: out of memory": answering(chunk("a", ids=[1]), event({"error": "out of memory"})),
    "the answer has zero tokens": answering(chunk("", "stop"), counted(0), DONE),
    "row 0 gave 1 tokens where 2 were asked for": answering(chunk("a", "stop", [1]), DONE),
    "token id 258 is outside the vocabulary of 258": answering(chunk("a", ids=[258]), chunk("b", "stop", [1]), DONE),
    "the server does not stream: it answered with 'application/json'": lambda asked: as_json({"choices": []}),
    "the server counts 9 prompt tokens where 10 were meant": answering(
        chunk("a", ids=[1]), chunk("b", "length", [1]), counted(2, prompt=9), DONE
    ),
}


def session(server, folder, **more):
    """The one recording of a session with an endpoint that may have become another one after it was opened."""
    workload = Workload(prompt_tokens=10, output_tokens=2)
    cell = Cell(strategy="openai", model=spec(server.url, tokenizer=folder, **more), workload=workload)
    job = SessionJob(
        reference="perfsuite.strategies.openai:OpenAIStrategy",
        cells=(cell,),
        session=0,
        measure=MeasureOptions(samples=4, decode_samples=2, block_size=2, warmup=0),
    )
    events = []
    run_job(job, events.append)
    return events[-1]


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_answer_is_a_failure_that_counts_and_never_a_time(server, folder, words):
    def good_while_opened(asked):
        return (spoken if len(asked.body["prompt"]) == 32 else BROKEN[words])(asked)

    server.completions = good_while_opened
    (recording,) = session(server, folder).recordings
    decode = [sample for sample in recording.samples if sample.phase is Phase.DECODE]
    assert decode == []
    assert recording.failures
    assert recording.failures[0].message.startswith(words)
    assert problems(recording)


def test_silence_is_a_failure_after_the_request_timeout(server, folder):
    with live(server, folder, timeout_ms=2000) as strategy:
        server.completions = answering(chunk("a", ids=[1]), hangs=True)
        with pytest.raises(EndpointError, match=r"waited 2.00 s to be sent anything \(--perf-request-timeout\)"):
            list(strategy.stream(request()))


def test_after_a_failure_the_next_request_is_answered(server, folder):
    with live(server, folder) as strategy:
        server.completions = answering(chunk("a", ids=[1]), is_cut=True)
        with pytest.raises(EndpointError):
            list(strategy.stream(request()))
        server.completions = spoken
        assert len(list(strategy.stream(request()))) == 3


def test_the_connection_that_broke_is_made_anew_before_the_next_request_is_timed(server, folder):
    with live(server, folder) as strategy:
        server.completions = lambda asked: as_json({"error": "overloaded"}, 503)
        with pytest.raises(EndpointError):
            list(strategy.stream(request()))
        server.completions = spoken
        strategy.prepare(request())
        opened_before = strategy._endpoint.connections
        list(strategy.stream(request()))
        assert strategy._endpoint.connections == opened_before
        assert server.asked[-1].connection == server.asked[-2].connection != server.asked[-3].connection


def test_several_tokens_a_chunk_are_no_inter_token_latency(server, folder):
    def bundled(asked):
        if asked.body["max_tokens"] == 1:
            return spoken(asked)
        return Reply(pieces=(chunk("a", ids=[1, 2]), chunk("b", "length", [3]), DONE))

    workload = Workload(prompt_tokens=10, output_tokens=3)
    server.completions = bundled
    with live(server, folder) as strategy:
        from perfsuite.measure.clock import HostClock
        from perfsuite.measure.recorder import Recorder

        cell = Cell(strategy="openai", model=ModelSpec(name="served"), workload=workload)
        options = MeasureOptions(samples=1, decode_samples=2, block_size=2, warmup=0)
        (take,) = Recorder(strategy, HostClock(), options, lambda progress: None).measure((cell,), order_seed=0)
    decode = [sample for sample in take.samples if sample.phase is Phase.DECODE]
    assert [sample.tokens for sample in decode] == [(2, 1)] * 2
    assert all(sample.itl_ns is None and len(sample.icl_ns) == 1 for sample in decode)


def test_a_recording_of_an_endpoint_is_valid_and_knows_no_memory(server, folder):
    (recording,) = session(server, folder).recordings
    assert problems(recording) == ()
    assert recording.memory == Memory()
    assert all(sample.device_ns is None for sample in recording.samples)
    assert recording.environment.must_agree["device"].startswith(f"endpoint {server.url[7:-3]} on ")
    assert "torch" not in recording.environment.must_agree


def test_more_requests_at_once_than_there_are_threads_are_refused(server, folder):
    said = refusal(spec(server.url, tokenizer=folder), (Workload(prompt_tokens=10, batch_size=65),))
    assert said == "--perf-batch-size: 65 is not allowed with strategy 'openai', at most 64 is"


def test_an_endpoint_that_is_not_named_is_unavailable():
    with pytest.raises(StrategyUnavailableError, match="name it with --perf-endpoint URL"):
        next(OpenAIStrategy().open(ModelSpec(name="served"), ()))


def test_nobody_there_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = refusal(spec(f"http://127.0.0.1:{port}/v1"))
    assert prefixed(said, "cannot be reached: [Errno 111] Connection refused") or "cannot be reached" in said


def test_a_wrong_path_is_one_line(server, folder):
    said = refusal(spec(server.url.removesuffix("/v1"), tokenizer=folder))
    assert prefixed(said, "HTTP 404: Not Found; is the model's name right, and does the URL end in /v1?")


def test_a_model_that_is_not_served_is_one_line(server, folder):
    said = refusal(spec(server.url, "other", tokenizer=folder))
    assert prefixed(said, "it serves no model 'other'; give --perf-model served")


def test_a_model_that_an_unknown_server_refuses_is_one_line(server, folder):
    server.pages["/v1/models"] = models("served", owner="somebody")
    server.completions = lambda asked: as_json({"error": {"message": "no model other"}}, 404)
    said = refusal(spec(server.url, "other", tokenizer=folder))
    assert prefixed(said, "HTTP 404: no model other; is the model's name right")


def test_a_key_that_is_refused_is_one_line(server, folder):
    server.pages["/v1/models"] = as_json({"error": "Unauthorized"}, 401)
    said = refusal(spec(server.url, tokenizer=folder))
    assert prefixed(said, f"HTTP 401: Unauthorized; put the key into the environment variable {KEY_VARIABLE}")


def test_tls_to_a_server_without_it_is_one_line(server, folder):
    said = refusal(spec(server.url.replace("http", "https"), tokenizer=folder))
    assert prefixed(said, "TLS failed (name the authority")
    assert "[SSL" in said


def test_a_certificate_that_nobody_signed_is_one_line(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def shake_hands():
            connection, _ = listening.accept()
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)
            connection.close()

        thread = threading.Thread(target=shake_hands)
        thread.start()
        said = refusal(spec(f"https://127.0.0.1:{listening.getsockname()[1]}/v1", tokenizer=folder))
        thread.join()
    words = "TLS failed (name the authority's certificates in the environment variable SSL_CERT_FILE): "
    assert prefixed(said, f"{words}[SSL: CERTIFICATE_VERIFY_FAILED]")


def test_no_streaming_is_one_line(server, folder):
    server.completions = lambda asked: as_json({"choices": [{"text": "a"}]})
    assert prefixed(
        refusal(spec(server.url, tokenizer=folder)), f"it answered with 'application/json' instead of {SSE!r}"
    )


def test_zero_tokens_are_one_line(server, folder):
    server.completions = answering(chunk("", "stop"), counted(0), DONE)
    assert prefixed(refusal(spec(server.url, tokenizer=folder)), "the answer has zero tokens")


def test_uncounted_tokens_are_one_line(server, folder):
    server.pages["/v1/models"] = models("served", root=folder)
    server.completions = answering(chunk("a"), chunk("b", "stop"), DONE)
    said = refusal(spec(server.url))
    assert prefixed(said, "the server sends no usage (stream_options.include_usage), and there is no tokenizer")


def test_a_model_without_a_tokenizer_here_is_one_line(server):
    assert "model 'served': no tokenizer of it is here" in refusal(spec(server.url))


def test_a_sequence_that_is_too_long_is_told_before_anything_is_asked(server, folder):
    server.pages["/v1/models"] = models("served", max_model_len=64)
    said = refusal(spec(server.url, tokenizer=folder), (Workload(prompt_tokens=60, output_tokens=5),))
    assert said == (
        "model 'served': 60 prompt and 5 output tokens take 65 positions, the model has 64; shorten the prompts or the "
        "output"
    )
    assert all(asked.body is None for asked in server.asked)


def test_without_httpx_the_remedy_is_told(server, folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    strategy = OpenAIStrategy()
    with pytest.raises(StrategyUnavailableError, match=r"pip install 'perfsuite\[openai\]'"):
        list(strategy.open(spec(server.url, tokenizer=folder), ()))
    strategy.close()


def test_a_tokenizer_of_another_model_is_noted_or_refused(server, tmp_path):
    byte_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 258, "eos_token_id": 5}')
    with live(server, str(tmp_path)) as strategy:
        note = strategy.evidence().note("tokenizer")
    assert note == "ends a text with id 257, the model with 5; it may be that of another model"
    (tmp_path / "config.json").write_text('{"vocab_size": 100}')
    with pytest.raises(ModelLoadError, match="its tokenizer has ids up to 257, the model's end at 99"):
        live(server, str(tmp_path)).__enter__()


def test_rows_sent_together_have_seeds_of_their_own(server, folder):
    with live(server, folder) as strategy:
        list(strategy.stream(batch(3)))
    seeds = {asked.body["prompt"][0]: asked.body["seed"] for asked in server.asked[-3:]}
    assert seeds == {row: SAMPLING.seed + row * ROW_STEP for row in range(3)}
