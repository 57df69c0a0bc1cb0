from dataclasses import replace

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording, StartupPhase
from perfsuite.core.units import NS_PER_S
from perfsuite.report.comparison import comparison
from tests.builders import make_cell, make_recording


def measured(strategy: str, *, ttft_ms: float, startup_s: int, decode: int = 4) -> dict[Cell, tuple[Recording, ...]]:
    cell = make_cell(strategy, output=4)
    startup = (StartupPhase(name="compile", duration_ns=startup_s * NS_PER_S),)
    recording = make_recording(cell, ttft_ms=ttft_ms, tpot_ms=2, decode=decode)
    return {cell: (replace(recording, startup=startup),)}


def last_line(*arms: dict[Cell, tuple[Recording, ...]]) -> str:
    lines = [line.text for line in comparison({cell: own for arm in arms for cell, own in arm.items()}) if line.text]
    return lines[-1]


def test_the_comparison_ends_with_when_a_startup_pays_back() -> None:
    """5 s more to start at 10 ms less a request are 500 requests."""
    line = last_line(measured("eager", ttft_ms=40, startup_s=1), measured("jit", ttft_ms=30, startup_s=6))
    assert line == (
        "requests of 100 prompt and 4 output tokens by E2E P50: jit pays back against eager after 500 requests: "
        "5.00 s more to start, 10.0 ms less a request"
    )


def test_without_full_requests_nothing_is_said_of_it() -> None:
    arms = (measured("eager", ttft_ms=40, startup_s=1, decode=0), measured("jit", ttft_ms=30, startup_s=6, decode=0))
    assert "pays back" not in last_line(*arms)
