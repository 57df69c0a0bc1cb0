"""Jobs for real workers that run scripted strategies."""

import sys

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.session import SessionJob


def make_job(strategy: str, *prompts: int) -> SessionJob:
    """One session of a strategy of tests.fleet.strategies."""
    reference = f"tests.fleet.strategies:{strategy}"
    cells = tuple(
        Cell(strategy=reference, model=ModelSpec(name="tiny"), workload=Workload(prompt_tokens=n, output_tokens=2))
        for n in prompts or (10,)
    )
    measure = MeasureOptions(samples=4, decode_samples=2, block_size=2, warmup=1, monitor=False)
    return SessionJob(reference=reference, cells=cells, session=0, measure=measure, import_path=tuple(sys.path))
