"""Owns products with a matrix at least as deep as wide, each computed as two halves side by side, in a traced pass.

Such a matrix gives too few blocks of the result to occupy a GPU by large ones. The compiler adds the halves up in a
kernel that reads the product anyway. It must not know who compiles the pass.
"""

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from perfsuite.strategies._many_rows import multiply_in_halves
from perfsuite.strategies._skinny import PRODUCT, skinny_kernels
from perfsuite.strategies._traced import value_of

_ALIGNED = 16  # numbers: two halves of 32 bytes or a multiple


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
    elif rows.is_cuda:
        multiply_in_halves(rows, weight, halves)
    else:
        torch.mm(rows, weight.t(), out=halves[0])
        halves[1].zero_()
    return halves.view(2, *states.shape[:-1], len(weight))


@_halved.register_fake
def _halved_shape(states: Tensor, weight: Tensor) -> Tensor:
    return states.new_empty((2, *states.shape[:-1], len(weight)))
