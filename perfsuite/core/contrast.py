"""Owns the comparison behind a verdict: the rule, the numbers it is applied to, and the decision, on log scale.

Formulas: docs/gate.md, section 4. It knows no words for a reader; those are gate.py's.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from perfsuite.core.distributions import hypergeometric_tail, student
from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import Direction, Statistic
from perfsuite.core.noise import Noise, Spread, iteration_variance, moderated, squares_of
from perfsuite.core.statistics import FloatArray, session_estimates
from perfsuite.core.verdict import Outcome

MISSED_PASS = 0.005
"""Chance that a regression of exactly the tolerance passes (beta in docs/gate.md), over all looks."""
AGREEING_SESSIONS = 3
"""Candidate sessions that must each be worse by half the tolerance before anything fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is asked of one metric: `gates` counts the verdicts of the run, `metrics` the different metrics among them.

    `in_turns` only changes words.
    """

    statistic: Statistic
    tolerance: float = 0.05
    gates: int = 1
    metrics: int = 1
    looks: int = 6
    family_error: float = 0.001
    direction: Direction = Direction.LOWER_IS_BETTER
    in_turns: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        if not 0 < self.tolerance <= 1:
            raise OptionError(f"tolerance: {self.tolerance!r} is not allowed; it must be above 0 and at most 1 (100 %)")
        if not 0 < self.family_error < 1:
            raise OptionError(f"family error: {self.family_error!r} is not allowed; it must be between 0 and 1")
        if self.gates < 1 or self.looks < 1 or self.metrics < 1:
            counts = f"gates {self.gates}, metrics {self.metrics}, looks {self.looks}"
            raise OptionError(f"{counts}: not allowed; all must be 1 or above")

    def _check_types(self) -> None:
        for name in ("gates", "metrics", "looks"):
            if type(getattr(self, name)) is not int:
                raise OptionError(f"{name}: {getattr(self, name)!r} is not a whole number")
        for name, value in (("tolerance", self.tolerance), ("family error", self.family_error)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise OptionError(f"{name}: {value!r} is not a number; write a fraction, 0.05 for 5 %")
        if not isinstance(self.direction, Direction):
            raise OptionError(f"direction: {self.direction!r} is not a Direction")

    @property
    def limit(self) -> float:
        """The tolerance as a logarithm (theta_T)."""
        return math.log1p(self.tolerance)

    @property
    def alpha(self) -> float:
        """The chance of a false alarm that one look at one gate may have: Bonferroni over gates and looks."""
        return self.family_error / (self.gates * self.looks)

    @property
    def common_alpha(self) -> float:
        """The chance that one look may have where all cells of a metric err as one."""
        return self.family_error / (self.metrics * self.looks)

    def pass_limit(self, n: int) -> float:
        """What a pass stays below: kappa theta_T, as `n` samples show only part of a tail's shift (docs/gate.md 4)."""
        p = self.statistic.probability
        if p is None or not self.statistic.is_tail:
            return self.limit
        return self.limit * (1 - 0.6 / math.sqrt(n * (1 - p)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The candidate against the baseline, `theta` positive for worse.

    `m` baseline and `k` candidate sessions of `n` samples each; `agreeing` candidate sessions are worse by half the
    tolerance. `slow_baseline` and `slow_candidate` count the samples of a tail's gate that are worse than the
    baseline's level by half the tolerance.
    """

    theta: float
    spread: Spread
    m: int
    k: int
    n: int
    agreeing: int
    slow_baseline: int = 0
    slow_candidate: int = 0

    @property
    def standard_error(self) -> float:
        return self.spread.sd * math.sqrt(1 / self.m + 1 / self.k)

    def reach(self, error: float) -> float:
        """How far a one-sided bound with this chance of error lies from theta."""
        return student(error, self.spread.common_freedom) * self.standard_error

    def alarm_reach(self, rule: Rule) -> float:
        """How far theta must be from zero to be surely a change.

        Cells that err apart share the chance of error by their number. What they have in common is known with fewer
        degrees of freedom, but errs once for all cells of a metric.
        """
        apart = student(rule.alpha, self.spread.freedom)
        together = student(rule.common_alpha, self.spread.common_freedom)
        return max(apart, together) * self.standard_error

    def tail_chance(self) -> float:
        """Fisher's exact test, one-sided: the chance of that many slow candidate samples among all slow ones."""
        return hypergeometric_tail(
            self.slow_candidate,
            population=self.n * (self.m + self.k),
            marked=self.slow_baseline + self.slow_candidate,
            drawn=self.n * self.k,
        )


def compare(
    baseline: FloatArray, candidate: FloatArray, rule: Rule, noise: Noise | None, later: FloatArray | None = None
) -> Contrast:
    """The numbers of the comparison; a row per session, at least two rows and one.

    `later` are sessions of later runs that passed: each adds (y - level)^2 m/(m+1) and one degree of freedom.
    """
    sign = rule.direction.value
    stored, measured = (session_estimates(rows, rule.statistic) for rows in (baseline, candidate))
    (m, n), k = baseline.shape, len(candidate)
    level = float(stored.mean())
    spread = moderated(
        noise,
        squares=squares_of(stored) + squares_of(measured) + later_squares(stored, later, rule.statistic),
        freedom=m + k - 2 + (0 if later is None else len(later)),
        covariate=iteration_variance(baseline, rule.statistic),
        measured=k - 1,
    )
    contrast = Contrast(
        theta=sign * (float(measured.mean()) - level),
        spread=spread,
        m=m,
        k=k,
        n=n,
        agreeing=int(np.sum(sign * (measured - level) > rule.limit / 2)),
    )
    if not rule.statistic.is_tail:
        return contrast
    slow = [
        int(np.sum(sign * (np.log(rows) - level) > math.log1p(rule.tolerance / 2))) for rows in (baseline, candidate)
    ]
    return replace(contrast, slow_baseline=slow[0], slow_candidate=slow[1])


def later_squares(stored: FloatArray, later: FloatArray | None, statistic: Statistic) -> float:
    """What sessions of later runs add to the sum of squares: their distance from a level that is itself uncertain."""
    if later is None or not len(later):
        return 0.0
    m = stored.size
    return float(np.sum((session_estimates(later, statistic) - stored.mean()) ** 2)) * m / (m + 1)


def baseline_spread(baseline: FloatArray, statistic: Statistic, noise: Noise | None) -> Spread:
    """The moderated spread of the baseline alone, before any candidate is seen."""
    return moderated(
        noise,
        squares=squares_of(session_estimates(baseline, statistic)),
        freedom=len(baseline) - 1,
        covariate=iteration_variance(baseline, statistic),
    )


def decide(contrast: Contrast, rule: Rule) -> Outcome:
    """IMPROVED, PASSED, REGRESSED or INCONCLUSIVE.

    A change that is certainly below the tolerance passes even where it is certainly above zero.
    """
    if contrast.theta + contrast.alarm_reach(rule) < 0:
        return Outcome.IMPROVED
    heavier = is_heavier(contrast, rule)
    if is_below(contrast, rule) and not heavier:
        return Outcome.PASSED
    worse = contrast.theta - contrast.alarm_reach(rule) > 0 and contrast.agreeing >= AGREEING_SESSIONS
    if worse and (heavier or not rule.statistic.is_tail):
        return Outcome.REGRESSED
    return Outcome.INCONCLUSIVE


def is_below(contrast: Contrast, rule: Rule) -> bool:
    """Whether the change is surely below the tolerance."""
    return contrast.theta + contrast.reach(MISSED_PASS / rule.looks) < rule.pass_limit(contrast.n)


def is_heavier(contrast: Contrast, rule: Rule) -> bool:
    """Whether surely more candidate samples lie in the tail: a fail needs it, and a pass must not have it.

    Without the second a slowdown of just the samples beyond P95 would pass: it leaves P95 where it was.
    """
    return rule.statistic.is_tail and contrast.tail_chance() < rule.alpha


def smallest_tolerance(sd: float, *, m: int, k: int, freedom: float, alpha: float) -> float:
    """The slowdown that is found in 99 % of cases (docs/gate.md 5), as a fraction.

    exp[(t(1 - alpha; nu) + z_0.99) s sqrt(1/m + 1/k)] - 1 for `m` baseline and `k` candidate sessions of sd s.
    """
    quantiles = student(alpha, freedom) + float(special.ndtri(0.99))
    return ratio(quantiles * sd * math.sqrt(1 / m + 1 / k))


def detectable(spread: Spread, rule: Rule, *, m: int, k: int) -> float:
    """The smallest tolerance that `m` baseline and `k` candidate sessions of this spread can gate, as a fraction."""
    apart = smallest_tolerance(spread.sd, m=m, k=k, freedom=spread.freedom, alpha=rule.alpha)
    common = smallest_tolerance(spread.sd, m=m, k=k, freedom=spread.common_freedom, alpha=rule.common_alpha)
    return max(apart, common)


def ratio(theta: float) -> float:
    """The relative change that a difference of logarithms means; huge ones are cut at 1e300."""
    return math.expm1(min(theta, 690.0))
