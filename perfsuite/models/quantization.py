"""Owns the weight-only quantization of a model in memory by torchao: which layers, to what, and where it cannot be.

Linear layers of the decoder are quantized, one scale for each output; embedding tables and the output head stay as they
are. torchao is imported when it is needed only.
"""

import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Any

import torch
from torch import nn

from perfsuite.core.errors import StrategyUnavailableError

INSTALL = 'pip install "torchao>=0.18,<0.19"'
FP8_CAPABILITY = (8, 9)
"""The compute capability from which on a GPU knows 8-bit floating-point numbers."""
LEAST_SHARE = 0.9
"""Of the decoder's weights, tables aside: with fewer of them quantized, what is measured is not what the name says."""


def require_quantization(kind: str, device: torch.device) -> None:
    """StrategyUnavailableError if weights cannot be quantized to `kind` on this device, before anything is loaded."""
    _config(kind)
    if kind == "fp8" and device.type == "cuda" and torch.cuda.get_device_capability(device) < FP8_CAPABILITY:
        found, least = (".".join(map(str, pair)) for pair in (torch.cuda.get_device_capability(device), FP8_CAPABILITY))
        raise StrategyUnavailableError(
            f"--perf-quantization: fp8 needs a GPU of compute capability {least} or above (Ada, Hopper), {device} has "
            f"{found}; use --perf-quantization int8"
        )


def quantize(model: Any, kind: str) -> str:
    """Quantize in place; what was done, 'int8 weight-only (torchao 0.18.0)', as recordings note it.

    StrategyUnavailableError for a model that keeps too much of its weights elsewhere than in linear layers.
    """
    decoder = model.get_decoder()
    _require_linear_layers(model.config.model_type, decoder)
    from torchao.quantization import quantize_

    quantize_(decoder, _config(kind), filter_fn=lambda module, _: type(module) is nn.Linear)
    return f"{kind} weight-only (torchao {metadata.version('torchao')})"


def _config(kind: str) -> Any:
    """The configuration of torchao; it is told to leave inductor's settings and torch's precision alone."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchao's own, outside our reach
            from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig
    except ImportError as error:
        raise StrategyUnavailableError(
            f"--perf-quantization: {kind} needs torchao, which cannot be imported ({error}); install it with: {INSTALL}"
        ) from error
    configs: dict[str, Callable[..., Any]] = {"int8": Int8WeightOnlyConfig, "fp8": Float8WeightOnlyConfig}
    return configs[kind](set_inductor_config=False)


def _require_linear_layers(architecture: str, decoder: nn.Module) -> None:
    tables = {id(module.weight) for module in decoder.modules() if isinstance(module, nn.Embedding)}
    linear = {id(module.weight) for module in decoder.modules() if type(module) is nn.Linear}
    counts = {id(weight): weight.numel() for weight in decoder.parameters() if id(weight) not in tables}
    share = sum(counts[key] for key in linear if key in counts) / max(1, sum(counts.values()))
    if share < LEAST_SHARE:
        raise StrategyUnavailableError(
            f"--perf-quantization: a {architecture!r} model keeps {100 * share:.0f} % of its weights in linear layers, "
            f"which alone are quantized; {100 * LEAST_SHARE:.0f} % are needed: drop the flag"
        )
