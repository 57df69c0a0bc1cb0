"""Owns baselines that the scripted strategy really measured, in worker processes, once per test process."""

import json
import os
import sys
from functools import lru_cache
from unittest import mock

from perfsuite.core.baseline import Baseline
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Recording
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.launcher import run_session
from perfsuite.measure.session import SessionJob
from perfsuite.strategies.fake import SCRIPT_VARIABLE

QUIET = json.dumps({"session_sd": 0.002, "sample_sd": 0.005})
MEASURED = MeasureOptions(samples=40, decode_samples=6, warmup=4, block_size=10)
REFERENCE = "perfsuite.strategies.fake:FakeStrategy"
CELLS = tuple(
    Cell(strategy="fake", model=ModelSpec(name="tiny"), workload=Workload(prompt_tokens=length, output_tokens=4))
    for length in (10, 20)
)


@lru_cache(maxsize=1)
def quiet_baselines() -> tuple[Baseline, ...]:
    """Six quiet sessions of two cells."""
    with mock.patch.dict(os.environ, {SCRIPT_VARIABLE: QUIET}):
        ends = [_session(number) for number in range(6)]
    return tuple(
        Baseline(
            cell=cell,
            commit="abc1234",
            saved_at="2026-01-02T03:05:00Z",
            recordings=tuple(recordings[index] for recordings in ends),
        )
        for index, cell in enumerate(CELLS)
    )


def _session(number: int) -> tuple[Recording, ...]:
    job = SessionJob(reference=REFERENCE, cells=CELLS, session=number, measure=MEASURED, import_path=tuple(sys.path))
    return run_session(job, lambda _: None).recordings
