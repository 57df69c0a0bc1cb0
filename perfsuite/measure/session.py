"""Owns what is said between the run and a session's worker process: the job that goes in, the events that come out."""

from dataclasses import dataclass

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Environment, Recording
from perfsuite.core.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionJob:
    """One session: open the strategy named by `reference` once and measure `cells`, which share strategy and model.

    `workloads` are all that the run has for them: the strategy is opened for these, so that what it lays out, such as a
    static cache, does not depend on which of the cells this session measures; none means the cells' own.
    `import_path` is the run's `sys.path`, so that the worker finds a strategy that lives beside the tests.
    `engine_dir` is the folder of engines that the user named; `None`: whatever a strategy that keeps some does itself.
    With `turns` another session shares the machine: this one works only while it has the turn, and reads no canaries.
    Unless `is_checked` neither tokens nor the limits of the device are looked into; where an earlier session of the run
    `was_checked`, a shorter look at the tokens suffices. `foreign` is a folder whose modules
    this session must not load, as they are the other arm's.
    """

    reference: str
    cells: tuple[Cell, ...]
    session: int
    measure: MeasureOptions
    workloads: tuple[Workload, ...] = ()
    import_path: tuple[str, ...] = ()
    engine_dir: str | None = None
    turns: bool = False
    is_checked: bool = True
    was_checked: bool = False
    foreign: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the worker is: `stage` is a startup phase, 'warm-up' or 'measure'; `done` of `total` samples are taken.

    `cell` is the index of the cell in the job, `None` while the strategy opens. `p50_ns` is the median TTFT of the cell
    so far, `half_ns` half of its 95 % interval; `None` before there are enough samples.
    """

    stage: str
    cell: int | None = None
    done: int = 0
    total: int = 0
    p50_ns: float | None = None
    half_ns: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The worker is at rest until it is given a turn; `request_ns` is what a one-token request of each cell takes.

    Empty before that is known.
    """

    request_ns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line from the worker; exactly one field is set.

    `lost` says by what the worker lost its device; what it has measured follows.

    `measured` are the recordings before their sampling is checked: they stand if the check ends the process.

    `refused` is an error in what the user asked for, `unavailable` a strategy that cannot run here, `broken` a strategy
    that failed while it opened; `recordings` ends the session.
    """

    progress: Progress | None = None
    environment: Environment | None = None
    lost: str | None = None
    measured: tuple[Recording, ...] | None = None
    refused: str | None = None
    unavailable: str | None = None
    broken: str | None = None
    recordings: tuple[Recording, ...] | None = None
    waiting: Waiting | None = None
