"""Owns the end of a run: tables, verdicts, saved baselines and notes on the terminal, and the JSON report."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from perfsuite.core.errors import OptionError
from perfsuite.core.observations import observe
from perfsuite.core.suspicion import suspicion
from perfsuite.plugin import commands
from perfsuite.plugin.campaign import Campaign
from perfsuite.report import json_report, terminal
from perfsuite.report.calibration import calibration
from perfsuite.report.drifts import drifts
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line
from perfsuite.report.monitoring import monitoring
from perfsuite.report.observations import observations
from perfsuite.report.passages import passages
from perfsuite.report.sampling import sampling
from perfsuite.report.selftest import selftest
from perfsuite.report.throughput import throughput
from perfsuite.report.twin import twin_table
from perfsuite.report.verdicts import Commands

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


def write_summary(reporter: "TerminalReporter", campaign: Campaign) -> None:
    """Everything a run has to say; under -q only the verdicts and what went wrong."""
    if not campaign.cells:
        return
    recordings = {cell: campaign.recordings(cell) for cell in campaign.cells if campaign.recordings(cell)}
    reporter.section("perfsuite", "=")
    verbose = reporter.config.getoption("verbose", default=0) >= 0
    if verbose:
        _write(reporter, terminal.tables(recordings))
        _write(reporter, throughput(recordings, campaign.options.objectives))
        _write(reporter, terminal.comparison(recordings))
    if campaign.options.save_baseline:
        _write(reporter, _saved_lines(campaign))
        _write(
            reporter,
            calibration(
                campaign.bench.calibrations(), looks=campaign.options.gate.sessions, gates=campaign.bench.gates
            ),
        )
    elif recordings or campaign.twin:
        if campaign.twin and (verbose or not campaign.twin.is_gate):
            _write(reporter, twin_table(campaign.twin.rows(), *campaign.twin.labels))
        _write(reporter, terminal.verdicts(campaign.bench.judgements(), _commands(campaign.argv)))
        _write(reporter, _suspicion_lines(campaign))
        _write(reporter, drifts(campaign.bench.drifts, partial(commands.save, campaign.argv)))
        _write(reporter, selftest(campaign.selftest) if campaign.selftest else ())
    if verbose:
        _write(reporter, monitoring(r for own in recordings.values() for r in own))
        _write(reporter, observations(observe(r for own in recordings.values() for r in own)))
        _write(reporter, sampling(r for own in recordings.values() for r in own))
        _write(reporter, passages(r for own in recordings.values() for r in own))
    _write(reporter, _note_lines(campaign))


def _write(reporter: "TerminalReporter", lines: Iterable[Line]) -> None:
    for line in lines:
        markup = {} if line.style == "plain" else {line.style: True}
        reporter.write_line(line.text, **markup)


def _suspicion_lines(campaign: Campaign) -> list[Line]:
    found = suspicion(campaign.bench.judgements())
    return [Line(found, "yellow")] if found else []


def _saved_lines(campaign: Campaign) -> list[Line]:
    saved = [Line(terminal.saved(each.old, each.new), "plain") for each in campaign.shelf.saved]
    return [*saved, *(Line(error, "red") for error in campaign.shelf.errors.values())]


def _note_lines(campaign: Campaign) -> list[Line]:
    notes = [Line(note, "yellow") for note in campaign.notes]
    if campaign.settings.update_noise:
        notes += _noise_lines(campaign)
    skipped = dict.fromkeys(campaign.unavailable.values())
    notes += [Line(f"not measured: {reason}", "yellow") for reason in skipped]
    if campaign.bisected:
        notes.append(Line(campaign.bisected, "bold"))
    if campaign.is_interrupted and campaign.settings.twin.replaces_baseline:
        notes.append(Line("interrupted: every finished twin session is kept in .perfsuite/runs", "bold"))
    elif campaign.is_interrupted:
        command = commands.resume(campaign.argv)
        notes.append(Line(f"interrupted: every finished session is kept; go on with: {command}", "bold"))
    return notes


def _noise_lines(campaign: Campaign) -> list[Line]:
    joined = f"{len(campaign.shelf.updated)} of {counted(len(campaign.cells), 'cell')}"
    told = Line(f"--perf-update-noise: the sessions of {joined} joined what the baselines know of the noise")
    return [told, *(Line(reason, "yellow") for reason in campaign.shelf.not_updated.values())]


def _commands(argv: tuple[str, ...]) -> Commands:
    return Commands(
        reproduce=partial(commands.reproduce, argv),
        save=partial(commands.save, argv),
        save_all=commands.save_all(argv),
    )


def write_json(campaign: Campaign) -> None:
    """The report for machines, if one was asked for; that it cannot be written is a note and changes no verdict."""
    path = campaign.settings.json_path
    if path is None or not campaign.cells:
        return
    recordings = [recording for cell in campaign.cells for recording in campaign.recordings(cell)]
    document = json_report.document(
        campaign.options,
        recordings,
        campaign.bench.judgements(),
        campaign.notes,
        campaign.bench.drifts,
        twin=campaign.twin.rows() if campaign.twin else (),
    )
    try:
        json_report.write(path, document)
    except OptionError as error:
        campaign.note(str(error))
        return
    campaign.note(f"report written to {path}")
