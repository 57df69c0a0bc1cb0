"""Owns the reports at the end of a run: which are written where, and that none of them can spoil the others.

The JSON report goes first. A report that cannot be made or written is a note, and no verdict hangs on it.
"""

import os
import shlex
from collections.abc import Callable
from functools import partial

from perfsuite.core.baseline import Baseline
from perfsuite.core.matrix import Cell
from perfsuite.core.suite import Gates
from perfsuite.plugin import commands
from perfsuite.plugin.campaign import Campaign
from perfsuite.plugin.paths import summary_trouble
from perfsuite.plugin.reader import FLAGS
from perfsuite.report import files, json_report
from perfsuite.report.attempt import attempt
from perfsuite.report.files import SUMMARY_VARIABLE, summary_path
from perfsuite.report.html.page import page
from perfsuite.report.markdown import markdown
from perfsuite.report.openmetrics import openmetrics
from perfsuite.report.run import Run

MAKERS: dict[str, Callable[[Run], str]] = {
    "json": json_report.text,
    "html": page,
    "openmetrics": openmetrics,
}
INTERRUPTED = "interrupted: not everything that was asked for was measured"


def is_github() -> bool:
    """Whether GitHub Actions reads what this run prints."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def run_of(campaign: Campaign) -> Run:
    """Everything that the reports can tell of this run."""
    shelf, argv = campaign.bench.shelf, campaign.argv
    recordings = {cell: campaign.recordings(cell) for cell in campaign.cells}
    return Run(
        options=campaign.options,
        recordings=recordings,
        judgements=() if campaign.options.save_baseline else campaign.bench.judgements(),
        baselines={cell: found for cell in recordings if isinstance(found := shelf.of(cell), Baseline)},
        unavailable=campaign.unavailable,
        drifts=campaign.bench.drifts,
        twin=campaign.twin.rows() if campaign.twin else (),
        notes=(*campaign.notes, *([INTERRUPTED] if campaign.is_interrupted else [])),
        command=shlex.join(["pytest", *argv]),
        reproduce=partial(commands.reproduce, argv),
        save=partial(commands.save, argv),
        gates=_gates(campaign),
        portion=campaign.portion,
    )


def _gates(campaign: Campaign) -> dict[Cell, tuple[Gates, ...]]:
    """By what each test judges each cell."""
    asks = campaign.bench.gated
    found = [(ask.cell, Gates(tolerances=dict(ask.tolerances), resources=dict(ask.resources))) for ask in asks]
    return {cell: tuple(own for other, own in found if other == cell) for cell, _ in found}


def is_empty_shard(campaign: Campaign) -> bool:
    """Whether there is nothing to measure because other shards measure it, which is a result, too."""
    return campaign.portion is not None and not campaign.portion.own


def write_reports(campaign: Campaign) -> None:
    """Every report that was asked for."""
    if not campaign.cells and not is_empty_shard(campaign):
        return
    for name, path in campaign.settings.reports.items():
        option = FLAGS[name].option
        _, trouble = attempt(lambda n=name, p=path, o=option: files.write(p, MAKERS[n](run_of(campaign)), o))  # type: ignore[misc]
        if trouble:
            campaign.note(_by(option, trouble))
        else:
            campaign.written.append(path)
    summary = summary_path()
    if summary and not summary_trouble():
        _, trouble = attempt(lambda: files.append(summary, markdown(run_of(campaign)), SUMMARY_VARIABLE))
        if trouble:
            campaign.note(_by(SUMMARY_VARIABLE, trouble))


def _by(option: str, trouble: str) -> str:
    """'--perf-html: it could not be made …'; what names the option already stays as it is."""
    return trouble if trouble.startswith(f"{option}: ") else f"{option}: {trouble}"
