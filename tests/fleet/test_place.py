"""A seat of this host runs a session on its own cores, and every recording says where it was made."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from perfsuite.fleet import cores
from perfsuite.fleet.place import Errand, LocalPlace, Seat, marked
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import Progress
from tests.fleet.jobs import make_job
from tests.fleet.strategies import LOG

needs_cores = pytest.mark.skipif(not cores.allowed(), reason="nobody can be bound to cores here")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def unheard(_: Progress) -> None:
    pass


@needs_cores
def test_a_session_runs_on_the_cores_of_its_seat_and_its_recordings_say_so() -> None:
    core = cores.allowed()[-1]
    place = LocalPlace(Seat(name="cpu:0", gpus=(), cores=(core,)), {"node": "box"})
    outcome = place.run(Errand(job=make_job("Logged")), unheard, threading.Event())
    assert outcome.end is not None
    assert f"begins on [{core}]" in Path(LOG).read_text()
    noted = outcome.end.recordings[0].environment.noted
    assert (noted["place"], noted["cores"], noted["node"]) == ("cpu:0", str(core), "box")


def test_a_session_on_the_host_as_a_whole_has_nothing_to_say_of_its_place() -> None:
    outcome = LocalPlace(Seat()).run(Errand(job=make_job("Steady")), unheard, threading.Event())
    assert outcome.end is not None
    assert not {"place", "cores", "node"} & set(outcome.end.recordings[0].environment.noted)


def test_variables_of_a_seat_reach_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVICE", raising=False)
    job = replace(make_job("Steady"), reference="tests.scripted:OnDevice")
    outcome = LocalPlace(Seat(variables={"DEVICE": "H200"})).run(Errand(job=job), unheard, threading.Event())
    assert outcome.end is not None
    assert outcome.end.recordings[0].environment.device == "H200"


def test_a_session_that_is_stopped_has_no_end_and_leaves_no_process() -> None:
    stop, hangs = threading.Event(), threading.Event()

    def heard(progress: Progress) -> None:
        if progress.stage == "warm-up":
            hangs.set()

    outcomes = []
    place = LocalPlace(Seat())
    errand = Errand(job=make_job("Hangs"))
    thread = threading.Thread(target=lambda: outcomes.append(place.run(errand, heard, stop)))
    thread.start()
    assert hangs.wait(60)
    stop.set()
    thread.join(60)
    assert [outcome.end for outcome in outcomes] == [None]
    pid = int(Path(LOG).read_text().split()[0])
    assert not Path(f"/proc/{pid}").exists()


def test_a_session_that_never_opened_still_says_where() -> None:
    end = marked(SessionEnd(died="it was killed"), {"node": "box"})
    assert end.environment is not None
    assert (end.environment.device, end.environment.noted) == ("unknown", {"node": "box"})


def test_a_seat_waits_for_the_memory_of_its_own_gpus_only(host) -> None:
    host("NVIDIA H200", "NVIDIA H200")
    assert set(Seat(gpus=("GPU-1",)).look()) == {"GPU-1"}
    assert Seat(gpus=()).look() == {}
    assert set(Seat().look()) == {"GPU-0", "GPU-1"}
