"""Errors after which a process has no device any more are told from those that a request can have by itself."""

import pytest
import torch

from perfsuite.core.errors import DeviceLostError, StrategyUnavailableError
from perfsuite.measure.fault import device_fault, loss_told

ILLEGAL = "CUDA error: an illegal memory access was encountered"


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError(f"{ILLEGAL}\nSearch for `cudaErrorIllegalAddress' in https://docs.nvidia.com/cuda"),
        torch.AcceleratorError("CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`"),
        torch.AcceleratorError("CUDA error: unspecified launch failure"),
        RuntimeError(f"{ILLEGAL}\nCUDA kernel errors might be asynchronously reported at some other API call"),
        RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
    ],
)
def test_what_torch_and_triton_say_of_a_lost_device_is_known(error: Exception) -> None:
    assert device_fault(error) == str(error).splitlines()[0]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 79 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing"),
        torch.AcceleratorError("CUDA error: invalid argument"),
        RuntimeError("unknown error"),
        KeyError("no kernel for this shape"),
    ],
)
def test_what_the_next_request_may_survive_is_no_fault(error: Exception) -> None:
    assert device_fault(error) is None


def test_a_fault_is_found_under_what_was_raised_over_it() -> None:
    error = StrategyUnavailableError("a pass cannot be compiled")
    error.__cause__ = torch.AcceleratorError(ILLEGAL)
    assert device_fault(error) == ILLEGAL


def test_a_fault_becomes_an_error_of_ours_and_others_stay() -> None:
    with pytest.raises(DeviceLostError, match=f"^{ILLEGAL}$"), loss_told():
        raise torch.AcceleratorError(ILLEGAL)
    with pytest.raises(KeyError), loss_told():
        raise KeyError("other")


def test_a_rank_that_is_gone_is_a_loss_in_its_own_words() -> None:
    lost = RuntimeError("a collective broke off")
    lost.__cause__ = DeviceLostError("rank 1 of 2 was killed by SIGKILL")
    assert device_fault(lost) == "rank 1 of 2 was killed by SIGKILL"
