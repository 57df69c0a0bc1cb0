"""What a session is given on a node."""

from dataclasses import replace

import pytest

from perfsuite.core.codec import decode, encode
from perfsuite.fleet import node
from perfsuite.fleet.node import Answer, Facts, Task, facts, run_task, travelling
from tests.fleet.jobs import make_job

H200 = "NVIDIA H200"


def task(gpus: int = 0, *, has_all: bool = True, **variables: str) -> Task:
    return Task(
        job=make_job("Steady"),
        is_retry=False,
        gpus=gpus,
        has_all=has_all,
        expected=facts(wants_gpus=gpus > 0),
        names={"id-a": "a"},
        variables=variables,
    )


def test_a_session_gets_the_gpu_that_ray_gave_and_the_cores_beside_it(host, monkeypatch) -> None:
    host(H200, H200, H200, H200)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    seat = node._seat(task(1, has_all=False))
    assert (seat.name, seat.gpus, seat.cores) == ("cuda:2", ("GPU-2",), (4, 5))
    assert seat.variables["CUDA_VISIBLE_DEVICES"] == "2"


def test_a_session_that_has_all_of_a_node_uses_its_own_gpus_and_any_core(host, monkeypatch) -> None:
    host(H200, H200, H200, H200)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1,0,2")
    seat = node._seat(task(2))
    assert (seat.gpus, seat.cores) == (("GPU-3", "GPU-1"), ())
    assert seat.variables["CUDA_VISIBLE_DEVICES"] == "3,1"


def test_on_a_processor_no_gpu_is_seen_and_rays_number_of_threads_is_not_the_sessions() -> None:
    seat = node._seat(task())
    assert seat.variables == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": None}
    assert node._seat(task(OMP_NUM_THREADS="4")).variables["OMP_NUM_THREADS"] == "4"


def test_what_changes_how_code_runs_travels_and_what_says_where_things_are_stays(monkeypatch) -> None:
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    monkeypatch.setenv("HF_HOME", "/models")
    told = travelling()
    assert told["NCCL_NVLS_ENABLE"] == "0"
    assert not {"HF_HOME", "PATH", "CUDA_VISIBLE_DEVICES"} & set(told)


def test_a_session_on_a_node_comes_back_with_its_recordings_and_the_nodes_name() -> None:
    told: list[object] = []
    answer = decode(Answer, run_task(encode(task()), "id-a", told.append), where="answer")
    assert answer.end is not None
    (recording,) = answer.end.recordings
    assert (answer.node, recording.environment.noted["node"]) == ("a", "a")
    assert told[0] == "a"
    assert len(told) > 2


def test_a_node_that_is_not_as_expected_begins_nothing_and_says_why() -> None:
    other = replace(task(), expected=Facts(products=("H200",)))
    answer = decode(Answer, run_task(encode(other), "new", lambda _: None), where="answer")
    assert answer.end is None
    assert answer.differs.startswith("the others and node ")
    assert "differ in product: 'H200' and " in answer.differs


@pytest.mark.parametrize("wants_gpus", [True, False])
def test_the_facts_of_a_node_are_of_its_gpus_where_those_are_wanted(host, wants_gpus: bool) -> None:
    host(H200, H200)
    told = facts(wants_gpus=wants_gpus)
    assert (told.product == H200) is wants_gpus
    assert (told.alike.get("power limit") == "700 W") is wants_gpus
