"""Owns how far rounding may move scores and sums: what lies closer to a boundary than this may fall on either side."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Largest relative error of one rounding to nearest, by dtype (IEEE 754; bfloat16 keeps 8 bits)."""

ROUNDINGS_OF_A_SCORE = 2
"""A score is a logit after one multiplication (penalty) and one division (temperature), each rounded once."""
ROUNDINGS_OF_A_LAYER = 16
"""Roundings to the dtype that a residual stream meets in one transformer layer: two additions, and about seven in
each of the two branches (norm, projections, attention or activation, output)."""
LAYERS_ASSUMED = 32
COARSEST = "bfloat16"
"""What is taken to be computed in where the dtype is not known."""
SAFETY = 2.0
"""Errors are taken as independent, which they are not quite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How exactly a sampler is taken to compute: in `dtype`, from logits that are up to `logit_error` off (absolute).

    Sums are accumulated in float32 at least, as kernels for half precision do. `blur` is the part of the logits' error
    that shifts probabilities; by default all of it. Where draws and logits come from the same pass it is 0: such a pass
    may at most choose another kernel, which moves a token across a boundary long before it changes a frequency.
    """

    dtype: str = "float32"
    logit_error: float = 0.0
    blur: float | None = None

    def __post_init__(self) -> None:
        if self.dtype not in UNIT_ROUNDOFF:
            raise ValueError(f"dtype {self.dtype!r} is none of {', '.join(UNIT_ROUNDOFF)}")

    def boundary_errors(self, scores: NDArray[np.float64], gain: float) -> NDArray[np.float64]:
        """How far each finite score [V] may be off; `gain` is how much the parameters enlarge an error of a logit."""
        return self._rounding(scores) + self.logit_error * gain

    def frequency_errors(self, scores: NDArray[np.float64], gain: float) -> NDArray[np.float64]:
        """How far the logarithm of each probability [V] may be off, before they are made to sum to 1."""
        return self._rounding(scores) + (self.logit_error if self.blur is None else self.blur) * gain

    def _rounding(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """What arithmetic in the dtype does to exact logits.

        A softmax rounds three times more: the difference of a score to the largest, its exponential and the quotient.
        """
        finite = np.where(np.isfinite(scores), scores, 0.0)
        rounded = ROUNDINGS_OF_A_SCORE * np.abs(finite) + np.abs(finite - scores.max()) + 2
        errors: NDArray[np.float64] = UNIT_ROUNDOFF[self.dtype] * rounded
        return errors

    def sum_error(self, terms: int) -> float:
        """How far a cumulated probability of so many terms may be off: one float32 rounding each, one to the dtype."""
        return terms * UNIT_ROUNDOFF["float32"] + UNIT_ROUNDOFF[self.dtype]


def logit_error(dtype: str, logits: NDArray[np.float64], layers: int | None = None) -> float:
    """How far the logits [.., V] of a pass in `dtype` may be from exact ones on the same weights, absolute.

    Each of n independent roundings changes the residual stream by a relative u, together u √n; a projection onto
    random directions hands that on relative to the logits' standard deviation; the largest of N normal errors is
    √(2 ln N) standard deviations (Higham 2002, section 2.8, on the statistics of rounding). 1 for an empty array.
    """
    if not logits.size:
        return 1.0
    roundings = ROUNDINGS_OF_A_LAYER * (layers or LAYERS_ASSUMED) + 2
    finite = logits[np.isfinite(logits)]
    largest = math.sqrt(2 * math.log(max(finite.size, 2)))
    return float(SAFETY * UNIT_ROUNDOFF[dtype] * math.sqrt(roundings) * largest * finite.std())


def precision_of(
    dtype: str, logits: NDArray[np.float64], layers: int | None = None, *, same_pass: bool = False
) -> Precision:
    """How exactly a sampler knows logits [.., V] like these that a pass in `dtype` gave it.

    Where the draw comes from the `same_pass`, frequencies are those of the very logits.
    """
    known = dtype if dtype in UNIT_ROUNDOFF else COARSEST
    return Precision(dtype=known, logit_error=logit_error(known, logits, layers), blur=0.0 if same_pass else None)
