"""Only what the repository's own runs need."""

import os
from contextlib import suppress

import pytest

pytest_plugins = ["pytester"]

with suppress(ImportError):  # the suite itself, `pytest --perf tests/perf`, runs without
    from hypothesis import HealthCheck, settings

    # however busy the machine of the tests is: no test fails for the time that an example takes
    settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, for `-n auto`: a third of the time tests wait for processes and clocks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1
