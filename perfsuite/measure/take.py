"""Owns what has been taken of one cell so far: the only mutable record of a session."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from perfsuite.core.canary import CanaryReading
from perfsuite.core.disturbance import MANY, divided, windows
from perfsuite.core.matrix import Cell
from perfsuite.core.reading import Monitoring
from perfsuite.core.rules import stretches
from perfsuite.core.sample import Failure, Phase, Sample
from perfsuite.core.statistics import summarize
from perfsuite.core.summary import Quantile
from perfsuite.core.validity import GIVEN_UP_AFTER


@dataclass(slots=True)
class CellTake:
    """Samples, what was kept apart of them, and what was read beside them."""

    cell: Cell
    first_call_ns: int | None = None
    warmups: list[Sample] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    set_aside: list[Sample] = field(default_factory=list)
    canaries: list[CanaryReading] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    monitoring: Monitoring | None = None
    peak_bytes: int | None = None

    @property
    def is_broken(self) -> bool:
        return len(self.failures) >= GIVEN_UP_AFTER

    @property
    def level(self) -> Quantile:
        """The median TTFT so far, in nanoseconds, with its interval; no value before the first sample."""
        times = [sample.ttft_ns for sample in self.samples if sample.phase is Phase.PREFILL]
        return summarize(times).p50 if times else Quantile(probability=0.5, value=None, interval=None)

    @property
    def warm_ns(self) -> int | None:
        """The median TTFT of the warm-up's one-token requests, in nanoseconds; `None` without any."""
        times = [sample.ttft_ns for sample in self.warmups if sample.phase is Phase.PREFILL]
        return round(median(times)) if times else None

    def saw_peak(self, count: int | None) -> None:
        """The most bytes of all blocks count."""
        if count is not None:
            self.peak_bytes = max(count, self.peak_bytes or 0)

    @property
    def device_used(self) -> int | None:
        """The most bytes that the driver saw the measured processes hold beside the samples."""
        readings = self.monitoring.device if self.monitoring is not None else ()
        return max((each.own_memory for each in readings if each.own_memory is not None), default=None)

    def look_back(self, seen: Monitoring) -> Counter[Phase]:
        """Keep what was seen beside the samples, and set aside the disturbed ones; how many of each kind those are.

        Where too many are, they stay: the recording is invalid, and says why by its readings.
        """
        self.monitoring = seen.between(windows((*self.samples, *self.set_aside)))
        clean, disturbed = divided(self.samples, stretches(self.monitoring))
        if len(disturbed) + len(self.set_aside) > MANY * (len(self.samples) + len(self.set_aside)):
            return Counter()
        self.samples[:] = clean
        self.set_aside += disturbed
        return Counter(sample.phase for sample in disturbed)
