"""Owns the words for verdicts: what became of each metric, from which numbers, and what to do. It decides nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, parse_metric
from perfsuite.core.resources import RESOURCES
from perfsuite.core.twin import IN_TURNS
from perfsuite.core.units import format_change, format_ms, format_percent
from perfsuite.core.verdict import Interval, Judgement, Outcome, Verdict
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line

SEVERITY = {outcome: rank for rank, outcome in enumerate(Outcome)}
ABOUT_CELLS = (Outcome.INCOMPARABLE, Outcome.NO_BASELINE)
"""Outcomes that hold for a whole cell, so that naming its metrics would add nothing."""
SHOWN_SINGLY = 3
WORTH_SAYING = 0.2
"""Share of the tolerance by which the raw change must differ from the divided one to be shown beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """What a reader can paste: the command that measures a cell again, that records its baseline, or all of them."""

    reproduce: Callable[[Cell], str]
    save: Callable[[Cell], str]
    save_all: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Verdicts of one cell that one line can tell, all of one outcome, reason and remedy."""

    cell: Cell
    verdicts: tuple[Verdict, ...]

    @property
    def first(self) -> Verdict:
        return self.verdicts[0]


def verdict_line(cell: Cell, verdict: Verdict) -> str:
    """'eager/tiny/p100-o32: TTFT P50 regressed 41.2 ms -> 47.9 ms (+16.3 %, …), tolerance 5 %', then why and remedy."""
    return _text(Finding(cell=cell, verdicts=(verdict,)))


def verdicts(judgements: Sequence[Judgement], commands: Commands) -> tuple[Line, ...]:
    """Every verdict, worst first, a failing cell with the commands that help; the last line counts them."""
    findings = [finding for judgement in judgements for finding in _findings(judgement)]
    findings.sort(key=lambda finding: SEVERITY[finding.first.outcome])
    by_outcome = groupby(findings, lambda finding: finding.first.outcome)
    lines = [line for outcome, same in by_outcome for line in _lines(outcome, list(same), commands)]
    return (*lines, _count_line([verdict for judgement in judgements for verdict in judgement.all]))


def _findings(judgement: Judgement) -> list[Finding]:
    """The verdicts with numbers one by one, save for passes; the others joined where they say the same."""
    joined: dict[tuple[object, ...], list[Verdict]] = {}
    for verdict in judgement.all:
        alone = verdict.change is not None and verdict.outcome is not Outcome.PASSED
        key = (verdict.outcome, verdict.reason, verdict.remedy, verdict.metric if alone else None)
        joined.setdefault(key, []).append(verdict)
    return [Finding(cell=judgement.cell, verdicts=tuple(same)) for same in joined.values()]


def _lines(outcome: Outcome, findings: list[Finding], commands: Commands) -> list[Line]:
    if outcome.fails:
        return _failing_lines(outcome, findings, commands)
    if outcome in ABOUT_CELLS:
        return _cell_lines(findings, commands)
    style = {Outcome.PASSED: "plain", Outcome.IMPROVED: "green"}.get(outcome, "yellow")
    return [Line(_text(finding), style) for finding in findings]


def _failing_lines(outcome: Outcome, findings: list[Finding], commands: Commands) -> list[Line]:
    lines: list[Line] = []
    for cell, group in groupby(findings, lambda finding: finding.cell):
        own = list(group)
        lines += [Line(_text(finding), "red") for finding in own]
        lines += [Line(f"  reproduce: {commands.reproduce(cell)}")]
        stored = outcome is Outcome.REGRESSED and any(finding.first.mode != IN_TURNS for finding in own)
        lines += [Line(f"  if it is intended: {commands.save(cell)}")] if stored else []
    return lines


def _cell_lines(findings: list[Finding], commands: Commands) -> list[Line]:
    """A line per cell, or one for all cells of a reason that more than a few share."""
    by_reason: dict[str, list[Finding]] = {}
    for finding in findings:
        by_reason.setdefault(finding.first.reason, []).append(finding)
    return [Line(text, "yellow") for same in by_reason.values() for text in _cell_texts(same, commands)]


def _cell_texts(same: list[Finding], commands: Commands) -> list[str]:
    if len(same) <= SHOWN_SINGLY:
        return [_text(finding) for finding in same]
    remedies = {finding.first.remedy for finding in same}
    remedy = remedies.pop() if len(remedies) == 1 else f"record them with: {commands.save_all}"
    told = f"{same[0].cell.id} and {len(same) - 1} more cells: {_explained(same[0].first, remedy)}"
    return [" ".join(told.split())]


def _text(finding: Finding) -> str:
    """One line, whatever line breaks a reason may hold."""
    return " ".join(_told(finding).split())


def _told(finding: Finding) -> str:
    cell, verdict = finding.cell, finding.first
    if verdict.outcome in ABOUT_CELLS:
        return f"{cell.id}: {_explained(verdict, verdict.remedy)}"
    if verdict.outcome is Outcome.PASSED:
        return f"{cell.id}: passed {', '.join(_change(passed) for passed in finding.verdicts)}"
    labels = ", ".join(_label(each.metric) for each in finding.verdicts)
    told = f"{cell.id}: {labels} {verdict.outcome.value}{_numbers(verdict)}"
    return ": ".join(filter(None, (told, _why(verdict))))


def _why(verdict: Verdict) -> str:
    """Which of host and device moved, reason and remedy.

    What would decide an inconclusive metric is a noun ('2 more sessions') and needs its verb.
    """
    asks = verdict.remedy and verdict.outcome is Outcome.INCONCLUSIVE
    remedy = f"to decide: {verdict.remedy}" if asks else verdict.remedy
    return "; ".join(filter(None, (verdict.moved, verdict.reason, verdict.void, remedy)))


def _explained(verdict: Verdict, remedy: str) -> str:
    """'no baseline for …; record one with: …', the outcome named once even if the reason starts with it."""
    outcome = verdict.outcome.value
    reason = (
        verdict.reason if verdict.reason.startswith(outcome) else ": ".join(filter(None, (outcome, verdict.reason)))
    )
    return "; ".join(filter(None, (reason, remedy)))


def _label(metric: str) -> str:
    """'TTFT P50', 'peak memory'; what is neither keeps its own name."""
    if metric in RESOURCES:
        return RESOURCES[metric].label
    return parse_metric(metric, where="verdict").label if metric.partition(".")[0] in SERIES else metric


def _change(verdict: Verdict) -> str:
    """'TTFT P50 +0.3 % (95 % CI -0.5..+1.1 %, n=300 vs 8x300)'."""
    if verdict.change is None:
        return _label(verdict.metric)
    details = ", ".join(filter(None, (_interval(verdict.interval), _sizes(verdict), _basis(verdict), verdict.void)))
    return f"{_label(verdict.metric)} {format_change(verdict.change)}" + (f" ({details})" if details else "")


def _numbers(verdict: Verdict) -> str:
    if verdict.baseline is None or verdict.candidate is None or verdict.change is None:
        return ""
    levels = f"{_level(verdict.metric, verdict.baseline)} -> {_level(verdict.metric, verdict.candidate)}"
    details = (format_change(verdict.change), _interval(verdict.interval), _sizes(verdict), _basis(verdict))
    return f" {levels} ({', '.join(filter(None, details))}), tolerance {format_percent(verdict.tolerance)}"


def _level(metric: str, value: float) -> str:
    """'41.2 ms', '12.6 GiB'."""
    return RESOURCES[metric].text(value) if metric in RESOURCES else f"{format_ms(value)} ms"


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{format_percent(interval.confidence)} CI {100 * interval.low:+.1f}..{100 * interval.high:+.1f} %"


def _sizes(verdict: Verdict) -> str:
    """'n=50 vs 5x50': samples of the candidate and of the baseline, sessions times samples where there are several."""
    if not verdict.samples or verdict.metric in RESOURCES:
        return ""
    candidate, baseline = (
        f"{sessions}x{verdict.samples}" if sessions > 1 else str(verdict.samples)
        for sessions in (verdict.candidate_sessions, verdict.baseline_sessions)
    )
    return f"n={candidate} vs {baseline}"


def _basis(verdict: Verdict) -> str:
    """'over graph^0.34', and the change of the raw times, and in cycles, where that makes a difference."""
    in_cycles = f"in cycles {format_change(verdict.cycles_change or 0.0)}" if _differs(verdict, "cycles_change") else ""
    if verdict.mode in ("raw", IN_TURNS):
        return ", ".join(filter(None, ("in turns" if verdict.mode == IN_TURNS else "", in_cycles)))
    raw = f"raw {format_change(verdict.raw_change or 0.0)}" if _differs(verdict, "raw_change") else ""
    return ", ".join(filter(None, (f"over {verdict.mode}", raw, in_cycles)))


def _differs(verdict: Verdict, name: str) -> bool:
    """Whether another view of the change is far enough from it to be shown."""
    other, change = getattr(verdict, name), verdict.change
    return other is not None and change is not None and abs(other - change) > WORTH_SAYING * verdict.tolerance


def _count_line(judged: list[Verdict]) -> Line:
    """'perfsuite: 36 gates: 30 passed, 4 inconclusive, 2 regressed', best first so that the worst ends the line."""
    counts = Counter(verdict.outcome for verdict in judged)
    parts = [f"{counts[outcome]} {outcome.value}" for outcome in reversed(Outcome) if counts[outcome]]
    return Line(f"perfsuite: {counted(len(judged), 'gate')}: {', '.join(parts) or 'nothing was judged'}", _mood(counts))


def _mood(counts: Counter[Outcome]) -> str:
    if any(outcome.fails for outcome in counts):
        return "red"
    return "green" if counts and all(outcome.is_decided for outcome in counts) else "yellow"
