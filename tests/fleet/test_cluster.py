"""Which nodes of a cluster are alike; a cluster itself is in tests/plugin/test_cluster_run.py."""

import socket
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.fleet import cluster
from perfsuite.fleet.cluster import first_line, last_line
from perfsuite.fleet.demand import Node, Wanted
from perfsuite.fleet.node import CODE, Facts, facts, software

OWN = {"python": "3.12.1", "perfsuite": "0.1.0", CODE: "abc"}
H200 = Facts(products=("NVIDIA H200",) * 2, alike={**OWN, "torch": "2.11.0", "driver": "580"})
H100 = replace(H200, products=("NVIDIA H100 80GB HBM3",))


@pytest.fixture(autouse=True)
def _run_of_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "software", lambda: OWN)
    monkeypatch.setattr(cluster.platform, "node", lambda: "laptop")


def alike(product: str = "", **nodes: Facts) -> list[str]:
    found = {Node(id=name, name=name, offers={}): each for name, each in nodes.items()}
    return [node.name for node in cluster._alike(found, Wanted(product=product))[0]]


def changed(told: Facts, **others: str) -> Facts:
    return replace(told, alike={**told.alike, **others})


def test_nodes_that_are_alike_are_all_used_however_many_gpus_they_have() -> None:
    assert alike(a=H200, b=replace(H200, products=("NVIDIA H200",) * 8)) == ["a", "b"]


def test_of_two_products_the_one_that_is_named_is_used() -> None:
    assert alike("h100", a=H200, b=H100, c=H100) == ["b", "c"]


@pytest.mark.parametrize(
    ("nodes", "product", "words"),
    [
        (
            {"a": H200, "b": H100},
            "",
            "node a and node b differ in product: 'NVIDIA H200' and 'NVIDIA H100 80GB HBM3'; choose one with "
            "--perf-devices PRODUCT",
        ),
        (
            {"a": H200, "b": changed(H200, torch="2.13.0")},
            "",
            "node a and node b differ in torch: '2.11.0' and '2.13.0'",
        ),
        ({"a": H200, "b": changed(H200, driver="575")}, "", "node a and node b differ in driver: '580' and '575'"),
        ({"a": H200, "b": changed(H200, vllm="0.25.1")}, "", "node a and node b differ in vllm: 'none' and '0.25.1'"),
        (
            {"a": changed(H200, perfsuite="0.2.0")},
            "",
            "this run on laptop and node a differ in perfsuite: '0.1.0' and '0.2.0'; install the same everywhere",
        ),
        ({"a": changed(H200, **{CODE: "def"})}, "", "differ in perfsuite's code: 'abc' and 'def'"),
        ({"a": changed(H200, python="3.11.7")}, "", "differ in python: '3.12.1' and '3.11.7'"),
        ({"a": H200}, "B200", "--perf-devices: 'B200' is no product of this cluster; it has 'NVIDIA H200' (node a)"),
        (
            {"a": replace(H200, products=("NVIDIA H200", "NVIDIA H100"))},
            "",
            "node a has NVIDIA H200 and NVIDIA H100; a run measures one product",
        ),
    ],
)
def test_nodes_that_are_not_alike_are_one_line(nodes: dict[str, Facts], product: str, words: str) -> None:
    with pytest.raises(OptionError) as found:
        alike(product, **nodes)
    assert words in str(found.value)
    assert "\n" not in str(found.value)


def test_the_run_itself_need_not_have_the_engines_of_the_nodes() -> None:
    assert alike(a=changed(H200, vllm="0.25.1")) == ["a"]


def test_a_node_says_what_it_is_and_the_digest_is_of_the_code() -> None:
    told = facts(wants_gpus=False)
    assert told.alike["python"]
    assert told.alike[CODE] == software()[CODE]
    assert "cores" in told.product
    assert told.differences(told) == ()


class RayError(Exception):
    """As Ray's own."""


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (RuntimeError("gcs is gone\nand more"), OptionError, "--perf-cluster: the cluster cannot be used: gcs is gone"),
        (RayError("gcs is gone"), OptionError, "--perf-cluster: the cluster cannot be used: gcs is gone"),
        (
            ConnectionError("no way to ray://ci:geheim@head:1"),
            OptionError,
            "--perf-cluster: the cluster cannot be used: no way to ray://ci:***@head:1",
        ),
        (OptionError("node a has no perfsuite"), OptionError, "node a has no perfsuite"),
        (KeyError("NodeID"), KeyError, "'NodeID'"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
    ],
)
def test_a_cluster_that_fails_while_it_is_asked_is_let_go_of(error: BaseException, raised: Any, words: str) -> None:
    """A fault of perfsuite's own is not called Ray's."""
    found = object.__new__(cluster.Cluster)
    found.ray = SimpleNamespace(exceptions=SimpleNamespace(RayError=RayError))
    closed: list[int] = []
    found.close = lambda: closed.append(1)  # type: ignore[method-assign]
    with pytest.raises(raised) as told, found.closed_on_failure():
        raise error
    assert closed == [1]
    assert str(told.value) == words


def test_an_address_with_a_user_is_refused_at_once_without_its_password() -> None:
    """Somebody listens there; Ray would try for half a minute to find a host of that name."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        cluster._check_listening(f"ray://127.0.0.1:{port}")
        with pytest.raises(OptionError) as found:
            cluster._check_listening(f"ray://ci:geheim@127.0.0.1:{port}")
    assert str(found.value) == (
        f"--perf-cluster: 'ray://ci:***@127.0.0.1:{port}' names a user, whom Ray does not know; write ray://HOST:PORT"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "head..x", "x" * 70])
def test_an_address_where_nobody_can_listen_is_one_line(host: str) -> None:
    with pytest.raises(OptionError, match=f"^--perf-cluster: nobody listens at 'ray://{host}:1' ") as found:
        cluster._check_listening(f"ray://{host}:1")
    assert "\n" not in str(found.value)


def test_of_what_ray_says_the_line_that_tells_is_kept() -> None:
    assert first_line(RuntimeError("one\ntwo\n")) == "one"
    assert first_line(RuntimeError("failed:\n\nTraceback\nValueError: no\n")) == "failed: ValueError: no"
    assert last_line(RuntimeError("Traceback\n  File\nValueError: no\n")) == "ValueError: no"
    nothing: Any = ConnectionError()
    assert first_line(nothing) == last_line(nothing) == "ConnectionError"
