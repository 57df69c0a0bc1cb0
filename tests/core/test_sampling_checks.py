"""Draws against the oracle: what is found, excluded or left open, and how often chance alone finds anything."""

import math
from dataclasses import replace

import numpy as np
import pytest

from perfsuite.core.draws import tally
from perfsuite.core.misreadings import misreadings
from perfsuite.core.oracle import Context, next_token
from perfsuite.core.problem import Property
from perfsuite.core.rounding import Precision
from perfsuite.core.sampling_checks import check_draws, distribution, effect, hopeless_misreadings, support
from perfsuite.core.workload import SamplingParams

LOGITS = np.array([2.0, 1.6, 1.1, 0.7, 0.2, -0.3, -0.8, -1.5, -2.0, -3.0])
PARAMS = SamplingParams(temperature=0.7, top_k=6, top_p=0.93, repetition_penalty=1.5)
CONTEXT = Context(logits=LOGITS, params=PARAMS, prompt=(0, 3), generated=(5,), others=((1, 2),))
CERTAIN = replace(CONTEXT, precision=Precision(dtype="float64"))


def draws(token, count, seed=0):
    return np.random.default_rng(seed).choice(len(token.scores), size=count, p=token.probabilities)


def misreading(name, context=CONTEXT):
    (found,) = (one for one in misreadings(context) if one.name == name)
    return found


def test_draws_from_the_oracle_leave_nothing_open_and_nothing_wrong():
    found = check_draws([tally(CONTEXT, draws(next_token(CONTEXT), 4000))], looks=1)
    assert found.problems == ()
    assert found.open == ()
    assert found.is_decided
    assert "top-p is ignored" in found.told


@pytest.mark.parametrize("name", [rival.name for rival in tally(CONTEXT).rivals])
def test_draws_of_a_misreading_are_found_and_explained(name):
    found = check_draws([tally(CONTEXT, draws(misreading(name).token, 20_000))], looks=1)
    assert {problem.property for problem in found.problems} & {Property.EFFECT, Property.PENALTY}


def test_few_draws_decide_nothing_and_say_what_they_leave_open():
    found = check_draws([tally(CONTEXT, draws(next_token(CONTEXT), 3))], looks=1)
    assert not found.is_decided
    assert "the penalty is applied twice" in found.open


def test_a_token_outside_the_support_is_shown_with_its_rank_and_the_boundary():
    (problem,) = support([tally(replace(CONTEXT, params=SamplingParams(top_k=3)), [0, 1, 4])])
    assert problem.property is Property.SUPPORT
    assert "token 4 was drawn 1 times in 3; it ranks 5 with score 0.2" in problem.finding
    assert "top-k 3 the best 3 remain, down to 1.1" in problem.finding


def test_a_token_at_the_boundary_within_rounding_is_no_problem():
    logits = np.array([2.0, 1.0001, 1.0, 0.0])
    context = Context(logits=logits, params=SamplingParams(top_k=2))
    assert support([tally(context, [0, 2])])
    assert not support([tally(replace(context, precision=Precision(dtype="float16")), [0, 2])])


def test_counts_that_fit_badly_are_shown_where_they_fit_worst():
    token = next_token(CERTAIN)
    (problem,) = distribution([tally(CERTAIN, [1] * 400)], alarm=1e-6)
    expected = token.probabilities[1] * 400
    assert f"of 400 draws 400 were token 1, expected {expected:.1f}" in problem.finding


def test_chance_finds_less_than_it_is_allowed_to():
    """At an alarm of 1 in 20 each, 100 runs of a correct sampler: the bounds are above the truth, so 5 or fewer."""
    token = next_token(CONTEXT)
    tallies = [tally(CONTEXT, draws(token, 300, seed)) for seed in range(100)]
    assert sum(bool(distribution([one], alarm=0.05)) for one in tallies) <= 5
    assert sum(bool(effect([one], alarm=0.05).problems) for one in tallies) <= 5


def test_contexts_count_together():
    """Neither of two contexts decides alone, both do."""
    token = next_token(CONTEXT)
    one, other = (tally(CONTEXT, draws(token, 250, seed)) for seed in (1, 2))
    assert len(effect([one, other], alarm=1e-6).open) < min(
        len(effect([half], alarm=1e-6).open) for half in (one, other)
    )


def test_one_impossible_draw_excludes_a_misreading_for_good():
    """Token 9 cannot be drawn by a greedy sampler, however many draws of token 1 look greedy."""
    plain = replace(CONTEXT, params=SamplingParams())
    found = effect([tally(plain, [9]), tally(plain, [0] * 500)], alarm=1e-6)
    assert "the likeliest token is always taken" not in (*found.open, *(p.finding for p in found.problems))


def test_what_rounding_hides_is_not_told():
    coarse = replace(CONTEXT, precision=Precision(dtype="float32", logit_error=0.3))
    assert "temperature is ignored" in {rival.name for rival in tally(CONTEXT).rivals}
    assert "temperature is ignored" not in {rival.name for rival in tally(coarse).rivals}


def test_a_greedy_context_has_no_misreadings():
    assert misreadings(replace(CONTEXT, params=SamplingParams(temperature=0))) == ()


def test_ids_outside_the_vocabulary_are_no_draws():
    assert tally(CONTEXT, [0, 99, -1]).draws == 1


def test_what_so_many_draws_are_not_expected_to_exclude_is_hopeless():
    drawn = tally(replace(CONTEXT, params=SamplingParams(temperature=0.5)))
    nats = {rival.name: rival.nats for rival in drawn.rivals}
    name = min(nats, key=nats.get)
    enough = math.ceil(math.log(1000) / nats[name])
    assert name not in hopeless_misreadings([drawn], enough)
    assert name in hopeless_misreadings([drawn], enough - 1)
    assert hopeless_misreadings([drawn], 0) == {name for name, each in nats.items() if each < math.inf}
