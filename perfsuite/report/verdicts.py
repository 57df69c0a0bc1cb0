"""Owns the words for verdicts: what became of each metric, from which numbers, and what to do. It decides nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from perfsuite.core.matrix import Cell
from perfsuite.core.twin import IN_TURNS
from perfsuite.core.verdict import Judgement, Outcome, Verdict
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line
from perfsuite.report.run import SEVERITY, excess
from perfsuite.report.verdict_words import change_text, explained, label, numbers, why

ABOUT_CELLS = (Outcome.INCOMPARABLE, Outcome.NO_BASELINE)
"""Outcomes that hold for a whole cell, so that naming its metrics would add nothing."""
SHOWN_SINGLY = 3


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


def verdicts(judgements: Sequence[Judgement], commands: Commands, *, brief: bool = False) -> tuple[Line, ...]:
    """Every verdict, worst first, each open or failing cell with the commands that help; the last line counts them.

    `brief` leaves the commands out.
    """
    findings = [finding for judgement in judgements for finding in findings_of(judgement)]
    worst = _worst(findings)
    findings.sort(key=lambda finding: (SEVERITY[finding.first.outcome], -worst[_place(finding)], -_excess(finding)))
    by_outcome = groupby(findings, lambda finding: finding.first.outcome)
    helped = {finding.cell for finding in findings} if brief else set()
    lines = [line for outcome, same in by_outcome for line in _lines(outcome, list(same), commands, helped)]
    return (*lines, _count_line([verdict for judgement in judgements for verdict in judgement.all]))


def _worst(findings: Sequence[Finding]) -> dict[tuple[Outcome, Cell], float]:
    """The largest excess of every cell under every outcome, so that a cell's lines stay together."""
    worst: dict[tuple[Outcome, Cell], float] = {}
    for finding in findings:
        worst[_place(finding)] = max(_excess(finding), worst.get(_place(finding), 0.0))
    return worst


def _place(finding: Finding) -> tuple[Outcome, Cell]:
    return finding.first.outcome, finding.cell


def _excess(finding: Finding) -> float:
    """By how much it is worse; what is in order keeps the order of its cells."""
    is_open = finding.first.outcome.fails or finding.first.outcome is Outcome.INCONCLUSIVE
    return max(0.0, excess(finding.first)) if is_open else 0.0


def findings_of(judgement: Judgement) -> list[Finding]:
    """The verdicts with numbers one by one, save for passes; the others joined where they say the same."""
    joined: dict[tuple[object, ...], list[Verdict]] = {}
    for verdict in judgement.all:
        alone = verdict.change is not None and verdict.outcome is not Outcome.PASSED
        key = (verdict.outcome, verdict.reason, verdict.remedy, verdict.metric if alone else None)
        joined.setdefault(key, []).append(verdict)
    return [Finding(cell=judgement.cell, verdicts=tuple(same)) for same in joined.values()]


def _lines(outcome: Outcome, findings: list[Finding], commands: Commands, helped: set[Cell]) -> list[Line]:
    """`helped` are the cells whose commands have been said; those that are said here join them."""
    if outcome in ABOUT_CELLS:
        return _cell_lines(findings, commands)
    if outcome in (Outcome.PASSED, Outcome.IMPROVED):
        return [Line(_text(finding), "green" if outcome is Outcome.IMPROVED else "plain") for finding in findings]
    lines: list[Line] = []
    for cell, group in groupby(findings, lambda finding: finding.cell):
        own = list(group)
        lines += [Line(_text(finding), "red" if outcome.fails else "yellow") for finding in own]
        lines += [] if cell in helped else _command_lines(cell, own, commands)
        helped.add(cell)
    return lines


def _command_lines(cell: Cell, own: list[Finding], commands: Commands) -> list[Line]:
    """What was judged in turns has no baseline that could be saved anew."""
    stored = [each.first for each in own if each.first.mode != IN_TURNS]
    is_red = any(verdict.outcome is Outcome.REGRESSED for verdict in stored)
    intended = [Line(f"  if it is intended: {commands.save(cell)}")] if is_red else []
    return [Line(f"  reproduce: {commands.reproduce(cell)}"), *intended]


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
    told = f"{same[0].cell.id} and {len(same) - 1} more cells: {explained(same[0].first, remedy)}"
    return [" ".join(told.split())]


def _text(finding: Finding) -> str:
    """One line, whatever line breaks a reason may hold."""
    return " ".join(_told(finding).split())


def _told(finding: Finding) -> str:
    cell, verdict = finding.cell, finding.first
    if verdict.outcome in ABOUT_CELLS:
        return f"{cell.id}: {explained(verdict, verdict.remedy)}"
    if verdict.outcome is Outcome.PASSED:
        return f"{cell.id}: passed {', '.join(change_text(passed) for passed in finding.verdicts)}"
    labels = ", ".join(label(each.metric) for each in finding.verdicts)
    told = f"{cell.id}: {labels} {verdict.outcome.value}{numbers(verdict)}"
    return ": ".join(filter(None, (told, why(verdict))))


def _count_line(judged: list[Verdict]) -> Line:
    """'perfsuite: 36 gates: 30 passed, 4 inconclusive, 2 regressed', best first so that the worst ends the line."""
    counts = Counter(verdict.outcome for verdict in judged)
    parts = [f"{counts[outcome]} {outcome.value}" for outcome in reversed(Outcome) if counts[outcome]]
    return Line(f"perfsuite: {counted(len(judged), 'gate')}: {', '.join(parts) or 'nothing was judged'}", _mood(counts))


def _mood(counts: Counter[Outcome]) -> str:
    if any(outcome.fails for outcome in counts):
        return "red"
    return "green" if counts and all(outcome.is_decided for outcome in counts) else "yellow"
