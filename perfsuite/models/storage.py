"""Owns what a weight is made of in memory: itself or, where it is quantized, the tensors that it stands for."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def is_plain(tensor: Tensor) -> bool:
    """Whether the tensor holds its own values; a quantized one claims the dtype and the size it had before."""
    return not is_traceable_wrapper_subclass(tensor)


def parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """The tensors that hold the values: quantized ones, scales, zero points; a plain tensor is its only part."""
    if is_plain(tensor):
        return (tensor,)
    wrapper: Any = tensor
    names, _ = wrapper.__tensor_flatten__()
    return tuple(part for name in names for part in parts(getattr(wrapper, name)))


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """The bytes that the tensors really take."""
    return sum(part.numel() * part.element_size() for tensor in tensors for part in parts(tensor))
