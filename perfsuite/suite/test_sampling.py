"""The suite itself: what a strategy draws is what its parameters ask for, and its logits are those of the weights."""

from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from perfsuite import Cell, Strategy
    from perfsuite.core.sampling_check import SamplingCheck

one_row = pytest.mark.perf(prompt_tokens=16, output_tokens=16, batch_size=1)
four_rows = pytest.mark.perf(prompt_tokens=16, output_tokens=16, batch_size=4)


def leave_open(request: pytest.FixtureRequest, line: str) -> NoReturn:
    """Not checked is not passed: a failure in a strict run, else a skip that says so."""
    if request.config.getoption("perf_strict"):
        pytest.fail(line, pytrace=False)
    pytest.skip(line)


def judge(request: pytest.FixtureRequest, cell: "Cell", found: "SamplingCheck", what: str) -> None:
    request.node.user_properties += [("draws", found.draws), ("told", len(found.told))]
    if found.problems:
        pytest.fail("\n".join(f"{cell.id}: {problem}" for problem in found.problems), pytrace=False)
    if found.not_checked:
        leave_open(request, f"{cell.id}: {what} not checked: {found.not_checked}")
    if found.open:
        still = "; ".join(found.open)
        leave_open(request, f"{cell.id}: inconclusive: {found.draws} draws could not exclude that {still}")
    if found.left_out:
        leave_open(request, f"{cell.id}: no time was left for {', '.join(found.left_out)}")


def check(request: pytest.FixtureRequest, strategy: "Strategy", cell: "Cell") -> None:
    from perfsuite.measure.clock import HostClock
    from perfsuite.measure.live_check import check_strategy

    judge(request, cell, check_strategy(strategy, cell.workload, HostClock()), "sampling is")


def check_ends(request: pytest.FixtureRequest, strategy: "Strategy", cell: "Cell") -> None:
    from perfsuite.measure.endings import check_endings

    judge(request, cell, check_endings(strategy, cell.workload), "ends of sequences are")


@one_row
def test_draws_are_what_the_parameters_ask_for(
    request: pytest.FixtureRequest, perf_strategy: "Strategy", perf_cell: "Cell"
) -> None:
    check(request, perf_strategy, perf_cell)


@four_rows
def test_draws_of_a_batch_are_what_the_parameters_ask_for(
    request: pytest.FixtureRequest, perf_strategy: "Strategy", perf_cell: "Cell"
) -> None:
    check(request, perf_strategy, perf_cell)


@one_row
def test_a_sequence_ends_where_it_should_and_only_there(
    request: pytest.FixtureRequest, perf_strategy: "Strategy", perf_cell: "Cell"
) -> None:
    check_ends(request, perf_strategy, perf_cell)


@four_rows
def test_a_row_of_a_batch_ends_where_it_should_and_the_others_go_on(
    request: pytest.FixtureRequest, perf_strategy: "Strategy", perf_cell: "Cell"
) -> None:
    check_ends(request, perf_strategy, perf_cell)


@one_row
def test_logits_are_those_of_eager_in_float32(
    request: pytest.FixtureRequest, perf_strategy: "Strategy", perf_cell: "Cell"
) -> None:
    import numpy as np

    from perfsuite.core.parity import check_parity
    from perfsuite.core.rounding import UNIT_ROUNDOFF, logit_error
    from perfsuite.measure.strategy import ExposesLogits
    from perfsuite.models.reference import reference_logits

    facts = perf_strategy.facts()
    if not isinstance(perf_strategy, ExposesLogits) or facts.dtype not in UNIT_ROUNDOFF:
        leave_open(request, f"{perf_cell.id}: parity is not checked: strategy {perf_strategy.name!r} shows no logits")
    prompts = tuple(map(tuple, np.random.default_rng(0).integers(0, facts.vocabulary, size=(1, 16)).tolist()))
    logits = np.asarray(perf_strategy.next_token_logits(prompts)).astype(np.float64)
    reference = reference_logits(perf_cell.model, facts, prompts)
    found = check_parity(logits, reference, allowed=logit_error(facts.dtype, reference, facts.layers))
    assert not found, f"{perf_cell.id}: {found[0]}"
