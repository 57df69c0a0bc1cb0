"""Owns `perfsuite selftest`: the gate tried on the stored baselines, by replays and by real sessions."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.cli.parser import UNUSABLE, count
from perfsuite.cli.sources import Stored, device_of, foreign_lines
from perfsuite.cli.terminal import complain, write
from perfsuite.core.baseline import Baseline
from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import Metric
from perfsuite.core.options import DEFAULT_TOLERANCES, GateOptions, merge_tolerances, parse_tolerances
from perfsuite.core.replay import REPLAYS, study
from perfsuite.core.selftest import Gated, SelfTest, default_slowdown, verdict_count
from perfsuite.core.units import parse_percent
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.environment import has_gpu
from perfsuite.measure.session import SessionJob
from perfsuite.measure.trial import Ways, try_gate
from perfsuite.report.headings import counted
from perfsuite.report.selftest import selftest
from perfsuite.store import BaselineStore
from perfsuite.strategies import references, resolve

if TYPE_CHECKING:
    from perfsuite.cli.parser import Commands

GATE_WRONG, NOT_ASKED = 1, UNUSABLE


def add_to(commands: "Commands") -> None:
    """Add the command and its arguments."""
    about = "prove the gate on this machine: replay the stored sessions, inject slowdowns, and try it for real"
    own = commands.add_parser("selftest", help=about, description=about)
    own.set_defaults(run=run, tells_broken=False)
    own.add_argument("--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR", help="folder of baselines")
    own.add_argument("--device", metavar="FOLDER", help="the folder of one device in it, if there are several")
    own.add_argument("-k", dest="text", default="", metavar="TEXT", help="only cells whose id contains this")
    own.add_argument("--tolerance", default="", metavar="LIST", help="as --perf-tolerance, laid over its default")
    own.add_argument("--replays", type=count, default=REPLAYS, metavar="N", help=f"replays (default: {REPLAYS})")
    own.add_argument(
        "--inject", metavar="PERCENT", help="slowdown of the real trial (default: twice the median's tolerance)"
    )
    own.add_argument("--no-real", action="store_true", help="replays only, no real sessions")


def run(arguments: argparse.Namespace) -> int:
    """0 the gate did right, 1 it was wrong in real sessions, 2 it could not be asked."""
    tolerances = _tolerances(arguments.tolerance)
    slowdown = parse_percent(arguments.inject, where="--inject") if arguments.inject else None
    stored, baselines = _baselines(arguments)
    gated = tuple(Gated(baseline=baseline, tolerances=tolerances) for baseline in baselines)
    if not arguments.no_real:
        _check_trial(baselines)
    gates = max(1, verdict_count(gated))
    sys.stderr.write(f"replaying {counted(len(gated), 'cell')} {counted(arguments.replays, 'time')}\n")
    found = study(gated, GateOptions(), gates=gates, replays=arguments.replays)
    if not arguments.no_real:
        sizes = (0.0, slowdown or default_slowdown(gated))
        found = replace(found, trials=tuple(try_gate(gated, _ways(gates, stored), slowdown=size) for size in sizes))
    write(selftest(found))
    write(foreign_lines(Stored(store=BaselineStore(arguments.baseline_dir), device=arguments.device)))
    return _exit_code(found)


def _exit_code(found: SelfTest) -> int:
    if found.wrong():
        return GATE_WRONG
    if found.uncompared():
        complain(f"{len(found.uncompared())} gates could not be tried; the report says why", "selftest")
        return NOT_ASKED
    if found.trials and not found.due():
        complain(
            "no gate was slowed by its tolerance or more, so none was tried; raise --inject or lower --tolerance",
            "selftest",
        )
        return NOT_ASKED
    return 0


def _tolerances(text: str) -> dict[Metric, float]:
    changes = parse_tolerances(text, where="--tolerance") if text else {}
    return merge_tolerances(DEFAULT_TOLERANCES, changes)


def _baselines(arguments: argparse.Namespace) -> tuple[tuple[Baseline, ...], tuple[Baseline, ...]]:
    """Everything stored for the device, and what of it was asked for."""
    store = BaselineStore(arguments.baseline_dir)
    found = store.load_all(device_of(store, arguments.device))
    chosen = tuple(baseline for baseline in found if arguments.text in baseline.cell.id)
    if not chosen:
        ids = ", ".join(baseline.cell.id for baseline in found)
        raise OptionError(f"-k: no cell's id contains {arguments.text!r}; stored are {ids}")
    return found, chosen


def _check_trial(baselines: Sequence[Baseline]) -> None:
    """OptionError if it is plain, before anything is loaded, that real sessions cannot be made here."""
    for baseline in baselines:
        resolve((baseline.cell.strategy,), where=baseline.cell.id)
    environment = baselines[0].environment
    if "cuda" in environment.must_agree and not has_gpu():
        raise OptionError(
            f"these baselines are of {environment.device!r}, and there is no GPU here; use --no-real for replays alone"
        )


def _ways(gates: int, stored: Sequence[Baseline]) -> Ways:
    known = references()
    arms: dict[tuple[str, ModelSpec], list[Workload]] = {}
    for baseline in stored:
        arms.setdefault((baseline.cell.strategy, baseline.cell.model), []).append(baseline.cell.workload)
    return Ways(
        reference=lambda strategy: known.get(strategy, strategy),
        workloads=lambda cell: tuple(arms[cell.strategy, cell.model]),
        import_path=(*sys.path, str(Path.cwd())),
        options=GateOptions(),
        gates=gates,
        began=_say_session,
        progressed=lambda _: None,
        ended=lambda _: None,
    )


def _say_session(job: SessionJob) -> None:
    first, slowdown = job.cells[0], job.measure.injected_slowdown
    what = f"slowed by {100 * slowdown:g} %" if slowdown else "same code"
    cells = counted(len(job.cells), "cell")
    sys.stderr.write(f"{first.strategy_slug}/{first.model.slug}, {what}: session {job.session + 1}, {cells}\n")
