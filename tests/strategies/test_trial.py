"""Which of two ways is taken, by scripted durations; on a GPU, by real ones."""

from collections.abc import Callable, Sequence

import pytest
import torch

from perfsuite.strategies._trial import ROUNDS, WORTH, is_worth_it

FIRST, SECOND = [lambda: "first"], [lambda: "second"]


def scripted(*ratios: float) -> Callable[[Sequence[Callable[[], object]]], float]:
    """A first way that takes 1 ms, slower in every round, and a second that takes so many times as long in each."""
    asked = {"first": 0, "second": 0}

    def duration(products: Sequence[Callable[[], object]]) -> float:
        name = str(products[0]())
        asked[name] += 1
        drift = 1 + asked[name]
        return drift * (1.0 if name == "first" else ratios[(asked[name] - 1) % len(ratios)])

    return duration


@pytest.mark.parametrize(
    ("ratios", "taken"), [((0.9,), True), ((1.1,), False), ((1.0,), False), ((WORTH + 0.005,), False), ((WORTH,), True)]
)
def test_the_second_way_is_taken_only_where_it_is_worth_it(ratios: tuple[float, ...], taken: bool) -> None:
    assert is_worth_it(FIRST, SECOND, scripted(*ratios)) is taken


def test_a_few_rounds_that_went_wrong_decide_nothing() -> None:
    wrong = (5.0,) * (ROUNDS // 2)
    assert is_worth_it(FIRST, SECOND, scripted(*wrong, *(0.9,) * (ROUNDS - len(wrong))))
    lucky = (0.1,) * (ROUNDS // 2)
    assert not is_worth_it(FIRST, SECOND, scripted(*lucky, *(1.0,) * (ROUNDS - len(lucky))))


def test_either_way_goes_first_in_every_other_round() -> None:
    order: list[str] = []

    def duration(products: Sequence[Callable[[], object]]) -> float:
        order.append(str(products[0]()))
        return 1.0

    is_worth_it(FIRST, SECOND, duration)
    assert order[:4] == ["first", "second", "second", "first"]
    assert len(order) == 2 * ROUNDS


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_device_half_of_the_work_is_worth_it_and_the_same_work_is_not() -> None:
    big, small = (torch.randn(1024, wide, device="cuda", dtype=torch.float16) for wide in (8192, 4096))
    other = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    whole, half = [lambda: big @ other], [lambda: small @ other[:4096]]
    assert is_worth_it(whole, half)
    assert not is_worth_it(half, whole)
    assert not is_worth_it(whole, [lambda: big @ other])
