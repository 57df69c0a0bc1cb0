"""perfsuite: a performance-regression suite for LLM inference, as a pytest plugin.

Names are imported when they are first used: every pytest start imports this package, few of them measure.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfsuite.core.engine import EngineOptions
    from perfsuite.core.gate import judge
    from perfsuite.core.matrix import Cell
    from perfsuite.core.noise import Noise
    from perfsuite.core.noise_fit import fit_noise
    from perfsuite.core.recording import Evidence, Memory
    from perfsuite.core.sample import Chunk, Request
    from perfsuite.core.verdict import Outcome, Verdict
    from perfsuite.core.workload import ModelFacts, ModelSpec, SamplingParams, Workload
    from perfsuite.measure.opening import opened
    from perfsuite.measure.strategy import ALL_SAMPLING, Ability, Strategy
    from perfsuite.plugin.compare import CellComparison
    from perfsuite.plugin.facade import CellGate, MeasuredCell

__version__ = "0.1.0"

_HOMES = {
    "perfsuite.core.engine": ("EngineOptions",),
    "perfsuite.core.gate": ("judge",),
    "perfsuite.core.matrix": ("Cell",),
    "perfsuite.core.noise": ("Noise",),
    "perfsuite.core.noise_fit": ("fit_noise",),
    "perfsuite.core.recording": ("Evidence", "Memory"),
    "perfsuite.core.sample": ("Chunk", "Request"),
    "perfsuite.core.verdict": ("Outcome", "Verdict"),
    "perfsuite.core.workload": ("ModelFacts", "ModelSpec", "SamplingParams", "Workload"),
    "perfsuite.measure.opening": ("opened",),
    "perfsuite.measure.strategy": ("ALL_SAMPLING", "Ability", "Strategy"),
    "perfsuite.plugin.compare": ("CellComparison",),
    "perfsuite.plugin.facade": ("CellGate", "MeasuredCell"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ALL_SAMPLING",
    "Ability",
    "Cell",
    "CellComparison",
    "CellGate",
    "Chunk",
    "EngineOptions",
    "Evidence",
    "MeasuredCell",
    "Memory",
    "ModelFacts",
    "ModelSpec",
    "Noise",
    "Outcome",
    "Request",
    "SamplingParams",
    "Strategy",
    "Verdict",
    "Workload",
    "__version__",
    "fit_noise",
    "judge",
    "opened",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'perfsuite' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOME_OF[name]), name)
    return value
