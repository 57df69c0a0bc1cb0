"""Owns several ranks in one process: threads that meet at every sum, so that split models need no process group."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from perfsuite.models import split as of_model
from perfsuite.models.ranks import Seat

PATIENCE_S = 60


class Meeting:
    """Stands in for the process group; the same order on every rank gives the same bits on every rank."""

    def __init__(self, monkeypatch, ranks):
        self.ranks, self.sums, self.gatherings = ranks, 0, 0
        self._barrier = threading.Barrier(ranks, timeout=PATIENCE_S)
        self._brought = [None] * ranks
        self._mine = threading.local()
        monkeypatch.setattr(of_model, "add_up", self._add_up)
        monkeypatch.setattr(of_model, "put_together", self._put_together)

    def seats(self):
        return [Seat(rank=rank, size=self.ranks) for rank in range(self.ranks)]

    def run(self, works):
        """What each rank's work gives, all at once."""

        def run(rank, work):
            self._mine.rank = rank
            try:
                with torch.no_grad():
                    return work()
            except BaseException:
                self._barrier.abort()
                raise

        with ThreadPoolExecutor(self.ranks) as threads:
            return list(threads.map(run, range(self.ranks), works))

    def _all(self, mine):
        rank = self._mine.rank
        self._brought[rank] = mine.clone()
        self._barrier.wait()
        brought = list(self._brought)
        self._barrier.wait()
        return brought

    def _add_up(self, partial):
        partial.copy_(sum(self._all(partial)))
        self.sums += self._mine.rank == 0

    def _put_together(self, part):
        self.gatherings += self._mine.rank == 0
        return torch.cat(self._all(part), dim=-1)
