"""Owns the cell: one strategy running one model under one workload."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from perfsuite.core.workload import ModelSpec, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is measured and stored as one: `strategy` is a registered name or a `module:Class` reference."""

    strategy: str
    model: ModelSpec
    workload: Workload

    @property
    def strategy_slug(self) -> str:
        """The strategy's name as part of a path: a reference keeps its class name only."""
        return self.strategy.rsplit(":", 1)[-1]

    @property
    def id(self) -> str:
        """'eager/tiny/p100-o32': the test's id and, below the device, the baseline's file name."""
        return f"{self.strategy_slug}/{self.model.slug}/{self.workload.slug}"


def expand(strategies: Iterable[str], models: Iterable[ModelSpec], workloads: Iterable[Workload]) -> tuple[Cell, ...]:
    """Every combination, cells that one open strategy can measure side by side."""
    return tuple(
        Cell(strategy=strategy, model=model, workload=workload)
        for strategy, model, workload in product(strategies, models, workloads)
    )
