"""Owns the ranks that a model is split over: a device for each, and the process group that they talk through.

NCCL between GPUs, gloo between CPUs, as the environment has set them up: nothing of NCCL's own is changed here.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from perfsuite.core.errors import OptionError, StrategyUnavailableError
from perfsuite.core.workload import ModelSpec
from perfsuite.models.device import find_device

LONGEST_PASS = timedelta(days=1)
"""A collective gives up after this; a rank that does not go on is noticed long before, by whoever leads the ranks."""
LEFT_TO_US = {
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",
    "TORCH_NCCL_ENABLE_MONITORING": "0",
    "TORCH_NCCL_RETHROW_CUDA_ERRORS": "0",
    "TORCH_NCCL_DUMP_ON_TIMEOUT": "0",
    "TORCH_NCCL_WAIT_TIMEOUT_DUMP_MILSEC": "0",
}
"""torch's watchdogs would end the process of the rank that answers, with all that it has measured, when another one
died or its own GPU failed; look every second whether another rank has something to dump; and wait a minute for that,
with every sum behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One rank of `size`; rank 0 answers. `store` is the file by which they find each other (`None`: one alone)."""

    rank: int = 0
    size: int = 1
    store: str | None = None

    @property
    def name(self) -> str:
        return f"rank {self.rank} of {self.size}"

    def of(self, spec: ModelSpec) -> ModelSpec:
        """The same model on this rank's own device: that of rank 0, or the GPU that comes so many after it."""
        device = find_device(spec.device)
        if device.type == "cpu":
            return replace(spec, device="cpu")
        return replace(spec, device=f"cuda:{(device.index or 0) + self.rank}")


ALONE = Seat()
_all_gather: Callable[[Tensor, Tensor], object] = (
    dist.all_gather_single if hasattr(dist, "all_gather_single") else dist.all_gather_into_tensor
)
"""Newer versions of torch have another name for it, and warn of the old one."""


def require_devices(asked: str, size: int) -> None:
    """OptionError for more ranks than GPUs, StrategyUnavailableError for GPUs of several products.

    The same where this process has other ranks already: torch knows one process group at a time.
    """
    if not dist.is_available():
        raise StrategyUnavailableError(
            f"--perf-tensor-parallel: torch {torch.__version__} was built without torch.distributed; install another"
        )
    if dist.is_initialized():
        raise StrategyUnavailableError(
            "--perf-tensor-parallel: this process has a torch.distributed process group already; end it first"
        )
    device = find_device(asked)
    if device.type == "cpu":
        return
    first, count = device.index or 0, torch.cuda.device_count()
    if first + size > count:
        raise OptionError(
            f"--perf-tensor-parallel: {size} ranks from 'cuda:{first}' on need {size} GPUs, torch sees "
            f"{count - first} there; use --perf-tensor-parallel {count - first} or free more GPUs"
        )
    products = [torch.cuda.get_device_name(index) for index in range(first, first + size)]
    if len(set(products)) > 1:
        raise StrategyUnavailableError(
            f"--perf-tensor-parallel: cuda:{first} to cuda:{first + size - 1} are GPUs of different products "
            f"({', '.join(dict.fromkeys(products))}), the slowest of which all would wait for; choose equal ones with "
            "CUDA_VISIBLE_DEVICES"
        )


def backend_of(device: torch.device) -> str:
    return "nccl" if device.type == "cuda" else "gloo"


def join(seat: Seat, device: torch.device) -> None:
    """Wait for all ranks, and be one of them from now on."""
    if seat.store is None:
        raise RuntimeError("a rank alone has nobody to join")
    with _environment(LEFT_TO_US):
        dist.init_process_group(
            backend_of(device),
            store=dist.FileStore(seat.store, seat.size),  # type: ignore[attr-defined]
            rank=seat.rank,
            world_size=seat.size,
            timeout=LONGEST_PASS,
            device_id=device if device.type == "cuda" else None,
        )


def leave() -> None:
    """The ranks part; to be called by all of them."""
    if dist.is_initialized():
        dist.destroy_process_group()


def give_up() -> None:
    """Let go of ranks that answer no more: a collective that waits for one of them ends.

    ValueError, AssertionError or RuntimeError by torch where that has been done already.
    """
    if dist.is_initialized() and dist.get_backend() == "nccl":
        dist.distributed_c10d._abort_process_group()


def world_size() -> int:
    """How many ranks the process group really has; 1 without one."""
    return dist.get_world_size() if dist.is_initialized() else 1


def add_up(partial: Tensor) -> None:
    """The sum over all ranks, in place; every rank gets the same bits."""
    dist.all_reduce(partial)


def put_together(part: Tensor) -> Tensor:
    """The parts [..., N] of all ranks side by side, [..., ranks * N]; every rank gets the same bits."""
    ranks = dist.get_world_size()
    flat = part.reshape(-1, part.shape[-1]).contiguous()
    gathered = flat.new_empty((ranks * len(flat), flat.shape[-1]))
    _all_gather(gathered, flat)
    side_by_side = gathered.view(ranks, *flat.shape).transpose(0, 1)
    return side_by_side.reshape(*part.shape[:-1], ranks * part.shape[-1])


@contextmanager
def _environment(defaults: dict[str, str]) -> Iterator[None]:
    """These variables, where nobody has set them."""
    added = {name: text for name, text in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
