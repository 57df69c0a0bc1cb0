"""The strategy against real servers with the embedded model on loopback: transformers' own, and on a GPU vLLM's."""

from dataclasses import replace

import pytest

from perfsuite.core.engine import EngineOptions
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Memory
from perfsuite.core.sample import Phase, Request
from perfsuite.core.validity import problems
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.opening import opened
from perfsuite.measure.sampling import check_sampling
from perfsuite.measure.session import SessionJob
from perfsuite.measure.worker import run_job
from perfsuite.models import alphabet
from perfsuite.strategies.eager import EagerStrategy
from perfsuite.strategies.openai import OpenAIStrategy
from tests.strategies.byte_tokenizer import save_tiny
from tests.strategies.real_servers import SERVERS

SAMPLING = SamplingParams(temperature=0.9, top_k=20, top_p=0.9, repetition_penalty=1.1, seed=5)


@pytest.fixture(scope="module", params=SERVERS, ids=str)
def server(request):
    return request.param


@pytest.fixture(scope="module")
def served(server, tmp_path_factory):
    """The folder of the embedded model and the URL under which it is served."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny(folder)
    with server.running(folder) as url:
        yield str(folder), url


def spec(served, path=""):
    folder, url = served
    return ModelSpec(name=folder, engine=EngineOptions(endpoint=url + path))


@pytest.fixture(scope="module")
def strategy(served):
    with opened(OpenAIStrategy(), spec(served)) as live:
        yield live


def request(output_tokens, sampling=SAMPLING):
    return Request(prompts=(tuple(range(60, 76)),), output_tokens=output_tokens, sampling=sampling)


def said(strategy, asked):
    return "".join(chunk.text for chunk in strategy.stream(asked))


def ids_of(strategy, asked):
    """The ids of an answer: those that came, else those of its text."""
    chunks = list(strategy.stream(asked))
    ids = tuple(token for chunk in chunks for token in chunk.token_ids)
    return ids or tuple(alphabet.encode("".join(chunk.text for chunk in chunks)))


def test_the_server_is_recognized_and_gets_what_it_takes(strategy, server):
    name, *others = strategy.evidence().notes[:3]
    assert name.startswith(f"server: {server.name}")
    assert others == ["API: completions", f"prompts sent as: {server.prompts}"]


@pytest.mark.parametrize("output_tokens", [1, 2, 12])
def test_as_many_tokens_come_as_were_asked_for(strategy, output_tokens):
    chunks = list(strategy.stream(request(output_tokens)))
    counts = strategy.token_counts()
    assert sum(counts) == output_tokens
    assert len(counts) == len(chunks)
    assert chunks[-1].finish_reason == "length"


def test_a_seed_is_honoured(strategy):
    assert said(strategy, request(12)) == said(strategy, request(12))
    other = SamplingParams(temperature=0.9, seed=6)
    assert len({said(strategy, request(24, SamplingParams(temperature=0.9, seed=s))) for s in range(3)}) > 1
    assert said(strategy, request(24, other)) == said(strategy, request(24, other))


def test_greedy_says_what_eager_says(strategy):
    greedy = SamplingParams(temperature=0)
    found = ids_of(strategy, request(16, greedy))
    prompt = tuple(range(60, 76))
    if strategy._prepared:
        prompt = alphabet.encode(strategy._prepared[prompt])
    with opened(EagerStrategy(), ModelSpec(name="tiny", device="cpu")) as eager:
        asked = Request(prompts=(prompt,), output_tokens=16, sampling=greedy)
        assert found == ids_of(eager, asked)


def test_a_chat_counts_its_template_as_part_of_the_prompt(served):
    with opened(OpenAIStrategy(), spec(served, "/chat/completions")) as chat:
        list(chat.stream(request(3)))
        assert sum(chat.token_counts()) == 3
        assert chat._exchange.answers[0].usage.prompt_tokens == 16


DRAWN = Workload(
    prompt_tokens=16,
    output_tokens=4,
    sampling=SamplingParams(temperature=0.6, top_k=5, top_p=0.8, repetition_penalty=1.5),
)


class KeepsEverything(OpenAIStrategy):
    """Asks for other sampling than it is asked for, as a server that ignores top-k and top-p would act."""

    def stream(self, request):
        return super().stream(replace(request, sampling=replace(request.sampling, top_k=0, top_p=1.0)))


@pytest.mark.parametrize(("kind", "is_right"), [(OpenAIStrategy, True), (KeepsEverything, False)])
def test_its_first_tokens_are_held_against_eager_on_the_same_weights(served, kind, is_right):
    with opened(kind(), replace(spec(served), dtype="float32")) as live:
        found = check_sampling(live, DRAWN, Effort(requests=24))
    assert found.not_checked is None
    assert (found.problems == ()) is is_right
    assert "top-p is ignored" in found.told or not is_right


def test_a_prompt_whose_ids_can_be_written_is_sent_as_these_very_ids(strategy, server):
    if server.prompts != "text":
        pytest.skip(f"{server.name} gets ids")
    prompt = alphabet.encode("The weather is")
    assert strategy.reference().speech.spelled((prompt,)) == (prompt,)


def test_a_session_with_it_is_valid(served):
    cell = Cell(strategy="openai", model=spec(served), workload=Workload(prompt_tokens=10, output_tokens=6))
    job = SessionJob(
        reference="perfsuite.strategies.openai:OpenAIStrategy",
        cells=(cell,),
        session=0,
        measure=MeasureOptions(samples=4, decode_samples=2, block_size=2, warmup=1),
    )
    events = []
    run_job(job, events.append)
    (recording,) = events[-1].recordings
    assert problems(recording) == ()
    assert recording.sampling.not_checked is None
    assert recording.sampling.draws > 0
    assert recording.memory == Memory()
    assert [sample.output_tokens for sample in recording.of_phase(Phase.DECODE)] == [6, 6]
