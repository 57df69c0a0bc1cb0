"""The command `perfsuite build-engine`: what it builds, its one-line errors and its exit codes."""

from pathlib import Path

import pytest
import torch

from perfsuite import cli
from perfsuite.cli.parser import UNUSABLE
from perfsuite.core.errors import DeviceMemoryError
from perfsuite.core.workload import ModelSpec
from perfsuite.strategies import tensorrt

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="asks what is said where there is no GPU")


def error(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    return line


@no_gpu
def test_without_a_gpu_nothing_is_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build-engine", "--model", "tiny", "--output", str(tmp_path / "engines")]) == UNUSABLE
    assert error(capsys).startswith("perfsuite build-engine: tensorrt needs an NVIDIA GPU; ")
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch-size", "1,two"], "--batch-size: '1,two' is not a list of lengths; "),
        (["--positions", "0"], "argument --positions: '0' is not a whole number from 1 up"),
        (["--dtype", "float8"], "dtype: 'float8' is not allowed; it must be one of auto, float32, float16, bfloat16"),
        (["--device", "tpu"], "device: 'tpu' is not allowed; "),
        (["--load-format", "gguf"], "load format: 'gguf' is not allowed; "),
        (["--device", "cpu"], "tensorrt needs an NVIDIA GPU; "),
    ],
)
def test_what_cannot_be_used_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    try:
        code = cli.main(["build-engine", "--model", "tiny", "--output", str(tmp_path), *arguments])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == UNUSABLE
    assert error(capsys).startswith(f"perfsuite build-engine: {words}")


def test_what_was_asked_for_is_built_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def build_folder(spec, batch_sizes, positions, folder):
        asked.append((spec, tuple(batch_sizes), positions, folder))
        return [f"built {folder} for {rows}" for rows in batch_sizes]

    monkeypatch.setattr(tensorrt, "build_folder", build_folder)
    monkeypatch.chdir(tmp_path)
    arguments = ["--model", "llama-2-7b", "--dtype", "bfloat16", "--batch-size", "1,4", "--output", "engines"]
    assert cli.main(["build-engine", *arguments]) == 0
    spec = ModelSpec(name="llama-2-7b", dtype="bfloat16")
    assert asked == [(spec, (1, 4), 432, tmp_path / "engines")]  # 400 prompt and 32 output tokens, the default
    assert capsys.readouterr().out.splitlines() == [f"built {tmp_path}/engines for {rows}" for rows in (1, 4)]


def test_no_room_to_build_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_folder(*_):
        raise DeviceMemoryError("out of memory while building an engine")

    monkeypatch.setattr(tensorrt, "build_folder", build_folder)
    assert cli.main(["build-engine", "--model", "tiny", "--output", str(tmp_path)]) == UNUSABLE
    assert error(capsys) == "perfsuite build-engine: out of memory while building an engine"
