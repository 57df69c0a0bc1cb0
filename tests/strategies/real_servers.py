"""Servers that are no doubles, started on loopback for as long as a test needs them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

STARTS_WITHIN_S = 240
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RealServer:
    """One kind of server: its name in the evidence, how prompts are sent to it, and how it is started.

    `command` follows the Python interpreter; `needs` are the packages that must be there.
    """

    name: str
    prompts: str
    command: Callable[[Path, int], tuple[str, ...]]
    needs: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    @contextmanager
    def running(self, folder: Path) -> Iterator[str]:
        """The URL under which the model of a folder is served."""
        port, log = _free_port(), folder.parent / "serve.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *self.command(folder, port)],
                stdout=output,
                stderr=output,
                env={**os.environ, "HF_HUB_OFFLINE": "1", **self.environment},
                start_new_session=True,  # its children are ended with it
            )
        try:
            self._wait_until_it_listens(process, port, log)
            yield f"http://{HOST}:{port}/v1"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _wait_until_it_listens(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        end = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < end:
            if process.poll() is not None:
                pytest.fail(f"{self.name} does not start: {log.read_text(errors='replace')[-2000:]}")
            try:
                socket.create_connection((HOST, port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        pytest.fail(f"{self.name} does not listen after {STARTS_WITHIN_S} s: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port


def _transformers(folder: Path, port: int) -> tuple[str, ...]:
    start = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
    options = ("--device", "cpu", "--dtype", "float32", "--host", HOST, "--port", str(port))
    return ("-c", start, "serve", str(folder), *options)


def _vllm(folder: Path, port: int) -> tuple[str, ...]:
    return (
        *("-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--host", HOST, "--port", str(port)),
        *("--dtype", "float32", "--max-model-len", "256", "--max-num-seqs", "16", "--gpu-memory-utilization", "0.1"),
        *("--generation-config", "vllm", "--no-enable-prefix-caching"),
        *("--kernel-config", '{"enable_flashinfer_autotune": false}'),
    )


TRANSFORMERS = RealServer(
    name="transformers serve",
    prompts="text",
    command=_transformers,
    needs=("accelerate", "fastapi", "httpx", "openai", "uvicorn"),
    environment={"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
)
VLLM = RealServer(
    name="vLLM",
    prompts="token ids",
    command=_vllm,
    needs=("httpx", "vllm"),
    environment={"TRITON_F32_DEFAULT": "ieee", "VLLM_ENABLE_V1_MULTIPROCESSING": "1"},
)


def _why_not(server: RealServer) -> str:
    lacking = [name for name in server.needs if find_spec(name) is None]
    return f"{server.name} needs {', '.join(lacking)}" if lacking else ""


SERVERS = (
    pytest.param(TRANSFORMERS, marks=pytest.mark.skipif(bool(_why_not(TRANSFORMERS)), reason=_why_not(TRANSFORMERS))),
    pytest.param(
        VLLM,
        marks=(
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
            pytest.mark.skipif(bool(_why_not(VLLM)), reason=_why_not(VLLM)),
        ),
    ),
)
