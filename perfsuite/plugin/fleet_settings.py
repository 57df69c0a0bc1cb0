"""Owns the reading of the flags that say where sessions are run: on which devices, and beside whom."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from perfsuite.core.errors import OptionError
from perfsuite.core.workload import ModelSpec
from perfsuite.fleet.demand import Wanted
from perfsuite.fleet.devices import ALL, seats
from perfsuite.fleet.isolation import TRUST, WAYS
from perfsuite.fleet.place import Seat
from perfsuite.plugin.reader import FLAGS, Reader

TEXTS, SWITCHES = ("against", "confirm_against", "arms"), ("selftest",)
"""What measures in turns on one device, or by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """The seats of this host that sessions are dealt to, or a cluster; neither: the host as a whole.

    `wanted` is what sessions need of a cluster at the address `cluster`.
    """

    seats: tuple[Seat, ...] = ()
    neighbours: str = WAYS[0]
    cluster: str = ""
    wanted: Wanted = field(default_factory=Wanted)

    @property
    def is_used(self) -> bool:
        return bool(self.seats or self.cluster)

    @property
    def kinds(self) -> list[tuple[str, int]]:
        """What sessions can notice of where they run: product, and how many cores; of a cluster its address."""
        return sorted({(seat.product, len(seat.cores)) for seat in self.seats}) or [(self.cluster, 0)]


def read_fleet(reader: Reader, models: Sequence[ModelSpec]) -> FleetSettings:
    """OptionError for devices that are not there, or are not alike, and for flags that do not go together."""
    neighbours, text, cluster = reader.choice("neighbours", WAYS), reader.text("devices"), reader.text("cluster")
    gpus_each = max(model.engine.tensor_parallel_size for model in models)
    if cluster:
        _check_company(FLAGS["cluster"].option, reader)
        if reader.text("device").startswith("cuda:"):
            raise OptionError(f"{FLAGS['device'].option}: on a cluster Ray chooses the GPU; write cuda")
        product = "" if text == ALL else text
        wanted = Wanted(device=reader.text("device"), gpus_each=gpus_each, product=product, trusted=neighbours == TRUST)
        return FleetSettings(neighbours=neighbours, cluster=cluster, wanted=wanted)
    if not text:
        return FleetSettings(neighbours=neighbours)
    _check_company(FLAGS["devices"].option, reader)
    found = seats(text, gpus_each=gpus_each)
    _check_device(reader.text("device"), "cuda" if found[0].gpus else "cpu")
    return FleetSettings(seats=found, neighbours=neighbours)


def _check_company(option: str, reader: Reader) -> None:
    others = [*(name for name in TEXTS if reader.text(name)), *(name for name in SWITCHES if reader.switch(name))]
    if others:
        raise OptionError(f"{option}: not together with {FLAGS[others[0]].option}, which has the machine for itself")
    if reader.text("interleave") == "on":
        raise OptionError(f"{option}: not together with --perf-interleave on; strategies take turns on one device only")


def _check_device(asked: str, kind: str) -> None:
    if asked not in ("auto", kind):
        raise OptionError(
            f"{FLAGS['device'].option}: {asked!r} is none of what {FLAGS['devices'].option} names; leave it out"
        )
