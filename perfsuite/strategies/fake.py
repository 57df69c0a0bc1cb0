"""Owns the scripted strategy: latencies that are known beforehand, on a clock that passes only when told to.

With it the recorder, the statistics and the gate are tested to the digit, without a model and without sleeping.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from perfsuite.core.canary import Canary
from perfsuite.core.codec import CodecError, decode
from perfsuite.core.errors import OptionError
from perfsuite.core.recording import Evidence
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.clock import ScriptedClock
from perfsuite.measure.strategy import ALL_SAMPLING, Ability

SCRIPT_VARIABLE = "PERFSUITE_FAKE_SCRIPT"
"""Environment variable that holds a script as JSON; fields left out keep their defaults."""

VOCABULARY = 1000
CANARY_NS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The latencies of a fake model and their noise.

    A prompt pass takes `prefill_ns` plus `prompt_token_ns` for each prompt token, a step `step_ns`. Every session is
    slower or faster by a log-normal factor with standard deviation `session_sd`, every step by one with `sample_sd`;
    a share `spike_share` of the steps takes `spike_factor` as long. The host of the script changes its speed every
    `host_period_ns`, for steps and canary alike, by a log-normal factor with `host_sd`; the device does not notice.
    `seed` -1 draws a new session each time.
    """

    load_ns: int = 1_000_000_000
    prefill_ns: int = 4_000_000
    prompt_token_ns: int = 5_000
    step_ns: int = 3_000_000
    session_sd: float = 0.004
    sample_sd: float = 0.01
    host_sd: float = 0.0
    host_period_ns: int = 5_000_000_000
    spike_share: float = 0.0
    spike_factor: float = 3.0
    device_share: float = 0.9
    seed: int = -1


def script_from_environment() -> Script:
    """The script that PERFSUITE_FAKE_SCRIPT describes, the default one if it is not set."""
    text = os.environ.get(SCRIPT_VARIABLE, "{}")
    defaults = {name: getattr(Script(), name) for name in Script.__slots__}
    try:
        return decode(Script, {**defaults, **json.loads(text)}, where=SCRIPT_VARIABLE)
    except (json.JSONDecodeError, CodecError, TypeError) as error:
        raise OptionError(f"{SCRIPT_VARIABLE}: {text!r} is not a script: {error}") from error


class FakeStrategy:
    """Answers with random token ids after scripted delays."""

    name = "fake"
    abilities = frozenset({Ability.BATCH}) | ALL_SAMPLING

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or script_from_environment()
        self.scripted_clock = ScriptedClock()
        self._noise = np.random.default_rng(None if self._script.seed < 0 else self._script.seed)
        self._session_factor = 1.0
        self._host = _Host(self._script, self._noise)
        self._device_ns: list[int] = []

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        self._session_factor = float(np.exp(self._noise.normal(0, self._script.session_sd)))
        self.scripted_clock.wait_ns(self._script.load_ns)

    def stream(self, request: Request) -> Iterator[Chunk]:
        rows = len(request.prompts)
        tokens = np.random.default_rng(request.sampling.seed).integers(0, VOCABULARY, (request.output_tokens, rows))
        self._device_ns = []
        for index, step_tokens in enumerate(tokens.tolist()):
            self._step(self._script.step_ns if index else self._prefill_ns(len(request.prompts[0])))
            finish_reason = "length" if index + 1 == request.output_tokens else None
            for row, token in enumerate(step_tokens):
                yield Chunk(token_ids=(token,), row=row, finish_reason=finish_reason)

    def _prefill_ns(self, prompt_tokens: int) -> int:
        return self._script.prefill_ns + prompt_tokens * self._script.prompt_token_ns

    def _step(self, nominal_ns: int) -> None:
        factor = self._session_factor * float(np.exp(self._noise.normal(0, self._script.sample_sd)))
        if self._noise.random() < self._script.spike_share:
            factor *= self._script.spike_factor
        host = self._host.factor(self.scripted_clock.now_ns())
        self.scripted_clock.wait_ns(round(nominal_ns * factor * host))
        self._device_ns.append(round(nominal_ns * factor * self._script.device_share))

    def device_ns(self) -> tuple[int, ...]:
        return tuple(self._device_ns)

    def canaries(self) -> "tuple[_ScriptedCanary, ...]":
        return (_ScriptedCanary(self._host, self.scripted_clock),)

    def facts(self) -> ModelFacts:
        return ModelFacts(
            vocabulary=VOCABULARY, positions=None, parameters=0, dtype="none", device="scripted", fingerprint="scripted"
        )

    def evidence(self) -> Evidence:
        return Evidence()

    def close(self) -> None:
        self._device_ns = []


class _Host:
    """A host whose speed changes by steps; the device does not notice."""

    def __init__(self, script: Script, noise: np.random.Generator) -> None:
        self._script = script
        self._noise = noise
        self._factors: dict[int, float] = {}

    def factor(self, now_ns: int) -> float:
        """How much slower than usual the host is now."""
        if not self._script.host_sd:
            return 1.0
        period = now_ns // self._script.host_period_ns
        if period not in self._factors:
            self._factors[period] = float(np.exp(self._noise.normal(0, self._script.host_sd)))
        return self._factors[period]


class _ScriptedCanary:
    """A millisecond of the scripted host's time."""

    canary = Canary.HOST

    def __init__(self, host: _Host, clock: ScriptedClock) -> None:
        self._host = host
        self._clock = clock

    def run(self) -> None:
        self._clock.wait_ns(round(CANARY_NS * self._host.factor(self._clock.now_ns())))

    def device_ns(self) -> None:
        return None
