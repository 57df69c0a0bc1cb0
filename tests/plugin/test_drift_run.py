"""A run warns of a level that crept away over the stored history, and its verdicts stay what they are."""

import json
from dataclasses import replace

import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Sample
from perfsuite.store import BaselineStore
from tests.plugin.conftest import Run

pytestmark = pytest.mark.slow


def slowed(sample: Sample, factor: float) -> Sample:
    return replace(sample, arrivals_ns=tuple(round(factor * arrival) for arrival in sample.arrivals_ns))


def on_day(recording: Recording, day: int, factor: float) -> Recording:
    samples = tuple(slowed(sample, factor) for sample in recording.samples)
    return replace(recording, session=day, started_at=f"2026-01-{day:02}T00:00:00Z", samples=samples)


def grow(stored: Baseline, step: float) -> Baseline:
    """Four weeks of one session a day behind the baseline, the last two of them slower by `step`."""
    later = (
        on_day(stored.recordings[day % 8], 1 + day, (1 + step if day >= 14 else 1) * (1 + 1e-4 * (day % 5)))
        for day in range(28)
    )
    past = tuple(replace(recording, started_at="2025-12-01T00:00:00Z") for recording in stored.recordings)
    return replace(stored, recordings=past, later=tuple(later))


def judged(run: Run, project: pytest.Pytester, step: float) -> tuple[pytest.RunResult, dict[str, str]]:
    """A run behind such a history, and since when which metric of its first cell has drifted."""
    run("--save-baseline")
    store = BaselineStore(project.path / "baselines")
    for stored in store.load_all("scripted"):
        store.save(grow(stored, step))
    result = run("--perf", "--perf-tolerance=ttft.p99=off", "--perf-json=report.json")
    first = json.loads((project.path / "report.json").read_text())["cells"][0]
    return result, {drift["metric"]: drift["since"] for drift in first["drifts"]}


def test_a_level_that_crept_away_is_told_and_fails_nothing(run: Run, project: pytest.Pytester) -> None:
    """The candidate is as fast as the baseline, but one session of today does not bring the level back."""
    result, written = judged(run, project, 0.02)
    assert result.ret == pytest.ExitCode.OK
    (told,) = [line for line in result.outlines if line.startswith("drift: fake/tiny/p10-o4: TTFT P50 ")]
    assert "pytest --save-baseline" in told
    assert written["ttft.p50"].startswith("2026-01-")


def test_a_level_that_stayed_is_not_told(run: Run, project: pytest.Pytester) -> None:
    result, written = judged(run, project, 0.0)
    result.stdout.no_fnmatch_line("drift: *")
    assert written == {}
