"""Owns the question whether a recording may be believed at all; what it finds is said, never dropped."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from perfsuite.core.disturbance import MANY, findings
from perfsuite.core.recording import Recording
from perfsuite.core.roofline import Floor, Roofline, mean
from perfsuite.core.sample import Phase, Sample
from perfsuite.core.units import format_ms, format_percent

ALLOWED_FAILURES = 0.01
"""Share of a session's requests that may break."""
GIVEN_UP_AFTER = 3
"""A session takes no more of a cell after so many broken requests: what failed thrice is broken, not unlucky."""
LOST = "device"
"""The stage of a failure by which a process lost its device, or of a cell that this cut short."""
FATAL_STAGES = frozenset({"open", "worker", "evidence", LOST})


def problems(recording: Recording) -> tuple[str, ...]:
    """Why no verdict may rest on this recording, one phrase each; empty if one may."""
    checks = (
        _failures,
        _too_few,
        _wrong_tokens,
        _wrong_times,
        _too_fast,
        _idle,
        _too_few_replays,
        _detours,
        _wrong_draws,
        _disturbed,
    )
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
        f"sample {index} ({sample.phase.value}) has {counts[0]} instead of {wanted[sample.phase]}"
        for index, sample in enumerate(recording.samples, start=1)
        if (counts := [n for n in map(_output_tokens, (sample, *sample.requests)) if n != wanted[sample.phase]])
    ]
    if wrong:
        yield f"{_count(wrong, recording)} with a wrong number of output tokens; {wrong[0]}"


def _output_tokens(sample: Sample) -> int:
    return sample.output_tokens


def _wrong_times(recording: Recording) -> Iterator[str]:
    wrong = [f"sample {index}" for index, sample in enumerate(recording.samples, start=1) if not _times_hold(sample)]
    if wrong:
        yield f"{_count(wrong, recording)} with times that are negative or do not increase; the first is {wrong[0]}"


def _times_hold(sample: Sample) -> bool:
    every = (sample.arrivals_ns, *(sample.rows_ns or ()))
    increase = all(after > before for times in every for before, after in pairwise((0, *times)))
    return increase and all(duration >= 0 for duration in sample.device_ns or ())


def _too_fast(recording: Recording) -> Iterator[str]:
    """Times that nothing within these limits can reach: what was timed is not what was asked for."""
    roofline = recording.roofline
    if roofline is None:
        return
    steps = max((len(times) for s in recording.samples for times in (s.arrivals_ns, s.device_ns or ())), default=0)
    floors = [roofline.step(recording.cell.workload, index) for index in range(steps)]
    wrong = [
        f"sample {index} has {what} {_below(taken_ns, floor, roofline)}"
        for index, sample in enumerate(recording.samples, start=1)
        for what, taken_ns, floor in _impossible(sample, floors)[:1]
    ]
    if wrong:
        yield f"{_count(wrong, recording)} faster than the device can be; {wrong[0]}"


def _impossible(sample: Sample, floors: Sequence[Floor]) -> list[tuple[str, float, Floor]]:
    """What was timed, how long it took in nanoseconds, and the floor that this lies below.

    On the host the decode steps are judged by their mean: a token that the host noticed late has the next one close
    behind it. The device stamps each step by itself.
    """
    gaps = sample.icl_ns
    decode = mean(floors[1 : 1 + len(gaps)])
    times: list[tuple[str, float, Floor]] = [("a TTFT of", sample.ttft_ns, floors[0])]
    if decode is not None:
        times.append(("decode steps of", sum(gaps) / len(gaps), decode))
    for index, (taken_ns, floor) in enumerate(zip(sample.device_ns or (), floors, strict=False)):
        times.append((f"step {index} on the device of", taken_ns, floor))
    return [(what, taken_ns, floor) for what, taken_ns, floor in times if taken_ns < floor.least_ns]


def _below(taken_ns: float, floor: Floor, roofline: Roofline) -> str:
    """'0.100 ms, the floor is 4.31 ms (read bandwidth 3.06 TB/s; with all doubt about that 3.45 ms)'."""
    taken, measured, least = (f"{format_ms(time_ns)} ms" for time_ns in (taken_ns, floor.ns, floor.least_ns))
    return f"{taken}, the floor is {measured} ({roofline.limits.words(floor.limit)}; with all doubt about that {least})"


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


def disturbance(recording: Recording) -> str | None:
    """By what the machine was disturbed during too many of a recording's samples; `None` if it may be believed."""
    if recording.monitoring is None:
        return None
    taken = (*recording.samples, *recording.set_aside)
    found = findings(taken, recording.monitoring)
    touched = sum(finding.samples for finding in found)
    if touched <= MANY * len(taken):
        return None
    return f"the machine was disturbed: {found[0].detail}, during {found[0].samples} of {len(taken)} samples"


def _disturbed(recording: Recording) -> Iterator[str]:
    """Few disturbed samples were set aside; with many, what was measured is the disturbance."""
    found = disturbance(recording)
    if found is not None:
        yield f"{found} ({format_percent(MANY)} are allowed)"


def _count(wrong: list[str], recording: Recording) -> str:
    return f"{len(wrong)} of {len(recording.samples)} samples"
