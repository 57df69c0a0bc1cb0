from dataclasses import replace

import pytest

from perfsuite.core.recording import StartupPhase
from perfsuite.core.tradeoff import Offer
from perfsuite.core.units import NS_PER_S
from perfsuite.report.html.tradeoffs import comparison
from perfsuite.report.offers import payback
from perfsuite.report.rows import Row, rows_of
from tests.builders import make_cell, make_recording

EAGER = Offer(name="eager", latency_ns=100e6, startup_ns=1e9)


def row(strategy: str, *, ttft_ms: float, startup_s: int, prompt: int = 100, decode: int = 4) -> Row:
    cell = make_cell(strategy, prompt=prompt)
    recording = make_recording(cell, ttft_ms=ttft_ms, decode=decode)
    startup = (StartupPhase(name="load", duration_ns=startup_s * NS_PER_S),)
    return rows_of({cell: (replace(recording, startup=startup),)})[0]


@pytest.mark.parametrize(
    ("latency_ms", "startup_s", "words"),
    [
        (60, 21, "after 500 requests: 20.00 s more to start, 40.0 ms less a request"),
        (60, 1, "at once: it starts no later than eager and takes no longer a request"),
        (120, 21, "never: a request takes no less than with eager"),
        (60, None, "unknown: a startup was not measured"),
    ],
)
def test_when_a_startup_pays_back_is_said_in_words(latency_ms: float, startup_s: float | None, words: str) -> None:
    startup_ns = None if startup_s is None else startup_s * 1e9
    assert payback(Offer(name="jit", latency_ns=latency_ms * 1e6, startup_ns=startup_ns), EAGER) == words


def test_what_is_beaten_is_hollow_and_says_by_whom() -> None:
    rows = [row("eager", ttft_ms=40, startup_s=2), row("worse", ttft_ms=50, startup_s=9)]
    drawn = comparison(rows, ["eager", "worse"])
    assert drawn.count("s1 dot hollow") == 2
    assert "s0 dot hollow" not in drawn
    assert "beaten by eager" in drawn


def test_strategies_are_compared_at_the_longest_prompt_that_all_have() -> None:
    rows = [row("eager", ttft_ms=40, startup_s=2, prompt=p) for p in (10, 100, 400)]
    rows += [row("jit", ttft_ms=30, startup_s=9, prompt=p) for p in (10, 100)]
    assert "A request of 100 prompt and 4 output tokens" in comparison(rows, ["eager", "jit"])


def test_a_strategy_without_a_full_request_does_not_hide_the_others() -> None:
    rows = [row("eager", ttft_ms=40, startup_s=2), row("jit", ttft_ms=30, startup_s=9)]
    rows += [row("broken", ttft_ms=30, startup_s=9, decode=0)]
    drawn = comparison(rows, ["eager", "jit", "broken"])
    assert "jit" in drawn
    assert "broken" not in drawn


def test_one_strategy_is_compared_with_nothing() -> None:
    assert comparison([row("eager", ttft_ms=40, startup_s=2)], ["eager"]) == ""
