"""Owns the share of a run's tests that --perf-shard leaves in it: every cell, and every live strategy, in one shard.

Cells go by their model and workload, strategies that a test opens by their own name and model, so that each is opened
in one shard. Tests of neither run in every shard.
"""

import os
from collections.abc import Callable, Iterable

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.shard import Portion, Shard, names_of
from perfsuite.measure.environment import code_without, installed_versions
from perfsuite.plugin.campaign import Campaign
from perfsuite.plugin.selection import Arm, Ask
from perfsuite.plugin.settings import Settings

RUN_VARIABLES = ("GITHUB_RUN_ID", "CI_PIPELINE_ID")
"""How GitHub and GitLab call the run that all jobs of a matrix belong to."""
AskOf = Callable[[pytest.Item], Ask | None]
"""The cell that a test wants measured."""


def deal(
    items: list[pytest.Item], campaign: Campaign, shard: Shard, measured: AskOf, gated: AskOf
) -> list[pytest.Item]:
    """Take the tests of other shards out of `items`, and give them back; the campaign knows then of their cells.

    `measured` and `gated` say of a test which cell it wants measured, and which it wants judged.
    """
    own = [item for item in items if _is_own(item, shard, measured)]
    others = [item for item in items if item not in set(own)]
    elsewhere = _cells(others, measured)
    campaign.portion = portion_of(campaign.settings, shard, _cells(items, measured), _cells(own, measured))
    campaign.bench.elsewhere = tuple(dict.fromkeys(ask for item in others if (ask := gated(item)) is not None))
    campaign.shelf.measured_elsewhere = frozenset(cell.id for cell in elsewhere)
    items[:] = own
    return others


def portion_of(settings: Settings, shard: Shard, cells: Iterable[Cell], own: Iterable[Cell]) -> Portion:
    """What a report tells of its shard."""
    return Portion(
        index=shard.index,
        count=shard.count,
        cells=tuple(cell.id for cell in cells),
        own=tuple(cell.id for cell in own),
        code=code_without(settings.root, settings.baseline_dir),
        run=next((f"{name} {os.environ[name]}" for name in RUN_VARIABLES if os.environ.get(name)), ""),
        versions=installed_versions(),
    )


def _is_own(item: pytest.Item, shard: Shard, measured: AskOf) -> bool:
    callspec = getattr(item, "callspec", None)
    arm: Arm | None = callspec.params.get("perf_strategy") if callspec else None
    ask: Ask | None = callspec.params.get("perf_cell") if callspec else None
    if arm is not None and measured(item) is None:
        return shard.holds(tuple(arm.id.split("/")))
    return ask is None or shard.holds(names_of(ask.cell))


def _cells(items: Iterable[pytest.Item], measured: AskOf) -> tuple[Cell, ...]:
    """The cells that these tests want measured, each once, in the order of the tests."""
    return tuple(dict.fromkeys(ask.cell for item in items if (ask := measured(item)) is not None))
