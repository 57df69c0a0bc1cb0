"""Owns the phrases that say what was measured: counts, the model, the request, how tokens were drawn."""

from collections.abc import Iterable, Sequence

from perfsuite.core.recording import Environment, Recording
from perfsuite.core.units import format_change
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.report.layout import Line
from perfsuite.report.rows import Row


def counted(count: int, noun: str) -> str:
    """'1 session', '3 sessions'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ranged(counts: Sequence[int], noun: str) -> str:
    """'3 sessions', or '1 to 3 sessions' where the counts differ."""
    low, high = min(counts), max(counts)
    return counted(high, noun) if low == high else f"{low} to {high} {noun}s"


def recordings_of(rows: Iterable[Row]) -> list[Recording]:
    return [recording for row in rows for recording in row.recordings]


def model_phrase(rows: Sequence[Row]) -> str:
    """'tiny (float16)': the model with the dtype it turned out to have."""
    spec = rows[0].cell.model
    dtypes = {environment.must_agree.get("dtype", spec.dtype) for environment in _environments(rows)}
    details = [*sorted(dtypes), *([spec.quantization] if spec.quantization else [])]
    return f"{spec.name} ({', '.join(details)})"


def device_phrase(rows: Sequence[Row]) -> str:
    return " and ".join(sorted({environment.device for environment in _environments(rows)}))


def _environments(rows: Sequence[Row]) -> list[Environment]:
    """Where samples were taken; a session that broke before its first sample may not know."""
    recordings = recordings_of(rows)
    return [recording.environment for recording in [r for r in recordings if r.samples] or recordings]


def request_phrase(workload: Workload) -> str:
    """'batch 1, 32 output tokens'."""
    seed = f", prompts of seed {workload.seed}" if workload.seed else ""
    return f"batch {workload.batch_size}, {counted(workload.output_tokens, 'output token')}{seed}"


def sampling_phrase(params: SamplingParams) -> str:
    """'temperature 0.7, top-k 50, top-p 0.9, repetition penalty 1.1'; what is off is said to be off."""
    penalty = f"repetition penalty {params.repetition_penalty:g}" if params.repetition_penalty != 1 else ""
    if params.is_greedy:
        return ", ".join(filter(None, ("greedy", penalty or "repetition penalty off")))
    top_p = f"top-p {params.top_p:g}" if params.top_p < 1 else "top-p off"
    seed = f"seed {params.seed}" if params.seed else ""
    parts = (f"temperature {params.temperature:g}", f"top-k {params.top_k or 'off'}", top_p)
    return ", ".join(filter(None, (*parts, penalty or "repetition penalty off", seed)))


def slowdown_lines(rows: Sequence[Row]) -> tuple[Line, ...]:
    """One red line if perfsuite itself slowed any of these recordings."""
    found = sorted({recording.injected_slowdown for recording in recordings_of(rows)} - {0.0})
    text = " and ".join(format_change(fraction) for fraction in found)
    loud = f"INJECTED SLOWDOWN {text}: perfsuite itself delayed every event; these numbers are not the strategy's own"
    return (Line(loud, "red"),) if found else ()
