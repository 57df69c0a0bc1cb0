"""Owns the energy of a generated token: what the device's counter grew by while full requests ran."""

from collections.abc import Iterator
from statistics import median

from perfsuite.core.disturbance import windows
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Phase, Sample

MILLIJOULES = 1000
LEAST_COVERED = 0.9
"""Share of the time of full requests for which the counter must have been read."""
LEAST_SPANS = 1.5
"""A stretch of full requests must last so many readings on average: a reading at its edge is shared by time."""


def energy_per_token(recording: Recording) -> float | None:
    """Joules per token, prompt passes of the full requests included; `None` where the counter does not tell.

    Nor does it of a model on several GPUs, of which one is watched.
    Of a reading that lies only partly in a stretch of full requests, that part of its energy counts.
    """
    if recording.monitoring is None or recording.cell.model.engine.tensor_parallel_size > 1:
        return None
    samples = [
        s for s in (*recording.samples, *recording.set_aside) if s.phase is Phase.DECODE and s.sent_ns is not None
    ]
    stretches = windows(samples)
    readings = [
        (each.at_ns - each.span_ns, each.at_ns, each.energy_mj)
        for each in recording.monitoring.device
        if each.energy_mj is not None and each.span_ns > 0
    ]
    if not stretches or not readings:
        return None
    length_ns = sum(end - begin for begin, end in stretches)
    if length_ns < LEAST_SPANS * len(stretches) * median(end - begin for begin, end, _ in readings):
        return None
    parts = list(_parts(stretches, readings))
    if sum(shared_ns for shared_ns, _ in parts) < LEAST_COVERED * length_ns:
        return None
    return sum(energy_mj for _, energy_mj in parts) / MILLIJOULES / _tokens(recording, samples)


def _parts(stretches: tuple[tuple[int, int], ...], readings: list[tuple[int, int, int]]) -> Iterator[tuple[int, float]]:
    """Nanoseconds and millijoules that each reading shares with each stretch."""
    for begin, end in stretches:
        for began, ended, energy_mj in readings:
            shared_ns = min(end, ended) - max(begin, began)
            if shared_ns > 0:
                yield shared_ns, energy_mj * shared_ns / (ended - began)


def _tokens(recording: Recording, samples: list[Sample]) -> int:
    return recording.cell.workload.batch_size * sum(sample.output_tokens for sample in samples)
