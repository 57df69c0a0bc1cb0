"""Owns what tests are told of their cells: properties for JUnit files; and where the test of each cell stands."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.plugin.campaign import Campaign
from perfsuite.plugin.reports import run_of
from perfsuite.plugin.selection import Ask
from perfsuite.report.annotations import Place
from perfsuite.report.attempt import attempt
from perfsuite.report.properties import Properties, properties

WORKSPACE_VARIABLE = "GITHUB_WORKSPACE"
"""GitHub Actions names the checkout in it; paths of annotations start there."""


def tell_items(campaign: Campaign, asking: Sequence[tuple[pytest.Item, Ask]]) -> None:
    """Put the numbers of its cell into every item's `user_properties`; a fault there is a note."""
    for item, ask in asking:
        campaign.places.setdefault(ask.cell, place_of(item))
    cells = dict.fromkeys(ask.cell for _, ask in asking)
    found, trouble = attempt(lambda: _by_cell(campaign, cells))
    if trouble:
        campaign.note(f"properties for JUnit: {trouble}")
    for item, ask in asking:
        item.user_properties += list((found or {}).get(ask.cell, ()))


def _by_cell(campaign: Campaign, cells: Iterable[Cell]) -> dict[Cell, Properties]:
    run = run_of(campaign)
    return {cell: properties(cell, run) for cell in cells}


def place_of(item: pytest.Item) -> Place:
    """The line of the test, in a path from the root of the checkout or, outside of GitHub, of pytest."""
    root = Path(os.environ.get(WORKSPACE_VARIABLE) or item.config.rootpath)
    path, line = item.path, item.location[1] or 0
    return Place(path=str(path.relative_to(root) if path.is_relative_to(root) else path), line=line + 1)
