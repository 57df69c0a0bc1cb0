"""Owns what tests are told of their cells: properties for JUnit files; and where the test of each cell stands."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.plugin.campaign import Campaign
from perfsuite.plugin.reports import attempt, run_of
from perfsuite.plugin.selection import Ask
from perfsuite.report.annotations import Place
from perfsuite.report.properties import Properties, properties

WORKSPACE_VARIABLE = "GITHUB_WORKSPACE"
"""GitHub Actions names the checkout in it; paths of annotations start there."""


def tell_items(campaign: Campaign, asking: Sequence[tuple[pytest.Item, Ask]]) -> None:
    """Put the numbers of its cell into every item's `user_properties`; a fault there is a note."""
    run = run_of(campaign)
    known: dict[Cell, Properties] = {}
    for item, ask in asking:
        campaign.places.setdefault(ask.cell, place_of(item))
        if ask.cell not in known:
            found, trouble = attempt(lambda cell=ask.cell: properties(cell, run))  # type: ignore[misc]
            known[ask.cell] = found or ()
            if trouble:
                campaign.note(f"{ask.cell.id}: properties for JUnit: {trouble}")
        item.user_properties += list(known[ask.cell])


def place_of(item: pytest.Item) -> Place:
    """The line of the test, in a path from the root of the checkout or, outside of GitHub, of pytest."""
    root = Path(os.environ.get(WORKSPACE_VARIABLE) or item.config.rootpath)
    path, line = item.path, item.location[1] or 0
    return Place(path=str(path.relative_to(root) if path.is_relative_to(root) else path), line=line + 1)
