"""Owns products of a few rows with a wide matrix, as fast as the matrix can be read, and the layers that use them.

cuBLAS reads the weights of such a product at 70 to 85 % of what the memory of a GPU gives. It must not know whose
layers they are. Triton is imported where a kernel is first needed: a machine without a GPU has none.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module, functional

from perfsuite.models.storage import is_plain
from perfsuite.strategies._many_rows import multiply

PRODUCT = "perfsuite.skinny_linear"
"""How a traced pass calls our product."""
_TYPES = (torch.float16, torch.bfloat16)


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
    elif is_biased:
        product = torch.addmm(bias, rows, weight.t())
    elif rows.is_cuda:
        product = rows.new_empty((len(rows), len(weight)))
        multiply(rows, weight, product)
    else:
        product = functional.linear(rows, weight)
    return product.view(*states.shape[:-1], len(weight))


@_product.register_fake
def _product_shape(states: Tensor, weight: Tensor, *_: object) -> Tensor:
    return states.new_empty((*states.shape[:-1], len(weight)))


def skinny_kernels() -> Any:
    """The module of the kernels, which needs Triton."""
    from perfsuite.strategies import _triton_products

    return _triton_products
