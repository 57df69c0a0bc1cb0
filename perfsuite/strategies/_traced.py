"""Owns what a rewrite asks the nodes of a traced pass: what they call, on what, and whether they write over it.

A traced pass is what Dynamo hands to a backend: its nodes carry example values, in which a prompt's length is a symbol.
It must not know what is rewritten.
"""

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

_IN_PLACE = frozenset(
    {operator.setitem, operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow, operator.ior,
     operator.iand, operator.ixor, operator.ifloordiv, operator.imod, operator.imatmul}
)  # fmt: skip


def value_of(node: Any) -> Tensor | None:
    """The example of a node that gives a tensor."""
    value = node.meta.get("example_value") if isinstance(node, Node) else None
    return value if isinstance(value, Tensor) else None


def inputs_of(node: Any, target: Any, count: int = 2) -> tuple[Any, ...]:
    """What a call of `target` takes; as many `None` if the node is none."""
    is_one = isinstance(node, Node) and node.target is target and len(node.args) == count
    return node.args if is_one else (None,) * count


def called_on(node: Any, name: str, *arguments: object) -> Any:
    """What a method of a tensor was called on, if with these arguments first."""
    is_one = isinstance(node, Node) and node.op == "call_method" and node.target == name
    return node.args[0] if is_one and node.args[1 : 1 + len(arguments)] == arguments else None


def only_reader(node: Node | None) -> Node | None:
    return next(iter(node.users)) if node is not None and len(node.users) == 1 else None


def is_written_between(first: Node, last: Node) -> bool:
    """Whether anything is written in place from one node on until before another."""
    node = first
    while node is not last:
        if _writes(node):
            return True
        node = node.next
    return False


def _writes(node: Node) -> bool:
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.is_mutable
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.target in _IN_PLACE or (node.op != "placeholder" and name.endswith("_") and not name.endswith("__"))
