"""Owns the question whether an error means that this process has lost its device: by what words, and how cells say so.

After such an error every further call fails until the process ends. It knows the words, and imports no engine.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from perfsuite.core.errors import DeviceLostError
from perfsuite.core.matrix import Cell
from perfsuite.core.sample import Failure
from perfsuite.core.validity import LOST

LASTING = (
    "an illegal memory access was encountered",
    "device-side assert triggered",
    "unspecified launch failure",
    "misaligned address",
    "an illegal instruction was encountered",
    "hardware stack error",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "the launch timed out and was terminated",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "unknown error",
)
"""cudaGetErrorString of the errors that leave a process in an inconsistent state (CUDA Runtime API, cudaError)."""
SPEAKERS = ("CUDA error: ", "Triton Error [CUDA]: ", "CUDA driver error: ")
"""What stands before these words where torch (`AcceleratorError`, a RuntimeError before) and Triton raise them."""

NOT_RUN = "not run"


def device_fault(error: BaseException) -> str | None:
    """'CUDA error: an illegal memory access was encountered'; `None` if the process still has its device.

    What a strategy itself calls a loss, such as that of another rank, is one.
    """
    for each in _chain(error):
        if isinstance(each, DeviceLostError):
            return str(each)
        for line in str(each).splitlines():
            if any(speaker + words in line for speaker in SPEAKERS for words in LASTING):
                return line.strip()[:300]
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised over, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def loss_told() -> Iterator[None]:
    """An error after which the device answers no more becomes a DeviceLostError; any other stays what it is."""
    try:
        yield
    except Exception as error:
        fault = device_fault(error)
        if fault is None:
            raise
        raise DeviceLostError(fault) from error


def lost(fault: str, *, where: Cell | None = None, samples: int = 0) -> Failure:
    """The failure of a cell: the one at which the device was lost, or, with `where`, one that this cut short."""
    if where is None:
        return Failure(stage=LOST, message=f"the process lost its device: {fault}")
    begun = f"{NOT_RUN} to its end" if samples else NOT_RUN
    return Failure(stage=LOST, message=f"{begun}: the process lost its device at {where.id}: {fault}")
