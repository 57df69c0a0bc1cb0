import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.sample import Chunk, Phase, Request
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.arrivals import answer_problem, arrivals
from perfsuite.measure.recorder import CellTake, Recorder
from perfsuite.measure.strategy import Ability
from tests.scripted import MS, Scripted

OPTIONS = MeasureOptions(samples=6, decode_samples=3, block_size=2, warmup=5)


def make_cell(prompt_tokens: int = 10, output_tokens: int = 4, batch_size: int = 1) -> Cell:
    workload = Workload(prompt_tokens=prompt_tokens, output_tokens=output_tokens, batch_size=batch_size)
    return Cell(strategy="scripted", model=ModelSpec(name="tiny"), workload=workload)


def measure(strategy: Scripted, *cells: Cell, options: MeasureOptions = OPTIONS) -> tuple[CellTake, ...]:
    recorder = Recorder(strategy, strategy.scripted_clock, options, lambda progress: None)
    return recorder.measure(cells, order_seed=1)


def test_a_prefill_sample_holds_the_time_to_the_first_token_alone() -> None:
    (take,) = measure(Scripted(), make_cell())
    prefill = [sample for sample in take.samples if sample.phase is Phase.PREFILL]
    assert [sample.arrivals_ns for sample in prefill] == [(5 * MS,)] * 6


def test_a_decode_sample_holds_the_arrival_of_every_token() -> None:
    (take,) = measure(Scripted(), make_cell())
    decode = [sample for sample in take.samples if sample.phase is Phase.DECODE]
    assert [sample.arrivals_ns for sample in decode] == [(5 * MS, 7 * MS, 9 * MS, 11 * MS)] * 3


def test_samples_are_spread_evenly_over_the_blocks() -> None:
    (take,) = measure(Scripted(), make_cell())
    counts = Counter((sample.block, sample.phase) for sample in take.samples)
    assert counts == {(block, phase): 2 if phase is Phase.PREFILL else 1 for block in range(3) for phase in Phase}


def test_cells_take_turns_block_by_block() -> None:
    strategy = Scripted()
    measure(strategy, make_cell(10), make_cell(20))
    lengths = [len(request.prompts[0]) for request in strategy.requests if request.output_tokens == 1][10:]
    rounds = [lengths[start : start + 4] for start in range(0, 12, 4)]
    assert all(sorted(one_round) == [10, 10, 20, 20] for one_round in rounds)


def test_warm_ups_are_kept_apart_from_the_samples() -> None:
    (take,) = measure(Scripted(), make_cell())
    phases = Counter(sample.phase for sample in take.warmups)
    assert phases == {Phase.PREFILL: 5, Phase.DECODE: 2}
    assert len(take.samples) == 9


def test_the_first_call_is_timed_by_itself() -> None:
    (take,) = measure(Scripted(), make_cell())
    assert take.first_call_ns == 11 * MS


def test_no_prompt_is_sent_twice_in_a_session() -> None:
    strategy = Scripted()
    measure(strategy, make_cell())
    prompts = [request.prompts for request in strategy.requests]
    assert len(set(prompts)) == len(prompts)


def test_two_sessions_send_the_same_prompts() -> None:
    first, second = Scripted(), Scripted()
    measure(first, make_cell())
    measure(second, make_cell())
    assert first.requests == second.requests


def test_prompts_are_drawn_from_the_whole_vocabulary() -> None:
    strategy = Scripted()
    measure(strategy, make_cell(60))
    assert {token for request in strategy.requests for token in request.prompts[0]} == set(range(100))


def test_an_injected_slowdown_delays_every_event_by_its_share() -> None:
    (take,) = measure(
        Scripted(), make_cell(), options=MeasureOptions(samples=1, decode_samples=1, injected_slowdown=0.1)
    )
    assert take.samples[1].arrivals_ns == (5.5 * MS, 7.7 * MS, 9.9 * MS, 12.1 * MS)


def test_with_a_batch_a_token_has_arrived_when_the_slowest_row_has_it() -> None:
    stamps = [(3, Chunk(token_ids=(1,), row=0)), (5, Chunk(token_ids=(1,), row=1))]
    stamps += [(8, Chunk(token_ids=(2,), row=1)), (9, Chunk(token_ids=(2,), row=0))]
    assert arrivals(1, stamps, rows=2) == ((4, 8), (1, 1))


class Concurrent(Scripted):
    """Rows are requests of their own: the second has each token a millisecond after the first."""

    abilities = frozenset({Ability.BATCH, Ability.CONCURRENCY})

    def stream(self, request: Request) -> Iterator[Chunk]:
        for index in range(request.output_tokens):
            for row in range(len(request.prompts)):
                self.scripted_clock.wait_ns(MS)
                yield Chunk(token_ids=(index,), row=row)


def test_requests_sent_together_each_have_their_own_times() -> None:
    (take,) = measure(Concurrent(), make_cell(batch_size=2))
    decode = next(sample for sample in take.samples if sample.phase is Phase.DECODE)
    assert decode.arrivals_ns == (2 * MS, 4 * MS, 6 * MS, 8 * MS)
    assert decode.rows_ns == ((MS, 3 * MS, 5 * MS, 7 * MS), (2 * MS, 4 * MS, 6 * MS, 8 * MS))
    assert decode.rows_tokens == ((1, 1, 1, 1),) * 2


@pytest.mark.parametrize(("strategy", "rows"), [(Scripted, 2), (Concurrent, 1)])
def test_rows_that_take_every_step_together_and_single_requests_have_one_time(
    strategy: type[Scripted], rows: int
) -> None:
    (take,) = measure(strategy(), make_cell(batch_size=rows))
    assert {sample.rows_ns for sample in (*take.samples, *take.warmups)} == {None}


def test_tokens_that_come_together_are_one_event() -> None:
    stamps = [(3, Chunk(token_ids=(1, 2, 3))), (7, Chunk(token_ids=(4,)))]
    assert arrivals(0, stamps, rows=1) == ((3, 7), (3, 1))


def test_chunks_without_ids_hold_what_was_counted() -> None:
    stamps = [(3, Chunk(token_ids=(), text="ab")), (7, Chunk(token_ids=(), text="c")), (8, Chunk(token_ids=()))]
    assert arrivals(0, stamps, rows=1, counts=(2, 1, 0)) == ((3, 7), (2, 1))


def test_a_count_for_each_chunk_is_needed() -> None:
    request = Request(prompts=((1,),), output_tokens=3, sampling=make_cell().workload.sampling)
    stamps = [(3, Chunk(token_ids=(), text="ab")), (7, Chunk(token_ids=(), text="c"))]
    assert answer_problem(stamps, request, 100, (2, 1)) is None
    assert answer_problem(stamps, request, 100, (2, 0)) == "row 0 gave 2 tokens where 3 were asked for"
    assert answer_problem(stamps, request, 100, (3,)) == "the tokens of 1 chunks were counted where 2 came"


class Preparing(Scripted):
    """Takes a second to get a request ready."""

    def prepare(self, request: Request) -> None:
        self.scripted_clock.wait_ns(1000 * MS)


def test_what_prepares_a_request_is_in_no_latency() -> None:
    (take,) = measure(Preparing(), make_cell())
    assert {sample.ttft_ns for sample in take.samples} == {5 * MS}


class Elsewhere(Scripted):
    """A server that outlives its sessions."""

    place = "a server"


def test_prompts_are_the_same_in_every_session_unless_a_server_could_remember_them() -> None:
    asked = {}
    for kind in (Scripted, Elsewhere):
        sessions = [kind(), kind()]
        for strategy in sessions:
            measure(strategy, make_cell())
        asked[kind] = [[request.prompts for request in strategy.requests] for strategy in sessions]
    assert asked[Scripted][0] == asked[Scripted][1]
    assert not {*asked[Elsewhere][0]} & {*asked[Elsewhere][1]}


def answers(*chunks: Chunk) -> CellTake:
    (take,) = measure(Scripted(lambda request: list(chunks)), make_cell(output_tokens=1))
    return take


def test_an_answer_that_is_too_short_is_a_failure_and_no_sample() -> None:
    take = answers()
    assert not take.samples
    assert take.failures[0].message == "row 0 gave 0 tokens where 1 were asked for"


def test_an_id_outside_the_vocabulary_is_a_failure() -> None:
    take = answers(Chunk(token_ids=(100,)))
    assert take.failures[0].message == "token id 100 is outside the vocabulary of 100"


def test_a_chunk_for_a_row_that_was_not_asked_for_is_a_failure() -> None:
    request = Request(prompts=((1,),), output_tokens=1, sampling=make_cell().workload.sampling)
    assert answer_problem([(1, Chunk(token_ids=(1,), row=1))], request, 100) == "a chunk came for row 1 of a batch of 1"


def test_a_cell_is_given_up_after_three_failures() -> None:
    take = answers()
    assert len(take.failures) == 3


def test_a_request_that_raises_costs_its_own_cell_only() -> None:
    def answer(request: Request) -> list[Chunk]:
        if len(request.prompts[0]) == 20:
            raise KeyError("no kernel")
        return [Chunk(token_ids=(1,) * request.output_tokens)]

    good, bad = measure(Scripted(answer), make_cell(10), make_cell(20))
    assert len(good.samples) == 9
    assert {failure.message for failure in bad.failures} == {"KeyError: 'no kernel'"}


def test_the_garbage_collector_rests_during_samples_and_works_after() -> None:
    seen: list[bool] = []

    def answer(request: Request) -> list[Chunk]:
        seen.append(gc.isenabled())
        return [Chunk(token_ids=(1,) * request.output_tokens)]

    measure(Scripted(answer), make_cell())
    assert seen[-9:] == [False] * 9
    assert gc.isenabled()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_batch_is_one_sample_with_a_prompt_per_row(batch_size: int) -> None:
    strategy = Scripted()
    (take,) = measure(strategy, make_cell(batch_size=batch_size))
    assert len(take.samples) == 9
    assert {len(request.prompts) for request in strategy.requests} == {batch_size}
