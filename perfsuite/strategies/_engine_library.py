"""Owns where a model's engines come from: the folder that holds them, or a build that fills it.

A folder that the user named must fit and is never written to here; the default one is filled on first use.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from perfsuite.core.errors import OptionError
from perfsuite.core.units import format_bytes, format_seconds
from perfsuite.core.workload import ModelSpec
from perfsuite.disk import cache_folder, write_whole
from perfsuite.measure.clock import HostClock
from perfsuite.models.load import LoadedModel
from perfsuite.strategies._engine_build import Plan, Shape, build_decode, build_prefill, example
from perfsuite.strategies._engine_folder import (
    DECODE,
    KERNELS,
    PREFILL,
    EngineFile,
    Identity,
    Manifest,
    read_engine,
    read_manifest,
    require_same,
    shapes_in,
    write_engines,
)
from perfsuite.strategies._engine_passes import weights_of
from perfsuite.strategies._engine_run import EngineForward
from perfsuite.strategies._engine_runtime import Engines, Kernels, Part, Runtime
from perfsuite.strategies._engine_toolkit import Toolkit

FLAG = "--perf-engine-dir"


def identity_of(spec: ModelSpec, loaded: LoadedModel, toolkit: Toolkit, gpu: str, capability: str) -> Identity:
    """What engines of a loaded model are built for, on the GPU of this name and compute capability ('9.0')."""
    return Identity(
        model=spec.name,
        weights=loaded.facts.fingerprint,
        dtype=loaded.facts.dtype,
        gpu=gpu,
        capability=capability,
        tensorrt=str(toolkit),
        torch=torch.__version__,
    )


def build_command(spec: ModelSpec, dtype: str, shape: Shape, folder: Path) -> str:
    """What builds these engines again, ready to be pasted."""
    revision = f" --revision {spec.revision}" if spec.revision else ""
    dummy = " --load-format dummy" if spec.load_format == "dummy" else ""
    own_code = " --trust-remote-code" if spec.trust_remote_code else ""
    return (
        f"perfsuite build-engine --model {spec.name}{revision}{dummy}{own_code} --dtype {dtype} "
        f"--batch-size {shape.rows} --positions {shape.length} --output {folder}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """The engines of one shape at hand, and where the kernels go that were compiled of them."""

    manifest: Manifest
    kernels: Kernels
    folder: Path


class Library:
    """The engines of one loaded model. `named` is the folder that the user named; `None` is the default one."""

    def __init__(self, spec: ModelSpec, loaded: LoadedModel, toolkit: Toolkit, named: Path | None) -> None:
        device = loaded.device
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        self._spec = spec
        self._loaded = loaded
        self._toolkit = toolkit
        self._named = named
        self._identity = identity_of(spec, loaded, toolkit, torch.cuda.get_device_name(device), capability)
        self._folder = named or cache_folder("engines") / f"{spec.slug}-{self._identity.digest}"
        self._runtime = Runtime(toolkit)
        self._at_hand: list[_Loaded] = []
        self._ready: dict[Shape, Engines] = {}
        self.built = 0

    @property
    def engines(self) -> int:
        """How many engines were loaded."""
        return sum(len(each.manifest.engines) for each in self._at_hand)

    def fitting(self, rows: int, length: int) -> Shape:
        """The shape to use: of a named folder the smallest cache that is long enough, else just what is asked for."""
        asked = Shape(rows=rows, length=length)
        if self._named is None:
            return asked
        remedy = f"build them with: {self._command(asked)}"
        if not self._named.is_dir():
            raise OptionError(f"{FLAG}: there is no folder {str(self._named)!r}; {remedy}")
        held = shapes_in(self._named)
        if not held:
            raise OptionError(f"{FLAG}: {str(self._named)!r} holds no engines; {remedy}")
        fitting = [
            Shape(rows=there, length=positions) for there, positions in held if there == rows and positions >= length
        ]
        if not fitting:
            there = ", ".join(f"batch {each} with {positions} positions" for each, positions in held)
            raise OptionError(
                f"{FLAG}: {str(self._named)!r} has engines for {there}; batch {rows} with {length} is needed; {remedy}"
            )
        return fitting[0]

    def missing(self, shapes: Iterable[Shape]) -> list[Shape]:
        """Those that are to be built before they can be loaded."""
        return [shape for shape in shapes if self._named is None and not (self._folder / shape.slug).is_dir()]

    def build(self, shape: Shape) -> str:
        """Build the engines of a shape and keep them; a line that says what was built."""
        manifest, data = build_engines(self._loaded.model, shape, self._toolkit, self._identity)
        folder = self._folder / shape.slug
        write_engines(folder, manifest, data)
        self.built += len(data)
        sizes = ", ".join(f"{name} {format_bytes(len(content))}" for name, content in data.items())
        nodes = sum(file.nodes for file in manifest.engines)
        seconds = format_seconds(manifest.build_ns)
        return f"built {folder}: {sizes}; {nodes} nodes inside, none left to PyTorch; {seconds}"

    def forward(self, rows: int, length: int) -> EngineForward:
        """The model's passes through engines; OptionError if they do not fit, or are damaged."""
        shape = self.fitting(rows, length)
        if shape not in self._ready:
            for absent in self.missing([shape]):
                self.build(absent)
            self.load(shape)
        engines = self._ready.pop(shape)  # whoever runs them keeps them
        model = self._loaded.model
        return EngineForward(engines, shape.length, example(model, shape), weights_of(model))

    def load(self, shape: Shape) -> None:
        """Have the engines of a shape deserialised; OptionError if they do not fit, or are damaged."""
        folder, remedy = self._folder / shape.slug, f"build them again with: {self._command(shape)}"
        manifest = read_manifest(folder, remedy=remedy)
        require_same(manifest, self._identity, folder, remedy=remedy)
        kept = folder / KERNELS
        kernels = Kernels(self._runtime, kept.read_bytes() if kept.is_file() else None)
        parts = []
        for name in (PREFILL, DECODE):
            file = manifest.engine(name)
            engine = self._runtime.engine(read_engine(folder, file, remedy=remedy), str(folder / name))
            parts.append(Part(engine=engine, inputs=file.inputs, outputs=file.outputs))
        self._at_hand.append(_Loaded(manifest=manifest, kernels=kernels, folder=folder))
        self._ready[shape] = Engines(parts[0], parts[1], kernels, self._loaded.device)

    @contextmanager
    def specialised(self) -> Iterator[None]:
        """Passes that are made ready in here get kernels for their very shape, which takes time once."""
        for each in self._at_hand:
            each.kernels.specialise = True
        try:
            yield
        finally:
            for each in self._at_hand:
                each.kernels.specialise = False

    def keep_kernels(self) -> None:
        """Put what the runtime compiled beside its engines, where they may be written to."""
        for each in self._at_hand:
            kept = each.kernels.kept()
            file = each.folder / KERNELS
            if kept and (not file.is_file() or file.read_bytes() != kept) and os.access(each.folder, os.W_OK):
                write_whole(file, kept)

    def notes(self) -> tuple[str, ...]:
        """Versions, where the engines came from, what they hold, and how long building them took once."""
        files = [file for each in self._at_hand for file in each.manifest.engines]
        seconds = format_seconds(sum(each.manifest.build_ns for each in self._at_hand))
        return (
            f"engines: {self._toolkit}",
            f"engine cache: {'cold' if self.built else 'warm'}, built in {seconds}",
            f"nodes in engines: {sum(file.nodes for file in files)}, left to PyTorch: none",
        )

    def _command(self, shape: Shape) -> str:
        return build_command(self._spec, self._loaded.facts.dtype, shape, self._named or self._folder)


def build_engines(
    model: Any, shape: Shape, toolkit: Toolkit, identity: Identity, *, target: str | None = None
) -> tuple[Manifest, dict[str, bytes]]:
    """Both engines of a shape and what to write beside them; errors as `build_prefill`."""
    clock, plans, times = HostClock(), {}, {}
    for name, build in ((PREFILL, build_prefill), (DECODE, build_decode)):
        began = clock.now_ns()
        plans[name] = build(model, shape, toolkit, target=target)
        times[name] = clock.now_ns() - began
    files = tuple(_file(name, plan, times[name]) for name, plan in plans.items())
    manifest = Manifest(identity=identity, rows=shape.rows, length=shape.length, engines=files)
    return manifest, {name: plan.data for name, plan in plans.items()}


def _file(name: str, plan: Plan, build_ns: int) -> EngineFile:
    return EngineFile(
        name=name,
        sha256=hashlib.sha256(plan.data).hexdigest(),
        inputs=plan.inputs,
        outputs=plan.outputs,
        nodes=plan.nodes,
        build_ns=build_ns,
    )
