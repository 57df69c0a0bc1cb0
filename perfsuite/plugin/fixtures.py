"""Owns the public fixtures: a cell, its recordings, its judgement, and a live strategy."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from perfsuite.plugin.stash import CAMPAIGN

if TYPE_CHECKING:
    from perfsuite.core.matrix import Cell
    from perfsuite.measure.strategy import Strategy
    from perfsuite.plugin.campaign import Campaign
    from perfsuite.plugin.compare import CellComparison
    from perfsuite.plugin.facade import CellGate, MeasuredCell


@pytest.fixture(scope="session")
def perf_cell(request: pytest.FixtureRequest) -> "Cell":
    """The cell this test is about: one strategy, model and workload. The test runs once per cell of the matrix."""
    cell: Cell = request.param.cell
    return cell


@pytest.fixture
def perf_recording(request: pytest.FixtureRequest, perf_cell: "Cell") -> "MeasuredCell":
    """What was measured of the cell: `perf_recording.milliseconds("ttft.p50")`, `.summary("ttft")`, `.recordings`."""
    from perfsuite.plugin.facade import MeasuredCell

    campaign = request.config.stash[CAMPAIGN]
    _leave_out_unavailable(campaign, perf_cell)
    return MeasuredCell(perf_cell, campaign.recordings(perf_cell), campaign.problem(perf_cell))


@pytest.fixture
def perf_judgement(request: pytest.FixtureRequest, perf_cell: "Cell") -> "CellGate":
    """The cell against its baseline: `perf_judgement.require("ttft.p50", "ttft.p99")`."""
    from perfsuite.plugin.facade import CellGate

    campaign = request.config.stash[CAMPAIGN]
    _leave_out_unavailable(campaign, perf_cell)
    return CellGate(
        campaign.bench.judgement(request.node.callspec.params["perf_cell"]),
        strict=campaign.options.gate.strict,
        saving=campaign.options.save_baseline,
        save_error=campaign.shelf.errors.get(perf_cell),
    )


@pytest.fixture
def perf_compare(request: pytest.FixtureRequest, perf_cell: "Cell") -> "CellComparison":
    """The cell against another strategy of the run: `perf_compare.require("ttft.p50", than="eager", at_least=1.3)`."""
    from perfsuite.plugin.compare import CellComparison

    campaign = request.config.stash[CAMPAIGN]
    _leave_out_unavailable(campaign, perf_cell)
    return CellComparison(campaign, perf_cell)


def _leave_out_unavailable(campaign: "Campaign", cell: "Cell") -> None:
    """Skip the tests of a strategy that 'all' included and that cannot run here; a strict run fails them."""
    reason = campaign.unavailable.get(cell)
    if reason and campaign.options.gate.strict:
        pytest.fail(f"{cell.id}: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"{cell.id}: {reason}")


@pytest.fixture(scope="session")
def perf_strategy(request: pytest.FixtureRequest) -> Iterator["Strategy"]:
    """A strategy opened in this process, for tests that need a live model: `perf_strategy.stream(request)`.

    One is open at a time; tests that share a strategy and model share it.
    """
    from perfsuite.core.errors import PerfsuiteError, StrategyUnavailableError
    from perfsuite.measure.opening import create, opened, use_engines

    campaign = request.config.stash[CAMPAIGN]
    arm = request.param
    try:
        strategy = create(campaign.settings.reference(arm.strategy))
        use_engines(strategy, campaign.settings.engine_dir)
        with opened(strategy, arm.model, campaign.live_workloads(arm)) as live:
            yield live
    except StrategyUnavailableError as error:
        if campaign.settings.strategies_were_named or campaign.options.gate.strict:
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    except PerfsuiteError as error:
        pytest.fail(str(error), pytrace=False)
