"""Owns forms of a model's parts that take fewer and wider kernels: projections of one input, norms, rotary embeddings.

What a part computes stays the same but for rounding, which is tried on random numbers before a part is replaced; what
does not fit is left as it is. It must not know who runs the model.
"""

from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module, Parameter, RMSNorm

from perfsuite.models.storage import is_plain

PROJECTIONS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""What transformers calls projections of one input, in the order in which its models ask for them."""
ROTATION = "apply_rotary_pos_emb"
"""What transformers calls the function that attention layers rotate queries and keys by."""


def fuse_projections(model: Any) -> int:
    """Replace each family of projections by one product of a wider matrix; how many families there were.

    A skinny product takes as long as its weights take to be read, and one wide matrix is read faster than three.
    Besides the model it takes the memory of one family: what a wide matrix was made of goes before the next is made.
    """
    families = [
        (parent, names)
        for parent in model.modules()
        for names in PROJECTIONS
        if _fit_together([getattr(parent, name, None) for name in names])
    ]
    for parent, names in families:
        device = _replace(parent, names)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return len(families)


def fuse_norms(model: Any) -> int:
    """Replace RMS norms by torch's own, which is one kernel in place of seven; how many there were."""
    found = [
        (parent, name, norm)
        for parent in list(model.modules())
        for name, norm in parent.named_children()
        if type(norm).__name__.endswith("RMSNorm")
    ]
    fused = 0
    for parent, name, norm in found:
        torchs_own = _torchs_own(norm)
        if torchs_own is not None:
            setattr(parent, name, torchs_own)
            fused += 1
    return fused


def fuse_rotations(model: Any) -> int:
    """Let attention layers rotate queries and keys half by half, in three kernels in place of five; how many do."""
    fused = 0
    for module in model.modules():
        forward: Any = getattr(type(module), "forward", None)
        if ROTATION in getattr(getattr(forward, "__code__", None), "co_names", ()) and _rotates_halves(forward):
            module.forward = MethodType(_with_our_rotation(forward), module)
            fused += 1
    return fused


def keep_rotations(model: Any) -> int:
    """Let cosines and sines of a model's positions be computed once for all layers; how many tables of them there are.

    A compiler that sees through them computes them again in every layer.
    """
    tables = [each for each in model.modules() if type(each).__name__.endswith("RotaryEmbedding")]
    for table in tables:
        table.forward = _kept(table.forward)
    return len(tables)


def _kept(forward: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    def forward_once(*args: Any, **others: Any) -> tuple[Tensor, Tensor]:
        cosines, sines = forward(*args, **others)
        return _as_it_is(cosines), _as_it_is(sines)

    return forward_once


@torch.library.custom_op("perfsuite::as_it_is", mutates_args=())
def _as_it_is(states: Tensor) -> Tensor:
    """The same numbers, in memory of their own; no compiler looks behind it."""
    return states.clone()


@_as_it_is.register_fake
def _as_it_is_shape(states: Tensor) -> Tensor:
    return torch.empty_like(states)


def _fit_together(projections: Sequence[Any]) -> bool:
    """Whether these are linear layers of one kind; quantized weights cannot be joined, whatever dtype they claim."""
    kinds = {
        (each.in_features, each.bias is None, each.weight.dtype, each.weight.device)
        if type(each) is Linear and is_plain(each.weight)
        else None
        for each in projections
    }
    return len(kinds) == 1 and None not in kinds


def _replace(parent: Any, names: Sequence[str]) -> torch.device:
    """Put one product in the place of these projections; where its weights are."""
    product = _Product([getattr(parent, name) for name in names])
    setattr(parent, names[0], product)
    for index, name in enumerate(names[1:]):
        setattr(parent, name, _Share(product, index))
    return product.joined.weight.device


class _Product(Module):
    """Stands where the first projection stood: computes all of them, and keeps the others until they are asked for."""

    def __init__(self, projections: Sequence[Linear]) -> None:
        super().__init__()
        self.widths = [each.out_features for each in projections]
        self.joined = _joined(projections)
        self.others: list[Tensor] = []

    def forward(self, states: Tensor) -> Tensor:
        parts: list[Tensor] = list(self.joined(states).split(self.widths, dim=-1))
        self.others = parts[1:]
        return parts[0]


class _Share(Module):
    """Stands where a later projection stood; the last of them lets go of what was computed."""

    def __init__(self, product: _Product, index: int) -> None:
        super().__init__()
        self._product = [product]  # in a list, so that its weights are not counted as this module's too
        self._index = index

    def forward(self, states: Tensor) -> Tensor:
        product = self._product[0]
        share = product.others[self._index]
        if self._index == len(product.widths) - 2:
            product.others = []
        return share


def _joined(projections: Sequence[Linear]) -> Linear:
    is_biased = projections[0].bias is not None
    joined = Linear(projections[0].in_features, 1, bias=is_biased, device="meta")
    joined.out_features = sum(each.out_features for each in projections)
    joined.weight = _end_to_end([each.weight for each in projections])
    if is_biased:
        joined.bias = _end_to_end([each.bias for each in projections])
    return joined


def _end_to_end(parts: Sequence[Tensor]) -> Parameter:
    return Parameter(torch.cat([part.detach() for part in parts]), requires_grad=False)


def _torchs_own(norm: Any) -> RMSNorm | None:
    """The same norm in torch's form; `None` if it is not the same."""
    weight, epsilon = getattr(norm, "weight", None), getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    if weight is None or epsilon is None or weight.dim() != 1:
        return None
    torchs_own = RMSNorm(len(weight), eps=epsilon, device="meta")
    torchs_own.weight = weight
    states = _drawn((4, len(weight)), weight)
    return torchs_own if _agree(norm(states), torchs_own(states)) else None


def _with_our_rotation(forward: FunctionType) -> FunctionType:
    """The same method, which finds our rotation where it looks for transformers'."""
    ours = FunctionType(
        forward.__code__, {**forward.__globals__, ROTATION: rotated}, forward.__name__, forward.__defaults__
    )
    ours.__kwdefaults__ = forward.__kwdefaults__
    return ours


def _rotates_halves(forward: FunctionType) -> bool:
    rotation: Callable[..., tuple[Tensor, Tensor]] | None = forward.__globals__.get(ROTATION)
    if rotation is None or forward.__closure__:
        return False
    like = torch.empty(0)
    queries, keys, cosines, sines = (
        _drawn(shape, like) for shape in ((1, 4, 3, 8), (1, 2, 3, 8), (1, 3, 8), (1, 3, 8))
    )
    theirs, ours = rotation(queries, keys, cosines, sines), rotated(queries, keys, cosines, sines)
    return all(map(_agree, theirs, ours))


def rotated(
    queries: Tensor, keys: Tensor, cosines: Tensor, sines: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """Queries and keys [B, heads, L, D] turned by angles with these cosines and sines [B, L, D] (Su et al. 2021)."""
    cosines, sines = cosines.unsqueeze(unsqueeze_dim), sines.unsqueeze(unsqueeze_dim)
    return _turned(queries, cosines, sines), _turned(keys, cosines, sines)


def _turned(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    half = states.shape[-1] // 2
    turned = states * cosines
    turned[..., :half].addcmul_(states[..., half:], sines[..., :half], value=-1)
    turned[..., half:].addcmul_(states[..., :half], sines[..., half:])
    return turned


def _drawn(shape: tuple[int, ...], like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(like.device, like.dtype)


def _agree(theirs: Tensor, ours: Tensor) -> bool:
    return theirs.shape == ours.shape and torch.allclose(theirs.float(), ours.float(), rtol=0.02, atol=0.02)
