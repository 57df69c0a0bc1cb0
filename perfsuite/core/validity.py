"""Owns the question whether a recording may be believed at all; what it finds is said, never dropped."""

from collections.abc import Iterator
from itertools import pairwise

from perfsuite.core.recording import Recording
from perfsuite.core.sample import Phase, Sample
from perfsuite.core.units import format_percent

ALLOWED_FAILURES = 0.01
"""Share of a session's requests that may break."""
GIVEN_UP_AFTER = 3
"""A session takes no more of a cell after so many broken requests: what failed thrice is broken, not unlucky."""
FATAL_STAGES = frozenset({"open", "worker", "evidence"})


def problems(recording: Recording) -> tuple[str, ...]:
    """Why no verdict may rest on this recording, one phrase each; empty if one may."""
    checks = (_failures, _too_few, _wrong_tokens, _wrong_times, _idle, _too_few_replays, _detours, _wrong_draws)
    return tuple(problem for check in checks for problem in check(recording))


def unsavable(recording: Recording) -> tuple[str, ...]:
    """Why this recording must not become a baseline: its problems, and a slowdown that perfsuite itself injected."""
    slowed = recording.injected_slowdown
    injected = (f"it was slowed by {format_percent(slowed)} on purpose (injected slowdown)",) if slowed else ()
    return (*problems(recording), *injected)


def _failures(recording: Recording) -> Iterator[str]:
    failures = recording.failures
    fatal = next((failure for failure in failures if failure.stage in FATAL_STAGES), None)
    if fatal is not None:
        yield f"stage '{fatal.stage}' failed: {fatal.message}"
        return
    attempts = len(recording.samples) + len(failures)
    if len(failures) >= GIVEN_UP_AFTER or len(failures) > ALLOWED_FAILURES * attempts:
        first = f"the first at '{failures[0].stage}': {failures[0].message}"
        yield f"{len(failures)} of {attempts} requests failed, allowed are {format_percent(ALLOWED_FAILURES)}; {first}"


def _too_few(recording: Recording) -> Iterator[str]:
    if not recording.samples:
        yield "no samples were taken"


def _wrong_tokens(recording: Recording) -> Iterator[str]:
    wanted = {Phase.PREFILL: 1, Phase.DECODE: recording.cell.workload.output_tokens}
    wrong = [
        f"sample {index} ({sample.phase.value}) has {sample.output_tokens} instead of {wanted[sample.phase]}"
        for index, sample in enumerate(recording.samples, start=1)
        if sample.output_tokens != wanted[sample.phase]
    ]
    if wrong:
        yield f"{_count(wrong, recording)} with a wrong number of output tokens; {wrong[0]}"


def _wrong_times(recording: Recording) -> Iterator[str]:
    wrong = [f"sample {index}" for index, sample in enumerate(recording.samples, start=1) if not _times_hold(sample)]
    if wrong:
        yield f"{_count(wrong, recording)} with times that are negative or do not increase; the first is {wrong[0]}"


def _times_hold(sample: Sample) -> bool:
    times = (0, *sample.arrivals_ns)
    increase = all(after > before for before, after in pairwise(times))
    return increase and all(duration >= 0 for duration in sample.device_ns or ())


def _idle(recording: Recording) -> Iterator[str]:
    """What the strategy stands for and did not do; `None` says that it has no such thing."""
    evidence = recording.evidence
    counts = {
        "CUDA graph was captured": evidence.graphs_captured,
        "CUDA graph was replayed": evidence.graphs_replayed,
        "region was compiled": evidence.compiled_regions,
        "engine was built": evidence.engines,
    }
    missing = [f"no {what}" for what, count in counts.items() if count == 0]
    if missing:
        yield f"strategy {recording.cell.strategy!r} did not engage: {', '.join(missing)}"


def _too_few_replays(recording: Recording) -> Iterator[str]:
    """A step is a replay at least, and an arrival a step at least; replays of other cells only add to the count."""
    replayed = recording.evidence.graphs_replayed
    steps = sum(len(sample.arrivals_ns) for sample in (*recording.warmups, *recording.samples))
    if replayed and replayed < steps:
        yield f"{replayed} CUDA graphs were replayed in {steps} steps; the others ran without a graph"


def _detours(recording: Recording) -> Iterator[str]:
    evidence = recording.evidence
    counts = {
        "recompilations fell into the measured window": evidence.recompiles,
        "graph breaks left parts of a pass uncompiled": evidence.graph_breaks,
        "kernel fallbacks: not everything ran as the strategy says": evidence.kernel_fallbacks,
        "prompts were answered from a cached prefix": evidence.cached_prefix_hits,
    }
    for what, count in counts.items():
        if count:
            yield f"{count} {what}"


def _wrong_draws(recording: Recording) -> Iterator[str]:
    """Times of tokens that are no legal sample say nothing; what could not be checked is said elsewhere."""
    if recording.sampling is not None and recording.sampling.problems:
        yield f"its tokens are no legal sample: {recording.sampling.problems[0]}"


def _count(wrong: list[str], recording: Recording) -> str:
    return f"{len(wrong)} of {len(recording.samples)} samples"
