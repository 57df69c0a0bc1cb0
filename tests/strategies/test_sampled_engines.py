"""An engine or a server that draws wrongly is found though it shows no logits: eager has the same weights."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from perfsuite.core.engine import EngineOptions
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure import live_check
from perfsuite.measure.allowance import Allowance
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.opening import opened
from perfsuite.measure.sampling import check_sampling
from perfsuite.models import reference
from perfsuite.models.alphabet import decode
from perfsuite.strategies import _engine
from perfsuite.strategies.openai import OpenAIStrategy
from perfsuite.strategies.tensorrt_llm import TensorRTLLMStrategy
from perfsuite.strategies.vllm import VllmStrategy
from tests.strategies import tensorrt_llm_double, vllm_double
from tests.strategies.byte_tokenizer import save_tiny
from tests.strategies.drawing import IGNORED, NOTHING, drawing
from tests.strategies.server import DONE, Reply, chunk, counted, models, serving

EVERYTHING = SamplingParams(temperature=0.6, top_k=5, top_p=0.8, repetition_penalty=1.5)
SHOWING = {
    "temperature": SamplingParams(temperature=0.2),
    "top_k": SamplingParams(top_k=2),
    "top_p": SamplingParams(top_p=0.2),
    "repetition_penalty": EVERYTHING,
    "seed": SamplingParams(temperature=2.0),
}
"""Under what each shows soon if it is ignored."""
TINY = ModelSpec(name="tiny", device="cuda", dtype="float32")


def workload(ignores=NOTHING, batch_size=1):
    sampling = SHOWING.get(ignores, EVERYTHING)
    return Workload(prompt_tokens=16, output_tokens=6, batch_size=batch_size, sampling=sampling)


@pytest.fixture(autouse=True)
def a_gpu(monkeypatch):
    monkeypatch.setattr(_engine, "has_gpu", lambda: True)


def of_vllm(monkeypatch, ignores):
    vllm_double.install(monkeypatch).draw = staticmethod(drawing(ignores))
    return VllmStrategy()


def of_tensorrt_llm(monkeypatch, ignores):
    double = tensorrt_llm_double.install(monkeypatch, version="1.4.0rc1", has_engine_backend=False)
    double.draw = staticmethod(drawing(ignores))
    return TensorRTLLMStrategy()


def check(strategy, asked, model=TINY, **more):
    with opened(strategy, model, (asked,)) as live:
        return check_sampling(live, asked, Effort(requests=16), **more)


@pytest.mark.parametrize(("engine", "batch_size"), [(of_vllm, 1), (of_vllm, 3), (of_tensorrt_llm, 1)])
def test_an_engine_that_applies_every_parameter_is_accepted(monkeypatch, engine, batch_size):
    found = check(engine(monkeypatch, NOTHING), workload(batch_size=batch_size))
    assert (found.problems, found.not_checked, found.left_out) == ((), None, ())
    assert found.draws > 8
    assert {"top-k is ignored", "the penalty is ignored", "temperature is ignored"} <= set(found.told)


@pytest.mark.parametrize(
    ("engine", "ignores"),
    [
        (of_vllm, "temperature"),
        (of_vllm, "top_k"),
        (of_vllm, "seed"),
        (of_tensorrt_llm, "top_p"),
        (of_tensorrt_llm, "repetition_penalty"),
    ],
)
def test_an_engine_that_ignores_a_parameter_is_found(monkeypatch, engine, ignores):
    assert check(engine(monkeypatch, ignores), workload(ignores)).problems


def test_a_greedy_answer_is_held_against_the_largest_score(monkeypatch):
    asked = replace(workload(), output_tokens=12, sampling=SamplingParams(temperature=0, repetition_penalty=3.0))
    assert check(of_vllm(monkeypatch, NOTHING), asked).problems == ()
    (problem,) = check(of_vllm(monkeypatch, "repetition_penalty"), asked).problems
    assert "was taken where token" in problem


def test_half_precision_is_known_less_exactly_and_raises_no_alarm(monkeypatch):
    found = check(of_vllm(monkeypatch, NOTHING), workload(), replace(TINY, dtype="float16"))
    assert (found.problems, found.not_checked) == ((), None)


def test_the_examination_asks_for_no_temperature_that_an_engine_refuses(monkeypatch):
    monkeypatch.setattr(live_check, "PARAMETERS", (SamplingParams(temperature=3),))
    monkeypatch.setattr(live_check, "REQUESTS", 4)
    monkeypatch.setattr(live_check, "ROWS_OF_ANSWERS", 1)
    monkeypatch.setattr(live_check, "ROUNDS", 1)
    asked = replace(workload(), prompt_tokens=8, output_tokens=2)
    with opened(of_vllm(monkeypatch, NOTHING), TINY, (asked,)) as live:
        found = live_check.check_strategy(live, asked)
    assert (found.problems, found.not_checked) == ((), None)


def test_a_check_of_an_engine_ends_when_its_time_does(monkeypatch):
    class Clock:
        ticks = 0

        def now_ns(self):
            self.ticks += 10**9
            return self.ticks

    found = check(of_vllm(monkeypatch, NOTHING), workload(), allowance=Allowance(Clock(), 40 * 10**9))
    assert found.left_out
    assert found.problems == ()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (replace(TINY, load_format="dummy"), "its dummy weights are the engine's own"),
        (replace(TINY, name="llama-2-7b"), "its dummy weights are the engine's own"),
    ],
)
def test_what_nobody_else_has_is_not_checked(monkeypatch, model, reason):
    found = check(of_vllm(monkeypatch, NOTHING), workload(), model)
    assert found.not_checked == f"strategy 'vllm' shows no logits, and {reason}"


def test_weights_that_are_too_large_to_be_read_once_more_are_not(monkeypatch):
    monkeypatch.setattr(reference, "MOST_BYTES", 2**10)
    found = check(of_vllm(monkeypatch, NOTHING), workload())
    assert found.not_checked == (
        "strategy 'vllm' shows no logits, and its weights of 1 MiB are too large to be read once more beside it (at "
        "most 1 KiB)"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tiny")
    save_tiny(place)
    return str(place)


def answering(ignores, *, tells_ids):
    """A server that draws from the embedded model, and says ids, or text only."""
    draw = drawing(ignores)

    def answer(asked):
        body = asked.body
        ids = draw(body["prompt"], SimpleNamespace(**{name: body[name] for name in (*IGNORED, "max_tokens")}))
        pieces = [
            chunk(
                decode([token]),
                "length" if index + 1 == len(ids) else None,
                [token] if tells_ids else None,
            )
            for index, token in enumerate(ids)
        ]
        return Reply(pieces=(*pieces, counted(len(ids), len(body["prompt"])), DONE))

    return answer


@pytest.fixture
def serve(folder):
    pytest.importorskip("httpx", reason="needs the extra openai")

    def checked(ignores, *, tells_ids, dtype="float32"):
        with serving() as server:
            server.pages["/v1/models"] = models(folder)
            server.completions = answering(ignores, tells_ids=tells_ids)
            model = ModelSpec(name=folder, dtype=dtype, engine=EngineOptions(endpoint=server.url))
            return check(OpenAIStrategy(), workload(ignores), model)

    return checked


@pytest.mark.parametrize("tells_ids", [True, False], ids=["ids", "text"])
def test_a_server_that_applies_every_parameter_is_accepted(serve, tells_ids):
    found = serve(NOTHING, tells_ids=tells_ids)
    assert (found.problems, found.not_checked) == ((), None)
    assert found.left_out == (() if tells_ids else ("every token of an answer",))
    assert "top-k is ignored" in found.told


@pytest.mark.parametrize(
    ("ignores", "tells_ids"),
    [("temperature", True), ("top_k", False)],
)
def test_a_server_that_ignores_a_parameter_is_found(serve, ignores, tells_ids):
    assert serve(ignores, tells_ids=tells_ids).problems


def test_a_server_whose_dtype_is_not_known_is_taken_to_compute_in_the_coarsest(serve):
    found = serve(NOTHING, tells_ids=True, dtype="auto")
    assert (found.problems, found.not_checked) == ((), None)


def test_a_server_of_a_name_without_a_folder_is_not_checked(folder):
    with serving() as server:
        model = ModelSpec(name="served", engine=EngineOptions(endpoint=server.url, tokenizer=folder))
        found = check(OpenAIStrategy(), workload(), model)
    assert found.not_checked == (
        "strategy 'openai' shows no logits, and no folder with the weights of 'served' is here; name it with "
        "--perf-model"
    )
