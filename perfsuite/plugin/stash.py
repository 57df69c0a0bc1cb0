"""Owns the key under which a run's state hangs on pytest's config; there is no other global state."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from perfsuite.plugin.campaign import Campaign

CAMPAIGN: "pytest.StashKey[Campaign]" = pytest.StashKey()
