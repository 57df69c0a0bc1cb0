from perfsuite.core.matrix import Cell
from perfsuite.core.suspicion import suspicion
from perfsuite.core.verdict import Interval, Judgement, Outcome, Verdict
from perfsuite.core.workload import ModelSpec, Workload


def judgement(strategy: str, prompt_tokens: int, low: float | None) -> Judgement:
    cell = Cell(
        strategy=strategy, model=ModelSpec(name="tiny"), workload=Workload(prompt_tokens=prompt_tokens, output_tokens=4)
    )
    interval = None if low is None else Interval(low=low, high=low + 0.04)
    verdict = Verdict(metric="ttft.p50", outcome=Outcome.INCONCLUSIVE, tolerance=0.05, interval=interval)
    return Judgement(cell=cell, verdicts=(verdict,))


def test_a_few_slower_cells_are_no_reason_to_suspect_the_machine() -> None:
    quiet = [judgement("eager", length, -0.02) for length in range(1, 7)]
    slower = [judgement("eager", 7, 0.01), judgement("jit", 7, 0.01)]
    assert suspicion([*quiet, *slower]) is None


def test_many_slower_cells_of_two_strategies_point_at_the_machine() -> None:
    quiet = [judgement("eager", length, -0.02) for length in range(1, 5)]
    slower = [judgement("eager", 7, 0.01), judgement("jit", 7, 0.01)]
    assert str(suspicion([*quiet, *slower])).startswith("2 of 6 cells of 2 strategies are slower at once")


def test_many_slower_cells_of_one_strategy_point_at_its_code() -> None:
    assert suspicion([judgement("jit", length, 0.01) for length in range(1, 9)]) is None


def test_cells_that_were_not_compared_do_not_count() -> None:
    uncompared = [judgement("eager", length, None) for length in range(1, 20)]
    slower = [judgement("eager", 21, 0.01), judgement("jit", 21, 0.01)]
    assert str(suspicion([*uncompared, *slower])).startswith("2 of 2 cells")
