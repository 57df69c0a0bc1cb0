"""Owns the canaries: fixed workloads, free of product code, whose times beside every block tell the machine's speed.

What a canary runs is measure/canary.py's and the strategies' business. If that ever changes, its name here changes too,
so that no baseline is divided by another workload than the one it was calibrated with.
"""

from dataclasses import dataclass
from enum import Enum


class Canary(Enum):
    """What is timed: a loop of Python and numpy on one core; a small fixed model, launched kernel by kernel; the same
    model as one CUDA graph, as the host sees it; that graph by the device's own clock.
    """

    HOST = "host"
    FORWARD = "forward"
    GRAPH = "graph"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryReading:
    """How long a canary took beside one block of samples: the median of the runs just before and just after it."""

    block: int
    canary: Canary
    duration_ns: int

    def __post_init__(self) -> None:
        if self.duration_ns <= 0:
            raise ValueError(f"the {self.canary.value} canary took {self.duration_ns} ns; it must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What the gate makes of a sample: raw, or t * (reference / canary) ** weight with the canary of its block.

    The weight is how strongly the metric follows the canary: 1 is the plain ratio, 0.03 a metric that the host touches
    only a little. Chosen when a baseline is saved and stored with it, never chosen when comparing.
    """

    canary: Canary | None = None
    weight: float = 0.0
    reference_ns: float = 1.0

    def __post_init__(self) -> None:
        if self.canary is None and self.weight != 0:
            raise ValueError(f"mode: raw samples have no weight, found {self.weight}")
        if self.canary is not None and not (0 < self.weight <= LARGEST_WEIGHT and self.reference_ns > 0):
            raise ValueError(
                f"mode: weight {self.weight} and reference {self.reference_ns} ns are not allowed; "
                f"the weight must be above 0 and at most {LARGEST_WEIGHT:g}, the reference above 0"
            )

    @property
    def label(self) -> str:
        """'raw', or 'forward^0.61' for samples divided by the forward canary to the power of 0.61."""
        return "raw" if self.canary is None else f"{self.canary.value}^{self.weight:.2f}"


LARGEST_WEIGHT = 2.0
RAW = Mode()
