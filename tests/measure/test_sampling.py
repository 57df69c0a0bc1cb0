"""A live strategy is asked what shows its mistakes; one that makes none is accepted, one that shows nothing is said."""

from dataclasses import replace

import pytest

from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.allowance import Allowance
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.live_check import check_strategy
from perfsuite.measure.sampling import check_sampling
from tests import sampled

WORKLOAD = Workload(prompt_tokens=12, output_tokens=12, batch_size=4)
STRONG = replace(WORKLOAD, sampling=SamplingParams(temperature=0.9, top_p=0.8, repetition_penalty=1.5))
THOROUGH = Effort(requests=96, answers=8, least_answers=8)
GREEDY = replace(WORKLOAD, sampling=SamplingParams(temperature=0, repetition_penalty=1.3))


@pytest.mark.parametrize("batch", [1, 4])
def test_a_correct_strategy_leaves_nothing_wrong_and_nothing_open(batch):
    found = check_strategy(sampled.Sampled(), replace(WORKLOAD, batch_size=batch))
    assert found.problems == ()
    assert found.open == ()
    assert found.not_checked is None
    assert {"top-p is ignored", "the penalty falls on the prompt alone"} <= set(found.told)


@pytest.mark.parametrize(
    ("strategy", "evidence"),
    [
        (sampled.IgnoresTopP, "top-p is ignored"),
        (sampled.IgnoresPenalty, "the penalty is ignored"),
        (sampled.PenalisesThePromptOnly, "penalty"),
        (sampled.PenalisesAnotherRow, "penalty"),
        (sampled.ReplaysItsNumbers, "successive steps are not independent"),
        (sampled.SharesItsNumbers, "rows of a batch are not independent"),
        (sampled.IgnoresTheSeed, "distribution: of"),
        (sampled.DrawsAnew, "two requests with the same seed gave different tokens"),
        (sampled.ReplaysAStalePass, "support"),
        (sampled.NotANumber, "answer: the logit of token 0 in row 0 is nan"),
    ],
)
def test_a_strategy_that_samples_wrongly_is_found(strategy, evidence):
    found = check_sampling(strategy(), STRONG, THOROUGH)
    assert any(evidence in problem for problem in found.problems), found


def test_a_greedy_answer_that_is_not_the_largest_shows_both_scores():
    found = check_sampling(sampled.IgnoresPenalty(), GREEDY, Effort())
    assert "greedy: row" in found.problems[0]
    assert "was taken where token" in found.problems[0]


def test_a_small_effort_says_what_it_left_open():
    found = check_sampling(sampled.Sampled(), WORKLOAD, Effort(requests=2, answers=1))
    assert found.problems == ()
    assert found.open
    assert found.draws == 2 * 4 + 12 * 4


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        (sampled.WithoutLogits, "strategy 'sampled' shows no logits"),
        (sampled.WithoutPenalty, "strategy 'sampled' does not apply repetition penalty"),
    ],
)
def test_what_cannot_be_checked_is_said_and_never_passed(strategy, reason):
    assert check_sampling(strategy(), WORKLOAD, Effort()).not_checked == reason
    assert check_strategy(strategy(), WORKLOAD).not_checked == reason


def timed(strategy: sampled.Sampled, seconds: float, workload: Workload = STRONG):
    """What a check finds in so much time, and how many seconds it really took."""
    clock = strategy.scripted_clock
    found = check_sampling(strategy, workload, Effort(), allowance=Allowance(clock, seconds * 1e9))
    return found, clock.now_ns() / 1e9


def test_a_check_that_has_the_time_leaves_nothing_out():
    found, taken_s = timed(sampled.Sampled(), 15)
    assert found == check_sampling(sampled.Sampled(), STRONG, Effort())
    assert found.left_out == ()
    assert taken_s < 1


@pytest.mark.parametrize("seconds", [4, 15, 40, 80])
def test_a_slow_strategy_is_checked_for_as_long_as_there_is_time_and_the_rest_is_said(seconds):
    """The first pass, which may have to be compiled, is beside the time."""
    found, taken_s = timed(sampled.TakesASecond(), seconds)
    assert taken_s <= 1 + seconds
    assert taken_s > 0.7 * seconds
    assert (found.problems, found.not_checked) == ((), None)
    assert found.left_out
    assert found.draws > 0
    assert found.told
    assert found.open


def test_more_time_reaches_more():
    less, more = (timed(sampled.TakesASecond(), seconds)[0] for seconds in (4, 80))
    assert less.left_out == ("all first tokens", "every token of an answer", "the same seed once more")
    assert more.left_out == ("all first tokens",)
    assert more.draws > 4 * less.draws


def test_a_strategy_that_is_too_slow_for_a_single_draw_is_not_checked():
    found, taken_s = timed(sampled.TakesAMinute(), 15)
    assert found.not_checked == "the time for it was over after its first passes"
    assert taken_s == 120


def test_what_is_wrong_is_found_in_little_time_as_well():
    slow = type("Slow", (sampled.IgnoresTopP,), {"pass_ns": 10**9})()
    found, _ = timed(slow, 60)
    assert found.problems
    assert found.left_out == ()


def test_greedy_answers_are_cut_short_when_there_is_little_time():
    found, taken_s = timed(sampled.TakesASecond(), 15, GREEDY)
    assert found.left_out == ("every token of an answer",)
    assert taken_s <= 16
    assert 0 < found.draws < 4 * 12
