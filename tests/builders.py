"""Owns values for tests: recordings and baselines whose numbers can be checked by hand.

Without noise sample i of a recording takes exactly `ttft_ms` (prefill) and adds `tpot_ms` per later token (decode).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from perfsuite.core.baseline import Baseline
from perfsuite.core.canary import Canary, CanaryReading
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Environment, Memory, Recording, StartupPhase
from perfsuite.core.roofline import Limits, Rate, Roofline
from perfsuite.core.sample import Failure, Phase, Sample
from perfsuite.core.units import NS_PER_MS, NS_PER_S
from perfsuite.core.verdict import Interval, Outcome, Verdict
from perfsuite.core.work import ModelWork
from perfsuite.core.workload import ModelSpec, Workload

H100 = "NVIDIA H100 80GB HBM3"


def make_environment(device: str = H100, **must_agree: str) -> Environment:
    """An environment in which the device, torch and whatever is named must agree."""
    return Environment(
        device=device,
        must_agree={"device": device, "dtype": "float16", "torch": "2.11.0", **must_agree},
        noted={"host": "node-1"},
    )


def make_cell(
    strategy: str = "eager", model: str = "tiny", prompt: int = 100, output: int = 4, *, rows: int = 1
) -> Cell:
    """'eager/tiny/p100-o4' unless told otherwise."""
    return Cell(
        strategy=strategy,
        model=ModelSpec(name=model),
        workload=Workload(prompt_tokens=prompt, output_tokens=output, batch_size=rows),
    )


def make_sample(
    phase: Phase, tokens: int, *, ttft_ms: float, tpot_ms: float = 1.0, block: int = 0, device: bool = False
) -> Sample:
    """A request with one token per event: the first after `ttft_ms`, the others `tpot_ms` apart.

    With `device` the device's own time is half of the host's, step by step.
    """
    first, gap = round(ttft_ms * NS_PER_MS), round(tpot_ms * NS_PER_MS)
    steps = (first, *(gap for _ in range(tokens - 1)))
    return Sample(
        phase=phase,
        block=block,
        arrivals_ns=tuple(sum(steps[: index + 1]) for index in range(tokens)),
        tokens=(1,) * tokens,
        device_ns=tuple(step // 2 for step in steps) if device else None,
    )


def make_samples(
    cell: Cell, n: int, decode: int, *, ttft_ms: float, tpot_ms: float, noise: float, seed: int, device: bool
) -> tuple[Sample, ...]:
    """`n` one-token requests, then `decode` full ones, each time multiplied by at most 1 ± `noise`."""
    draw = np.random.default_rng(seed)
    plan = [(Phase.PREFILL, 1)] * n + [(Phase.DECODE, cell.workload.output_tokens)] * decode
    return tuple(
        make_sample(
            phase,
            tokens,
            ttft_ms=ttft_ms * draw.uniform(1 - noise, 1 + noise),
            tpot_ms=tpot_ms * draw.uniform(1 - noise, 1 + noise),
            block=index // 20,
            device=device,
        )
        for index, (phase, tokens) in enumerate(plan)
    )


def make_recording(
    cell: Cell | None = None,
    *,
    environment: Environment | None = None,
    session: int = 0,
    ttft_ms: float = 40.0,
    tpot_ms: float = 2.0,
    n: int = 20,
    decode: int = 4,
    noise: float = 0.0,
    seed: int = 0,
    device: bool = False,
    failures: tuple[Failure, ...] = (),
    injected_slowdown: float = 0.0,
) -> Recording:
    """One session's recording: 2 s to load, 0.5 s for the first call, 100 MiB, two warm-ups of 1000 ms."""
    cell = cell or make_cell()
    warmup = make_sample(Phase.PREFILL, 1, ttft_ms=1000.0)
    return Recording(
        cell=cell,
        environment=environment or make_environment(),
        session=session,
        started_at=f"2026-01-02T03:04:{session % 60:02}Z",
        startup=(
            StartupPhase(name="load", duration_ns=2 * NS_PER_S),
            StartupPhase(name="first call", duration_ns=NS_PER_S // 2),
        ),
        memory=Memory(weights=90 * 2**20, peak_allocated=95 * 2**20, peak_reserved=100 * 2**20, host_peak=2**30),
        warmups=(warmup, warmup),
        samples=make_samples(
            cell, n, decode, ttft_ms=ttft_ms, tpot_ms=tpot_ms, noise=noise, seed=seed + 1000 * session, device=device
        ),
        failures=failures,
        injected_slowdown=injected_slowdown,
    )


def with_requests(recording: Recording, rows: int = 2, *, later_ms: float = 1.0) -> Recording:
    """The same, every sample of so many requests sent together, each `later_ms` later than the one before."""

    def split(sample: Sample) -> Sample:
        times = tuple(
            tuple(time_ns + round(row * later_ms * NS_PER_MS) for time_ns in sample.arrivals_ns) for row in range(rows)
        )
        return replace(sample, arrivals_ns=times[-1], rows_ns=times, rows_tokens=(sample.tokens,) * rows)

    return replace(recording, samples=tuple(map(split, recording.samples)))


def make_sessions(recording: Recording, count: int) -> tuple[Recording, ...]:
    """The recording `count` times, as sessions 0, 1, 2 … with the same samples."""
    return tuple(replace(recording, session=session) for session in range(count))


def make_readings(ms_by_canary: Mapping[Canary, Sequence[float]]) -> tuple[CanaryReading, ...]:
    """The reading of each canary beside block 0, 1, 2 …, in milliseconds; 0 where it was not read."""
    return tuple(
        CanaryReading(block=block, canary=canary, duration_ns=round(ms * NS_PER_MS))
        for canary, readings in ms_by_canary.items()
        for block, ms in enumerate(readings)
        if ms
    )


def make_block_recording(
    ttft_ms: Sequence[Sequence[float]],
    canaries: Mapping[Canary, Sequence[float]] | None = None,
    *,
    session: int = 0,
    device: bool = False,
) -> Recording:
    """One-token requests alone: block b holds the times of `ttft_ms[b]`, and `canaries` their readings beside it."""
    samples = tuple(
        make_sample(Phase.PREFILL, 1, ttft_ms=ms, block=block, device=device)
        for block, times in enumerate(ttft_ms)
        for ms in times
    )
    made = make_recording(session=session)
    return replace(made, samples=samples, canaries=make_readings(canaries or {}))


def make_roofline(*, read_ms: float = 1.0, token_ms: float = 0.01, doubt: float = 1.25) -> Roofline:
    """A device of 1 TB/s and 1 TFLOP/s, and a model whose weights take `read_ms` to read and a token `token_ms`."""
    return Roofline(
        limits=Limits(
            reading=Rate(measured=1e12, ceiling=doubt * 1e12), computing=Rate(measured=1e12, ceiling=doubt * 1e12)
        ),
        work=ModelWork(weight_bytes=round(read_ms * 1e9), token_flops=round(token_ms * 1e9), head_flops=0),
    )


def make_baseline(*recordings: Recording, sessions: int = 5, commit: str = "abc1234") -> Baseline:
    """A baseline of these recordings, else of `sessions` copies of `make_recording()`."""
    held = recordings or make_sessions(make_recording(), sessions)
    return Baseline(cell=held[0].cell, commit=commit, saved_at="2026-01-02T03:05:00Z", recordings=held)


def make_verdict(
    outcome: Outcome = Outcome.REGRESSED, metric: str = "ttft.p50", *, reason: str = "", remedy: str = ""
) -> Verdict:
    """A verdict on 41.2 ms -> 47.9 ms, 50 samples against five sessions of 50, at a tolerance of 5 %."""
    return Verdict(
        metric=metric,
        outcome=outcome,
        tolerance=0.05,
        baseline=41.2 * NS_PER_MS,
        candidate=47.9 * NS_PER_MS,
        change=0.163,
        interval=Interval(low=0.121, high=0.204),
        baseline_sessions=5,
        candidate_sessions=1,
        samples=50,
        reason=reason,
        remedy=remedy,
    )
