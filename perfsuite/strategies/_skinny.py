"""Owns products of a few rows with a wide matrix, as fast as the matrix can be read, and the layers that use them.

cuBLAS reads the weights of such a product at 70 to 85 % of what the memory of a GPU gives. It must not know whose
layers they are. Triton is imported where a kernel is first needed: a machine without a GPU has none.
"""

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module, functional

from perfsuite.models.storage import is_plain
from perfsuite.strategies._trial import is_worth_it

PRODUCT = "perfsuite.skinny_linear"
"""How a traced pass calls our product."""
_TYPES = (torch.float16, torch.bfloat16)
_MATRICES = 3


def use_skinny_products(model: Any) -> int:
    """Replace the 16-bit linear layers of a model; how many were replaced. Quantized ones stay as they are."""
    places = [
        (parent, name, child)
        for parent in list(model.modules())
        for name, child in parent.named_children()
        if type(child) is Linear and _is_16_bit(child.weight)
    ]
    for parent, name, child in places:
        setattr(parent, name, SkinnyLinear(child))
    return len(places)


def _is_16_bit(weight: Tensor) -> bool:
    return weight.dtype in _TYPES and is_plain(weight)


class SkinnyLinear(Module):
    """A linear layer by whichever product is fastest for the rows that come."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self._is_biased = linear.bias is not None
        self.bias = linear.bias if self._is_biased else linear.weight.new_zeros(linear.out_features)

    def forward(self, states: Tensor) -> Tensor:
        product: Tensor = _product(states, self.weight, self.bias, self._is_biased)
        return product


@torch.library.custom_op("perfsuite::skinny_linear", mutates_args=())
def _product(states: Tensor, weight: Tensor, bias: Tensor, is_biased: bool) -> Tensor:
    """What torch.nn.functional.linear gives; a bias that counts for nothing is all zeros."""
    rows = states.reshape(-1, states.shape[-1])
    if rows.is_cuda and skinny_kernels().fits(rows, weight):
        product: Tensor = skinny_kernels().product(rows, weight, bias)
    elif is_biased or (rows.is_cuda and is_faster_with_bias(*rows.shape, len(weight), rows.dtype, rows.device)):
        product = torch.addmm(bias, rows, weight.t())
    else:
        product = functional.linear(rows, weight)
    return product.view(*states.shape[:-1], len(weight))


@_product.register_fake
def _product_shape(states: Tensor, weight: Tensor, *_: object) -> Tensor:
    return states.new_empty((*states.shape[:-1], len(weight)))


@cache
def is_faster_with_bias(many: int, deep: int, wide: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether adding zeros makes a product [many, deep] x [deep, wide] faster, as cuBLASLt does it and not cuBLAS.

    Which of the two picks the better kernel differs from shape to shape, by up to a fifth.
    """
    rows = torch.randn((many, deep), device=device).to(dtype)
    matrices = [torch.randn((wide, deep), device=device).to(dtype) for _ in range(_MATRICES)]
    zeros = rows.new_zeros(wide)
    plain = [partial(functional.linear, rows, matrix) for matrix in matrices]
    return is_worth_it(plain, [partial(torch.addmm, zeros, rows, matrix.t()) for matrix in matrices])


def skinny_kernels() -> Any:
    """The module of the kernels, which needs Triton."""
    from perfsuite.strategies import _triton_products

    return _triton_products
