"""Owns the reading of the flags that say where sessions are run: on which devices, and beside whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from perfsuite.core.errors import OptionError
from perfsuite.core.workload import ModelSpec
from perfsuite.fleet.devices import seats
from perfsuite.fleet.isolation import WAYS
from perfsuite.fleet.place import Seat
from perfsuite.plugin.reader import FLAGS, Reader

TEXTS, SWITCHES = ("against", "confirm_against", "arms"), ("selftest",)
"""What measures in turns on one device, or by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """The seats of this host that sessions are dealt to, none: the host as a whole."""

    seats: tuple[Seat, ...] = ()
    neighbours: str = WAYS[0]

    @property
    def is_used(self) -> bool:
        return bool(self.seats)

    @property
    def kinds(self) -> list[tuple[str, int]]:
        """What sessions can notice of the seats, whichever they are: product, and how many cores."""
        return sorted({(seat.product, len(seat.cores)) for seat in self.seats})


def read_fleet(reader: Reader, models: Sequence[ModelSpec]) -> FleetSettings:
    """OptionError for devices that are not there, or are not alike, and for flags that do not go together."""
    neighbours, text = reader.choice("neighbours", WAYS), reader.text("devices")
    if not text:
        return FleetSettings(neighbours=neighbours)
    _check_company(FLAGS["devices"].option, reader)
    found = seats(text, gpus_each=max(model.engine.tensor_parallel_size for model in models))
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
