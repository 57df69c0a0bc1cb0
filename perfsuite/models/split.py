"""Owns how a model is split over ranks: which layers, by transformers' own plan for its architecture, and their sums.

Each rank keeps its columns of the layers that take whole states, and its rows of those that give them back; what these
give is added up over all ranks (Shoeybi et al. 2019, Megatron-LM). The plan is transformers' `tp_plan`; the layers are
ours, as transformers' own hold DTensors behind hooks, which neither fuse nor compile as a whole.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module, Parameter, functional

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.work import Split
from perfsuite.models.ranks import Seat, add_up, put_together

COLUMNS, ROWS = "colwise", "rowwise"
GATHERED = frozenset({"colwise_gather_output", "colwise_rep"})
"""What transformers calls columns whose outputs are put together again: the output head."""
WHOLE = frozenset({"replicate", "replicated_with_grad_allreduce", "embedding_rowwise"})
"""What every rank keeps as it is: norms of single heads; the table of embeddings, of which a pass reads a few rows."""
HEADS = ("num_attention_heads", "num_key_value_heads")


def require_split(name: str, model: Any, size: int) -> None:
    """StrategyUnavailableError if a model, on the meta device or not, cannot be split evenly over `size` ranks."""
    places = list(_places(model))
    architecture = f"model {name!r}: --perf-tensor-parallel: a {model.config.model_type!r} model"
    foreign = sorted({style for _, module, style in places if style not in WHOLE and not _is_known(module, style)})
    if foreign:
        raise StrategyUnavailableError(
            f"{architecture} has layers that its plan splits as {foreign[0]!r}, which is not known here; drop the flag"
        )
    if not any(style == ROWS for _, _, style in places):
        raise StrategyUnavailableError(
            f"{architecture} has no plan of transformers (tp_plan) that would split its work; drop the flag"
        )
    _require_heads(architecture, model.config.get_text_config(), size)
    for place, module, style in places:
        width = module.out_features if style == COLUMNS else module.in_features if style == ROWS else 0
        if width % size:
            raise StrategyUnavailableError(f"{architecture}: {size} ranks do not divide the {width} columns of {place}")


def _is_known(module: Module, style: str) -> bool:
    return type(module) is Linear and (style in (COLUMNS, ROWS) or style in GATHERED)


def _require_heads(architecture: str, config: Any, size: int) -> None:
    for key in HEADS:
        heads = getattr(config, key, None)
        if isinstance(heads, int) and heads % size:
            fitting = [str(count) for count in range(1, heads + 1) if _divides_heads(config, count)]
            raise StrategyUnavailableError(
                f"{architecture} has {heads} {key.removeprefix('num_').replace('_', ' ')}, which {size} ranks do not "
                f"divide; use --perf-tensor-parallel {', '.join(fitting[:-1])}{' or ' if fitting[1:] else ''}"
                f"{fitting[-1]}"
            )


def _divides_heads(config: Any, count: int) -> bool:
    heads = (getattr(config, key, None) for key in HEADS)
    return not any(isinstance(number, int) and number % count for number in heads)


def _places(model: Any) -> Iterator[tuple[str, Any, str]]:
    """Name, module and style of all that the plan names; a `*` in it stands for the number of a layer."""
    plan = getattr(model, "tp_plan", None) or {}
    for name, module in model.named_modules():
        style = plan.get(re.sub(r"\.\d+(?=\.|$)", ".*", name))
        if style is not None:
            yield name, module, style


def split(model: Any, seat: Seat) -> None:
    """Keep one rank's part of a model that `require_split` has let through, in place."""
    for name, module, style in list(_places(model)):
        made = _part(module, style, seat)
        if made is not None:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, made)


def split_of(model: Any, size: int, dtype: torch.dtype) -> Split:
    """What the ranks of a whole model have to tell each other in a pass."""
    sums = [module.out_features for _, module, style in _places(model) if style == ROWS]
    layers = model.config.get_text_config().num_hidden_layers
    of_last = sum(sums) // layers
    gathered = [module.out_features for _, module, style in _places(model) if style in GATHERED]
    return Split(
        ranks=size,
        token_bytes=(sum(sums) - of_last) * dtype.itemsize,
        row_bytes=of_last * dtype.itemsize,
        gathered_bytes=sum(gathered) * dtype.itemsize,
    )


def _part(linear: Any, style: str, seat: Seat) -> Module | None:
    if style == COLUMNS:
        return _columns(linear, -(-linear.out_features // seat.size), seat.rank)
    if style == ROWS:
        return SummedLinear(linear, seat)
    return GatheredLinear(linear, seat) if style in GATHERED else None


def _columns(linear: Linear, width: int, rank: int) -> Linear:
    """As many outputs as each rank has, of this rank; what lies beyond the last output is zeros."""
    mine = slice(rank * width, (rank + 1) * width)
    bias = None if linear.bias is None else _filled_up(linear.bias.detach()[mine], width)
    return _linear(_filled_up(linear.weight.detach()[mine], width), bias)


def _filled_up(values: Tensor, length: int) -> Tensor:
    missing = length - len(values)
    return functional.pad(values, (0, 0) * (values.dim() - 1) + (0, missing)) if missing else values


def _linear(weight: Tensor, bias: Tensor | None = None) -> Linear:
    """A linear layer with a copy of these weights, so that the whole they were taken from can be let go of."""
    made = Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    made.weight = Parameter(weight.clone(memory_format=torch.contiguous_format), requires_grad=False)
    if bias is not None:
        made.bias = Parameter(bias.clone(), requires_grad=False)
    return made


class SummedLinear(Module):
    """A linear layer of which each rank has some inputs: `part` gives a share of the outputs, all shares add up."""

    def __init__(self, linear: Linear, seat: Seat) -> None:
        super().__init__()
        width = linear.in_features // seat.size
        self.part = _linear(linear.weight.detach()[:, seat.rank * width : (seat.rank + 1) * width])
        self.bias = linear.bias

    def forward(self, states: Tensor) -> Tensor:
        product: Tensor = self.part(states)
        if torch.compiler.is_compiling():
            _sum_over_ranks(product)
        else:
            add_up(product)
        return product if self.bias is None else product + self.bias


class GatheredLinear(Module):
    """A linear layer of which each rank has some outputs, which are put together: every rank has the same logits."""

    def __init__(self, linear: Linear, seat: Seat) -> None:
        super().__init__()
        self.out_features, self._ranks = linear.out_features, seat.size
        self.part = _columns(linear, -(-linear.out_features // seat.size), seat.rank)

    def forward(self, states: Tensor) -> Tensor:
        product: Tensor = self.part(states)
        together = _gather_ranks(product, self._ranks) if torch.compiler.is_compiling() else put_together(product)
        return together[..., : self.out_features]


SUM = "perfsuite.sum_over_ranks"
"""How a traced pass calls the sum over all ranks; it writes over what it takes."""


@torch.library.custom_op("perfsuite::sum_over_ranks", mutates_args=("partial",))
def _sum_over_ranks(partial: Tensor) -> None:
    """The sum over all ranks, in place; no compiler looks into it, and none copies for it."""
    add_up(partial)


@_sum_over_ranks.register_fake
def _sum_over_ranks_shape(_: Tensor) -> None:
    return None


@torch.library.custom_op("perfsuite::gather_ranks", mutates_args=())
def _gather_ranks(part: Tensor, ranks: int) -> Tensor:  # noqa: ARG001 - for the shape of what comes
    """The parts [..., N] of all ranks side by side."""
    return put_together(part)


@_gather_ranks.register_fake
def _gather_ranks_shape(part: Tensor, ranks: int) -> Tensor:
    return part.new_empty((*part.shape[:-1], ranks * part.shape[-1]))
