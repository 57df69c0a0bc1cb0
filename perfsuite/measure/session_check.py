"""Owns what a session finds out about its tokens once measuring is over, so that it disturbs nothing."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from perfsuite.core.errors import one_line
from perfsuite.core.matrix import Cell
from perfsuite.core.sampling_check import Passage, SamplingCheck, drawn_alike
from perfsuite.core.workload import SamplingParams
from perfsuite.measure.allowance import Allowance
from perfsuite.measure.clock import Clock
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.passage import write_passage
from perfsuite.measure.sampling import check_sampling
from perfsuite.measure.session import Progress
from perfsuite.measure.strategy import Strategy

CHECK_NS = 20 * 10**9
"""How long all checks of a session may take, the first pass of each, which may have to be compiled, left aside."""
CHECK_AGAIN_NS = 4 * 10**9
"""The same where an earlier session of the run has been checked: enough to see that this one still draws as it did."""

Report = Callable[[Progress], None]


def check_session(
    strategy: Strategy, cells: tuple[Cell, ...], clock: Clock, report: Report, *, time_ns: float = CHECK_NS
) -> dict[Cell, SamplingCheck]:
    """What the tokens of each cell are worth, as far as all checks together can tell in `time_ns`.

    Cells with the same parameters and batch size share one check, at the shortest of their prompts. What one check
    leaves of its part of the time is the others'. One of them has a passage of text, where there is any.
    """
    first_of: dict[tuple[SamplingParams, int], tuple[int, Cell]] = {}
    for index, cell in sorted(enumerate(cells), key=lambda numbered: numbered[1].workload.prompt_tokens):
        first_of.setdefault(drawn_alike(cell.workload), (index, cell))
    checks: dict[tuple[SamplingParams, int], SamplingCheck] = {}
    left_ns = float(time_ns)
    for kind, (index, cell) in first_of.items():
        allowance = Allowance(clock, left_ns / (len(first_of) - len(checks)))
        checks[kind] = _check(strategy, cell, allowance, partial(report, Progress(stage="sampling", cell=index)))
        left_ns -= allowance.spent_ns
    kind, (index, cell) = next(iter(first_of.items()))
    report(Progress(stage="sampling", cell=index))
    checks[kind] = replace(checks[kind], passage=_passage(strategy, cell, clock))
    return {cell: checks[drawn_alike(cell.workload)] for cell in cells}


def unchecked(cells: tuple[Cell, ...], why: str) -> dict[Cell, SamplingCheck]:
    """The same for a strategy that can be asked nothing any more."""
    return dict.fromkeys(cells, SamplingCheck(not_checked=why))


def _check(strategy: Strategy, cell: Cell, allowance: Allowance, on_request: Callable[[], None]) -> SamplingCheck:
    try:
        return check_sampling(strategy, cell.workload, Effort(), on_request=on_request, allowance=allowance)
    except Exception as error:  # noqa: BLE001 - the border to engines that are not ours
        return SamplingCheck(not_checked=f"the check broke off: {one_line(error)}")


def _passage(strategy: Strategy, cell: Cell, clock: Clock) -> Passage | None:
    try:
        return write_passage(strategy, cell.workload, clock)
    except Exception:  # noqa: BLE001 - the border to engines and tokenizers that are not ours; nothing depends on it
        return None
