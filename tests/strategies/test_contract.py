"""What every strategy owes the recorder; a new strategy joins by one line in contract.py."""

from dataclasses import replace

import pytest
import torch

from perfsuite.core.recording import Evidence, Memory
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.opening import create, opened
from perfsuite.measure.strategy import Ability, CarriesGauges, KnowsMemory, TimesDevice
from tests.strategies.contract import answer, parameters, request, rows
from tests.strategies.tracing import traced_only

WORKLOADS = (Workload(prompt_tokens=10, output_tokens=5), Workload(prompt_tokens=10, output_tokens=5, batch_size=3))
SAMPLED = SamplingParams(temperature=1.0)

pytestmark = pytest.mark.parametrize("subject", parameters(), scope="module")


@pytest.fixture(scope="module", autouse=True)
def no_generated_code():
    """On a CPU it takes ten seconds a pass and changes nothing that the contract is about."""
    with pytest.MonkeyPatch.context() as patch:
        if not torch.cuda.is_available():
            traced_only(patch)
        yield


@pytest.fixture(scope="module")
def strategy(subject):
    with opened(create(subject.reference), subject.model, WORKLOADS) as ready:
        yield ready


def needs(strategy, ability):
    if ability not in strategy.abilities:
        pytest.skip(f"{strategy.name} has no ability {ability.value!r}")


def test_opening_names_its_phases(subject):
    fresh = create(subject.reference)
    try:
        phases = list(fresh.open(subject.model, WORKLOADS[:1]))
    finally:
        fresh.close()
    assert phases
    assert all(isinstance(phase, str) and phase for phase in phases)


@pytest.mark.parametrize("output_tokens", [1, 2, 5])
def test_a_row_gets_exactly_the_tokens_asked_for(strategy, output_tokens):
    assert [len(row) for row in answer(strategy, request(output_tokens=output_tokens))] == [output_tokens]


@pytest.mark.parametrize("batch", [1, 3])
def test_every_row_of_a_batch_gets_its_tokens(strategy, batch):
    if batch > 1:
        needs(strategy, Ability.BATCH)
    asked = request(batch)
    chunks = list(strategy.stream(asked))
    assert {chunk.row for chunk in chunks} == set(range(batch))
    assert [len(row) for row in rows(chunks, batch)] == [asked.output_tokens] * batch


def test_token_ids_are_in_the_vocabulary(strategy):
    needs(strategy, Ability.TEMPERATURE)
    (row,) = answer(strategy, request(output_tokens=5, sampling=SAMPLED))
    assert all(type(token) is int and 0 <= token < strategy.facts().vocabulary for token in row)


@pytest.mark.parametrize("batch", [1, 3])
def test_only_the_last_chunk_of_a_row_has_a_finish_reason(strategy, batch):
    if batch > 1:
        needs(strategy, Ability.BATCH)
    chunks = list(strategy.stream(request(batch)))
    for row in range(batch):
        *before, last = [chunk.finish_reason for chunk in chunks if chunk.row == row]
        assert last == "length"
        assert set(before) <= {None}


def test_no_chunk_is_empty(strategy):
    assert all(chunk.token_ids for chunk in strategy.stream(request()))


def test_the_same_seed_gives_the_same_tokens(strategy):
    needs(strategy, Ability.SEED)
    asked = request(sampling=replace(SAMPLED, seed=3))
    assert answer(strategy, asked) == answer(strategy, asked)


def test_another_seed_gives_other_tokens(strategy):
    needs(strategy, Ability.SEED)
    answers = {answer(strategy, request(sampling=replace(SAMPLED, seed=seed))) for seed in range(3)}
    assert len(answers) == 3


def test_an_abandoned_request_does_not_disturb_the_next(strategy):
    needs(strategy, Ability.SEED)
    asked = request(sampling=SAMPLED)
    expected = answer(strategy, asked)
    abandoned = strategy.stream(request(sampling=replace(SAMPLED, seed=9)))
    next(abandoned)
    abandoned.close()
    assert answer(strategy, asked) == expected


def test_device_times_are_one_per_step_or_none_at_all(strategy):
    if not isinstance(strategy, TimesDevice):
        pytest.skip(f"{strategy.name} does not time its device")
    list(strategy.stream(request(output_tokens=4)))
    durations = strategy.device_ns()
    assert durations is None or (len(durations) == 4 and all(type(duration) is int for duration in durations))


def test_facts_evidence_and_memory_are_known_once_open(strategy):
    assert strategy.facts().vocabulary > 0
    assert len(strategy.facts().fingerprint) >= 8
    assert isinstance(strategy.evidence(), Evidence)
    assert not isinstance(strategy, KnowsMemory) or isinstance(strategy.memory(), Memory)


def test_where_the_work_of_a_pass_is_known_the_limits_can_be_measured(strategy):
    assert strategy.facts().work is None or isinstance(strategy, CarriesGauges)


def test_closing_works_before_opening_and_twice(subject):
    fresh = create(subject.reference)
    fresh.close()
    with opened(fresh, subject.model):
        pass
    fresh.close()


def test_what_was_closed_opens_again_and_answers_the_same(subject):
    fresh = create(subject.reference)
    asked = request(sampling=replace(SAMPLED, seed=3)) if Ability.SEED in fresh.abilities else request()
    answers = []
    for _ in range(2):
        with opened(fresh, subject.model, WORKLOADS[:1]):
            answers.append(answer(fresh, asked))
    assert answers[0] == answers[1]
