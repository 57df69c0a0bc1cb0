"""Which of several ways is taken, by scripted durations; on a GPU, by real ones."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import torch

from perfsuite.strategies._trial import HEATS, NEAR, ROUNDS, WORTH, fastest

Ways = Sequence[Callable[[], object]]
FIRST, SECOND, THIRD = ([lambda name=name: name] for name in ("first", "second", "third"))


def scripted(**ratios: Sequence[float]) -> Callable[[Ways], float]:
    """A first way that takes 1 ms, slower in every round, and others that take so many times as long in each."""
    asked: Counter[str] = Counter()

    def duration(products: Ways) -> float:
        name = str(products[0]())
        asked[name] += 1
        drift = 1 + max(asked[name] - HEATS, 0)
        of_rounds = ratios.get(name, [1.0])
        return drift * of_rounds[max(asked[name] - HEATS - 1, 0) % len(of_rounds)]

    return duration


@pytest.mark.parametrize(
    ("ratio", "taken"), [(0.9, True), (1.1, False), (1.0, False), (WORTH + 0.005, False), (WORTH, True)]
)
def test_a_later_way_is_taken_only_where_it_is_worth_it(ratio, taken):
    assert fastest([FIRST, SECOND], scripted(second=[ratio])) == taken


@pytest.mark.parametrize(
    ("second", "third", "taken"),
    [(0.9, 0.8, 2), (0.9, 0.89, 1), (0.8, 0.9, 1), (0.99, 0.97, 2), (1.2, 0.9, 2), (1.2, 1.3, 0)],
)
def test_of_three_ways_the_earlier_is_taken_near_a_tie(second, third, taken):
    assert fastest([FIRST, SECOND, THIRD], scripted(second=[second], third=[third])) == taken


def test_a_few_rounds_that_went_wrong_decide_nothing():
    few = ROUNDS // 2
    assert fastest([FIRST, SECOND], scripted(second=[*(0.9,) * (ROUNDS - few), *(5.0,) * few])) == 1
    assert fastest([FIRST, SECOND], scripted(second=[*(1.0,) * (ROUNDS - few), *(0.1,) * few])) == 0


def test_ways_far_off_take_no_part_in_the_rounds():
    order = []
    duration = scripted(second=[0.9], third=[NEAR])

    def heard(products):
        order.append(str(products[0]()))
        return duration(products)

    assert fastest([FIRST, SECOND, THIRD], heard) == 1
    assert order.count("third") == HEATS
    assert order[3 * HEATS :][:4] == ["first", "second", "second", "first"]
    assert len(order) == 3 * HEATS + 2 * ROUNDS


def test_one_way_alone_is_not_timed_in_rounds():
    order = []
    assert fastest([FIRST], lambda products: order.append(products) or 1.0) == 0
    assert len(order) == HEATS


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_device_half_of_the_work_is_worth_it_and_the_same_work_is_not():
    big, small = (torch.randn(1024, wide, device="cuda", dtype=torch.float16) for wide in (8192, 4096))
    other = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    whole, half = [lambda: big @ other], [lambda: small @ other[:4096]]
    assert fastest([whole, half]) == 1
    assert fastest([half, whole]) == 0
    assert fastest([whole, [lambda: big @ other]]) == 0
