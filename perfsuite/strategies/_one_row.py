"""Owns what the product of one row takes in of its neighbours in a traced pass: norm before, gate or residual after.

A kernel of its own for a row of a few thousand numbers takes longer to begin than to run, and the memory rests
meanwhile. It must not know who compiles the pass.
"""

import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn import functional

from perfsuite.strategies._last_position import LAST
from perfsuite.strategies._skinny import PRODUCT, skinny_kernels
from perfsuite.strategies._traced import called_on, inputs_of, is_written_between, only_reader, value_of


@torch.library.custom_op("perfsuite::one_row_linear", mutates_args=())
def _product(  # noqa: PLR0917
    states: Tensor, norm: Tensor | None, epsilon: float, weight: Tensor, offset: Tensor, is_gated: bool
) -> Tensor:
    """States [1, 1, K], normed by their root mean square where there is a `norm` [K], times [N, K], plus `offset` [N].

    Gated, the first half of that is silu's, times the second: [1, 1, N / 2], and the offset does not count.
    """
    if states.is_cuda and skinny_kernels().fits(states[0], weight):
        product: Tensor = skinny_kernels().one_row_product(states[0], weight, offset, norm, epsilon, is_gated)
        return product.unsqueeze(0)
    if norm is not None:
        states = functional.rms_norm(states, norm.shape, norm, epsilon)
    if not is_gated:
        return functional.linear(states, weight) + offset
    gate, up = functional.linear(states, weight).chunk(2, dim=-1)
    return functional.silu(gate) * up


@_product.register_fake
def _product_shape(states: Tensor, _: object, __: object, weight: Tensor, ___: object, is_gated: bool) -> Tensor:
    return states.new_empty((1, 1, len(weight) // 2 if is_gated else len(weight)))


class _Norm(NamedTuple):
    """What a node of a traced pass normed, how, and from which node on."""

    states: Node
    weight: Node
    epsilon: float
    first: Node


def join_one_row(traced: GraphModule) -> int:
    """Let products of one row norm their row, and gate or add up their result, where they can; how many do.

    `traced` is what Dynamo hands to a backend.
    """
    products = [node for node in traced.graph.nodes if str(node.target).startswith(PRODUCT) and _is_one_row(node)]
    joined = sum(map(_join, products))
    traced.recompile()
    return joined


def _join(product: Node) -> bool:
    """Replace the product and what it takes in."""
    states, weight, bias, is_biased = product.args
    norm = _norm(states)
    gated = None if is_biased else _gated(product)
    total = None if is_biased or gated is not None else _sum(product)
    if norm is None and gated is None and total is None:
        return False
    last = gated or total or product
    if is_written_between(norm.first if norm is not None else product, last):  # it would be read too late
        return False
    offset = _other(total, product) if total is not None else bias
    how = (norm.states, norm.weight, norm.epsilon) if norm is not None else (states, None, 0.0)
    with product.graph.inserting_before(last):
        inputs = (*how, weight, offset, gated is not None)
        joined = product.graph.call_function(torch.ops.perfsuite.one_row_linear.default, inputs)
    joined.meta = dict(last.meta)
    last.replace_all_uses_with(joined)
    _erase_unread(last)
    return True


def _erase_unread(node: Node) -> None:
    """The node, and what nobody but it has read."""
    if not node.users and node.op != "placeholder":
        sources = node.all_input_nodes
        node.graph.erase_node(node)
        for source in sources:
            _erase_unread(source)


def _norm(node: Any) -> _Norm | None:
    """What a node normed, if it did so as transformers does: weight * (states * rsqrt(mean(states ^ 2) + epsilon))."""
    node = _before_last(node)
    for weight, normed in (inputs_of(node, operator.mul), inputs_of(node, operator.mul)[::-1]):
        plain, inverse = inputs_of(called_on(normed, "to"), operator.mul)
        (root,) = inputs_of(inverse, torch.rsqrt, 1)
        mean, epsilon = inputs_of(root, operator.add)
        states = called_on(plain, "to", torch.float32)
        if (
            isinstance(epsilon, float)
            and _mean_of_squares(mean) is plain
            and isinstance(states, Node)
            and _is_weight(weight, states)
        ):
            return _Norm(states, weight, epsilon, plain)
    return None


def _mean_of_squares(node: Any) -> Any:
    """What a node is the mean of the squares of, along the last dimension."""
    squares = called_on(node, "mean", -1)
    return called_on(squares, "pow", 2) if squares is not None and node.kwargs.get("keepdim") else None


def _is_weight(weight: Any, states: Node) -> bool:
    """Whether it is a number for each of a row, of the same type."""
    value, row = value_of(weight), value_of(states)
    return value is not None and row is not None and value.shape == row.shape[-1:] and value.dtype == row.dtype


def _gated(product: Node) -> Node | None:
    """The node that gives silu(first half) * second half of the product, of which nobody reads anything else."""
    split = only_reader(product)
    if split is None or split.target != "split" or not _is_halved(product, split):
        return None
    parts = {each.args[1]: each for each in split.users if each.target is operator.getitem}
    gate, gated = (only_reader(parts.get(index)) for index in range(2))
    is_silu = gate is not None and gate.target is functional.silu and only_reader(gate) is gated
    return gated if is_silu and set(inputs_of(gated, operator.mul)) == {gate, parts[1]} else None


def _is_halved(product: Node, split: Node) -> bool:
    value = value_of(product)
    half = value.shape[-1] // 2 if value is not None else 0
    return split.args[1:] == ([half, half],) and split.kwargs == {"dim": -1} and len(split.users) == 2


def _sum(product: Node) -> Node | None:
    """The node that adds something of its shape to the product, which nobody else reads."""
    total = only_reader(product)
    value, other = value_of(product), value_of(_other(total, product))
    if value is None or other is None:
        return None
    fits = (other.shape, other.dtype, other.device) == (value.shape, value.dtype, value.device)
    return total if fits else None


def _other(total: Any, product: Node) -> Any:
    first, second = inputs_of(total, operator.add)
    return second if first is product else first


def _before_last(node: Any) -> Any:
    """What the last position was taken of, which is the whole of one row."""
    whole, where = inputs_of(node, operator.getitem)
    return whole if where == LAST and _is_one_row(whole) else node


def _is_one_row(node: Any) -> bool:
    value = value_of(node)
    return value is not None and value.dim() == 3 and tuple(value.shape[:2]) == (1, 1)
