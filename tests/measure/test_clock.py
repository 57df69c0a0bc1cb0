from perfsuite.measure.clock import HostClock, ScriptedClock, utc_now


def test_scripted_time_passes_only_when_told_to() -> None:
    clock = ScriptedClock()
    clock.wait_ns(5)
    clock.wait_ns(7)
    assert clock.now_ns() == 12


def test_waiting_on_the_host_clock_is_never_short() -> None:
    clock = HostClock()
    before = clock.now_ns()
    clock.wait_ns(100_000)
    assert clock.now_ns() - before >= 100_000


def test_the_wall_clock_is_written_in_utc() -> None:
    assert len(utc_now()) == len("2026-11-21T12:00:00Z")
    assert utc_now().endswith("Z")
