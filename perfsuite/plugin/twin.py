"""Owns one comparison of two arms in a run: when another round is needed, and what the rounds say of each cell."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from perfsuite.core.judgement import refuse
from perfsuite.core.matrix import Cell
from perfsuite.core.noise import Noise
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.twin import (
    MUST_AGREE,
    TwinJudgement,
    TwinSession,
    can_be_judged,
    judge_twin,
    twin_gates,
    twin_noise,
)
from perfsuite.core.units import format_seconds
from perfsuite.core.verdict import Judgement, Outcome, Verdict
from perfsuite.measure.schedule import undecided
from perfsuite.plugin.budget import Budget
from perfsuite.plugin.selection import Ask
from perfsuite.plugin.twin_sessions import TwinSessions
from perfsuite.report.twin import Row

LEAST_ROUNDS = 3
"""So many sessions must agree before anything is red, and fewer A/A sessions say too little of the noise."""
DOUBTED = (Outcome.REGRESSED, Outcome.INCONCLUSIVE)
"""What a stored baseline says of a metric that is then measured in turns."""


class Twin:
    """Two arms, what is asked of them, and the answers.

    `gates_beside` counts the verdicts that the run reaches without the twin. `is_gate` is `False` where two strategies
    are only compared: they may differ in device and dtype, and no verdict of theirs fails anything.
    """

    def __init__(
        self,
        sessions: TwinSessions,
        asks: Iterable[Ask],
        options: GateOptions,
        *,
        gates_beside: int = 0,
        is_gate: bool = True,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.sessions = sessions
        self.asks = tuple(dict.fromkeys(asks))
        self.is_gate = is_gate
        allowed = options.ignored_environment | (frozenset() if is_gate else frozenset(MUST_AGREE))
        self._options = replace(options, ignored_environment=allowed)
        self._gates_beside = gates_beside
        self._note = note
        self._judged: dict[Ask, TwinJudgement] = {}
        self._noise: Mapping[str, Noise] | None = None
        self._rounds, self._spent_ns = 0, 0

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(dict.fromkeys(ask.cell for ask in self.asks))

    def measure(self) -> None:
        """Rounds until everything is decided, the sessions of the gate are made or the budget is spent."""
        budget = Budget(self._options.budget_ns)
        try:
            self._measure(budget)
        finally:
            self._spent_ns = budget.spent_ns

    def _measure(self, budget: Budget) -> None:
        for _ in range(min(LEAST_ROUNDS, self._options.twin_sessions)):
            self._round(self.cells)
        budget.end_first_pass()
        while more := self._wanting():
            if budget.is_over():
                self._note(budget.told(len(more), "twin session", "the first rounds"))
                return
            self._round(more)

    def _round(self, cells: Iterable[Cell]) -> None:
        self._judged.clear()
        self._rounds += 1
        self._noise = None
        self.sessions.round(tuple(cells))

    def _wanting(self) -> tuple[Cell, ...]:
        done = {cell.id: len(self.sessions.evidence(cell).changed) for cell in self.cells}
        judgements = (self.judgement(ask) for ask in self.asks)
        return tuple(dict.fromkeys(undecided(judgements, done, limit=self._options.twin_sessions)))

    def judgement(self, ask: Ask) -> Judgement:
        """The verdicts on a cell by the rounds so far."""
        return self._judgement(ask).judgement

    def _judgement(self, ask: Ask) -> TwinJudgement:
        if ask not in self._judged:
            self._judged[ask] = self._judge(ask)
        return self._judged[ask]

    def _judge(self, ask: Ask) -> TwinJudgement:
        tolerances = dict(ask.tolerances)
        broken = self.sessions.broken.get(ask.cell)
        if broken is not None:
            kept = {metric: tolerance for metric, tolerance in tolerances.items() if can_be_judged(metric)}
            remedy = "see what this arm says, and measure again"
            return TwinJudgement(judgement=refuse(ask.cell, kept, *broken, remedy))
        return judge_twin(
            ask.cell,
            self.sessions.evidence(ask.cell),
            old_label=self.sessions.old.label,
            tolerances=tolerances,
            gates=max(1, self.gates + self._gates_beside),
            options=self._options,
            noise=self._usual_noise(),
            resources=dict(ask.resources) if self.is_gate else {},
        )

    def _usual_noise(self) -> Mapping[str, Noise]:
        if self._noise is None:
            metrics = dict.fromkeys(metric for ask in self.asks for metric, _ in ask.tolerances)
            self._noise = twin_noise([self.sessions.evidence(cell) for cell in self.cells], metrics)
        return self._noise

    @property
    def gates(self) -> int:
        """How many verdicts the twin reaches."""
        return twin_gates((self.sessions.evidence(ask.cell), dict(ask.tolerances)) for ask in self.asks)

    def recordings(self, cell: Cell) -> tuple[Recording, ...]:
        """What the new arm measured of a cell."""
        return self.sessions.recordings(cell)

    def problem(self, cell: Cell) -> str | None:
        """What an arm broke at, if it did."""
        broken = self.sessions.broken.get(cell)
        return broken[1] if broken else None

    def same(self) -> Mapping[Cell, tuple[TwinSession, ...]]:
        """The A/A sessions of every cell."""
        return {cell: self.sessions.evidence(cell).same for cell in self.cells}

    def rows(self) -> tuple[Row, ...]:
        """What the report's table says, one row per cell and metric."""
        return tuple(
            Row(
                cell=ask.cell,
                verdict=verdict,
                bias=found.biases.get(verdict.metric),
                pairs=found.pairs.get(verdict.metric, 0),
                is_apart=(ask.cell.strategy, ask.cell.model) in self.sessions.apart,
            )
            for ask in self.asks
            for found in (self._judgement(ask),)
            for verdict in found.judgement.verdicts
        )

    @property
    def labels(self) -> tuple[str, str]:
        """What the old and the new arm are called."""
        return self.sessions.old.label, self.sessions.new.label

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the arms: where they run, what broke, and in which versions they differ."""
        old, new = self.sessions.old, self.sessions.new
        spent = f"in turns with {old.label}: {self._rounds} rounds, {format_seconds(self._spent_ns)}"
        arms = (*old.arm.notes, *new.arm.notes)
        return tuple(dict.fromkeys((*arms, *self.sessions.notes, *self._differences(), spent)))

    def _differences(self) -> list[str]:
        found: dict[str, None] = {}
        for cell in self.cells:
            for session in self.sessions.evidence(cell).changed[:1]:
                old, new = session.old.environment, session.new.environment
                there, here = ({**each.noted, **each.must_agree} for each in (old, new))
                keys = sorted((there.keys() | here.keys()) - {"perfsuite"})  # one and the same measures both
                pairs = ((key, there.get(key, "none"), here.get(key, "none")) for key in keys)
                found.update({f"{key} {before} -> {after}": None for key, before, after in pairs if before != after})
        return [f"the arms differ in: {', '.join(found)}"] if found else []


def doubts(judgement: Judgement) -> bool:
    """Whether a stored baseline leaves something that the twin can tell."""
    return any(_is_doubted(verdict) for verdict in judgement.verdicts)


def _is_doubted(verdict: Verdict) -> bool:
    return verdict.outcome in DOUBTED and verdict.metric.endswith((".p50", ".mean"))


def confirmed(stored: Judgement, twin: Judgement) -> Judgement:
    """The stored baseline's verdicts, those that it doubts as the twin decides them; if it does not, as they are."""
    verdicts = []
    for verdict in stored.verdicts:
        found = twin.verdict(verdict.metric) if _is_doubted(verdict) else None
        verdicts.append(verdict if found is None else _second(verdict, found))
    return replace(stored, verdicts=tuple(verdicts))


def _second(stored: Verdict, twin: Verdict) -> Verdict:
    if not (twin.outcome.is_decided or twin.outcome.fails):
        told = f"in turns it is {twin.outcome.value}, too: {twin.reason}"
        return replace(stored, reason="; ".join(filter(None, (stored.reason, told))))
    said = f"the stored baseline called it {stored.outcome.value}"
    return replace(twin, reason="; ".join(filter(None, (twin.reason, said))))
