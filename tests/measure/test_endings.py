"""Rows of a live strategy end at an end-of-sequence id if they are to and go on if not; else they are found."""

from dataclasses import replace

import pytest

from perfsuite.core.sample import Request
from perfsuite.core.workload import Workload
from perfsuite.measure.endings import check_endings
from perfsuite.measure.luring import ENDING, luring_prompts
from tests import sampled

WORKLOAD = Workload(prompt_tokens=12, output_tokens=12, batch_size=4)
SEEDS = range(6)

batches = pytest.mark.parametrize("batch", [1, 4])


def found_by(strategy, batch=4, seed=0):
    return check_endings(strategy, replace(WORKLOAD, batch_size=batch, seed=seed))


@batches
def test_a_correct_strategy_ends_where_it_should_and_goes_on_where_it_should(batch):
    for seed in SEEDS:
        found = found_by(sampled.Sampled(), batch, seed)
        assert (found.problems, found.not_checked) == ((), None)
        assert found.draws > 12 * batch


@batches
@pytest.mark.parametrize("strategy", sampled.WRONG_AT_THE_END)
def test_a_strategy_that_treats_ends_otherwise_is_found(strategy, batch):
    assert all(found_by(strategy(), batch, seed).problems for seed in SEEDS)


def test_rows_that_end_because_another_one_did_are_found():
    assert all(found_by(sampled.EndsTogether(), 4, seed).problems for seed in SEEDS)


@pytest.mark.parametrize(
    ("strategy", "evidence"),
    [
        (sampled.IgnoresTheEnd, "gave 12 tokens where 12 were asked for, token "),
        (sampled.EndsUnasked, "tokens where 12 were asked for"),
        (sampled.SaysLength, "ended with finish reason 'length' instead of 'stop'"),
        (sampled.SaysNothing, "answer: row 0 ended without a finish reason"),
        (sampled.RulesOutTheEnd, "was taken where token 3 has"),
        (sampled.RulesOutTheEndIfHonoured, "where it was to end at an end-of-sequence id, and with"),
    ],
)
def test_the_evidence_is_shown(strategy, evidence):
    (problem, *_) = found_by(strategy()).problems
    assert evidence in problem


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        (sampled.KnowsNoEnd, "strategy 'sampled' does not say which ids end a sequence"),
        (sampled.HasNoEnd, "no id of the model ends a sequence"),
        (sampled.WithoutPenalty, "strategy 'sampled' does not apply repetition penalty"),
        (sampled.NeverEnds, "none of 16 answers came to an end-of-sequence id (3) before its last token"),
    ],
)
def test_what_cannot_be_checked_is_said_and_never_passed(strategy, reason):
    found = found_by(strategy())
    assert (found.problems, found.not_checked) == ((), reason)


def test_an_answer_of_one_token_cannot_end_early():
    found = check_endings(sampled.Sampled(), replace(WORKLOAD, output_tokens=1))
    assert found.not_checked == "an answer of one token cannot end early"


def test_a_strategy_without_logits_is_asked_until_a_row_ends():
    checked = [found_by(sampled.WithoutLogits(), 4, seed) for seed in SEEDS]
    assert all(not found.problems for found in checked)
    assert all(found.not_checked is None for found in checked)


def test_the_first_row_ends_soon_by_the_logits_but_not_at_once():
    for seed in SEEDS:
        strategy = sampled.Sampled()
        prompts = next(luring_prompts(strategy, replace(WORKLOAD, seed=seed), (sampled.END,)))
        assert {len(row) for row in prompts} == {12}
        assert all(sampled.END in row for row in prompts)
        asked = Request(prompts=prompts, output_tokens=4, sampling=ENDING, ignore_eos=False)
        chunks = list(strategy.stream(asked))
        tokens = [[chunk.token_ids[0] for chunk in chunks if chunk.row == row] for row in range(4)]
        assert 1 < len(tokens[0]) <= 4
        assert tokens[0][-1] == sampled.END
        assert all(sampled.END not in row for row in tokens[1:])
