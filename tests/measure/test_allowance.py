"""How long a check may take."""

import math

from perfsuite.measure.allowance import Allowance
from perfsuite.measure.clock import ScriptedClock


def test_time_counts_from_the_beginning_on():
    clock = ScriptedClock()
    allowance = Allowance(clock, 100)
    clock.wait_ns(50)
    assert (allowance.spent_ns, allowance.left_ns) == (0, 100)
    allowance.begin()
    clock.wait_ns(30)
    assert (allowance.spent_ns, allowance.left_ns) == (30, 70)


def test_there_is_time_for_what_ends_before_the_end():
    clock = ScriptedClock()
    allowance = Allowance(clock, 100)
    allowance.begin()
    assert allowance.has(100)
    assert not allowance.has(101)
    clock.wait_ns(150)
    assert allowance.left_ns == 0
    assert not allowance.has(0)


def test_without_a_clock_there_is_no_end():
    allowance = Allowance()
    allowance.begin()
    assert allowance.left_ns == math.inf
    assert allowance.has(10**30)
