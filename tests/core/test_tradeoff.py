import math

import pytest

from perfsuite.core.tradeoff import Offer, break_even, dominators

EAGER = Offer(name="eager", latency_ns=100.0, startup_ns=1000.0, memory=10.0)
JIT = Offer(name="jit", latency_ns=60.0, startup_ns=5000.0, memory=11.0)


def test_what_is_better_at_something_is_on_the_front() -> None:
    assert dominators([EAGER, JIT]) == {}


def test_what_is_nowhere_better_and_somewhere_worse_is_beaten() -> None:
    worse = Offer(name="worse", latency_ns=100.0, startup_ns=1000.0, memory=10.5)
    assert dominators([EAGER, JIT, worse]) == {"worse": "eager"}


def test_two_alike_beat_each_other_not() -> None:
    twin = Offer(name="twin", latency_ns=100.0, startup_ns=1000.0, memory=10.0)
    assert dominators([EAGER, twin]) == {}


def test_what_one_does_not_know_is_left_out_of_the_comparison() -> None:
    unknown = Offer(name="unknown", latency_ns=120.0)
    assert dominators([EAGER, unknown]) == {"unknown": "eager"}
    assert dominators([EAGER, Offer(name="fast", latency_ns=50.0)]) == {"eager": "fast"}


@pytest.mark.parametrize(
    ("startup", "latency", "requests"),
    [(5000.0, 60.0, 100.0), (5001.0, 60.0, 101.0), (1000.0, 60.0, 0.0), (500.0, 60.0, 0.0), (500.0, 100.0, 0.0)],
)
def test_a_startup_pays_back_after_so_many_requests(startup: float, latency: float, requests: float) -> None:
    """4000 ns more to start at 40 ns less a request are 100 requests."""
    assert break_even(Offer(name="jit", latency_ns=latency, startup_ns=startup), EAGER) == requests


@pytest.mark.parametrize(("startup", "latency"), [(5000.0, 100.0), (5000.0, 120.0), (500.0, 101.0)])
def test_what_is_no_faster_a_request_never_pays_back(startup: float, latency: float) -> None:
    assert break_even(Offer(name="jit", latency_ns=latency, startup_ns=startup), EAGER) == math.inf


def test_without_a_startup_nothing_is_known() -> None:
    assert break_even(Offer(name="jit", latency_ns=60.0), EAGER) is None
    assert break_even(JIT, Offer(name="eager", latency_ns=100.0)) is None
