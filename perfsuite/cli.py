"""Owns the command `perfsuite`: what can be done without pytest, with stored baselines and with engines.

Exit codes of `perfsuite selftest`: 0 the gate did right, 1 it was wrong in real sessions, 2 it could not be asked.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from perfsuite.core.baseline import Baseline
from perfsuite.core.errors import OptionError, PerfsuiteError
from perfsuite.core.metrics import Metric
from perfsuite.core.options import (
    DEFAULT_PROMPT_LENGTHS,
    DEFAULT_TOLERANCES,
    GateOptions,
    Options,
    merge_tolerances,
    parse_lengths,
    parse_tolerances,
)
from perfsuite.core.replay import REPLAYS, study
from perfsuite.core.selftest import Gated, SelfTest, default_slowdown, verdict_count
from perfsuite.core.units import parse_percent
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.environment import has_gpu
from perfsuite.measure.session import SessionJob
from perfsuite.measure.trial import Ways, try_gate
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line
from perfsuite.report.selftest import selftest
from perfsuite.store import BaselineStore
from perfsuite.strategies import references, resolve

GATE_WRONG, NOT_ASKED, INTERRUPTED = 1, 2, 130
BUILD_ENGINE = "build-engine"
DEFAULT_POSITIONS = max(DEFAULT_PROMPT_LENGTHS) + Options().output_tokens
RESET = "\x1b[0m"
COLOURS = {"plain": "", "bold": "\x1b[1m", "red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code. What goes wrong is one line on standard error."""
    arguments = _parser().parse_args(argv)
    try:
        return _build_engine(arguments) if arguments.command == BUILD_ENGINE else _selftest(arguments)
    except PerfsuiteError as error:
        _complain(str(error), arguments.command)
        return NOT_ASKED
    except KeyboardInterrupt:
        _complain("interrupted", arguments.command)
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        self.exit(NOT_ASKED, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="perfsuite", description="performance regressions of LLM inference")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    about = "prove the gate on this machine: replay the stored sessions, inject slowdowns, and try it for real"
    own = commands.add_parser("selftest", help=about, description=about)
    own.add_argument("--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR", help="folder of baselines")
    own.add_argument("--device", metavar="FOLDER", help="the folder of one device in it, if there are several")
    own.add_argument("-k", dest="text", default="", metavar="TEXT", help="only cells whose id contains this")
    own.add_argument("--tolerance", default="", metavar="LIST", help="as --perf-tolerance, laid over its default")
    own.add_argument("--replays", type=_count, default=REPLAYS, metavar="N", help=f"replays (default: {REPLAYS})")
    own.add_argument(
        "--inject", metavar="PERCENT", help="slowdown of the real trial (default: twice the median's tolerance)"
    )
    own.add_argument("--no-real", action="store_true", help="replays only, no real sessions")
    _add_build_engine(commands)
    return parser


def _add_build_engine(commands: "argparse._SubParsersAction[_Parser]") -> None:
    about = "build the TensorRT engines that --perf-engine-dir names: one folder, one model, any number of shapes"
    own = commands.add_parser(BUILD_ENGINE, help=about, description=about)
    own.add_argument("--model", required=True, metavar="NAME", help="preset, Hugging Face id or local folder")
    own.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder that is to hold the engines")
    own.add_argument("--dtype", default="auto", help="as --perf-dtype")
    own.add_argument("--batch-size", default="1", metavar="LIST", help="batch sizes, e.g. 1,4 (default: 1)")
    own.add_argument(
        "--positions",
        type=_count,
        default=DEFAULT_POSITIONS,
        metavar="N",
        help=f"longest prompt and output together, rounded up to 64 (default: {DEFAULT_POSITIONS})",
    )
    own.add_argument("--revision", metavar="REV", help="as --perf-revision")
    own.add_argument("--load-format", default="auto", metavar="FORMAT", help="as --perf-load-format")
    own.add_argument("--trust-remote-code", action="store_true", help="as --perf-trust-remote-code")
    own.add_argument("--device", default="auto", help="as --perf-device")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _build_engine(arguments: argparse.Namespace) -> int:
    from perfsuite.strategies.tensorrt import build_folder

    spec = ModelSpec(
        name=arguments.model,
        revision=arguments.revision,
        dtype=arguments.dtype,
        load_format=arguments.load_format,
        trust_remote_code=arguments.trust_remote_code,
        device=arguments.device,
    )
    batch_sizes = parse_lengths(arguments.batch_size, where="--batch-size")
    for built in build_folder(spec, batch_sizes, arguments.positions, arguments.output.expanduser().absolute()):
        sys.stdout.write(f"{built}\n")
    return 0


def _selftest(arguments: argparse.Namespace) -> int:
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
    _write(selftest(found))
    return _exit_code(found)


def _exit_code(found: SelfTest) -> int:
    if found.wrong():
        return GATE_WRONG
    if found.uncompared():
        _complain(f"{len(found.uncompared())} gates could not be tried; the report says why")
        return NOT_ASKED
    if found.trials and not found.due():
        _complain("no gate was slowed by its tolerance or more, so none was tried; raise --inject or lower --tolerance")
        return NOT_ASKED
    return 0


def _tolerances(text: str) -> dict[Metric, float]:
    changes = parse_tolerances(text, where="--tolerance") if text else {}
    return merge_tolerances(DEFAULT_TOLERANCES, changes)


def _baselines(arguments: argparse.Namespace) -> tuple[tuple[Baseline, ...], tuple[Baseline, ...]]:
    """Everything stored for the device, and what of it was asked for."""
    store = BaselineStore(arguments.baseline_dir)
    found = store.load_all(_device(store, arguments.device))
    chosen = tuple(baseline for baseline in found if arguments.text in baseline.cell.id)
    if not chosen:
        ids = ", ".join(baseline.cell.id for baseline in found)
        raise OptionError(f"-k: no cell's id contains {arguments.text!r}; stored are {ids}")
    return found, chosen


def _device(store: BaselineStore, asked: str | None) -> str:
    """The folder of the device that was asked for, or of the only one."""
    devices = store.devices()
    if not devices:
        raise OptionError(f"{store.directory}: there are no baselines; record some with: pytest --save-baseline")
    if asked is None and len(devices) > 1:
        raise OptionError(
            f"--device: {store.directory} has baselines of several devices; choose {' or '.join(devices)}"
        )
    if asked is not None and asked not in devices:
        raise OptionError(f"--device: {asked!r} is not in {store.directory}; choose from {', '.join(devices)}")
    return asked or devices[0]


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


def _complain(text: str, command: str = "selftest") -> None:
    sys.stderr.write(f"perfsuite {command}: {text}\n")


def _write(lines: Sequence[Line]) -> None:
    coloured = sys.stdout.isatty()
    for line in lines:
        colour = COLOURS[line.style] if coloured else ""
        sys.stdout.write(f"{colour}{line.text}{RESET if colour else ''}\n")


if __name__ == "__main__":
    sys.exit(main())
