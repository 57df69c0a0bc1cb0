"""Owns engines on disk: a folder for each shape, its manifest, and what is said when it does not fit.

A folder appears whole or not at all. It knows neither torch nor TensorRT: engines are bytes here.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from perfsuite.core import jsontext
from perfsuite.core.codec import CodecError, decode, encode
from perfsuite.core.errors import OptionError
from perfsuite.disk import explain, write_whole

PREFILL, DECODE = "prefill.engine", "decode.engine"
MANIFEST = "manifest.json"
KERNELS = "kernels.cache"
"""What a runtime compiled of the engines for this very GPU; it may be missing, and comes when the engines have run."""
REVISION = 1
"""Goes up when perfsuite asks something else of its engines, so that older ones are built again."""

_SLUG = re.compile(r"b(\d+)-c(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What engines are built for; all of it must agree where they are run."""

    model: str
    weights: str
    dtype: str
    gpu: str
    capability: str
    tensorrt: str
    torch: str
    revision: int = REVISION

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of everything in it."""
        return hashlib.sha256(json.dumps(encode(self), sort_keys=True).encode()).hexdigest()[:12]


_WORDS: Mapping[str, str] = {
    "model": "model",
    "weights": "weights with the digest",
    "dtype": "dtype",
    "gpu": "GPU",
    "capability": "compute capability",
    "tensorrt": "version",
    "torch": "torch",
    "revision": "revision of perfsuite's engines",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFile:
    """One serialised engine: its file, the file's digest, its inputs and outputs by name, in the order of a pass.

    `nodes` is how many operations of the exported graph it holds: all there were. `build_ns` is how long it took.
    """

    name: str
    sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: int
    build_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a folder of engines says of itself."""

    identity: Identity
    rows: int
    length: int
    engines: tuple[EngineFile, ...]

    def engine(self, name: str) -> EngineFile:
        return next(engine for engine in self.engines if engine.name == name)

    @property
    def build_ns(self) -> int:
        return sum(engine.build_ns for engine in self.engines)


def shapes_in(folder: Path) -> list[tuple[int, int]]:
    """Rows and positions of the engines that a folder holds, the smallest first."""
    found = (_SLUG.fullmatch(entry.name) for entry in folder.iterdir() if entry.is_dir())
    return sorted((int(match[1]), int(match[2])) for match in found if match)


def write_engines(folder: Path, manifest: Manifest, data: Mapping[str, bytes]) -> None:
    """Put the manifest and the engines at `folder` in one step, in place of what was there.

    OptionError if it cannot be written; what a killed build leaves behind has a name that nobody reads.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".tmp", dir=folder.parent))
        try:
            for name, content in data.items():
                write_whole(temporary / name, content)
            write_whole(temporary / MANIFEST, json.dumps(encode(manifest), indent=1) + "\n")
            _swap(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise OptionError(
            f"engines cannot be written to {str(folder.parent)!r}: {explain(error)}; give another --perf-engine-dir"
        ) from error


def _swap(temporary: Path, folder: Path) -> None:
    old = temporary.with_suffix(".old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)


def read_manifest(folder: Path, *, remedy: str) -> Manifest:
    """The manifest of a folder; OptionError, ending in `remedy`, if there is none or it is broken."""
    file = folder / MANIFEST
    if not file.is_file():
        raise OptionError(f"{str(folder)!r} holds no engines: it has no {MANIFEST}; {remedy}")
    try:
        return decode(Manifest, jsontext.loads(file.read_text(encoding="utf-8")), where=MANIFEST)
    except (OSError, ValueError, CodecError) as error:
        raise OptionError(f"{str(file)!r} cannot be read ({error}); {remedy}") from error


def require_same(manifest: Manifest, here: Identity, folder: Path, *, remedy: str) -> None:
    """OptionError with what differs first, ending in `remedy`, if the engines were built for anything else."""
    for field in fields(Identity):
        there, ours = getattr(manifest.identity, field.name), getattr(here, field.name)
        if there != ours:
            raise OptionError(
                f"the engines in {str(folder)!r} were built for {_WORDS[field.name]} {there!r}, here it is {ours!r}; "
                f"{remedy}"
            )


def read_engine(folder: Path, engine: EngineFile, *, remedy: str) -> bytes:
    """An engine's bytes; OptionError, ending in `remedy`, if they are not those that were written."""
    try:
        content = (folder / engine.name).read_bytes()
    except OSError as error:
        raise OptionError(f"{str(folder / engine.name)!r} cannot be read ({explain(error)}); {remedy}") from error
    if hashlib.sha256(content).hexdigest() != engine.sha256:
        raise OptionError(f"{str(folder / engine.name)!r} is damaged (its digest is not the manifest's); {remedy}")
    return content
