"""Owns what a strategy says of itself at the end of a session: memory, evidence, and what bounds its times."""

from dataclasses import dataclass, replace

from perfsuite.core.errors import one_line
from perfsuite.core.recording import Evidence, Memory
from perfsuite.core.roofline import Roofline
from perfsuite.core.sample import Failure
from perfsuite.core.work import ModelWork
from perfsuite.core.workload import ModelFacts, Workload
from perfsuite.measure import environment
from perfsuite.measure.clock import Clock
from perfsuite.measure.limits import measure_limits
from perfsuite.measure.strategy import CarriesGauges, RunsElsewhere, Strategy
from perfsuite.measure.told import evidence_of, memory_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a strategy says at the end; `failures` are about the session as a whole."""

    memory: Memory
    evidence: Evidence
    roofline: Roofline | None = None
    failures: tuple[Failure, ...] = ()


def account_of(strategy: Strategy, facts: ModelFacts | None, clock: Clock) -> Account:
    """What the strategy says of itself at the end; if it cannot, the samples stay and a failure says so.

    The limits come last: what their gauges allocate is in no peak, and they come after every sample. Without `facts`
    they are left out, as where the device is lost.
    """
    host_peak = None if isinstance(strategy, RunsElsewhere) else environment.host_peak_bytes()
    try:
        memory, evidence = memory_of(strategy), evidence_of(strategy)
        roofline = _roofline(strategy, facts, clock) if facts else None
    except Exception as error:  # noqa: BLE001 - the border to engines that are not ours
        failure = Failure(stage="evidence", message=one_line(error))
        return Account(memory=Memory(host_peak=host_peak), evidence=Evidence(), failures=(failure,))
    memory = replace(memory, host_peak=_with(memory.host_peak, host_peak))
    return Account(memory=memory, evidence=evidence, roofline=roofline)


def _with(others: int | None, own: int | None) -> int | None:
    """The peak of this process, and of those that run a part of the model."""
    return own if others is None or own is None else own + others


def _roofline(strategy: Strategy, facts: ModelFacts, clock: Clock) -> Roofline | None:
    """What bounds the samples from below; `None` for a strategy that cannot say what its device or model does."""
    if facts.work is None or not isinstance(strategy, CarriesGauges):
        return None
    limits = measure_limits(strategy.gauges(), clock)
    return Roofline(limits=limits, work=facts.work) if limits else None


def cache_bytes(work: ModelWork | None, workload: Workload) -> int | None:
    """What the keys and values of a cell's longest request take; `None` where the model's work is not known."""
    positions = workload.prompt_tokens + workload.output_tokens
    return work.cache_bytes(rows=workload.batch_size, past=positions) or None if work else None
