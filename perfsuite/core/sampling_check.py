"""Owns what checking the tokens of an open strategy found, as it is kept beside what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from perfsuite.core.codec import ADDED_LATER
from perfsuite.core.workload import SamplingParams, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of text that a strategy wrote: the end of what it was given, and how it went on."""

    before: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingCheck:
    """The outcome of a check: `problems` make the recordings of its session invalid.

    `draws` is how many tokens were looked at. `told` are the misreadings that could show at the contexts asked for, and
    `open` those among them that the draws were too few to exclude. `left_out` names the parts of the check that its
    time did not suffice for. `not_checked` says why there was nothing to look at; `None` if there was. `passage` is
    there where ids have a text; nothing is checked by it.
    """

    draws: int = 0
    problems: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    not_checked: str | None = None
    left_out: tuple[str, ...] = field(default=(), metadata={ADDED_LATER: True})
    passage: Passage | None = field(default=None, metadata={ADDED_LATER: True})

    @property
    def excluded(self) -> frozenset[str]:
        return frozenset(self.told) - frozenset(self.open)

    @property
    def is_complete(self) -> bool:
        """Whether there was something to look at, and time for all of it."""
        return not (self.not_checked or self.left_out)


def drawn_alike(workload: Workload) -> tuple[SamplingParams, int]:
    """What workloads must have in common for one check to be theirs all: the parameters and the batch size."""
    return workload.sampling, workload.batch_size


def joined(checks: Iterable[SamplingCheck]) -> SamplingCheck:
    """Several parts of a check as one: what any of them excluded is excluded, what any found, or left out, counts."""
    every = tuple(checks)
    told = tuple(dict.fromkeys(name for check in every for name in check.told))
    excluded = frozenset(name for check in every for name in check.excluded)
    return SamplingCheck(
        draws=sum(check.draws for check in every),
        problems=tuple(dict.fromkeys(problem for check in every for problem in check.problems)),
        told=told,
        open=tuple(name for name in told if name not in excluded),
        not_checked=next((check.not_checked for check in every if check.not_checked), None),
        passage=next((check.passage for check in every if check.passage), None),
        left_out=tuple(dict.fromkeys(part for check in every for part in check.left_out)),
    )


def repeated(checks: Iterable[SamplingCheck]) -> SamplingCheck:
    """The same check made by several sessions as one.

    Left out is what each that looked left out; not checked is what none looked at.
    """
    every = tuple(checks)
    looked = [check for check in every if not check.not_checked]
    left_out = tuple(part for part in joined(looked).left_out if all(part in check.left_out for check in looked))
    return replace(joined(looked or every), left_out=left_out)
