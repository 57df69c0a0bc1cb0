"""The pytest plugin: `pytest --perf` measures and gates, `pytest --save-baseline` measures and stores.

Importing it must stay next to free: nothing but pytest and the standard library is imported before `--perf` is seen.
"""

from perfsuite.plugin.fixtures import perf_cell, perf_compare, perf_judgement, perf_recording, perf_strategy
from perfsuite.plugin.flags import pytest_addoption
from perfsuite.plugin.hooks import (
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_generate_tests,
    pytest_report_header,
    pytest_runtestloop,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

__all__ = [
    "perf_cell",
    "perf_compare",
    "perf_judgement",
    "perf_recording",
    "perf_strategy",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_report_header",
    "pytest_runtestloop",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
]
