"""Owns the bounded waits between sessions: until the GPUs' memory is back, until a disturbed machine is calm."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from perfsuite.core.rules import IDLE, POWER_CAP
from perfsuite.core.units import NS_PER_S, format_bytes, format_seconds
from perfsuite.measure import nvml
from perfsuite.measure.clock import pause_ns

STEP_NS = NS_PER_S // 4
MEMORY_WAIT_NS = 30 * NS_PER_S
"""A driver gives the memory of an ended process back within seconds; after this nobody does."""
CALM_WAIT_NS, LEAST_CALM_NS = 60 * NS_PER_S, 5 * NS_PER_S
"""How long a disturbed machine is given at most, and at least, before the one retry."""
SLACK = 128 * 2**20
"""Memory that comes and goes without any process of ours."""
CALM_USE = 0.05
HARMLESS = IDLE | POWER_CAP


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What a GPU is like while nothing is measured: bytes in use, share of time it is busy, NVML's reasons."""

    memory_used: int | None
    busy_share: float | None
    reasons: int | None

    @property
    def is_calm(self) -> bool:
        return (self.busy_share or 0.0) <= CALM_USE and not (self.reasons or 0) & ~HARMLESS


Look = Callable[[], Mapping[str, Rest]]


def look_at_all() -> dict[str, Rest]:
    """Every GPU that NVML knows, by its UUID; none without NVML."""
    return look_at(nvml.uuids())


def look_at(uuids: Iterable[str]) -> dict[str, Rest]:
    """These GPUs by their UUIDs, as far as NVML knows them."""
    found = {uuid: nvml.look(uuid, nvml.Device.state) for uuid in uuids}
    return {
        uuid: Rest(memory_used=state.memory_used, busy_share=state.busy_share, reasons=state.reasons)
        for uuid, state in found.items()
        if state is not None
    }


class Settling:
    """Waits for the machine; it remembers what was in use before the first session."""

    def __init__(self, look: Look = look_at_all, pause: Callable[[int], None] = pause_ns) -> None:
        self._look, self._pause = look, pause
        self._before = look()

    def after_session(self) -> str | None:
        """Wait until the memory of the session is back; one line on what is still held, `None` if it came back."""
        if not self._before or self._wait(lambda: not self._held(), MEMORY_WAIT_NS):
            return None
        held = max(self._held().values(), default=0)
        self._before = self._look()  # said once; it is not waited for again
        return (
            f"GPU memory: {format_bytes(held)} more than before the run are in use {format_seconds(MEMORY_WAIT_NS)} "
            "after a session ended; see nvidia-smi for the process that holds them"
        )

    def before_retry(self) -> None:
        """Give a disturbed machine five seconds, and on until every GPU is idle and unthrottled or a minute is over."""
        self._pause(LEAST_CALM_NS)
        self._wait(lambda: all(rest.is_calm for rest in self._look().values()), CALM_WAIT_NS - LEAST_CALM_NS)

    def _held(self) -> dict[str, int]:
        """Bytes by GPU that are in use beyond what was before."""
        now = {uuid: rest.memory_used or 0 for uuid, rest in self._look().items() if uuid in self._before}
        more = {uuid: used - (self._before[uuid].memory_used or 0) for uuid, used in now.items()}
        return {uuid: count for uuid, count in more.items() if count > SLACK}

    def _wait(self, holds: Callable[[], bool], at_most_ns: int) -> bool:
        """Whether it held before so much time was slept."""
        for _ in range(at_most_ns // STEP_NS):
            if holds():
                return True
            self._pause(STEP_NS)
        return holds()
