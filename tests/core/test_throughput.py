"""Tokens, and requests that are good enough, a second."""

import math
from dataclasses import replace

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.resources import judge_resources
from perfsuite.core.sample import Failure, Phase
from perfsuite.core.throughput import (
    Objective,
    goodput_of,
    parse_objectives,
    session_throughput,
    throughput_of,
    wilson,
)
from perfsuite.core.verdict import Outcome
from tests.builders import make_cell, make_recording, with_requests

MS = 10**6


def objectives(text):
    return parse_objectives(text, where="test")


def test_throughput_is_all_tokens_over_the_time_in_which_full_requests_ran():
    """Four requests of 4 tokens, 40 + 3 * 2 ms each; the one-token requests are in neither."""
    recording = make_recording(n=20, decode=4)
    assert session_throughput(recording) == pytest.approx(4 * 4 / (4 * 0.046))


def test_rows_that_share_one_time_all_count():
    recording = make_recording(make_cell(rows=8), decode=4)
    assert session_throughput(recording) == pytest.approx(8 * 4 / 0.046)


def test_of_requests_sent_together_the_span_ends_with_the_slowest():
    recording = with_requests(make_recording(make_cell(rows=2), decode=4), 2, later_ms=4)
    assert session_throughput(recording) == pytest.approx(2 * 4 / 0.050)


def test_a_session_without_full_requests_has_none():
    assert session_throughput(make_recording(decode=0)) is None
    assert throughput_of([make_recording(decode=0)]) is None


def test_one_session_has_no_interval():
    found = throughput_of([make_recording()])
    assert (found.interval, found.sessions) == (None, 1)


def test_the_interval_is_students_over_the_logarithms_of_the_sessions():
    """Rates of 100 and 100 e^0.02: mean log + 0.01, sd 0.02 / sqrt 2, t(0.975; 1) = 12.706."""
    first = make_recording(ttft_ms=34, tpot_ms=2)
    second = make_recording(ttft_ms=40 * math.exp(-0.02) - 6, tpot_ms=2)
    found = throughput_of([first, second])
    assert found.tokens_per_second == pytest.approx(100 * math.exp(0.01), rel=1e-6)
    assert found.interval.high == pytest.approx(100 * math.exp(0.01 + 12.7062 * 0.01), rel=1e-4)
    assert found.interval.low == pytest.approx(100 * math.exp(0.01 - 12.7062 * 0.01), rel=1e-4)


def test_throughput_is_worse_when_it_falls():
    there = [make_recording(session=index) for index in range(3)]
    slow = [make_recording(session=index, ttft_ms=60) for index in range(3)]
    (worse,) = judge_resources(there, slow, {"throughput": 0.1})
    (better,) = judge_resources(slow, there, {"throughput": 0.1})
    assert (worse.outcome, better.outcome) == (Outcome.REGRESSED, Outcome.IMPROVED)
    assert worse.change == pytest.approx(46 / 66 - 1)


def test_a_fall_that_takes_no_longer_than_the_tolerance_passes():
    there = [make_recording(session=index) for index in range(3)]
    slow = [make_recording(session=index, ttft_ms=44) for index in range(3)]
    (found,) = judge_resources(there, slow, {"throughput": 0.1})
    assert found.outcome is Outcome.PASSED


def test_a_request_is_good_if_no_time_is_above_its_objective():
    recording = make_recording(ttft_ms=40, tpot_ms=2, decode=4)
    assert goodput_of([recording], objectives("ttft:40ms,tpot:2ms,e2e:46ms")).good == 4
    for text in ("ttft:39ms,tpot:2ms", "ttft:40ms,tpot:1.9ms", "e2e:45ms"):
        assert goodput_of([recording], objectives(text)).good == 0


def test_every_request_of_a_call_is_judged_by_itself():
    recording = with_requests(make_recording(make_cell(rows=2), decode=10), 2, later_ms=5)
    found = goodput_of([recording], objectives("ttft:42ms"))
    assert (found.good, found.requests, found.share) == (10, 20, 0.5)
    assert found.per_second == pytest.approx(1 / 0.051)
    assert found.interval == wilson(0.5, 10)


def test_failed_full_requests_are_not_good_but_counted():
    broken = (
        Failure(stage="measure", message="cut", phase=Phase.DECODE),
        Failure(stage="measure", message="cut", phase=Phase.PREFILL),
        Failure(stage="warm-up", message="cut", phase=Phase.DECODE),
    )
    found = goodput_of([make_recording(make_cell(rows=2), decode=4, failures=broken)], objectives("ttft:50ms"))
    assert (found.good, found.requests) == (8, 10)


def test_without_objectives_or_full_requests_there_is_no_goodput():
    assert goodput_of([make_recording()], ()) is None
    assert goodput_of([make_recording(decode=0)], objectives("ttft:50ms")) is None


def test_a_tpot_that_is_not_defined_is_met():
    recording = make_recording(make_cell(output=1), decode=4)
    assert goodput_of([recording], objectives("tpot:1ms")).good == 4


@pytest.mark.parametrize(
    ("share", "n", "low", "high"), [(0.5, 10, 0.2366, 0.7634), (1.0, 32, 0.8928, 1.0), (0, 1, 0, 0.7935)]
)
def test_wilsons_interval_is_the_published_one(share, n, low, high):
    found = wilson(share, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_objectives_are_read_with_their_units():
    assert objectives("ttft:50ms, e2e:1.5s") == (
        Objective(series="ttft", limit_ns=50 * MS),
        Objective(series="e2e", limit_ns=1500 * MS),
    )
    assert objectives("") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ttft", "--perf-goodput: 'ttft' is no objective"),
        ("itl:5ms", "--perf-goodput: 'itl:5ms' is no objective"),
        ("ttft:5ms,ttft:6ms", "--perf-goodput: 'ttft:6ms' is no objective, or one given twice"),
        ("ttft:50", "--perf-goodput (ttft): '50' is not a duration"),
        ("ttft:50ms,", "--perf-goodput: '' is no objective"),
    ],
)
def test_what_is_no_objective_is_one_line(text, words):
    with pytest.raises(OptionError) as refused:
        parse_objectives(text, where="--perf-goodput")
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_a_share_cannot_be_told_of_other_recordings_than_ones():
    recording = make_recording(decode=4)
    both = goodput_of([recording, replace(recording, session=1)], objectives("ttft:50ms"))
    assert (both.good, both.requests) == (8, 8)
