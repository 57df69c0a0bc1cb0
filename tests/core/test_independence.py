"""Pairs of draws that depend on each other are found, whatever their distributions; others are left alone."""

import numpy as np
import pytest

from perfsuite.core.independence import Draw, check_pairs, dependence, position
from perfsuite.core.oracle import Context, next_token
from perfsuite.core.workload import SamplingParams


def token_of(seed, vocabulary=50):
    return next_token(Context(logits=np.random.default_rng(seed).normal(0, 1.5, vocabulary), params=SamplingParams()))


TOKEN = token_of(0)


def drawn(count, seed, token=TOKEN):
    ids = np.random.default_rng(seed).choice(len(token.scores), size=count, p=token.probabilities)
    return [Draw(drawn=int(one), token=token) for one in ids]


def test_independent_draws_are_left_alone():
    assert check_pairs({"steps": list(zip(drawn(500, 1), drawn(500, 2), strict=True))}) == ()


def test_the_same_draws_again_are_found_and_counted():
    (problem,) = check_pairs({"successive steps": list(zip(drawn(200, 1), drawn(200, 1), strict=True))})
    assert "successive steps are not independent: 200 of 200 pairs are equal where" in problem.finding


def test_the_same_random_numbers_under_other_distributions_are_found():
    """Two samplers by inversion of one uniform number each; the distributions differ."""
    places = np.random.default_rng(3).random(400)
    pairs = []
    for place in places:
        sides = []
        for token in (TOKEN, token_of(1)):
            order = np.argsort(-token.probabilities)
            index = int(np.searchsorted(token.probabilities[order].cumsum(), place))
            sides.append(Draw(drawn=int(order[min(index, len(order) - 1)]), token=token))
        pairs.append(tuple(sides))
    assert dependence("rows", pairs, alarm=1e-9) is not None


def test_the_same_noise_under_changing_distributions_is_found():
    """A captured graph that replays its random numbers: an exponential race with the same noise at every step."""
    pairs = []
    for seed in range(200):
        noise = np.random.default_rng(seed).exponential(size=50)
        tokens = (token_of(2 * seed), token_of(2 * seed + 1))
        pairs.append(tuple(Draw(drawn=int((t.probabilities / noise).argmax()), token=t) for t in tokens))
    assert dependence("steps", pairs, alarm=1e-7) is not None


def test_draws_of_changing_contexts_are_left_alone():
    tokens = [token_of(seed) for seed in range(40)]
    pairs = [
        (drawn(1, seed, a)[0], drawn(1, 1000 + seed, b)[0])
        for seed, (a, b) in enumerate(zip(tokens * 10, tokens[::-1] * 10, strict=True))
    ]
    assert dependence("steps", pairs, alarm=0.01) is None


def test_chance_finds_less_than_it_is_allowed_to():
    found = [
        dependence("rows", list(zip(drawn(200, s), drawn(200, 5000 + s), strict=True)), alarm=0.05) for s in range(60)
    ]
    assert sum(problem is not None for problem in found) <= 3


def test_positions_are_uniform_whatever_the_distribution():
    jitter = np.random.default_rng(0)
    places = np.array([position(draw, jitter.random()) for draw in drawn(4000, 5)])
    assert places.min() >= 0
    assert places.max() < 1
    np.testing.assert_allclose(np.histogram(places, bins=10, range=(0, 1))[0] / 4000, 0.1, atol=0.02)


@pytest.mark.parametrize("token", [-1, 50])
def test_an_id_outside_the_vocabulary_has_no_position(token):
    assert position(Draw(drawn=token, token=TOKEN), 0.5) is None


def test_tied_tokens_have_places_of_their_own():
    token = next_token(Context(logits=np.zeros(4), params=SamplingParams()))
    assert [position(Draw(drawn=id_, token=token), 0.0) for id_ in range(4)] == [0, 0.25, 0.5, 0.75]
