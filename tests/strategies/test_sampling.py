"""Every strategy that runs the embedded model here draws what its parameters ask for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from perfsuite.core.parity import check_parity
from perfsuite.core.rounding import logit_error
from perfsuite.core.workload import Workload
from perfsuite.measure.endings import check_endings
from perfsuite.measure.live_check import check_strategy
from perfsuite.measure.opening import create, opened
from perfsuite.measure.strategy import Ability
from perfsuite.models.reference import reference_logits
from tests.strategies.contract import parameters
from tests.strategies.tracing import traced_only

WORKLOAD = Workload(prompt_tokens=16, output_tokens=16, batch_size=4)

pytestmark = pytest.mark.parametrize("subject", parameters(), scope="module")


@pytest.fixture(scope="module", autouse=True)
def no_generated_code():
    with pytest.MonkeyPatch.context() as patch:
        if not torch.cuda.is_available():
            traced_only(patch)
        yield


@pytest.fixture(scope="module")
def strategy(subject):
    with opened(create(subject.reference), subject.model, (WORKLOAD,)) as ready:
        if Ability.LOGITS not in ready.abilities:
            pytest.skip(f"not checked: {ready.name} shows no logits")
        yield ready


def test_draws_are_what_the_parameters_ask_for(strategy):
    found = check_strategy(strategy, WORKLOAD)
    assert found.problems == ()
    assert found.not_checked is None


@pytest.mark.parametrize("batch", [1, 4])
def test_rows_end_where_they_should_and_only_there(strategy, batch):
    found = check_endings(strategy, replace(WORKLOAD, batch_size=batch))
    assert (found.problems, found.not_checked) == ((), None)


def test_logits_are_those_of_eager_in_float32(strategy, subject):
    facts = strategy.facts()
    prompts = tuple(map(tuple, np.random.default_rng(0).integers(0, facts.vocabulary, size=(4, 16)).tolist()))
    logits = np.asarray(strategy.next_token_logits(prompts)).astype(float)
    reference = reference_logits(subject.model, facts, prompts)
    assert check_parity(logits, reference, allowed=logit_error(facts.dtype, reference, facts.layers)) == ()
