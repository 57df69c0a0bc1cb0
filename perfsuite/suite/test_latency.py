"""The suite itself: every cell's latencies stay within tolerance of the stored baseline."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from perfsuite import CellGate


@pytest.mark.perf
@pytest.mark.parametrize(
    "metric", ["ttft.p50", "ttft.p99", "ttft_device.p50", "tpot.p50", "tpot_device.p50", "e2e.p50"]
)
def test_latency_stays_within_tolerance(perf_judgement: "CellGate", metric: str) -> None:
    perf_judgement.require(metric)
