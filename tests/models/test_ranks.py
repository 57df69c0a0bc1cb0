"""Every rank has a device of its own, of one product; what cannot be is refused in one line."""

import pytest
import torch

from perfsuite.core.errors import OptionError, StrategyUnavailableError
from perfsuite.core.workload import ModelSpec
from perfsuite.models import ranks


def test_more_ranks_than_gpus_is_refused(monkeypatch):
    gpus(monkeypatch, "NVIDIA H200", "NVIDIA H200")
    with pytest.raises(OptionError, match="4 ranks from 'cuda:0' on need 4 GPUs, torch sees 2 there"):
        ranks.require_devices("cuda", 4)
    with pytest.raises(OptionError, match="2 ranks from 'cuda:1' on need 2 GPUs, torch sees 1 there"):
        ranks.require_devices("cuda:1", 2)


def test_gpus_of_two_products_are_refused(monkeypatch):
    gpus(monkeypatch, "NVIDIA H200", "NVIDIA H100")
    with pytest.raises(StrategyUnavailableError, match="different products \\(NVIDIA H200, NVIDIA H100\\)"):
        ranks.require_devices("cuda", 2)


def test_each_rank_has_the_gpu_after_that_of_the_rank_before(monkeypatch):
    gpus(monkeypatch, *["NVIDIA H200"] * 4)
    ranks.require_devices("cuda:2", 2)
    seats = [ranks.Seat(rank=rank, size=2) for rank in range(2)]
    assert [seat.of(ModelSpec(name="tiny", device="cuda:2")).device for seat in seats] == ["cuda:2", "cuda:3"]


def gpus(monkeypatch, *names):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: names[index])
