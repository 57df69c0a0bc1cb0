"""Owns the step over memory that never moves: which passes are prepared, and which of them a request runs.

What runs a pass is given from outside: as it is, or captured in a graph. It must not know which.
"""

import gc
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from perfsuite.core.errors import DeviceMemoryError
from perfsuite.core.sample import Request
from perfsuite.core.units import format_bytes
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.models.device import free_bytes, is_out_of_memory
from perfsuite.models.storage import bytes_of
from perfsuite.strategies._decode import Ids
from perfsuite.strategies._lane import Lane, LaneForward, MakeDraws, Run, plain_draws
from perfsuite.strategies._static import Compile, StaticForward, uncompiled
from perfsuite.strategies._transfer import Inlet

Prepare = Callable[[Run, torch.Generator | None], Run]
"""Makes of a pass, and of the generator that it draws from, if any, what is run at each step."""

LENGTH_MULTIPLE = 64
"""Cache lengths are rounded up to this, so that attention kernels find them aligned."""


def as_it_is(run: Run, _: torch.Generator | None) -> Run:
    """The pass itself, kernel by kernel."""
    return run


def cache_length(positions: int) -> int:
    """How long a cache is that holds so many positions."""
    return -(-positions // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


class StaticStep:
    """A Step of prepared passes: one for each prompt length and one for decoding, by batch size and sampling.

    `expect` prepares what a run will ask for; anything else is prepared when it is first asked for.
    """

    can_be_shorter = True
    """Whether a shorter cache is there at once; where it has to be built first, the longest is not given up."""

    def __init__(
        self,
        model: Any,
        prepare: Prepare = as_it_is,
        compile_pass: Compile = uncompiled,
        make_draws: MakeDraws = plain_draws,
    ) -> None:
        self._model = model
        self._prepare = prepare
        self._compile_pass = compile_pass
        self._make_draws = make_draws
        self._inlet = Inlet(model.device)
        self._lanes: dict[int, Lane] = {}
        self._lane: Lane | None = None
        self._prefill: Run | None = None
        self._decode: Run | None = None
        self._prepared_count = 0
        self._given_up: dict[int, tuple[int, str]] = {}
        """By batch size the shortest cache beside which there was no room for any pass, and what was said then."""

    def expect(self, workloads: Iterable[Workload], *, all_must_fit: bool = False) -> None:
        """Prepare for these, the largest first, so that the smaller ones find their memory already there.

        What does not fit is left to its first request, which will say so; where the longest cache of a batch size
        leaves no room for any pass, it is done without. DeviceMemoryError if nothing fits, or not all that must.
        """
        largest_first = sorted(workloads, key=lambda each: (each.batch_size, each.prompt_tokens), reverse=True)
        if all_must_fit:
            self._lay_lanes(largest_first)
            for prepare in (self._prefill_for, self._decode_for):
                for workload in largest_first:
                    prepare(workload)
            return
        first_problem = ""
        while problems := self._prepare_what_fits(largest_first):
            rows = max(problems)  # the others may fit once its cache is gone
            first_problem = first_problem or problems[rows]
            if self.can_be_shorter:
                largest_first = self._without_the_longest(largest_first, rows, problems[rows])
            elif any(each.batch_size not in problems for each in largest_first):
                return
            if not (largest_first and self.can_be_shorter):
                raise DeviceMemoryError(first_problem)

    def _lay_lanes(self, workloads: list[Workload]) -> None:
        for workload in sorted(workloads, key=lambda each: each.total_tokens, reverse=True):
            self.lane(workload.batch_size, workload.total_tokens)

    def _prepare_what_fits(self, largest_first: list[Workload]) -> dict[int, str]:
        """What was said of the largest, by the batch sizes that there was no room for at all."""
        self._lay_lanes(largest_first)
        fitting, of_prompts = _fitting(largest_first, self._prefill_for)
        fitting, of_steps = _fitting(fitting, self._decode_for)
        rows_that_fit = {each.batch_size for each in fitting}
        problems: dict[int, str] = {}
        for workload, problem in (of_prompts | of_steps).items():
            if workload.batch_size not in rows_that_fit:
                problems.setdefault(workload.batch_size, problem)
        return problems

    def _without_the_longest(self, workloads: list[Workload], rows: int, problem: str) -> list[Workload]:
        """Those that need a shorter cache than the one of this batch size, which is given up with what it held."""
        length = max(cache_length(each.total_tokens) for each in workloads if each.batch_size == rows)
        self._given_up[rows] = (length, f"a cache of {length} positions was given up as the strategy opened: {problem}")
        self._lane = self._prefill = self._decode = None
        self._lanes.pop(rows)
        _give_memory_back()
        return [each for each in workloads if each.batch_size != rows or cache_length(each.total_tokens) < length]

    def _prefill_for(self, workload: Workload) -> Run:
        return self._prefill_of(self._lanes[workload.batch_size], workload.prompt_tokens, workload.sampling)

    def _decode_for(self, workload: Workload) -> Run:
        return self._decode_of(self._lanes[workload.batch_size], workload.sampling)

    @torch.inference_mode(mode=False)
    def lane(self, rows: int, positions: int) -> Lane:
        """The lane of a batch size; a new one, with nothing prepared, where there is none or it is too short.

        DeviceMemoryError, and the lane that there is stays, if such a cache has been given up.
        """
        if rows in self._given_up:
            too_long, problem = self._given_up[rows]
            if cache_length(positions) >= too_long:
                raise DeviceMemoryError(problem)
        lane = self._lanes.get(rows)
        if lane is None or lane.forward.length < positions:
            lane = self._lane = self._prefill = self._decode = None  # its memory goes before the new one comes
            if self._lanes.pop(rows, None):
                gc.collect()  # what torch compiled for it refers to itself
            forward = self.make_forward(rows, cache_length(positions))
            lane = self._lanes[rows] = Lane(forward, rows, self._model.device, self._make_draws, self._inlet)
        return lane

    def make_forward(self, rows: int, length: int) -> LaneForward:
        """The passes of a new lane; a subclass may have others."""
        return StaticForward(self._model, length, self._compile_pass)

    def prepare(self, request: Request) -> Lane:
        """Make ready what a request will run, without running it; the lane it will run in."""
        rows, tokens = len(request.prompts), len(request.prompts[0])
        lane = self._lane = self.lane(rows, tokens + request.output_tokens)
        self._prefill = self._prefill_of(lane, tokens, request.sampling)
        self._decode = self._decode_of(lane, request.sampling)
        return lane

    def begin(self, request: Request) -> None:
        self.prepare(request).draws.begin(request.sampling)
        self._inlet.stage(request.prompts)

    def prefill(self) -> Ids:
        return self._run(self._prefill)

    def decode(self) -> Ids:
        return self._run(self._decode)

    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """Logits of the token after each prompt (all of one length): [B, V], float32, on the host; not prepared."""
        lane = self.lane(len(prompts), len(prompts[0]))
        ids = lane.prompts(len(prompts[0])).copy_(self._inlet.stage(prompts))
        return lane.forward.prefill(ids).float().cpu()

    def _run(self, prepared: Run | None) -> Ids:
        if prepared is None or self._lane is None:
            raise RuntimeError("no request has begun")
        prepared()
        return self._lane.drawn

    @property
    def prepared(self) -> int:
        """How many passes were prepared so far."""
        return self._prepared_count

    @property
    def cache_lengths(self) -> tuple[int, ...]:
        """Positions of the caches, one for each batch size, the smallest batch first."""
        return tuple(lane.forward.length for _, lane in sorted(self._lanes.items()))

    def note(self) -> str:
        """The length of the cache, which matters to the numbers, as evidence notes it."""
        return f"static cache: {' and '.join(map(str, self.cache_lengths)) or 'no'} positions"

    def _prefill_of(self, lane: Lane, tokens: int, sampling: SamplingParams) -> Run:
        return self._prepared(lane, tokens, sampling, lambda: lane.prefill(tokens, sampling))

    def _decode_of(self, lane: Lane, sampling: SamplingParams) -> Run:
        """To be asked for after a prefill, whose first pass lays out the cache."""
        return self._prepared(lane, 0, sampling, lambda: lane.decode(sampling))

    def _prepared(self, lane: Lane, tokens: int, sampling: SamplingParams, run: Run) -> Run:
        kind = (tokens, *lane.draws.kind(sampling))
        if kind not in lane.prepared:
            lane.forward.rewind()
            try:
                lane.prepared[kind] = self._prepare(run, lane.draws.generator_of(sampling))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise DeviceMemoryError(self._out_of_memory(lane, tokens)) from error
            self._prepared_count += 1
        return lane.prepared[kind]

    def _out_of_memory(self, lane: Lane, tokens: int) -> str:
        device, rows, length = self._model.device, len(lane.ids), lane.forward.length
        weights = bytes_of(self._model.parameters())
        asked = f"the prefill of {tokens} tokens" if tokens else "a decode step"
        return (
            f"{device} is out of memory preparing {asked} for a batch of {rows}: the weights take "
            f"{format_bytes(weights)}, the cache of {length} positions {format_bytes(lane.forward.cache_bytes)}, "
            f"{format_bytes(free_bytes(device) or 0)} are free; lower the batch size, the prompt or output length, or "
            "free the GPU"
        )


def _fitting(
    workloads: list[Workload], prepare: Callable[[Workload], Run]
) -> tuple[list[Workload], dict[Workload, str]]:
    """Those that could be prepared, and what was said of the others."""
    problems = {}
    for workload in workloads:
        problem = _lack(prepare, workload)
        if problem:
            problems[workload] = problem
            _give_memory_back()
    return [workload for workload in workloads if workload not in problems], problems


def _give_memory_back() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def _lack(prepare: Callable[[Workload], Run], workload: Workload) -> str | None:
    """What is said if there is no room for a pass; not the error itself, which keeps alive what was laid out."""
    try:
        prepare(workload)
    except DeviceMemoryError as error:
        return str(error)
    return None
