"""The waits between sessions, with a scripted GPU and without sleeping."""

from collections.abc import Sequence

import pytest

from perfsuite.core.rules import HARDWARE_THERMAL, POWER_CAP
from perfsuite.measure.settling import CALM_WAIT_NS, LEAST_CALM_NS, MEMORY_WAIT_NS, STEP_NS, Rest, Settling

GIB = 2**30


class Machine:
    """A GPU that looks, one look after the other, as the test says; the last one lasts."""

    def __init__(self, *looks: Rest) -> None:
        self._looks = list(looks)
        self.paused_ns = 0

    def look(self) -> dict[str, Rest]:
        rest = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        return {"GPU-1": rest}

    def pause(self, duration_ns: int) -> None:
        self.paused_ns += duration_ns

    def settling(self) -> Settling:
        return Settling(self.look, self.pause)


def using(*sizes: int) -> list[Rest]:
    return [Rest(memory_used=size, busy_share=0.0, reasons=0) for size in sizes]


def test_memory_that_is_back_is_not_waited_for() -> None:
    machine = Machine(*using(GIB, GIB))
    assert machine.settling().after_session() is None
    assert machine.paused_ns == 0


def test_memory_that_comes_back_is_waited_for() -> None:
    machine = Machine(*using(GIB, 9 * GIB, 9 * GIB, GIB))
    assert machine.settling().after_session() is None
    assert machine.paused_ns == 2 * STEP_NS


def test_memory_that_does_not_come_back_is_said_after_half_a_minute() -> None:
    machine = Machine(*using(GIB, 9 * GIB))
    told = machine.settling().after_session() or ""
    assert told.startswith("GPU memory: 8.0 GiB more than before the run are in use 30.0 s after a session ended")
    assert machine.paused_ns == MEMORY_WAIT_NS


def test_memory_that_stays_is_waited_for_once() -> None:
    machine = Machine(*using(GIB, 9 * GIB))
    settling = machine.settling()
    settling.after_session()
    assert settling.after_session() is None
    assert machine.paused_ns == MEMORY_WAIT_NS


def test_a_little_more_memory_is_nobodys_session() -> None:
    assert Machine(*using(GIB, GIB + 100 * 2**20)).settling().after_session() is None


def test_a_machine_without_gpus_is_not_waited_for() -> None:
    assert Settling(dict, lambda _: pytest.fail("nothing to wait for")).after_session() is None


def busy(*shares: float, reasons: int = 0) -> Sequence[Rest]:
    return [Rest(memory_used=0, busy_share=share, reasons=reasons) for share in shares]


@pytest.mark.parametrize(
    ("looks", "waited_ns"),
    [
        (busy(0.0, 0.0), LEAST_CALM_NS),
        (busy(0.0, 0.9, 0.9, 0.0), LEAST_CALM_NS + 2 * STEP_NS),
        (busy(0.0, 0.9), CALM_WAIT_NS),
        (busy(0.0, reasons=HARDWARE_THERMAL), CALM_WAIT_NS),
        (busy(0.0, reasons=POWER_CAP), LEAST_CALM_NS),
    ],
    ids=["calm", "calms down", "stays busy", "stays hot", "at its power cap"],
)
def test_a_disturbed_machine_is_given_five_seconds_and_up_to_a_minute(looks: Sequence[Rest], waited_ns: int) -> None:
    machine = Machine(*looks)
    machine.settling().before_retry()
    assert machine.paused_ns == waited_ns
