"""Owns what of a traced prefill is computed for its last position alone, because nobody reads the others.

Only the last position's logits are asked for: the last layer needs keys and values of all positions, but what comes
after its attention of one. It must not know who compiles the pass.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.nn import functional

from perfsuite.models.split import SUM
from perfsuite.strategies._skinny import PRODUCT
from perfsuite.strategies._traced import value_of

LAST = (slice(None, None, None), slice(-1, None, None), slice(None, None, None))
"""How transformers takes the last position of [B, L, N]."""
_FUNCTIONS: frozenset[Callable[..., Any]] = frozenset(
    {operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, torch.rsqrt, torch.tanh,
     functional.silu, functional.gelu, functional.linear, functional.rms_norm}
)  # fmt: skip
_METHODS = frozenset({"to", "float", "type_as", "pow"})
_METHODS_OVER_ONE_DIMENSION = frozenset({"mean", "split"})
_OUR_SUM = f"{SUM}."


def compute_last_position_only(traced: GraphModule) -> int:
    """Take the last position earlier than the pass does, where only the work changes; how many nodes have less to do.

    `traced` is what Dynamo hands to a backend: its nodes carry example values, in which a prompt's length is a symbol.
    """
    narrowed = _read_at_the_end_only(traced.graph)
    for node in (each for each in traced.graph.nodes if each in narrowed):
        for source in node.all_input_nodes:
            if source not in narrowed and _has_rows(source):
                with traced.graph.inserting_before(node):
                    last = traced.graph.call_function(operator.getitem, (source, LAST))
                node.replace_input_with(source, last)
    traced.recompile()
    return len(narrowed)


def _read_at_the_end_only(graph: Graph) -> frozenset[Node]:
    """Nodes that give a row for each position, each from that row of what they take, and are read for the last one."""
    found = {node for node in graph.nodes if _takes_last(node)}
    ends = frozenset(found)
    for node in reversed(graph.nodes):
        readers = [user for user in node.users if not _adds_up(user)]
        if readers and all(user in found for user in readers) and _goes_row_by_row(node, found):
            found.add(node)
    return frozenset(found - ends)


def _adds_up(node: Node) -> bool:
    """Whether a node is a sum over all ranks, in place: of however many rows there are."""
    return str(node.target).startswith(_OUR_SUM) and not node.users


def _takes_last(node: Node) -> bool:
    return node.target is operator.getitem and node.args[1] == LAST and _has_rows(node.args[0])


def _has_rows(node: Any) -> bool:
    value = value_of(node)
    return isinstance(value, Tensor) and value.dim() == 3 and not isinstance(value.shape[1], int)


def _goes_row_by_row(node: Node, found: set[Node]) -> bool:
    if node.target is operator.getitem:
        return _is_share(node, found)
    return _keeps_rows_apart(node) and all(
        _has_rows(each) or _is_fixed(each) for each in node.all_input_nodes if not _is_share(each, found)
    )


def _keeps_rows_apart(node: Node) -> bool:
    if node.op == "call_method":
        over_one = node.target in _METHODS_OVER_ONE_DIMENSION and -1 in (node.kwargs.get("dim"), *node.args[1:])
        return node.target in _METHODS or over_one
    return node.op == "call_function" and (node.target in _FUNCTIONS or str(node.target).startswith(PRODUCT))


def _is_share(node: Node, found: set[Node]) -> bool:
    """Whether a node is a part of rows that were split, and all other parts are read at the end only, too."""
    whole = node.args[0] if node.target is operator.getitem else None
    return (
        isinstance(whole, Node)
        and whole.target == "split"
        and _keeps_rows_apart(whole)
        and all(reader in found for part in whole.users for reader in part.users)
    )


def _is_fixed(node: Node) -> bool:
    """Whether a node is a tensor without any dimension that a prompt's length decides, such as a weight."""
    value = value_of(node)
    return isinstance(value, Tensor) and all(isinstance(size, int) for size in value.shape)
