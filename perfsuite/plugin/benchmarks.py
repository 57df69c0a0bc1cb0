"""Owns the bridge to pytest-benchmark: what a run has measured appears in its session, and nothing is measured again.

A cell is one benchmark of each latency, because a benchmark's name must be the same in every run and the number of
sessions is not; each recording shows by itself in `extra_info`. It hands over only where one of pytest-benchmark's
options asks for results; else that plugin's table stays away.
"""

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

from perfsuite.core.entry import STARTUP, session_entry
from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import SERIES
from perfsuite.core.recording import Recording
from perfsuite.core.resources import RESOURCES
from perfsuite.core.statistics import summarize
from perfsuite.core.units import NS_PER_S, to_ms, to_s

if TYPE_CHECKING:
    from perfsuite.core.matrix import Cell
    from perfsuite.plugin.campaign import Campaign

ASKING = ("json", "save", "autosave", "compare", "compare_fail", "histogram")
"""Options of pytest-benchmark, --benchmark-NAME, that want results."""
HANDED_OVER = ("ttft", "tpot", "e2e")
"""Each is a group of benchmarks, one a cell; the other series are in their `extra_info`."""


@dataclass(slots=True, kw_only=True)
class _Source:
    """What pytest-benchmark reads of its own fixture when it makes a benchmark."""

    name: str
    fullname: str
    group: str
    param: str
    params: dict[str, Any]
    extra_info: dict[str, Any]
    cprofile_stats: None = None
    has_error: bool = False
    options: dict[str, Any] = field(default_factory=lambda: {"timer": "perfsuite"})


def check(config: pytest.Config) -> None:
    """OptionError, before anything is measured, for what would stop pytest-benchmark's report after it."""
    if getattr(config, "_benchmarksession", None) is None:
        return
    path: Path | None = config.getoption("benchmark_json", None)
    if config.getoption("benchmark_histogram", None) and importlib.util.find_spec("pygal") is None:
        raise OptionError("--benchmark-histogram: needs pygal; pip install 'pytest-benchmark[histogram]'")
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise OptionError(f"--benchmark-json: {path} cannot be written; name a file in a folder that exists")


def hand_over(config: pytest.Config, campaign: "Campaign") -> None:
    """Add every believable cell that was measured to pytest-benchmark's session, if that is there and asked for.

    What cannot be handed over is a note; no verdict hangs on it.
    """
    session = getattr(config, "_benchmarksession", None)
    if session is None or session.skip or not any(config.getoption(f"benchmark_{name}", None) for name in ASKING):
        return
    try:
        session.benchmarks.extend(_benchmark(*each) for each in _measured(campaign))
    except (ImportError, AttributeError, TypeError) as error:
        campaign.note(f"pytest-benchmark: this version takes no results from outside ({error}); try another one")


def _measured(campaign: "Campaign") -> Iterator[tuple[_Source, list[float]]]:
    for cell in campaign.cells:
        recordings, problem = campaign.recordings(cell), campaign.problem(cell)
        if problem or not recordings:
            campaign.note(f"pytest-benchmark: {cell.id} is left out: {problem or 'it was not measured'}")
            continue
        info = _extra_info(campaign, cell, recordings)
        for name in HANDED_OVER:
            by_session = [SERIES[name].values(recording) for recording in recordings]
            if any(by_session):
                told = {**info, "recordings": [_told(*each) for each in zip(recordings, by_session, strict=True)]}
                yield _source(name, cell, told), [to_s(value) for own in by_session for value in own]


def _told(recording: Recording, own: Sequence[float]) -> dict[str, Any]:
    """One session's part of a benchmark: its rounds, which stand together in the data, and what else it says."""
    return {
        "session": recording.session,
        "started_at": recording.started_at,
        "rounds": len(own),
        **_percentiles((recording,)),
        **_medians((recording,)),
    }


def _benchmark(source: _Source, seconds: Iterable[float]) -> Any:
    import pytest_benchmark.stats

    untyped: Any = pytest_benchmark.stats
    benchmark = untyped.Metadata(source, 1, source.options)
    for duration in seconds:
        benchmark.update(duration)
    return benchmark


def _source(series: str, cell: "Cell", extra_info: dict[str, Any]) -> _Source:
    """'ttft[eager/tiny/p10-o32]': as the test of that name with the cell as its parameter."""
    workload = cell.workload
    return _Source(
        name=f"{series}[{cell.id}]",
        fullname=f"perfsuite::{series}[{cell.id}]",
        group=series,
        param=cell.id,
        params={
            "strategy": cell.strategy_slug,
            "model": cell.model.slug,
            "prompt_tokens": workload.prompt_tokens,
            "output_tokens": workload.output_tokens,
            "batch_size": workload.batch_size,
        },
        extra_info=extra_info,
    )


def _extra_info(campaign: "Campaign", cell: "Cell", recordings: tuple[Recording, ...]) -> dict[str, Any]:
    """Percentiles and means of every series in milliseconds, startup, memory, energy, the verdicts, and of what."""
    first = recordings[0]
    return {
        "sessions": len(recordings),
        "device": first.environment.device,
        "dtype": first.environment.must_agree.get("dtype", cell.model.dtype),
        "injected_slowdown": first.injected_slowdown,
        **_percentiles(recordings),
        **_medians(recordings),
        "verdicts": {
            verdict.metric: verdict.outcome.value
            for judgement in (() if campaign.options.save_baseline else campaign.bench.judgements())
            if judgement.cell == cell
            for verdict in judgement.all
        },
    }


def _percentiles(recordings: tuple[Recording, ...]) -> dict[str, float]:
    """'ttft_ms.p50' and so on, over the samples of all sessions; a tail with too few samples is left out."""
    found: dict[str, float] = {}
    for name, series in SERIES.items():
        values = [value for recording in recordings for value in series.values(recording)]
        if not values:
            continue
        summary = summarize(values)
        tails = {statistic: getattr(summary, statistic).value for statistic in ("p50", "p95", "p99")}
        named = {"mean": summary.mean, **tails}
        found |= {f"{name}_ms.{statistic}": to_ms(value) for statistic, value in named.items() if value is not None}
    return found


def _medians(recordings: tuple[Recording, ...]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    units = {
        STARTUP: ("startup_s", NS_PER_S),
        "memory": ("memory_bytes", 1),
        "energy": ("energy_joules_per_token", 1),
        "throughput": ("output_tokens_per_second", 1),
    }
    for recording in recordings:
        entry = session_entry(recording)
        for name in (STARTUP, *RESOURCES):
            if name in entry.values:
                label, unit = units[name]
                values.setdefault(label, []).append(entry.values[name] / unit)
    return {label: median(own) for label, own in values.items()}
