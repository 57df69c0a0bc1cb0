"""Owns one session as a process of its own: `python -m perfsuite.measure.worker`, a job on standard input.

Events leave as JSON lines on what was standard output when the process started; whatever an engine prints later goes
to standard error, so that it can never be taken for an event.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TextIO

from perfsuite.core.codec import decode, encode
from perfsuite.core.errors import ModelLoadError, OptionError, StrategyUnavailableError
from perfsuite.core.recording import Environment, Memory, Recording, StartupPhase
from perfsuite.measure import environment
from perfsuite.measure.clock import Clock, HostClock, utc_now
from perfsuite.measure.recorder import CellTake, Recorder, one_line
from perfsuite.measure.session import Event, Progress, SessionJob
from perfsuite.measure.strategy import Ability, BringsClock, KnowsMemory, Strategy, create

Emit = Callable[[Event], None]


def main() -> None:
    """Run the job on standard input and emit its events."""
    job = decode(SessionJob, json.load(sys.stdin), where="job")
    sys.path[:] = [*job.import_path, *(path for path in sys.path if path not in job.import_path)]
    events = _claim_standard_output()
    run_job(job, lambda event: _write(events, event))


def _claim_standard_output() -> TextIO:
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _write(events: TextIO, event: Event) -> None:
    events.write(json.dumps(encode(event)) + "\n")
    events.flush()


def run_job(job: SessionJob, emit: Emit) -> None:
    """One session from opening to closing; what cannot open ends in a refusing event instead of recordings."""
    try:
        strategy = create(job.reference)
        _check_abilities(strategy, job)
    except OptionError as error:
        emit(Event(refused=str(error)))
        return
    try:
        _run_open_to_close(strategy, job, emit)
    finally:
        strategy.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What all recordings of one session share."""

    strategy: Strategy
    job: SessionJob
    environment: Environment
    started_at: str
    startup: tuple[StartupPhase, ...]


def _run_open_to_close(strategy: Strategy, job: SessionJob, emit: Emit) -> None:
    clock = strategy.clock if isinstance(strategy, BringsClock) else HostClock()
    startup = _open(strategy, clock, job, emit)
    if startup is None:
        return
    here = environment.collect(strategy.facts())
    emit(Event(environment=here))
    session = _Session(strategy=strategy, job=job, environment=here, started_at=utc_now(), startup=startup)
    recorder = Recorder(strategy, clock, job.measure, lambda progress: emit(Event(progress=progress)))
    takes = recorder.measure(job.cells, order_seed=job.session)
    emit(Event(recordings=tuple(_recording(session, take) for take in takes)))


def _open(strategy: Strategy, clock: Clock, job: SessionJob, emit: Emit) -> tuple[StartupPhase, ...] | None:
    """The startup phases and their durations; `None` after an event has said why there are none."""
    try:
        return _time_open(strategy, clock, job, emit)
    except StrategyUnavailableError as error:
        emit(Event(unavailable=str(error)))
    except (OptionError, ModelLoadError) as error:
        emit(Event(refused=str(error)))
    except Exception as error:  # noqa: BLE001 - the border to engines that are not ours
        emit(Event(broken=one_line(error)))
    return None


def _time_open(strategy: Strategy, clock: Clock, job: SessionJob, emit: Emit) -> tuple[StartupPhase, ...]:
    workloads = tuple(cell.workload for cell in job.cells)
    phases: list[StartupPhase] = []
    name, began_ns = "open", clock.now_ns()
    for next_name in strategy.open(job.cells[0].model, workloads):
        now_ns = clock.now_ns()
        phases.append(StartupPhase(name=name, duration_ns=now_ns - began_ns))
        emit(Event(progress=Progress(stage=next_name)))
        name, began_ns = next_name, clock.now_ns()
    phases.append(StartupPhase(name=name, duration_ns=clock.now_ns() - began_ns))
    return tuple(phases[1:] or phases)


def _check_abilities(strategy: Strategy, job: SessionJob) -> None:
    largest = max(cell.workload.batch_size for cell in job.cells)
    if largest > 1 and Ability.BATCH not in strategy.abilities:
        raise OptionError(
            f"--perf-batch-size: {largest} is not allowed with strategy {strategy.name!r}, which runs one"
        )


def _recording(session: _Session, take: CellTake) -> Recording:
    strategy, job = session.strategy, session.job
    first_call = StartupPhase(name="first call", duration_ns=take.first_call_ns or 0)
    memory = strategy.memory() if isinstance(strategy, KnowsMemory) else Memory()
    return Recording(
        cell=take.cell,
        environment=session.environment,
        session=job.session,
        started_at=session.started_at,
        startup=(*session.startup, first_call),
        memory=replace(memory, host_peak=environment.host_peak_bytes()),
        evidence=strategy.evidence(),
        warmups=tuple(take.warmups),
        samples=tuple(take.samples),
        failures=tuple(take.failures),
        injected_slowdown=job.measure.injected_slowdown,
    )


if __name__ == "__main__":
    main()
