"""The energy of a generated token, by hand."""

from dataclasses import replace

import pytest

from perfsuite.core.energy import energy_per_token
from perfsuite.core.engine import EngineOptions
from perfsuite.core.reading import DeviceReading, Monitoring
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Phase
from tests.builders import make_cell, make_recording, make_sample
from tests.watched import STEP_NS, device_readings

MS = 1_000_000


def consuming(*millijoules: int | None) -> tuple[DeviceReading, ...]:
    return tuple(
        replace(reading, energy_mj=energy)
        for reading, energy in zip(device_readings((1980,) * len(millijoules)), millijoules, strict=True)
    )


def generating(readings: tuple[DeviceReading, ...], *, begin_ms: int = 0, steps: int = 4, batch: int = 1) -> Recording:
    """Two full requests of `steps` tokens, 50 ms each, one after the other; a prefill request before them."""
    duration_ms = 50 * steps
    sent = (begin_ms, begin_ms + duration_ms)
    decode = tuple(
        replace(make_sample(Phase.DECODE, steps, ttft_ms=50, tpot_ms=50), sent_ns=at_ms * MS) for at_ms in sent
    )
    prefill = replace(make_sample(Phase.PREFILL, 1, ttft_ms=50), sent_ns=0)
    cell = make_cell()
    wide = replace(cell, workload=replace(cell.workload, batch_size=batch))
    return replace(make_recording(wide), samples=(prefill, *decode), monitoring=Monitoring(device=readings))


def on_two_gpus(recording: Recording) -> Recording:
    model = replace(recording.cell.model, engine=EngineOptions(tensor_parallel_size=2))
    return replace(recording, cell=replace(recording.cell, model=model))


def test_the_energy_of_full_requests_is_shared_by_their_tokens() -> None:
    """0 to 400 ms: four readings of 60 J, eight tokens."""
    assert energy_per_token(generating(consuming(*(60_000,) * 4))) == pytest.approx(4 * 60 / 8)


def test_of_a_reading_at_the_edge_the_part_counts_that_lies_in_a_request() -> None:
    """50 to 450 ms: half of the first and of the last reading."""
    recording = generating(consuming(10_000, 60_000, 60_000, 60_000, 20_000), begin_ms=50)
    assert energy_per_token(recording) == pytest.approx((5 + 180 + 10) / 8)


def test_every_row_of_a_batch_generates() -> None:
    assert energy_per_token(generating(consuming(*(60_000,) * 4), batch=4)) == pytest.approx(4 * 60 / 32)


def test_samples_set_aside_consumed_and_generated_as_well() -> None:
    recording = generating(consuming(*(60_000,) * 4))
    aside = replace(recording, samples=recording.samples[:2], set_aside=recording.samples[2:])
    assert energy_per_token(aside) == energy_per_token(recording)


@pytest.mark.parametrize(
    "recording",
    [
        make_recording(),
        generating(()),
        generating(consuming(60_000, None, None, None)),
        generating(consuming(*(60_000,) * 4), steps=1),
        on_two_gpus(generating(consuming(*(60_000,) * 4))),
    ],
    ids=[
        "not watched",
        "no readings",
        "a counter that stopped telling",
        "requests shorter than the readings",
        "one of two GPUs watched",
    ],
)
def test_energy_that_cannot_be_told_is_none(recording: Recording) -> None:
    assert energy_per_token(recording) is None


def test_a_reading_of_a_tenth_of_a_second_is_what_the_sampler_takes() -> None:
    assert STEP_NS == 100 * MS
