"""Owns which strategies must pass the contract, and how each is opened for it."""

from dataclasses import dataclass
from importlib.util import find_spec

import pytest
import torch

from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelSpec, SamplingParams
from perfsuite.measure.strategy import Strategy
from perfsuite.strategies._engine_toolkit import find_toolkit

PROMPT = tuple(range(40, 50))
GREEDY = SamplingParams(temperature=0)
TINY = ModelSpec(name="tiny", device="cpu")


def _why_no_engines() -> str:
    if not torch.cuda.is_available():
        return "needs a CUDA device"
    try:
        find_toolkit()
    except StrategyUnavailableError as error:
        return str(error)
    return ""


WHY_NO_ENGINES = _why_no_engines()
ENGINES_RUN = not WHY_NO_ENGINES


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A strategy under the contract: its reference and a model that it can open in a second, on a CPU if it can."""

    reference: str
    model: ModelSpec = TINY
    needs_gpu: bool = False
    needs: str | None = None
    needs_engines: bool = False

    def __str__(self) -> str:
        return self.reference.rpartition(":")[2]


SUBJECTS = (
    Subject(
        reference="perfsuite.strategies.cuda_graph:CudaGraphStrategy", model=ModelSpec(name="tiny"), needs_gpu=True
    ),
    Subject(reference="perfsuite.strategies.eager:EagerStrategy"),
    Subject(reference="perfsuite.strategies.fake:FakeStrategy"),
    Subject(reference="perfsuite.strategies.jit:JitStrategy"),
    Subject(
        reference="perfsuite.strategies.jit_cuda_graph:JitCudaGraphStrategy",
        model=ModelSpec(name="tiny"),
        needs_gpu=True,
    ),
    Subject(
        reference="perfsuite.strategies.tensorrt_llm:TensorRTLLMStrategy",
        model=ModelSpec(name="tiny"),
        needs_gpu=True,
        needs="tensorrt_llm",
    ),
    Subject(
        reference="perfsuite.strategies.vllm:VllmStrategy",
        model=ModelSpec(name="tiny", engine=EngineOptions(gpu_memory_utilization=0.2)),
        needs_gpu=True,
        needs="vllm",
    ),
    Subject(
        reference="perfsuite.strategies.tensorrt:TensorRTStrategy",
        model=ModelSpec(name="tiny"),
        needs_gpu=True,
        needs_engines=True,
    ),
)


def parameters():
    """Every subject as a test's parameter; those that need a GPU or a package are skipped where there is none."""
    return [pytest.param(subject, id=str(subject), marks=_marks(subject)) for subject in SUBJECTS]


def _marks(subject: Subject) -> list[pytest.MarkDecorator]:
    if not subject.needs_gpu:
        return []
    no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    if subject.needs_engines:
        return [pytest.mark.gpu, pytest.mark.skipif(not ENGINES_RUN, reason=WHY_NO_ENGINES)]
    lacking = subject.needs is not None and find_spec(subject.needs) is None
    return [pytest.mark.gpu, no_gpu, pytest.mark.skipif(lacking, reason=f"needs {subject.needs}")]


def request(batch: int = 1, output_tokens: int = 5, sampling: SamplingParams = GREEDY) -> Request:
    """A request of `batch` prompts that differ in their first id."""
    prompts = tuple((row, *PROMPT[1:]) for row in range(batch))
    return Request(prompts=prompts, output_tokens=output_tokens, sampling=sampling)


def rows(chunks: list[Chunk], batch: int = 1) -> tuple[tuple[int, ...], ...]:
    """The token ids of every row, in the order in which they came."""
    return tuple(
        tuple(token for chunk in chunks if chunk.row == row for token in chunk.token_ids) for row in range(batch)
    )


def answer(strategy: Strategy, asked: Request) -> tuple[tuple[int, ...], ...]:
    """The token ids of every row of one request."""
    return rows(list(strategy.stream(asked)), len(asked.prompts))
