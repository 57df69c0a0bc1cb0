"""Owns one session as a process of its own: one line on standard input is the job, its end means that nobody waits.

Events leave as JSON lines on what was standard output when the process started; whatever an engine prints later goes
to standard error, so that it can never be taken for an event.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TextIO

from perfsuite.core.codec import decode, encode
from perfsuite.core.errors import ModelLoadError, OptionError, StrategyUnavailableError, one_line
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Environment, Recording, StartupPhase
from perfsuite.core.sampling_check import SamplingCheck
from perfsuite.core.work import ModelWork
from perfsuite.core.workload import ModelFacts
from perfsuite.measure import environment
from perfsuite.measure.account import Account, account_of, cache_bytes
from perfsuite.measure.clock import Clock, HostClock, utc_now
from perfsuite.measure.family import MARK, end_marked
from perfsuite.measure.fault import device_fault
from perfsuite.measure.opening import (
    create,
    require_batch,
    require_quantization,
    require_tensor_parallel,
    slow_device,
    use_engines,
    wanted_abilities,
)
from perfsuite.measure.recorder import Recorder
from perfsuite.measure.session import Event, Progress, SessionJob, Waiting
from perfsuite.measure.session_check import CHECK_AGAIN_NS, CHECK_NS, check_session, unchecked
from perfsuite.measure.strategy import ScriptsTime, Strategy
from perfsuite.measure.strays import refuse_foreign
from perfsuite.measure.take import CellTake
from perfsuite.measure.told import facts_of
from perfsuite.measure.turns import Turns
from perfsuite.measure.watch import OFF, Blind, Watcher, present, watching

Emit = Callable[[Event], None]
FREE = "turns: requests were also made from other cores than the other arm's, which this process may not use"


def main() -> None:
    """Run the job on standard input and emit its events."""
    job = decode(SessionJob, json.loads(sys.stdin.readline()), where="job")
    sys.path[:] = [*job.import_path, *(path for path in sys.path if path not in job.import_path)]
    events = _claim_standard_output()
    turns = Turns(lambda request_ns: _write(events, Event(waiting=Waiting(request_ns=request_ns))))
    threading.Thread(target=_end_with_the_run, args=(turns,), daemon=True, name="perfsuite-run-watch").start()
    run_job(job, lambda event: _write(events, event), turns if job.turns else None)


def _end_with_the_run(turns: Turns) -> None:
    """Pass on the turns that the run gives; once it closes our standard input, or is killed, end this process.

    With all its children. Not through sys.stdin, whose lock a waiting thread would hold while Python shuts down.
    """
    line = b""
    while told := os.read(0, 4096):
        *lines, line = (line + told).split(b"\n")
        for each in lines:
            turns.give(each.decode())
    if MARK in os.environ:
        end_marked(os.environ[MARK])
    if sys.platform != "win32" and os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _claim_standard_output() -> TextIO:
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _write(events: TextIO, event: Event) -> None:
    events.write(json.dumps(encode(event)) + "\n")
    events.flush()


def run_job(job: SessionJob, emit: Emit, turns: Turns | None = None) -> None:
    """One session from opening to closing; what cannot open ends in a refusing event instead of recordings.

    With `turns` it opens, measures each block and looks into what it measured in a turn each.
    """
    try:
        strategy = create(job.reference)
        require_batch(strategy, max(cell.workload.batch_size for cell in job.cells))
        require_quantization(strategy, job.cells[0].model)
        require_tensor_parallel(strategy, job.cells[0].model)
        use_engines(strategy, job.engine_dir)
    except OptionError as error:
        emit(Event(refused=str(error)))
        return
    except StrategyUnavailableError as error:
        emit(Event(unavailable=str(error)))
        return
    try:
        _run_open_to_close(strategy, job, emit, turns)
    finally:
        strategy.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What opening a strategy told."""

    startup: tuple[StartupPhase, ...]
    facts: ModelFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What all recordings of one session share."""

    job: SessionJob
    environment: Environment
    started_at: str
    startup: tuple[StartupPhase, ...]
    account: Account
    work: ModelWork | None


def _run_open_to_close(strategy: Strategy, job: SessionJob, emit: Emit, turns: Turns | None) -> None:
    clock = strategy.scripted_clock if isinstance(strategy, ScriptsTime) else HostClock()
    watches = job.measure.monitor and not isinstance(strategy, ScriptsTime)
    if turns is not None:
        turns.take()
    before = present() if watches else {}
    opened = _open(strategy, clock, job, emit)
    if opened is None:
        return
    here = environment.collect(opened.facts, job.measure)
    emit(Event(environment=here))
    started_at = utc_now()
    watched = watching(opened.facts.device, before, is_shared=turns is not None) if watches else _unwatched(strategy)
    with watched as watcher:
        recorder = Recorder(strategy, clock, job.measure, lambda told: emit(Event(progress=told)), watcher, turns=turns)
        takes = recorder.measure(job.cells, order_seed=job.session)
    if recorder.lost:
        emit(Event(lost=recorder.lost))
    account = account_of(strategy, opened.facts if job.is_checked and not recorder.lost else None, clock)
    if recorder.is_free:
        account = replace(account, evidence=replace(account.evidence, notes=(*account.evidence.notes, FREE)))
    session = _Session(
        job=job,
        environment=here,
        started_at=started_at,
        startup=opened.startup,
        account=account,
        work=opened.facts.work,
    )
    recordings = tuple(_recording(session, strategy, take) for take in takes)
    if recorder.lost:
        checks = unchecked(job.cells, f"the process lost its device: {recorder.lost}")
    else:
        emit(Event(measured=recordings))
        checks = _checks(strategy, job, clock, emit)
    emit(Event(recordings=tuple(replace(recording, sampling=checks[recording.cell]) for recording in recordings)))


def _checks(strategy: Strategy, job: SessionJob, clock: Clock, emit: Emit) -> dict[Cell, SamplingCheck]:
    if not job.is_checked:
        return unchecked(job.cells, "another session of this run checks it")
    time_ns = CHECK_AGAIN_NS if job.was_checked else CHECK_NS
    return check_session(strategy, job.cells, clock, lambda progress: emit(Event(progress=progress)), time_ns=time_ns)


def _unwatched(strategy: Strategy) -> "nullcontext[Watcher | None]":
    """Scripted time passes on no machine; where the monitor is switched off, the recordings say so."""
    return nullcontext(None if isinstance(strategy, ScriptsTime) else Blind(OFF))


def _open(strategy: Strategy, clock: Clock, job: SessionJob, emit: Emit) -> _Opened | None:
    """The startup phases with their durations and the model's facts; `None` after an event has said why not."""
    try:
        startup = _time_open(strategy, clock, job, emit)
        refuse_foreign(job.foreign)
        slow_device(strategy, job.measure)
        return _Opened(startup=startup, facts=facts_of(strategy))
    except StrategyUnavailableError as error:
        emit(Event(unavailable=str(error)))
    except (OptionError, ModelLoadError) as error:
        emit(Event(refused=str(error)))
    except Exception as error:  # noqa: BLE001 - the border to engines that are not ours
        fault = device_fault(error)
        if fault:
            emit(Event(lost=fault))
        emit(Event(broken=one_line(error)))
    return None


def _time_open(strategy: Strategy, clock: Clock, job: SessionJob, emit: Emit) -> tuple[StartupPhase, ...]:
    workloads = tuple(dict.fromkeys((*job.workloads, *(cell.workload for cell in job.cells))))
    phases: list[StartupPhase] = []
    name, began_ns = "open", clock.now_ns()
    for next_name in strategy.open(job.cells[0].model, workloads):
        now_ns = clock.now_ns()
        phases.append(StartupPhase(name=name, duration_ns=now_ns - began_ns))
        emit(Event(progress=Progress(stage=next_name)))
        name, began_ns = next_name, clock.now_ns()
    phases.append(StartupPhase(name=name, duration_ns=clock.now_ns() - began_ns))
    return tuple(phases[1:] or phases)


def _recording(session: _Session, strategy: Strategy, take: CellTake) -> Recording:
    first_call = StartupPhase(name="first call", duration_ns=take.first_call_ns or 0)
    ignored = tuple(
        f"not applied: {ability.value}" for ability in wanted_abilities(take.cell.workload) - strategy.abilities
    )
    return Recording(
        cell=take.cell,
        environment=session.environment,
        session=session.job.session,
        started_at=session.started_at,
        startup=(*session.startup, first_call),
        memory=replace(
            session.account.memory,
            cell_peak=take.peak_bytes,
            device_used=take.device_used,
            cache=cache_bytes(session.work, take.cell.workload),
        ),
        evidence=replace(session.account.evidence, notes=(*session.account.evidence.notes, *sorted(ignored))),
        warmups=tuple(take.warmups),
        samples=tuple(take.samples),
        failures=(*session.account.failures, *take.failures),
        canaries=tuple(take.canaries),
        injected_slowdown=session.job.measure.injected_slowdown,
        roofline=session.account.roofline,
        monitoring=take.monitoring,
        set_aside=tuple(take.set_aside),
    )
