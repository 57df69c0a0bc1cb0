"""Owns the digest that tells two models apart: their architecture and where their weights come from."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from perfsuite.core.workload import ModelSpec
from perfsuite.models.presets import folder_of, packaged_weights, preset

_DIGITS = 16
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_NOT_ARCHITECTURE = frozenset(
    {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "use_cache"}
    | {"bos_token_id", "eos_token_id", "pad_token_id"}
)


def fingerprint(spec: ModelSpec, *, commit: str | None, weights: str | None) -> str:
    """16 hexadecimal digits of the architecture and the weights' origin; the dtype is not part of it.

    `commit` is what the hub resolved the revision to, `weights` the origin when they are not the model's own. The
    weights of a preset are known by their file's content, those of a folder by their files' names and sizes, those of a
    Hugging Face id by name and commit.
    """
    folder = folder_of(spec.name)
    published = {"id": spec.name, "commit": commit or spec.revision}
    architecture = _architecture(spec, folder) or published
    origin = weights or _packaged(spec) or (_weight_files(folder) if folder.is_dir() else published)
    text = json.dumps([architecture, origin], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _architecture(spec: ModelSpec, folder: Path) -> Mapping[str, object] | None:
    """The config as written, not as a version of transformers completes it; `None` for a Hugging Face id."""
    found = preset(spec.name)
    if found:
        written = dict(found.config)
    elif folder.is_dir():
        written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    else:
        return None
    return {key: value for key, value in written.items() if key not in _NOT_ARCHITECTURE}


def _packaged(spec: ModelSpec) -> str | None:
    """The digest of the weights that come with the package; `None` for every model that has none there."""
    file = packaged_weights(spec)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file else None


def _weight_files(folder: Path) -> list[tuple[str, int]]:
    return sorted((path.name, path.stat().st_size) for path in folder.iterdir() if path.suffix in _WEIGHT_SUFFIXES)
