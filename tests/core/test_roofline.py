"""Floors of models that are known well, on an H100 as it was measured: 3.06 TB/s and 0.8 PFLOP/s."""

from dataclasses import replace

import pytest

from perfsuite.core.roofline import Limit, Limits, Rate, Roofline, mean, strongest
from perfsuite.core.units import to_ms
from perfsuite.core.work import Attention, ModelWork, Split
from perfsuite.core.workload import Workload
from tests.builders import make_roofline


def rate(measured: float, doubt: float = 1.25) -> Rate:
    return Rate(measured=measured, ceiling=doubt * measured)


H100 = Limits(reading=rate(3.06e12), computing=rate(0.8e15))
LLAMA_2_7B = ModelWork(
    weight_bytes=2 * (6_738_415_616 - 32_000 * 4096),
    token_flops=2 * 32 * (4 * 4096**2 + 3 * 4096 * 11_008),
    head_flops=2 * 32_000 * 4096,
    attention=(Attention(layers=32, kv_bytes=2 * 4096 * 2, pair_flops=4 * 4096),),
)
TINYLLAMA = ModelWork(
    weight_bytes=2 * (1_100_048_384 - 32_000 * 2048), token_flops=1_937_768_448, head_flops=131_072_000
)
LLAMA_ON_H100 = Roofline(limits=H100, work=LLAMA_2_7B)


def workload(prompt: int, output: int = 32, batch: int = 1) -> Workload:
    return Workload(prompt_tokens=prompt, output_tokens=output, batch_size=batch)


def test_llama_2_7b_reads_13_21_gb_a_step() -> None:
    assert LLAMA_2_7B.pass_bytes(rows=1, past=0) == pytest.approx(13.21e9, rel=1e-3)


def test_a_short_prompt_is_bounded_by_reading_the_weights() -> None:
    floor = LLAMA_ON_H100.prefill(workload(10))
    assert to_ms(floor.ns) == pytest.approx(4.32, abs=0.01)
    assert floor.limit is Limit.READING


def test_a_long_prompt_is_bounded_by_its_operations() -> None:
    floor = LLAMA_ON_H100.prefill(workload(400))
    assert LLAMA_2_7B.pass_flops(rows=1, past=0, new=400) == pytest.approx(5.22e12, rel=1e-3)
    assert to_ms(floor.ns) == pytest.approx(5.22e12 / 0.8e15 * 1e3, rel=1e-3)
    assert floor.limit is Limit.COMPUTING


def test_tinyllama_takes_at_least_two_thirds_of_a_millisecond() -> None:
    floor = Roofline(limits=H100, work=TINYLLAMA).prefill(workload(10))
    assert to_ms(floor.ns) == pytest.approx(0.676, abs=0.001)


def test_a_decode_step_reads_the_cache_as_well() -> None:
    """Half a MiB for each position of each row: 100 positions of 8 rows are 0.42 GB more."""
    first = LLAMA_ON_H100.step(workload(100, batch=8), 1)
    expected = (LLAMA_2_7B.weight_bytes + 8 * 100 * 2**19) / 3.06e12
    assert first.ns == pytest.approx(expected * 1e9)


def test_decode_steps_become_longer_as_the_cache_fills() -> None:
    """Three steps after ten positions read ten, eleven and twelve of them: eleven in the mean."""
    mean_floor = LLAMA_ON_H100.decode(workload(10), 3)
    assert mean_floor is not None
    assert mean_floor.ns == pytest.approx((LLAMA_2_7B.weight_bytes + 11 * 2**19) / 3.06e12 * 1e9)


def test_step_0_is_the_prompt_pass() -> None:
    assert LLAMA_ON_H100.step(workload(400), 0) == LLAMA_ON_H100.prefill(workload(400))


def test_a_large_batch_is_bounded_by_its_operations_in_decode_steps_too() -> None:
    floor = LLAMA_ON_H100.step(workload(1, batch=512), 1)
    assert floor.limit is Limit.COMPUTING
    assert floor.ns == pytest.approx(LLAMA_2_7B.pass_flops(rows=512, past=1, new=1) / 0.8e15 * 1e9)


def test_one_output_token_has_no_decode_floor() -> None:
    assert LLAMA_ON_H100.decode(workload(10, output=1), 0) is None
    assert mean(()) is None


def test_the_least_time_is_that_of_the_ceilings() -> None:
    floor = LLAMA_ON_H100.prefill(workload(10))
    assert floor.least_ns == pytest.approx(floor.ns / 1.25)


def test_one_ceiling_may_be_further_away_than_the_other() -> None:
    """Reading takes 1 ms, computing 0.9 ms; if reading may be ten times as fast, computing keeps 0.72 ms."""
    roofline = make_roofline(read_ms=1.0, token_ms=0.9)
    limits = replace(roofline.limits, reading=rate(1e12, doubt=10))
    floor = replace(roofline, limits=limits).prefill(workload(1))
    assert (to_ms(floor.ns), to_ms(floor.least_ns)) == pytest.approx((1.0, 0.72))
    assert floor.limit is Limit.READING


def test_every_latency_of_a_table_has_its_floor() -> None:
    """5 ms for a prompt of 500 tokens, then 1 ms a step."""
    floors = make_roofline(read_ms=1.0, token_ms=0.01).series(workload(500, output=4))
    in_ms = {name: to_ms(floor) for name, floor in floors.items()}
    assert in_ms == pytest.approx({"ttft": 5.0, "ttft_device": 5.0, "tpot": 1.0, "tpot_device": 1.0, "e2e": 8.0})


def test_one_output_token_is_all_of_the_request() -> None:
    assert set(make_roofline().series(workload(500, output=1))) == {"ttft", "ttft_device", "e2e"}


def test_of_several_sessions_the_best_of_each_limit_counts() -> None:
    slow = Limits(reading=rate(2e12), computing=rate(0.9e15))
    best = strongest([LLAMA_ON_H100, replace(LLAMA_ON_H100, limits=slow)])
    assert best is not None
    assert (best.limits.reading.measured, best.limits.computing.measured) == (3.06e12, 0.9e15)


def test_no_session_has_no_limits() -> None:
    assert strongest([]) is None


def test_a_limit_is_said_with_its_unit() -> None:
    assert H100.words(Limit.READING) == "read bandwidth 3.06 TB/s"
    assert H100.words(Limit.COMPUTING) == "matrix rate 800 TFLOP/s"
    assert replace(H100, link=rate(3e11)).words(Limit.LINK) == "link rate 300 GB/s"
    assert H100.words(Limit.LINK) == ""


SPLIT = Split(ranks=2, token_bytes=2 * 31 * 4096 * 2, row_bytes=2 * 4096 * 2, gathered_bytes=32000 * 2)
"""Llama-2-7B in float16: two sums of 4096 numbers a layer, and the logits."""


def test_what_is_split_takes_its_share_of_the_time_and_what_it_sends() -> None:
    """By hand: half of the weights; of 400 tokens 2 * (n - 1) / n = 1 times their sums, and half of the logits."""
    shared = replace(LLAMA_ON_H100, work=replace(LLAMA_2_7B, split=SPLIT), limits=replace(H100, link=rate(3e11)))
    sent = 400 * 507_904 + 16_384 + 32_000
    assert SPLIT.link_bytes(rows=1, new=400) == sent
    whole, half = (each.prefill(workload(400)) for each in (LLAMA_ON_H100, shared))
    assert half.ns == pytest.approx(whole.ns / 2 + 1e9 * sent / 3e11)
    assert half.limit is whole.limit
    assert shared.step(workload(10), 1).ns == pytest.approx(
        LLAMA_ON_H100.step(workload(10), 1).ns / 2 + 1e9 * (507_904 + 16_384 + 32_000) / 3e11
    )


def test_what_is_sent_has_a_ceiling_of_its_own() -> None:
    work = replace(LLAMA_2_7B, split=SPLIT)
    careful = Roofline(work=work, limits=replace(H100, link=rate(3e11, doubt=2)))
    certain = Roofline(work=work, limits=replace(H100, link=rate(3e11)))
    sent_ns = 1e9 * SPLIT.link_bytes(rows=1, new=400) / 3e11
    assert careful.prefill(workload(400)).ns == certain.prefill(workload(400)).ns
    difference = certain.prefill(workload(400)).least_ns - careful.prefill(workload(400)).least_ns
    assert difference == pytest.approx(sent_ns * (1 / _doubt_of(certain) - 1 / 2))


def _doubt_of(roofline: Roofline) -> float:
    link = roofline.limits.link
    assert link is not None
    return link.ceiling / link.measured


def test_a_link_that_is_not_known_leaves_out_what_is_sent() -> None:
    work = replace(LLAMA_2_7B, split=SPLIT)
    assert Roofline(work=work, limits=H100).prefill(workload(400)).ns == pytest.approx(
        LLAMA_ON_H100.prefill(workload(400)).ns / 2
    )


def test_four_ranks_send_three_halves_of_what_they_add_up() -> None:
    split = replace(SPLIT, ranks=4)
    assert split.link_bytes(rows=2, new=1) == 2 * (1.5 * (507_904 + 16_384) + 0.75 * 64_000)


def test_of_several_sessions_the_best_link_counts() -> None:
    limits = [H100, replace(H100, link=rate(2e11)), replace(H100, link=rate(3e11))]
    best = strongest([replace(LLAMA_ON_H100, limits=each) for each in limits])
    assert best is not None
    assert best.limits.link == rate(3e11)


@pytest.mark.parametrize(("measured", "ceiling"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_a_rate_that_cannot_be_is_refused(measured: float, ceiling: float) -> None:
    with pytest.raises(ValueError, match="is not allowed"):
        Rate(measured=measured, ceiling=ceiling)
