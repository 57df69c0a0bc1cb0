"""Owns what --perf-devices names: GPUs of this host, or groups of its cores, as seats for one session each."""

import os
import re
from collections.abc import Sequence

from perfsuite.core.errors import OptionError
from perfsuite.fleet import cores
from perfsuite.fleet.gpus import BY_PLACE, ORDER, VISIBLE, Gpu, gpus
from perfsuite.fleet.place import Seat
from perfsuite.measure.environment import cpu_product

OPTION = "--perf-devices"
ALL = "all"
HOW = "write GPUs ('0,1'), 'all', or groups of cores ('cpu:0,cpu:1')"


def seats(text: str, *, gpus_each: int = 1) -> tuple[Seat, ...]:
    """The seats that `text` names; a session that needs several GPUs gets those that follow each other.

    OptionError for what is not there, for GPUs of two products or settings, and for more groups than cores.
    """
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise OptionError(f"{OPTION}: {text!r} names nothing between two commas; {HOW}")
    if len(set(names)) != len(names):
        raise OptionError(f"{OPTION}: {text!r} names a device twice")
    if all(re.fullmatch(r"cpu:\d+", name) for name in names):
        return _groups_of_cores(names)
    if names != [ALL] and not all(re.fullmatch(r"(cuda:)?\d+", name) for name in names):
        raise OptionError(f"{OPTION}: {text!r} is not a list of devices; {HOW}")
    return _of_gpus(_chosen(names), gpus_each)


def _groups_of_cores(names: Sequence[str]) -> tuple[Seat, ...]:
    """So many groups of whole cores; their sessions see no GPU."""
    found = cores.shares([None] * len(names), cores.allowed(), most=cores.quota())
    if not all(found):
        raise OptionError(f"{OPTION}: {len(names)} groups of cores, but {_room(len(names))}; name fewer")
    return tuple(
        Seat(name=name, product=cpu_product(), gpus=(), variables={VISIBLE: ""}, cores=own)
        for name, own in zip(names, found, strict=True)
    )


def _room(wanted: int) -> str:
    """What there are too few of for so many shares."""
    most = cores.quota()
    if most is not None and most < wanted:
        return f"the control group of this process may keep {most} processors busy at a time"
    return f"this process may use {len(cores.allowed())} processors"


def notes(given: Sequence[Seat]) -> tuple[str, ...]:
    """Lines on what the user of these seats should know."""
    found = []
    if len(given) > 1 and not all(seat.cores for seat in given):
        found.append(
            f"{OPTION}: {len(given)} sessions at a time have no cores of their own: {_room(len(given))}; "
            "they may hold each other back"
        )
    order = os.environ.get(ORDER, BY_PLACE)
    if order != BY_PLACE and any(seat.gpus for seat in given):
        found.append(
            f"{OPTION}: {ORDER}={order} is not followed: GPUs are counted by {BY_PLACE}, as nvidia-smi does, "
            f"in {VISIBLE} as well"
        )
    return tuple(found)


def _chosen(names: Sequence[str]) -> tuple[Gpu, ...]:
    there = {gpu.index: gpu for gpu in gpus()}
    if not there:
        raise OptionError(
            f"{OPTION}: no NVIDIA GPU is visible here; check nvidia-smi, or name groups of cores: cpu:0,cpu:1"
        )
    wanted = sorted(there) if names == [ALL] else [int(name.removeprefix("cuda:")) for name in names]
    missing = next((index for index in wanted if index not in there), None)
    if missing is not None:
        raise OptionError(f"{OPTION}: there is no GPU {missing}; the last one that is visible is {max(there)}")
    chosen = tuple(there[index] for index in wanted)
    _check_alike(chosen)
    return chosen


def _check_alike(chosen: Sequence[Gpu]) -> None:
    first = chosen[0]
    for gpu in chosen[1:]:
        pairs = [("product", first.product, gpu.product)]
        pairs += [(key, first.settings.get(key, ""), gpu.settings.get(key, "")) for key in first.settings]
        for what, one, other in pairs:
            if one != other:
                raise OptionError(
                    f"{OPTION}: GPU {first.index} and GPU {gpu.index} differ in {what}: {one!r} and {other!r}; "
                    "name devices that are alike"
                )


def _of_gpus(chosen: Sequence[Gpu], each: int) -> tuple[Seat, ...]:
    if len(chosen) % each:
        raise OptionError(f"{OPTION}: sessions need {each} GPUs each, and {len(chosen)} are named; name a multiple")
    groups = [tuple(chosen[at : at + each]) for at in range(0, len(chosen), each)]
    own = cores.shares([group[0].node for group in groups], cores.allowed(), most=cores.quota())
    return tuple(
        Seat(
            name=",".join(f"cuda:{gpu.index}" for gpu in group),
            product=group[0].product,
            gpus=tuple(gpu.uuid for gpu in group),
            variables={VISIBLE: ",".join(gpu.visible for gpu in group), ORDER: BY_PLACE},
            cores=share,
        )
        for group, share in zip(groups, own, strict=True)
    )
