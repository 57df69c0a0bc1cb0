"""Owns what is done on a node of a cluster: saying what is installed and built in there, and running one session."""

import hashlib
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Any

import perfsuite
from perfsuite.core.codec import decode, encode
from perfsuite.fleet import cores
from perfsuite.fleet.gpus import BY_PLACE, ORDER, VISIBLE, Gpu, gpus
from perfsuite.fleet.place import Errand, LocalPlace, Outcome, Seat
from perfsuite.measure import nvml
from perfsuite.measure.environment import cpu_product, governor, installed_versions
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import SessionJob

CODE = "perfsuite's code"
OF_THE_RUN = ("python", "perfsuite", CODE)
"""What must be on a node as it is where the run is; everything else must be alike on all nodes."""
TRAVELLING = (
    "PERFSUITE_",
    "OMP_",
    "MKL_",
    "TORCH",
    "PYTORCH_",
    "NCCL_",
    "HF_HUB_OFFLINE",
    "TOKENIZERS_",
    "TRANSFORMERS_",
)
"""How environment variables begin that a session takes with it: what changes how code runs, not where things are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a node is: its GPUs' products, else its processor's, and by name whatever must be alike on all nodes."""

    products: tuple[str, ...]
    alike: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def product(self) -> str:
        return " and ".join(dict.fromkeys(self.products))

    def differences(self, other: "Facts") -> tuple[tuple[str, str, str], ...]:
        """(name, here, there) of everything in which two nodes differ."""
        names = sorted({*self.alike, *other.alike})
        pairs = [("product", self.product, other.product)]
        pairs += [(name, self.alike.get(name, "none"), other.alike.get(name, "none")) for name in names]
        return tuple(each for each in pairs if each[1] != each[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One session on a node: `gpus` of those that it was given, on cores of their own unless it has all of the node.

    `names` are those of nodes by their ids, `expected` is what every node must be like.
    """

    job: SessionJob
    is_retry: bool
    gpus: int
    has_all: bool
    expected: Facts
    names: Mapping[str, str]
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a session on a node ended; `differs` says why it was not begun there."""

    node: str
    end: SessionEnd | None = None
    notes: tuple[str, ...] = ()
    differs: str = ""


def software() -> dict[str, str]:
    """What is installed in this process's environment, and a digest of the code of perfsuite itself."""
    home = Path(perfsuite.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return {"python": platform.python_version(), CODE: digest.hexdigest()[:12], **installed_versions()}


def facts(wants_gpus: bool) -> Facts:
    """Of the node that this process is on."""
    found = gpus(of_the_host=True) if wants_gpus else ()
    alike = software()
    if not found:
        mode = governor()
        return Facts(products=(cpu_product(),), alike={**alike, **({"governor": mode} if mode else {})})
    settings = {key: text for gpu in found for key, text in gpu.settings.items()}
    driver = nvml.driver_version().partition(".")[0]
    return Facts(products=tuple(gpu.product for gpu in found), alike={**alike, **settings, "driver": driver})


def travelling() -> dict[str, str]:
    """The variables that a session takes with it from here."""
    return {name: value for name, value in os.environ.items() if name.startswith(TRAVELLING)}


def run_task(told: Any, node_id: str, tell: Callable[[Any], None]) -> Any:
    """Run an encoded Task here and give an encoded Answer; `tell` gets the node's name, then encoded Progress."""
    task = decode(Task, told, where="task")
    node = task.names.get(node_id, platform.node())
    tell(node)
    differing = task.expected.differences(facts(task.gpus > 0))
    if differing:
        return encode(Answer(node=node, differs=in_words("the others", node, differing[0])))
    place = LocalPlace(_seat(task), {"node": node})
    outcome = place.run(Errand(job=task.job, is_retry=task.is_retry), lambda each: tell(encode(each)), Event())
    return encode(_answer(node, outcome))


def _answer(node: str, outcome: Outcome) -> Answer:
    return Answer(node=node, end=outcome.end, notes=tuple(f"node {node}: {note}" for note in outcome.notes))


def in_words(one: str, other: str, difference: tuple[str, str, str]) -> str:
    """'node left and node right differ in torch: '2.11.0' and '2.13.0''."""
    name, here, there = difference
    return f"{one} and node {other} differ in {name}: {here!r} and {there!r}"


def _seat(task: Task) -> Seat:
    """The GPUs that were given to this process; Ray sets a number of threads, the session takes its run's."""
    free: dict[str, str | None] = {"OMP_NUM_THREADS": None}
    variables = {**free, **task.variables}
    if not task.gpus:
        return Seat(gpus=(), variables={**variables, VISIBLE: ""})
    given = gpus()[: task.gpus]
    return Seat(
        name=",".join(f"cuda:{gpu.visible}" for gpu in given),
        product=given[0].product if given else "",
        gpus=tuple(gpu.uuid for gpu in given),
        variables={
            **variables,
            VISIBLE: ",".join(gpu.visible for gpu in given),
            ORDER: BY_PLACE,
        },
        cores=() if task.has_all else _cores(given),
    )


def _cores(given: tuple[Gpu, ...]) -> tuple[int, ...]:
    """The share of the node's cores that belongs to these GPUs, however others are given out."""
    every = gpus(of_the_host=True)
    shares = cores.shares([gpu.node for gpu in every], cores.allowed(), most=cores.quota())
    mine = {gpu.uuid for gpu in given}
    return tuple(core for gpu, own in zip(every, shares, strict=True) if gpu.uuid in mine for core in own)
