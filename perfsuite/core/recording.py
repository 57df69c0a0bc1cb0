"""Owns what one session says about one cell."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from perfsuite.core.canary import CanaryReading
from perfsuite.core.codec import ADDED_LATER
from perfsuite.core.matrix import Cell
from perfsuite.core.reading import Monitoring
from perfsuite.core.roofline import Roofline
from perfsuite.core.sample import Failure, Phase, Sample
from perfsuite.core.sampling_check import SamplingCheck

ENVIRONMENT_KEYS = (
    "device",
    "model",
    "dtype",
    "quantization",
    "torch",
    "cuda",
    "driver",
    "threads",
    "power limit",
    "mig",
    "governor",
    "warm-up",
    "block",
)
"""What can be among the keys that must agree; which of them are there depends on the device."""
KEYS_OF_A_CELL = frozenset({"model", "dtype", "quantization", "warm-up", "block"})
"""Those that say what was measured and how, not where."""
SETTINGS_THAT_MUST_AGREE = frozenset({"power limit", "mig", "governor"})
"""Keys that are compared where both sides know them: earlier layouts do not, nor does a place without NVML."""

NOTED_PACKAGES = (
    *("torch", "transformers", "triton", "numpy", "torchao", "perfsuite"),
    *("vllm", "tensorrt", "tensorrt-llm", "tensorrt-rtx", "torch-tensorrt", "flashinfer-python", "nvidia-ml-py"),
)
"""Whose versions an environment notes, as far as they are installed."""
NOTES_THAT_MUST_AGREE = (
    "attention",
    "static cache",
    "engines",
    "tensor parallel",
    "longest sequence",
    "API",
    "prompts sent as",
    "engine arguments",
)
"""Heads of evidence notes ('attention: sdpa') that two recordings must share to be comparable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupPhase:
    """One part of getting ready ('load', 'compile', 'capture', 'first call') and how long it took."""

    name: str
    duration_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes: the weights, the peak of the strategy's own allocator, and the peak of the session's host memory.

    Of a model that is split over ranks, the sum over all of them, but for `device_used`, which is that of rank 0's GPU.

    `None` where it cannot be known (an engine in another process, an endpoint). Of the cell itself: `cell_peak` is the
    allocator's peak during its blocks, `device_used` the most that the driver saw its processes hold then, `cache` what
    the keys and values of its longest request take.
    """

    weights: int | None = None
    peak_allocated: int | None = None
    peak_reserved: int | None = None
    host_peak: int | None = None
    cell_peak: int | None = field(default=None, metadata={ADDED_LATER: True})
    device_used: int | None = field(default=None, metadata={ADDED_LATER: True})
    cache: int | None = field(default=None, metadata={ADDED_LATER: True})

    @property
    def headline(self) -> int | None:
        """What a table shows: device memory where there is a device, else host memory."""
        return self.peak_reserved if self.peak_reserved is not None else self.host_peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Proof that the strategy engaged; `None` means that the strategy has no such thing, 0 that it did not happen.

    Counts cover the session with all its cells; core/validity.py says which of them make a recording unbelievable.
    `graphs_replayed` counts at least one a step. `recompiles` are those of what was compiled and used before, so that
    they fell into a timed request. `kernel_fallbacks` are operations, or whole passes, that ran on a slower path than
    the strategy stands for: uncompiled, outside of its engine. `notes` name choices that matter to the
    numbers, such as the attention kernel; some of them must agree (`NOTES_THAT_MUST_AGREE`).
    """

    graphs_captured: int | None = None
    graphs_replayed: int | None = None
    compiled_regions: int | None = None
    graph_breaks: int | None = None
    recompiles: int | None = None
    engines: int | None = None
    kernel_fallbacks: int | None = None
    cached_prefix_hits: int | None = None
    notes: tuple[str, ...] = ()

    def differences(self, other: "Evidence") -> tuple[str, ...]:
        """One phrase per note that must agree and does not: "static cache: '448 positions' there, '128 …' here"."""
        pairs = ((head, other.note(head), self.note(head)) for head in NOTES_THAT_MUST_AGREE)
        return tuple(f"{head}: {there!r} there, {here!r} here" for head, there, here in pairs if there != here)

    def note(self, head: str) -> str | None:
        """'448 positions' of the note 'static cache: 448 positions'; `None` if there is no such note."""
        found = (note.partition(": ") for note in self.notes)
        return next((text for name, _, text in found if name == head), None)


def _slug(text: str) -> str:
    kept = "".join(c if c.isalnum() or c == "." else "-" for c in text.lower())
    return "-".join(part for part in kept.split("-") if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a recording was made. `must_agree` decides whether two recordings are comparable, `noted` does not."""

    device: str
    must_agree: Mapping[str, str]
    noted: Mapping[str, str]

    @property
    def slug(self) -> str:
        """The device as a folder name: 'nvidia-h100-80gb-hbm3'."""
        return _slug(self.device)

    @property
    def key(self) -> str:
        """The device and what of its machine must agree, as a folder name: 'nvidia-h200_cuda-13.0_torch-2.11.0'."""
        others = sorted(set(self.must_agree) - {"device", *KEYS_OF_A_CELL})
        return "_".join([self.slug, *(_slug(f"{name}-{self.must_agree[name]}") for name in others)])

    def differences(self, other: "Environment", *, ignore: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """One phrase per key that must agree and does not: "torch: '2.11.0' there, '2.13.0' here"."""
        unknown = SETTINGS_THAT_MUST_AGREE - (set(self.must_agree) & set(other.must_agree))
        keys = sorted((set(self.must_agree) | set(other.must_agree)) - ignore - unknown)
        pairs = ((key, self.must_agree.get(key), other.must_agree.get(key)) for key in keys)
        return tuple(f"{key}: {theirs!r} there, {ours!r} here" for key, ours, theirs in pairs if ours != theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Everything one session measured of one cell; raw samples in the order they were taken, nothing dropped.

    `started_at` is ISO 8601 in UTC. `warmups` were taken before the samples and enter no statistic.
    `canaries` hold one reading per block and canary. `roofline` is what bounds the times from below, `None` where that
    is not known: then no time is checked against a floor.
    `injected_slowdown` is the fraction by which perfsuite itself slowed the strategy to prove the gate (0: not).
    `sampling` is what the session's sampling check found; `None` in recordings of a time without it.
    `monitoring` is what was seen of the machine beside the samples, `None` where time was scripted or nobody watched
    yet; `set_aside` are samples that were taken anew because it was disturbed then: they enter no statistic.
    `beside` names the strategies whose sessions took turns with this one, block by block; none: it ran by itself.
    """

    cell: Cell
    environment: Environment
    session: int
    started_at: str
    startup: tuple[StartupPhase, ...] = ()
    memory: Memory = Memory()
    evidence: Evidence = Evidence()
    warmups: tuple[Sample, ...] = ()
    samples: tuple[Sample, ...] = ()
    failures: tuple[Failure, ...] = ()
    canaries: tuple[CanaryReading, ...] = ()
    injected_slowdown: float = 0.0
    roofline: Roofline | None = None
    sampling: SamplingCheck | None = field(default=None, metadata={ADDED_LATER: True})
    monitoring: Monitoring | None = field(default=None, metadata={ADDED_LATER: True})
    set_aside: tuple[Sample, ...] = field(default=(), metadata={ADDED_LATER: True})
    beside: tuple[str, ...] = field(default=(), metadata={ADDED_LATER: True})

    def of_phase(self, phase: Phase) -> tuple[Sample, ...]:
        return tuple(sample for sample in self.samples if sample.phase is phase)

    @property
    def together(self) -> int:
        """How many requests, each with times of its own, were sent at once; 1 where rows share one time."""
        return max((len(sample.rows_ns or ()) for sample in self.samples), default=1) or 1

    @property
    def startup_ns(self) -> int:
        """Time until the strategy could answer, all phases together."""
        return sum(phase.duration_ns for phase in self.startup)
