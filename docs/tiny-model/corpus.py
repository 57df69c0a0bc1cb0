"""Owns the text that the embedded model learns from: the functions of CPython's standard library, one a document.

A document ends where its function ends, so that the model learns to end, too.
"""

import ast
import hashlib
import sysconfig
import textwrap
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from perfsuite.models.alphabet import BEGIN, END, encode

LEFT_OUT = frozenset(
    {"dist-packages", "encodings", "idlelib", "lib2to3", "site-packages", "test", "tests", "turtledemo"}
)
"""Folders without text worth learning: other people's packages, tests, tables of characters."""
HELD_OUT_SHARE = 20
"""One file in so many is never trained on."""


def library_files() -> list[Path]:
    """The standard library's modules in the running interpreter, sorted by their path inside it."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = (path.relative_to(root) for path in root.rglob("*.py"))
    return [root / path for path in sorted(found) if not LEFT_OUT.intersection(path.parts)]


def is_held_out(path: Path) -> bool:
    """Whether this file is kept from training, decided by its name alone."""
    return zlib.crc32(path.name.encode()) % HELD_OUT_SHARE == 0


def training_documents() -> list[str]:
    """The documents of all files that are not held out, each text once."""
    return _read(path for path in library_files() if not is_held_out(path))


def held_out_documents() -> list[str]:
    """The documents of the files that are held out, without those that also stand in other files."""
    known = set(training_documents())
    return [text for text in _read(filter(is_held_out, library_files())) if text not in known]


def documents(source: str) -> Iterator[str]:
    """The functions and methods of a module, decorators included, indented as if they stood alone."""
    lines = source.splitlines(keepends=True)
    for function in _functions(_parsed(source)):
        first = min(node.lineno for node in (function, *function.decorator_list))
        yield textwrap.dedent("".join(lines[first - 1 : function.end_lineno]))


def tokens(texts: Iterable[str]) -> np.ndarray:
    """All documents in a row, each between its begin and its end, as ids (int64)."""
    return np.array([token for text in texts for token in (BEGIN, *encode(text), END)], dtype=np.int64)


def shuffled(texts: list[str], seed: int) -> list[str]:
    """The same documents in an order drawn from a seed."""
    return [texts[index] for index in np.random.default_rng(seed).permutation(len(texts))]


def digest(texts: Iterable[str]) -> str:
    """16 hexadecimal digits that tell two texts to learn from apart."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _read(paths: Iterable[Path]) -> list[str]:
    sources = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    return list(dict.fromkeys(text for source in sources for text in documents(source)))


def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in other people's strings
        return ast.parse(source)


def _functions(scope: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in scope.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node)
