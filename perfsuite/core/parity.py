"""Owns the comparison of a strategy's logits with those of eager in float32 on the same weights."""

from dataclasses import dataclass

import numpy as np

from perfsuite.core.boundaries import Floats
from perfsuite.core.oracle import log_normalised
from perfsuite.core.problem import Problem, Property


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far logits [B, V] are from the reference.

    `largest` is the largest absolute difference after both have lost their mean (a constant changes no distribution),
    `divergence` the mean KL divergence from the reference in nats, `agreement` the share of rows with the same best
    token; `allowed` bounds the first.
    """

    largest: float
    divergence: float
    agreement: float
    allowed: float

    @property
    def divergence_allowed(self) -> float:
        """Hoeffding: logits that are off by at most d change the distribution by at most d squared / 2 nats."""
        return self.allowed**2 / 2


def compare(logits: Floats, reference: Floats, *, allowed: float) -> Parity:
    """Both [B, V] with finite values; `allowed` as from `perfsuite.core.rounding.logit_error`."""
    ours, theirs = _centred(logits), _centred(reference)
    every = np.ones(logits.shape[1], dtype=bool)
    log_q = np.array([log_normalised(row, every) for row in ours])
    log_p = np.array([log_normalised(row, every) for row in theirs])
    return Parity(
        largest=float(np.abs(ours - theirs).max()),
        divergence=float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()),
        agreement=float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
        allowed=allowed,
    )


def _centred(logits: Floats) -> Floats:
    centred: Floats = logits - logits.mean(axis=1, keepdims=True)
    return centred


def check_parity(logits: Floats, reference: Floats, *, allowed: float) -> tuple[Problem, ...]:
    """A problem if the logits differ by more than rounding explains."""
    if logits.shape != reference.shape:
        return (_problem(f"logits are of shape {logits.shape}, the reference's of {reference.shape}"),)
    found = compare(logits, reference, allowed=allowed)
    if found.largest <= allowed:
        return ()
    return (
        _problem(
            f"logits differ by up to {found.largest:.3g} from eager in float32, rounding explains {allowed:.3g}; KL "
            f"divergence {found.divergence:.2g} nats, allowed {found.divergence_allowed:.2g}; "
            f"{found.agreement:.0%} of {len(logits)} rows agree on the best token"
        ),
    )


def _problem(finding: str) -> Problem:
    return Problem(property=Property.PARITY, finding=finding)
