"""Owns one timed call, of one request or of several sent together: what streamed back, and the times in between."""

from dataclasses import dataclass, field
from enum import Enum

from perfsuite.core.codec import ADDED_LATER
from perfsuite.core.workload import SamplingParams

ROW_STEP = 2**33
"""Between the seeds of rows; requests that follow each other have seeds much closer to each other than this."""


class Phase(Enum):
    """What a request was made for: TTFT comes from one-token requests, so that hundreds are cheap."""

    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call: `prompts` holds one tuple of token ids per sequence of the batch, all of one length."""

    prompts: tuple[tuple[int, ...], ...]
    output_tokens: int
    sampling: SamplingParams
    ignore_eos: bool = True

    def seed_of(self, row: int) -> int:
        """The seed of a row that is sent as a request of its own; rows that shared one would draw alike."""
        return (self.sampling.seed + row * ROW_STEP) % 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One streamed event of one sequence: `row` is its place in the batch, `token_ids` what arrived at once.

    `logprobs` are the log probabilities of these ids where the engine gives them. `finish_reason` is 'length' or
    'stop' on the last chunk of a row, `None` before. An endpoint that tells no ids sends `text`: its chunks have no
    `token_ids`, and how many tokens each held is known at the end (`CountsTokens`).
    """

    token_ids: tuple[int, ...]
    row: int = 0
    logprobs: tuple[float, ...] | None = None
    finish_reason: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One timed request; every latency is derived from it here and nowhere else.

    `arrivals_ns[i]` is the time from sending to the i-th event on the host; with a batch an event counts when the
    slowest row has it. `tokens[i]` is how many tokens of one row came with it. `device_ns[i]` is the device's own
    time for that step, `None` where no device took part. `block` numbers the run of samples it was taken in. `sent_ns`
    is when it was sent, on the clock of the monitor's readings; `None` in samples of a time without a monitor.

    Where the rows are requests of their own (engines, endpoints), `rows_ns[row]` and `rows_tokens[row]` are the same
    of each row by itself, all counted from the moment they were sent together; `None` where rows share one time, for a
    single row, and in samples of an earlier layout.
    """

    phase: Phase
    block: int
    arrivals_ns: tuple[int, ...]
    tokens: tuple[int, ...]
    device_ns: tuple[int, ...] | None = None
    sent_ns: int | None = field(default=None, metadata={ADDED_LATER: True})
    rows_ns: tuple[tuple[int, ...], ...] | None = field(default=None, metadata={ADDED_LATER: True})
    rows_tokens: tuple[tuple[int, ...], ...] | None = field(default=None, metadata={ADDED_LATER: True})

    def __post_init__(self) -> None:
        times, tokens = self.rows_ns or (), self.rows_tokens or ()
        events = zip((self.arrivals_ns, *times), (self.tokens, *tokens), strict=False)
        if len(times) != len(tokens) or any(not a or len(a) != len(t) for a, t in events):
            raise ValueError("a sample needs one token count per arrival, and at least one arrival")

    @property
    def requests(self) -> tuple["Sample", ...]:
        """Each request of its own as a sample; the sample itself where its rows share one time."""
        if not self.rows_ns or not self.rows_tokens:
            return (self,)
        return tuple(
            Sample(phase=self.phase, block=self.block, arrivals_ns=times_ns, tokens=tokens, sent_ns=self.sent_ns)
            for times_ns, tokens in zip(self.rows_ns, self.rows_tokens, strict=True)
        )

    @property
    def ttft_ns(self) -> int:
        """From sending to the first token id on the host."""
        return self.arrivals_ns[0]

    @property
    def e2e_ns(self) -> int:
        """From sending to the last token id on the host."""
        return self.arrivals_ns[-1]

    @property
    def output_tokens(self) -> int:
        return sum(self.tokens)

    @property
    def tpot_ns(self) -> float | None:
        """(E2E - TTFT) / (tokens after the first event); `None` when nothing came after it.

        With one token per event this is the field's (E2E - TTFT) / (n - 1); a first event of several tokens counts
        with its real size (as AIPerf does), so that bundling does not make decoding look faster.
        """
        later = self.output_tokens - self.tokens[0]
        return (self.e2e_ns - self.ttft_ns) / later if later else None

    @property
    def itl_ns(self) -> tuple[int, ...] | None:
        """Gaps between consecutive tokens; `None` when an event held several tokens (then see `icl_ns`)."""
        return self.icl_ns if all(count == 1 for count in self.tokens) else None

    @property
    def icl_ns(self) -> tuple[int, ...]:
        """Gaps between consecutive events (inter-chunk latency)."""
        return tuple(after - before for before, after in zip(self.arrivals_ns, self.arrivals_ns[1:], strict=False))

    @property
    def ttft_device_ns(self) -> int | None:
        """Device time of the prefill step."""
        return self.device_ns[0] if self.device_ns else None

    @property
    def tpot_device_ns(self) -> float | None:
        """Mean device time of the decode steps; `None` without a device or without a decode step."""
        if self.device_ns is None or len(self.device_ns) < 2:
            return None
        return sum(self.device_ns[1:]) / (len(self.device_ns) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A request, or a whole cell, that broke: counted and shown, never a latency of zero.

    `stage` is where: 'open', 'warm-up', 'measure', 'answer' (the wrong number of tokens, an id outside the
    vocabulary) or 'worker' (the process died). `phase` is the kind of request that broke; `None` for what was none, and
    in failures of an earlier layout.
    """

    stage: str
    message: str
    phase: Phase | None = field(default=None, metadata={ADDED_LATER: True})
