"""Owns TensorRT's Python packages: which flavour is installed, and how each is imported without a word.

A flavour is a pair: torch_tensorrt, which turns a graph of torch into a network, and TensorRT, which turns that into
an engine and runs it. Both flavours call the first by the same name, so only one of them can be installed.
"""

import importlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch

from perfsuite.core.errors import StrategyUnavailableError

_FLAVOURS = (("torch-tensorrt-rtx", "TensorRT-RTX", "tensorrt_rtx"), ("torch-tensorrt", "TensorRT", "tensorrt"))
_EXPLICIT_CAPABILITY = (8, 9)
"""What torch_tensorrt is told while it is imported where there is no GPU that it could ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolkit:
    """One installed flavour: `name` and `version` of TensorRT, its `runtime` module, and torch_tensorrt's version."""

    name: str
    version: str
    bridge: str
    runtime: Any

    @property
    def is_rtx(self) -> bool:
        return self.name == "TensorRT-RTX"

    def __str__(self) -> str:
        return f"{self.name} {self.version}, torch_tensorrt {self.bridge}"


def find_toolkit() -> Toolkit:
    """The flavour that is installed; StrategyUnavailableError with the commands that install one."""
    for package, name, module in _FLAVOURS:
        try:
            bridge = version(package)
        except PackageNotFoundError:
            continue
        runtime = _imported(module, name)
        return Toolkit(name=name, version=str(runtime.__version__), bridge=bridge, runtime=runtime)
    raise StrategyUnavailableError(
        "tensorrt needs torch_tensorrt, and neither of its flavours is installed; for TensorRT-RTX: pip install "
        f"{_requirements('torch-tensorrt-rtx')} tensorrt-rtx==1.4.0.76, for TensorRT: pip install "
        f"{_requirements('torch-tensorrt')}"
    )


def _requirements(package: str) -> str:
    """A release of torch_tensorrt works with one release of torch."""
    major, minor, *_ = torch.__version__.split(".")
    return f"'{package}=={major}.{minor}.*'"


def bridge() -> ModuleType:
    """torch_tensorrt, imported where there is no GPU as well; StrategyUnavailableError if it cannot be."""
    with without_a_gpu(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch_tensorrt").setLevel(logging.ERROR)
        if importlib.util.find_spec("tensorrt_rtx_bindings") and not _has_plugins():
            # Its wheel announces a module that another wheel would have to bring; None says that it is not there.
            sys.modules.setdefault("tensorrt.plugin", None)  # type: ignore[arg-type]
        return _imported("torch_tensorrt", "torch_tensorrt")


def _has_plugins() -> bool:
    return importlib.util.find_spec("tensorrt_rtx_bindings.plugin") is not None


def _imported(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise StrategyUnavailableError(
            f"tensorrt: {name} is installed but cannot be imported ({first}); install it again, in the version that "
            f"belongs to torch {torch.__version__}: pip install {_requirements('torch-tensorrt-rtx')}"
        ) from error


@contextmanager
def without_a_gpu() -> Iterator[None]:
    """Answer for the GPU that is not there: torch_tensorrt asks torch for one, even where it needs none."""
    if torch.cuda.is_available():
        yield
        return
    with (
        patch.object(torch.cuda, "get_device_capability", lambda *_: _EXPLICIT_CAPABILITY),
        patch.object(torch.cuda, "current_device", lambda: 0),
    ):
        yield
