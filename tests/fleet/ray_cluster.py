"""Real Ray clusters on this machine: every node has a raylet and worker processes of its own.

`ray.cluster_utils` runs in a process by itself, which takes a line of JSON for every change: Ray leaves files open and
takes its time to go, and neither is a test's business.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

STORE = 80 * 2**20
"""The smallest object store that Ray makes; a session's recordings are far smaller."""

SURE = {"GRPC_ENABLE_FORK_SUPPORT": "0"}
"""Without it the head's server for clients hangs in one of five starts, where it forks beside threads of gRPC."""


class Nodes:
    """A cluster whose head measures nothing: where a process connects, with Ray's client and without."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self._process = process
        self.client = f"ray://127.0.0.1:{port}"
        self.address = self._ask(head=port)

    def add(self, name: str, **variables: str) -> None:
        """One more node; `variables` are laid over its environment."""
        self._ask(add=name, variables=variables)

    def kill(self, name: str) -> None:
        """As if its power had gone."""
        self._ask(kill=name)

    def _ask(self, **what: Any) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("done "):
                return line.split()[1]
        raise AssertionError("the cluster's process has ended")


@contextmanager
def cluster(*names: str) -> Iterator[Nodes]:
    """A head, and a node of each name."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs the package 'ray'")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fleet.ray_cluster"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **SURE},
    )
    try:
        nodes = Nodes(process, free_port())
        for name in names:
            nodes.add(name)
        yield nodes
    finally:
        with suppress(BrokenPipeError):
            process.communicate(timeout=60)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> None:
    """Do as the lines on standard input say; when they end, the cluster does."""
    from ray.cluster_utils import Cluster

    made, nodes = Cluster(), {}
    for line in sys.stdin:
        told = json.loads(line)
        if "head" in told:
            options = {"ray_client_server_port": told["head"], "include_dashboard": False}
            made.add_node(num_cpus=0, num_gpus=0, node_name="head", object_store_memory=STORE, **options)
        elif "add" in told:
            nodes[told["add"]] = made.add_node(
                num_cpus=2,
                num_gpus=0,
                node_name=told["add"],
                object_store_memory=STORE,
                env_vars={**os.environ, **told["variables"]},
            )
        else:
            made.remove_node(nodes.pop(told["kill"]), allow_graceful=False)
        sys.stdout.write(f"done {made.address}\n")
        sys.stdout.flush()
    made.shutdown()


if __name__ == "__main__":
    main()
