"""Owns products of more rows than our kernels take, each by the fastest way that a trial finds for its shape.

cuBLAS and cuBLASLt, as torch calls them, guess which kernel suits a shape; which of the two guesses better differs from
shape to shape, by up to a fifth, and the best of what cuBLASLt names besides is up to a twelfth faster than either.
"""

from functools import cache, partial

import torch
from torch import Tensor

from perfsuite.strategies import _cublaslt
from perfsuite.strategies._cublaslt import Shape, Way
from perfsuite.strategies._trial import fastest

_MATRICES = 3


def multiply(rows: Tensor, weight: Tensor, out: Tensor) -> None:
    """Rows [M, K] times a matrix [N, K] into `out` [M, N]."""
    way = _whole(_of(rows, weight)) if _cublaslt.takes(rows, weight, out) else _plainly
    way(rows, weight, out)


def multiply_in_halves(rows: Tensor, weight: Tensor, halves: Tensor) -> None:
    """The same into two tensors [2, M, N] that add up to it; the second is all zeros where the whole is faster."""
    way = _halved(_of(rows, weight)) if _cublaslt.takes(rows, weight, halves) else in_halves
    way(rows, weight, halves)


def in_halves(rows: Tensor, weight: Tensor, halves: Tensor) -> None:
    """By torch, each half over half of the depth."""
    many, wide = (each.view(len(each), 2, -1) for each in (rows, weight))
    torch.bmm(many.transpose(0, 1), wide.permute(1, 2, 0), out=halves)


def _of(rows: Tensor, weight: Tensor) -> Shape:
    many, deep = rows.shape
    return Shape(many, deep, len(weight), rows.dtype, rows.device)


def _plainly(rows: Tensor, weight: Tensor, out: Tensor) -> None:
    torch.mm(rows, weight.t(), out=out)


def _with_zeros(rows: Tensor, weight: Tensor, out: Tensor) -> None:
    """By cuBLASLt, which torch takes where there is a bias."""
    torch.addmm(rows.new_zeros(len(weight)), rows, weight.t(), out=out)


def _at_once(way: Way, rows: Tensor, weight: Tensor, halves: Tensor) -> None:
    way(rows, weight, halves[0])
    halves[1].zero_()


@cache
def _whole(shape: Shape) -> Way:
    return _fastest([_plainly, _with_zeros, *_cublaslt.ways(shape)], shape, (shape.many, shape.wide))


@cache
def _halved(shape: Shape) -> Way:
    ways: list[Way] = [partial(_at_once, _whole(shape)), in_halves, *_cublaslt.ways(shape._replace(parts=2))]
    return _fastest(ways, shape, (2, shape.many, shape.wide))


def _fastest(ways: list[Way], shape: Shape, result: tuple[int, ...]) -> Way:
    rows = torch.randn((shape.many, shape.deep), device=shape.device).to(shape.dtype)
    out = rows.new_empty(result)
    matrices = [torch.randn((shape.wide, shape.deep), device=shape.device).to(shape.dtype) for _ in range(_MATRICES)]
    return ways[fastest([[partial(way, rows, each, out) for each in matrices] for way in ways])]
