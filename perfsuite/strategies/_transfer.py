"""Owns the way of token ids between host and device: one copy in and one out, by pinned memory where there is a GPU."""

from array import array

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Inlet:
    """Takes prompts up to where a device can fetch them from."""

    def __init__(self, device: torch.device) -> None:
        self._is_pinned = device.type == "cuda"
        self._buffers: dict[tuple[int, int], tuple[Tensor, npt.NDArray[np.int64]]] = {}

    def stage(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """The prompts, all of one length, as ids [B, L] (int64) on the host; the next call may overwrite them."""
        staged, view = self._buffer(len(prompts), len(prompts[0]))
        for row, prompt in zip(view, prompts, strict=True):
            row[...] = array("q", prompt)  # a tenth of the time that torch.tensor takes
        return staged

    def staged(self, rows: int, tokens: int) -> Tensor:
        """Where prompts of this shape are staged, now and later, [B, L] (int64)."""
        return self._buffer(rows, tokens)[0]

    @torch.inference_mode(mode=False)
    def _buffer(self, rows: int, tokens: int) -> tuple[Tensor, npt.NDArray[np.int64]]:
        shape = (rows, tokens)
        if shape not in self._buffers:
            buffer = torch.zeros(shape, dtype=torch.int64, pin_memory=self._is_pinned)
            self._buffers[shape] = (buffer, buffer.numpy())
        return self._buffers[shape]


class Landing:
    """Where a GPU puts the ids of a step, `column` [B, 1] (int64); to be read once its stream got so far."""

    @torch.inference_mode(mode=False)  # or it could be written to in that mode only
    def __init__(self, rows: int) -> None:
        self.column = torch.zeros((rows, 1), dtype=torch.int64, pin_memory=True)
        self._row = self.column.view(-1).numpy()

    def read(self) -> list[int]:
        """The ids, a row each."""
        ids: list[int] = self._row.tolist()
        return ids


class Outlet:
    """Brings a step's ids to the host as soon as the device has them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._landings: dict[int, Landing] = {}

    def fetch(self, ids: "Tensor | Landing") -> list[int]:
        """The ids [B, 1] of a step, a row each; waits for the device."""
        if isinstance(ids, Tensor):
            if self._device.type != "cuda":
                tokens: list[int] = ids.flatten().tolist()
                return tokens
            ids = self._sent(ids)
        torch.cuda.current_stream(self._device).synchronize()
        return ids.read()

    def _sent(self, ids: Tensor) -> Landing:
        rows = len(ids)
        if rows not in self._landings:
            self._landings[rows] = Landing(rows)
        self._landings[rows].column.copy_(ids, non_blocking=True)
        return self._landings[rows]
