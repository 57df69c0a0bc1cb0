"""A folder that the user named must fit what is asked for; the default one is filled."""

import pytest
import torch

from perfsuite.core.errors import OptionError
from perfsuite.core.workload import ModelSpec
from perfsuite.models.load import load
from perfsuite.strategies import _engine_library
from perfsuite.strategies._engine_build import Plan, Shape
from perfsuite.strategies._engine_library import Library
from perfsuite.strategies._engine_toolkit import Toolkit

TINY = ModelSpec(name="tiny", device="cpu")
TOOLKIT = Toolkit(name="TensorRT-RTX", version="1.4.0.76", bridge="2.11.0", runtime=None)
SHAPE = Shape(rows=1, length=64)
REMEDY = "perfsuite build-engine --model tiny --dtype float32 --batch-size 1 --positions 64 --output "


@pytest.fixture(scope="module")
def loaded():
    return load(TINY)


@pytest.fixture
def library_of(loaded, monkeypatch):
    """A library on a machine that claims to have a GPU, whose builder only writes what it was asked for."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(_engine_library, "Runtime", lambda toolkit: None)
    for name in ("build_prefill", "build_decode"):
        monkeypatch.setattr(_engine_library, name, written_down(name))

    def make(named=None, toolkit=TOOLKIT):
        return Library(TINY, loaded, toolkit, named)

    return make


def written_down(name):
    def build(model, shape, toolkit, *, target):
        return Plan(data=f"{name} {shape.slug}".encode(), inputs=("ids",), outputs=("output0",), nodes=7)

    return build


def test_in_the_default_folder_what_is_missing_is_built_once(library_of, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = library_of()
    assert library.missing([SHAPE]) == [SHAPE]
    line = library.build(SHAPE)
    assert "b1-c64: prefill.engine 0 KiB, decode.engine 0 KiB; 14 nodes inside, none left to PyTorch; " in line
    assert library.missing([SHAPE]) == library_of().missing([SHAPE]) == []
    (folder,) = (tmp_path / "perfsuite" / "engines").iterdir()
    assert folder.name.startswith("tiny-")


def test_in_the_default_folder_another_version_has_a_place_of_its_own(library_of, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library_of().build(SHAPE)
    newer = Toolkit(name="TensorRT-RTX", version="1.5.0", bridge="2.12.0", runtime=None)
    assert library_of(toolkit=newer).missing([SHAPE]) == [SHAPE]


def test_a_named_folder_that_is_not_there_is_refused(library_of, tmp_path):
    with pytest.raises(OptionError) as caught:
        library_of(tmp_path / "none").fitting(1, 64)
    assert str(caught.value) == (
        f"--perf-engine-dir: there is no folder '{tmp_path}/none'; build them with: {REMEDY}{tmp_path}/none"
    )


def test_a_named_folder_that_is_empty_is_refused(library_of, tmp_path):
    with pytest.raises(OptionError) as caught:
        library_of(tmp_path).fitting(1, 64)
    assert str(caught.value) == (
        f"--perf-engine-dir: '{tmp_path}' holds no engines; build them with: {REMEDY}{tmp_path}"
    )


def test_a_named_folder_without_the_shape_is_refused_with_what_it_has(library_of, tmp_path):
    library_of(tmp_path).build(Shape(rows=4, length=128))
    for rows, length in ((1, 64), (4, 192)):
        with pytest.raises(
            OptionError, match=f"has engines for batch 4 with 128 positions; batch {rows} with {length} "
        ):
            library_of(tmp_path).fitting(rows, length)


def test_of_a_named_folder_the_smallest_cache_that_is_long_enough_is_taken(library_of, tmp_path):
    library = library_of(tmp_path)
    for length in (64, 448, 2048):
        library.build(Shape(rows=1, length=length))
    assert library.fitting(1, 128) == Shape(rows=1, length=448)
    assert library.missing([SHAPE]) == []  # nothing is ever built into it by a run


def test_engines_of_another_machine_are_refused_before_they_are_deserialised(library_of, tmp_path, monkeypatch):
    library_of(tmp_path).build(SHAPE)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    with pytest.raises(OptionError) as caught:
        library_of(tmp_path).forward(1, 64)
    assert str(caught.value) == (
        f"the engines in '{tmp_path}/b1-c64' were built for GPU 'NVIDIA H100 80GB HBM3', here it is 'NVIDIA A100'; "
        f"build them again with: {REMEDY}{tmp_path}"
    )


def test_the_command_that_builds_again_says_all_that_the_model_was_loaded_with(tmp_path):
    spec = ModelSpec(name="./my", revision="abc", load_format="dummy", trust_remote_code=True)
    assert _engine_library.build_command(spec, "bfloat16", Shape(rows=4, length=128), tmp_path) == (
        "perfsuite build-engine --model ./my --revision abc --load-format dummy --trust-remote-code --dtype bfloat16 "
        f"--batch-size 4 --positions 128 --output {tmp_path}"
    )
