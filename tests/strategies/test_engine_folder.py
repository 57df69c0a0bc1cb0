"""Engines on disk appear whole or not at all, and are refused in one line where they do not fit."""

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.strategies._engine_folder import (
    DECODE,
    MANIFEST,
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

REMEDY = "build them again with: perfsuite build-engine"
HERE = Identity(
    model="llama-2-7b",
    weights="0123456789abcdef",
    dtype="float16",
    gpu="NVIDIA H100 80GB HBM3",
    capability="9.0",
    tensorrt="TensorRT-RTX 1.4.0.76, torch_tensorrt 2.11.0",
    torch="2.11.0",
)
DATA = {PREFILL: b"prefill" * 100, DECODE: b"decode" * 100}


def manifest(identity=HERE, data=DATA):
    files = tuple(
        EngineFile(
            name=name,
            sha256=hashlib.sha256(content).hexdigest(),
            inputs=("ids", "positions"),
            outputs=("output0",),
            nodes=322,
            build_ns=5 * 10**9,
        )
        for name, content in data.items()
    )
    return Manifest(identity=identity, rows=1, length=448, engines=files)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "engines" / "b1-c448"
    write_engines(path, manifest(), DATA)
    return path


def test_what_was_written_is_read_back(folder):
    found = read_manifest(folder, remedy=REMEDY)
    assert found == manifest()
    assert found.build_ns == 10 * 10**9
    for name, content in DATA.items():
        assert read_engine(folder, found.engine(name), remedy=REMEDY) == content
    require_same(found, HERE, folder, remedy=REMEDY)
    assert shapes_in(folder.parent) == [(1, 448)]


def test_writing_again_replaces_what_was_there_and_leaves_nothing_beside_it(folder):
    other = {PREFILL: b"new", DECODE: b"newer"}
    write_engines(folder, manifest(data=other), other)
    assert (folder / PREFILL).read_bytes() == b"new"
    assert [path.name for path in folder.parent.iterdir()] == ["b1-c448"]


@pytest.mark.parametrize(
    ("field", "there", "words"),
    [
        ("model", "tinyllama-1.1b", "were built for model 'tinyllama-1.1b', here it is 'llama-2-7b'; "),
        ("weights", "ffff", "were built for weights with the digest 'ffff', here it is '0123456789abcdef'; "),
        ("dtype", "bfloat16", "were built for dtype 'bfloat16', here it is 'float16'; "),
        ("gpu", "NVIDIA A100", "were built for GPU 'NVIDIA A100', here it is 'NVIDIA H100 80GB HBM3'; "),
        ("capability", "8.0", "were built for compute capability '8.0', here it is '9.0'; "),
        ("tensorrt", "TensorRT 10.14", "were built for version 'TensorRT 10.14', here it is 'TensorRT-RTX 1.4.0.76"),
        ("torch", "2.12.0", "were built for torch '2.12.0', here it is '2.11.0'; "),
        ("revision", 0, "were built for revision of perfsuite's engines 0, here it is 1; "),
    ],
)
def test_engines_for_anything_else_are_refused_with_what_differs(folder, field, there, words):
    other = replace(HERE, **{field: there})
    with pytest.raises(OptionError) as caught:
        require_same(manifest(identity=other), HERE, folder, remedy=REMEDY)
    assert words in str(caught.value)
    assert str(caught.value).endswith(REMEDY)
    assert "\n" not in str(caught.value)
    assert other.digest != HERE.digest  # so that in the default folder the two never meet


def read(folder):
    found = read_manifest(folder, remedy=REMEDY)
    return [read_engine(folder, engine, remedy=REMEDY) for engine in found.engines]


def refused(folder):
    with pytest.raises(OptionError) as caught:
        read(folder)
    assert str(caught.value).endswith(REMEDY)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_a_manifest_holds_no_engines(folder):
    (folder / MANIFEST).unlink()
    assert "holds no engines: it has no manifest.json; " in refused(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": 1}', json.dumps({"rows": "one"})])
def test_a_broken_manifest_is_refused(folder, text):
    (folder / MANIFEST).write_text(text)
    assert "manifest.json' cannot be read (" in refused(folder)


def test_an_engine_that_is_missing_is_refused(folder):
    (folder / DECODE).unlink()
    assert "decode.engine' cannot be read (No such file or directory); " in refused(folder)


def test_an_engine_that_was_cut_short_is_refused(folder):
    (folder / DECODE).write_bytes(DATA[DECODE][:-1])
    assert "decode.engine' is damaged (its digest is not the manifest's); " in refused(folder)


def test_a_build_that_is_killed_while_it_writes_leaves_nothing_that_looks_like_engines(tmp_path):
    code = (
        "import os, signal, perfsuite.strategies._engine_folder as folder\n"
        "from pathlib import Path\n"
        "from tests.strategies.test_engine_folder import DATA, manifest\n"
        "write = folder.write_whole\n"
        "def killed_at_the_manifest(path, content):\n"
        "    if path.name == folder.MANIFEST: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(path, content)\n"
        "folder.write_whole = killed_at_the_manifest\n"
        f"folder.write_engines(Path({str(tmp_path / 'b1-c448')!r}), manifest(), DATA)\n"
    )
    home = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=home, check=False)
    assert result.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1  # the temporary folder did hold engines
    assert shapes_in(tmp_path) == []
    write_engines(tmp_path / "b1-c448", manifest(), DATA)
    assert shapes_in(tmp_path) == [(1, 448)]


def test_a_build_that_fails_while_it_writes_leaves_what_was_there(folder):
    with pytest.raises(TypeError):
        write_engines(folder, manifest(), {PREFILL: b"new", DECODE: 0})
    assert read_engine(folder, manifest().engine(PREFILL), remedy=REMEDY) == DATA[PREFILL]
    assert [path.name for path in folder.parent.iterdir()] == ["b1-c448"]


def test_where_nothing_can_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OptionError, match=r"^engines cannot be written to '.*file': .*; give another --perf-engine-dir"
    ):
        write_engines(tmp_path / "file" / "b1-c448", manifest(), DATA)
