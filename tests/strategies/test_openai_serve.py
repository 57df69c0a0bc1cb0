"""The strategy against a real server: transformers' own, with the embedded model, on loopback."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

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

LACKING = [name for name in ("accelerate", "fastapi", "httpx", "openai", "uvicorn") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"transformers serve needs {', '.join(LACKING)}: extra test")

START = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
STARTS_WITHIN_S = 180
SAMPLING = SamplingParams(temperature=0.9, top_k=20, top_p=0.9, repetition_penalty=1.1, seed=5)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The folder of the embedded model and the URL under which it is served."""
    folder, port = tmp_path_factory.mktemp("tiny"), free_port()
    save_tiny(folder)
    log = folder.parent / "serve.log"
    command = [sys.executable, "-c", START, "serve", str(folder), "--device", "cpu", "--dtype", "float32"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=output, stderr=output, env=environment
        )
    try:
        wait_until_it_listens(process, port, log)
        yield str(folder), f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def wait_until_it_listens(process, port, log: Path):
    end = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.skip(f"transformers serve does not start here: {log.read_text(errors='replace')[-300:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"transformers serve does not listen after {STARTS_WITHIN_S} s")


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


def test_the_server_is_recognized_and_gets_texts(strategy):
    assert strategy.evidence().notes[:3] == ("server: transformers serve", "API: completions", "prompts sent as: text")


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


def test_greedy_says_what_eager_says(strategy, served):
    greedy = SamplingParams(temperature=0)
    text = said(strategy, request(16, greedy))
    prompt = alphabet.encode(strategy._prepared[tuple(range(60, 76))])
    with opened(EagerStrategy(), ModelSpec(name="tiny", device="cpu")) as eager:
        asked = Request(prompts=(prompt,), output_tokens=16, sampling=greedy)
        ids = [token for chunk in eager.stream(asked) for token in chunk.token_ids]
    assert text == alphabet.decode(ids)


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


def test_a_prompt_whose_ids_can_be_written_is_sent_as_these_very_ids(strategy):
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
