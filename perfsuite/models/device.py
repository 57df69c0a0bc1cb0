"""Owns which device a model runs on."""

import torch

from perfsuite.core.errors import OptionError


def find_device(asked: str) -> torch.device:
    """The device meant by 'auto', 'cpu', 'cuda' or 'cuda:N'; OptionError if it is not there."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cpu" or (asked == "auto" and not count):
        return torch.device("cpu")
    if not count:
        raise OptionError(
            f"--perf-device: {asked!r} was asked for, but torch {torch.__version__} sees no CUDA device; "
            "use --perf-device cpu, or install a CUDA build of torch and check nvidia-smi"
        )
    index = int(asked.partition(":")[2] or torch.cuda.current_device())
    if index >= count:
        raise OptionError(f"--perf-device: {asked!r} was asked for, but the last CUDA device is 'cuda:{count - 1}'")
    return torch.device("cuda", index)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or CUDA found no room: torch's allocator, or CUDA itself where it wants memory of its own."""
    text = str(error)
    told = "CUDA error: out of memory" in text or "CUBLAS_STATUS_ALLOC_FAILED" in text
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and told)


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a CUDA device as its driver sees it; `None` for a CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
