"""Owns the pytest commands that the command line offers for a cell: the run's own, else built from the cell."""

import shlex
from collections.abc import Mapping

from perfsuite.core.matrix import Cell
from perfsuite.core.options import Options
from perfsuite.core.workload import ModelSpec, SamplingParams
from perfsuite.report.verdicts import Commands

TOLERANCE = "--perf-tolerance"


def offered(known: Mapping[str, tuple[str, str]], tolerance: str | None = None) -> Commands:
    """Commands for cells, `known` by their ids from a report; those that it does not know are built.

    Whoever judges by tolerances of his own gives them, '' for the usual ones, and they measure a cell again by them.
    """

    def reproduce(cell: Cell) -> str:
        command = known.get(cell.id, ("", ""))[0] or measure(cell)
        return command if tolerance is None else _judged_by(tolerance, command)

    return Commands(
        reproduce=reproduce,
        save=lambda cell: known.get(cell.id, ("", ""))[1] or save(cell),
        save_all="pytest --save-baseline",
    )


def measure(cell: Cell) -> str:
    """Measure and judge this cell alone."""
    return shlex.join(["pytest", "--perf", *_options(cell), "-k", f"[{cell.id}"])


def save(cell: Cell) -> str:
    """Record this cell's baseline."""
    return shlex.join(["pytest", "--save-baseline", *_options(cell), "-k", f"[{cell.id}"])


def _judged_by(tolerance: str, command: str) -> str:
    """The command with these tolerances in place of its own."""
    arguments = shlex.split(command)
    while TOLERANCE in arguments:
        del arguments[(place := arguments.index(TOLERANCE)) : place + 2]
    kept = [argument for argument in arguments if not argument.startswith(f"{TOLERANCE}=")]
    return shlex.join([*kept, *((TOLERANCE, tolerance) if tolerance else ())])


def _options(cell: Cell) -> list[str]:
    """What of the cell differs from a run's defaults; the cell itself is always named."""
    workload, usual = cell.workload, Options()
    pairs: list[tuple[str, object, object]] = [
        ("strategy", cell.strategy, None),
        ("model", cell.model.name, None),
        ("prompt-lengths", workload.prompt_tokens, None),
        ("output-tokens", workload.output_tokens, usual.output_tokens),
        ("batch-size", workload.batch_size, usual.batch_size),
        ("seed", workload.seed, usual.seed),
        *_of_model(cell.model),
        *_of_sampling(workload.sampling, usual.sampling),
    ]
    return [part for name, value, default in pairs if value != default for part in (f"--perf-{name}", str(value))]


def _of_model(model: ModelSpec) -> list[tuple[str, object, object]]:
    return [
        ("dtype", model.dtype, "auto"),
        ("quantization", model.quantization, None),
        ("revision", model.revision, None),
        ("load-format", model.load_format, "auto"),
        ("endpoint", model.engine.endpoint, None),
    ]


def _of_sampling(params: SamplingParams, usual: SamplingParams) -> list[tuple[str, object, object]]:
    return [
        (name.replace("_", "-"), getattr(params, name), getattr(usual, name))
        for name in ("temperature", "top_k", "top_p", "repetition_penalty")
    ]
