"""Owns the end of a run: tables, verdicts, saved baselines and notes on the terminal."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from perfsuite.core.circumstances import circumstances
from perfsuite.core.observations import observe
from perfsuite.core.suspicion import suspicion
from perfsuite.plugin import commands
from perfsuite.plugin.campaign import Campaign
from perfsuite.plugin.reports import is_empty_shard, is_github, run_of
from perfsuite.report import terminal
from perfsuite.report.annotations import annotations
from perfsuite.report.attempt import attempt
from perfsuite.report.calibration import calibration
from perfsuite.report.circumstances import circumstance_lines
from perfsuite.report.drifts import drifts
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line
from perfsuite.report.monitoring import monitoring
from perfsuite.report.observations import observations
from perfsuite.report.passages import passages
from perfsuite.report.sampling import sampling
from perfsuite.report.selftest import selftest
from perfsuite.report.shards import shard_line
from perfsuite.report.throughput import throughput
from perfsuite.report.twin import twin_table
from perfsuite.report.verdicts import Commands

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

Part = Callable[[], Iterable[Line]]


def write_summary(reporter: "TerminalReporter", campaign: Campaign) -> None:
    """Everything a run has to say; under -q only the verdicts and what went wrong.

    A part that cannot be made is a line in its place: the other parts and the run's exit status stand.
    """
    if not campaign.cells and not is_empty_shard(campaign):
        return
    reporter.section("perfsuite", "=")
    is_brief = reporter.config.getoption("verbose", default=0) < 0
    for part in _parts(campaign, is_brief):
        lines, trouble = attempt(part)
        _write(reporter, lines or ())
        _write(reporter, [Line(f"a part of this summary is missing: {trouble}", "red")] if trouble else [])
    for line in _annotations(campaign):
        reporter.write_line(line)


def _parts(campaign: Campaign, is_brief: bool) -> list[Part]:
    """Functions that make the lines of the summary, in order."""
    recordings = {cell: campaign.recordings(cell) for cell in campaign.cells if campaign.recordings(cell)}
    held = tuple(recording for own in recordings.values() for recording in own)
    before: list[Part] = [
        lambda: terminal.tables(recordings),
        lambda: throughput(recordings, campaign.options.objectives),
        lambda: terminal.comparison(recordings),
    ]
    behind: list[Part] = [
        lambda: monitoring(held),
        lambda: observations(observe(held)),
        lambda: tuple(sampling(held)),
        lambda: tuple(passages(held)),
    ]
    decided = (
        _saving_parts(campaign, is_brief) if campaign.options.save_baseline else _judging_parts(campaign, is_brief)
    )
    said = decided if recordings or campaign.twin or campaign.options.save_baseline else []
    return [
        *([] if is_brief else before),
        *said,
        lambda: _portion_lines(campaign),
        *([] if is_brief else behind),
        lambda: _note_lines(campaign, is_brief),
    ]


def _saving_parts(campaign: Campaign, is_brief: bool) -> list[Part]:
    bench, looks = campaign.bench, campaign.options.gate.sessions
    told: list[Part] = [lambda: calibration(bench.calibrations(), looks=looks, gates=bench.gates)]
    return [lambda: _saved_lines(campaign), *([] if is_brief else told)]


def _judging_parts(campaign: Campaign, is_brief: bool) -> list[Part]:
    return [
        lambda: _twin_lines(campaign, is_brief),
        lambda: terminal.verdicts(campaign.bench.judgements(), _commands(campaign.argv), brief=is_brief),
        lambda: _circumstance_lines(campaign),
        lambda: _suspicion_lines(campaign),
        lambda: drifts(campaign.bench.drifts, partial(commands.save, campaign.argv)),
        lambda: tuple(selftest(campaign.selftest)) if campaign.selftest else (),
    ]


def _twin_lines(campaign: Campaign, is_brief: bool) -> Iterable[Line]:
    """Under -q ratios are left to the verdicts, where there are any."""
    twin = campaign.twin
    return () if twin is None or (is_brief and twin.is_gate) else twin_table(twin.rows(), *twin.labels)


def _annotations(campaign: Campaign) -> tuple[str, ...]:
    """Lines for GitHub Actions, where the run is one; a summary that has been said already is no place for trouble."""
    if not is_github() or campaign.options.save_baseline:
        return ()
    found, _ = attempt(lambda: annotations(run_of(campaign), campaign.places))
    return found or ()


def _portion_lines(campaign: Campaign) -> list[Line]:
    """That the verdicts of a shard are not the last word."""
    portion = campaign.portion
    if portion is None:
        return []
    is_judged = bool(campaign.bench.gated) and not campaign.options.save_baseline
    return [Line(shard_line(portion, is_judged=is_judged), "bold")]


def _write(reporter: "TerminalReporter", lines: Iterable[Line]) -> None:
    for line in lines:
        markup = {} if line.style == "plain" else {line.style: True}
        reporter.write_line(line.text, **markup)


def _circumstance_lines(campaign: Campaign) -> tuple[Line, ...]:
    run = run_of(campaign)
    return circumstance_lines(circumstances(run.judgements, run.baselines, run.recordings))


def _suspicion_lines(campaign: Campaign) -> list[Line]:
    found = suspicion(campaign.bench.judgements())
    return [Line(found, "yellow")] if found else []


def _saved_lines(campaign: Campaign) -> list[Line]:
    saved = [Line(terminal.saved(each.old, each.new), "plain") for each in campaign.shelf.saved]
    return [*saved, *(Line(error, "red") for error in campaign.shelf.errors.values())]


def _note_lines(campaign: Campaign, is_brief: bool) -> list[Line]:
    notes = [Line(note, "yellow") for note in campaign.notes]
    if campaign.settings.update_noise:
        notes += _noise_lines(campaign)
    skipped = dict.fromkeys(campaign.unavailable.values())
    notes += [Line(f"not measured: {reason}", "yellow") for reason in skipped]
    if campaign.bisected:
        notes.append(Line(campaign.bisected, "bold"))
    notes += [] if is_brief else [Line(f"report written to {path}") for path in campaign.written]
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
