"""Owns how the cells of a run are dealt to several machines: by names alone, so that a cell stays where it is.

Other cells that come or go move none. The shard is the sum of the SHA-256 numbers of a model's and a workload's name,
modulo the number of shards. Strategies of one model and workload stay together, so that they can be compared.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell

SALT = "35275 "
"""Stands before every name: with this one the default prompt lengths spread evenly over 2, 3, 4, 5, 6 and 8 shards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Number `index`, counted from 1, of `count` shards."""

    index: int
    count: int

    @property
    def label(self) -> str:
        """'2/3'."""
        return f"{self.index}/{self.count}"

    def holds(self, names: tuple[str, ...]) -> bool:
        """Whether what has these names belongs to this shard."""
        return place_of(names, self.count) == self.index


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What one shard of a run was: of all `cells` of the run, ids in its order, those that are its `own`.

    What must agree between shards: `code` is the commit with a digest of what differs from it, `versions` are those of
    the packages that matter to latency, `run` is how the CI calls what all shards belong to, empty where none says.
    """

    index: int
    count: int
    cells: tuple[str, ...]
    own: tuple[str, ...]
    code: str
    run: str
    versions: Mapping[str, str]

    @property
    def label(self) -> str:
        """'2/3'."""
        return f"{self.index}/{self.count}"


def place_of(names: tuple[str, ...], count: int) -> int:
    """The shard, from 1 to `count`, of what has these names."""
    digests = (hashlib.sha256(f"{SALT}{name}".encode()).digest() for name in names)
    return sum(int.from_bytes(digest, "big") for digest in digests) % count + 1


def names_of(cell: Cell) -> tuple[str, ...]:
    """What a cell is dealt by: model and workload."""
    return cell.model.slug, cell.workload.slug


def parse_shard(text: str, *, where: str) -> Shard:
    """The shard that '2/3' names; OptionError for anything else."""
    found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise OptionError(f"{where}: {text!r} is not a shard; write its number and how many there are, '1/3' to '3/3'")
    return Shard(index=int(found[1]), count=int(found[2]))
