"""Owns products with a matrix at least as deep as wide, each computed as two halves side by side, in a traced pass.

Such a matrix gives too few blocks of the result to occupy a GPU by large ones. The compiler adds the halves up in a
kernel that reads the product anyway. It must not know who compiles the pass.
"""

import operator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from perfsuite.strategies._skinny import PRODUCT, is_faster_with_bias, skinny_kernels
from perfsuite.strategies._traced import value_of
from perfsuite.strategies._trial import is_worth_it

_ALIGNED = 16  # numbers: two halves of 32 bytes or a multiple
_MATRICES = 3


def halve_deep_products(traced: GraphModule) -> int:
    """Let products with deep matrices be computed as two halves where rows are many; how many are.

    `traced` is what Dynamo hands to a backend: its nodes carry example values, in which a prompt's length is a symbol.
    """
    deep = [node for node in traced.graph.nodes if str(node.target).startswith(PRODUCT) and _can_be_halved(*node.args)]
    for node in deep:
        with traced.graph.inserting_before(node):
            halves = traced.graph.call_function(torch.ops.perfsuite.halved_linear.default, node.args[:2])
            parts = [traced.graph.call_function(operator.getitem, (halves, part)) for part in range(2)]
            node.replace_all_uses_with(traced.graph.call_function(operator.add, tuple(parts)))
        traced.graph.erase_node(node)
    traced.recompile()
    return len(deep)


def _can_be_halved(states: Any, weight: Any, _: Any, is_biased: Any) -> bool:
    rows: Any = value_of(states)
    matrix = value_of(weight)
    if is_biased or rows is None or matrix is None or rows.dim() != 3 or isinstance(rows.shape[1], int):
        return False
    wide, deep = matrix.shape
    return bool(deep >= wide and deep % (2 * _ALIGNED) == 0)


@torch.library.custom_op("perfsuite::halved_linear", mutates_args=())
def _halved(states: Tensor, weight: Tensor) -> Tensor:
    """Two tensors in one, [2, B, L, N], whose sum is what torch.nn.functional.linear gives for [B, L, K] and [N, K]."""
    rows = states.reshape(-1, states.shape[-1])
    halves = rows.new_empty((2, len(rows), len(weight)))
    if rows.is_cuda and skinny_kernels().fits(rows, weight):
        skinny_kernels().product_in_halves(rows, weight, halves)
    elif rows.is_cuda and _is_faster_in_halves(*rows.shape, len(weight), rows.dtype, rows.device):
        _in_halves(rows, weight, halves)
    else:
        _at_once(rows, weight, halves)
    return halves.view(2, *states.shape[:-1], len(weight))


@_halved.register_fake
def _halved_shape(states: Tensor, weight: Tensor) -> Tensor:
    return states.new_empty((2, *states.shape[:-1], len(weight)))


def _in_halves(rows: Tensor, weight: Tensor, halves: Tensor) -> None:
    many, wide = (each.view(len(each), 2, -1) for each in (rows, weight))
    torch.bmm(many.transpose(0, 1), wide.permute(1, 2, 0), out=halves)


def _at_once(rows: Tensor, weight: Tensor, halves: Tensor) -> None:
    if rows.is_cuda and is_faster_with_bias(*rows.shape, len(weight), rows.dtype, rows.device):
        torch.addmm(rows.new_zeros(len(weight)), rows, weight.t(), out=halves[0])
    else:
        torch.mm(rows, weight.t(), out=halves[0])
    halves[1].zero_()


@cache
def _is_faster_in_halves(many: int, deep: int, wide: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether two halves of a product [many, deep] x [deep, wide] take less time side by side than the whole."""
    rows = torch.randn((many, deep), device=device).to(dtype)
    matrices = [torch.randn((wide, deep), device=device).to(dtype) for _ in range(_MATRICES)]
    halves = rows.new_empty((2, many, wide))
    whole, halved = ([partial(way, rows, each, halves) for each in matrices] for way in (_at_once, _in_halves))
    return is_worth_it(whole, halved)
