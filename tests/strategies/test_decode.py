"""The token loop, driven by a scripted step: what is asked of the step, and what comes out as chunks."""

import pytest
import torch

from perfsuite.core.errors import OptionError
from perfsuite.core.sample import Request
from perfsuite.core.workload import SamplingParams
from perfsuite.strategies._decode import Decoder, SampledStep, next_token_logits

CPU = torch.device("cpu")
GREEDY = SamplingParams(temperature=0)
EOS = 9


class ScriptedStep:
    """Gives the tokens it was told to, step by step, and keeps what it was asked."""

    def __init__(self, *tokens):
        self._tokens = [torch.tensor(step).unsqueeze(1) for step in tokens]
        self.asked = []
        self.inference = []

    def begin(self, request):
        self.asked.append("begin")

    def prefill(self):
        return self._next("prefill")

    def decode(self):
        return self._next("decode")

    def _next(self, call):
        self.asked.append(call)
        self.inference.append(torch.is_inference_mode_enabled())
        return self._tokens[len(self.asked) - 2]


class CountingForward:
    """The most likely next token is the last one plus one; the vocabulary is 10."""

    def prefill(self, ids):
        return self.decode(ids)

    def decode(self, ids):
        return torch.nn.functional.one_hot((ids[:, -1] + 1) % 10, 10).float()


class DescendingForward:
    """The smallest id is the most likely, whatever came before; all logits are positive."""

    def prefill(self, ids):
        return torch.arange(10.0, 0.0, -1.0).repeat(len(ids), 1)

    decode = prefill


class FlatForward:
    """Every token of a large vocabulary is equally likely."""

    def prefill(self, ids):
        return torch.zeros(len(ids), 100_000, device=ids.device)

    decode = prefill


def request(*prompts, output_tokens=3, **changes):
    return Request(prompts=prompts, output_tokens=output_tokens, **{"sampling": GREEDY, **changes})


PENALISED = SamplingParams(temperature=0, repetition_penalty=100.0)
SINGLE = request((0,), sampling=PENALISED)


def answer(step, asked):
    """Row, tokens and finish reason of every chunk."""
    return [(c.row, c.token_ids, c.finish_reason) for c in Decoder(step, CPU, (EOS,)).stream(asked)]


def test_a_request_is_begun_then_prefilled_then_decoded():
    step = ScriptedStep([5], [6], [7])
    answer(step, request((1, 2)))
    assert step.asked == ["begin", "prefill", "decode", "decode"]


def test_each_token_is_a_chunk_and_the_last_says_length():
    assert answer(ScriptedStep([5], [6], [7]), request((1, 2))) == [
        (0, (5,), None),
        (0, (6,), None),
        (0, (7,), "length"),
    ]


def test_each_row_of_a_batch_gets_its_chunk_of_each_step():
    step = ScriptedStep([5, 6], [7, 8])
    assert answer(step, request((1,), (2,), output_tokens=2)) == [
        (0, (5,), None),
        (1, (6,), None),
        (0, (7,), "length"),
        (1, (8,), "length"),
    ]


def test_no_step_is_made_for_tokens_nobody_asked_for():
    step = ScriptedStep([5])
    assert answer(step, request((1,), output_tokens=1)) == [(0, (5,), "length")]
    assert len(step.asked) == 2


def test_an_end_id_stops_its_row_and_is_its_last_token():
    step = ScriptedStep([5, 6], [EOS, 7], [1, 8])
    assert answer(step, request((1,), (2,), ignore_eos=False)) == [
        (0, (5,), None),
        (1, (6,), None),
        (0, (EOS,), "stop"),
        (1, (7,), None),
        (1, (8,), "length"),
    ]


def test_nothing_is_computed_once_every_row_has_stopped():
    step = ScriptedStep([EOS])
    assert answer(step, request((1,), ignore_eos=False)) == [(0, (EOS,), "stop")]
    assert len(step.asked) == 2


def test_an_ignored_end_id_is_a_token_like_any_other():
    assert [tokens for _, tokens, _ in answer(ScriptedStep([EOS], [EOS]), request((1,), output_tokens=2))] == [
        (EOS,),
        (EOS,),
    ]


def test_inference_mode_holds_within_a_step_and_not_for_the_caller():
    step = ScriptedStep([5], [6], [7])
    outside = [torch.is_inference_mode_enabled() for _ in Decoder(step, CPU, ()).stream(request((1,)))]
    assert step.inference == [True, True, True]
    assert outside == [False, False, False]


def test_a_token_is_given_before_the_next_one_is_computed():
    step = ScriptedStep([5], [6])
    stream = Decoder(step, CPU, ()).stream(request((1,), output_tokens=2))
    next(stream)
    assert len(step.asked) == 2


def test_a_cpu_has_no_device_times():
    decoder = Decoder(ScriptedStep([5], [6], [7]), CPU, ())
    list(decoder.stream(request((1,))))
    assert decoder.device_ns() is None


def test_a_sampled_step_feeds_logits_to_the_sampler():
    assert [c for _, c, _ in answer(SampledStep(CountingForward(), CPU), request((3, 4)))] == [(5,), (6,), (7,)]


def test_the_penalty_falls_on_prompt_and_output_of_the_same_row():
    asked = request((0, 1), (5, 0), sampling=PENALISED)
    chunks = answer(SampledStep(DescendingForward(), CPU), asked)
    assert [token for row, (token,), _ in chunks if row == 0] == [2, 3, 4]
    assert [token for row, (token,), _ in chunks if row == 1] == [1, 2, 3]


def test_a_request_forgets_the_tokens_of_the_one_before():
    step = SampledStep(DescendingForward(), CPU)
    answers = [answer(step, asked) for asked in (SINGLE, SINGLE, request((0,), (1,), sampling=PENALISED), SINGLE)]
    assert answers[0] == answers[1] == answers[3]


def test_the_seed_of_the_request_decides_the_draw():
    step = SampledStep(FlatForward(), CPU)
    drawn = [answer(step, request((0,), sampling=SamplingParams(seed=seed))) for seed in (1, 2, 1)]
    assert drawn[0] == drawn[2] != drawn[1]


def test_logits_of_the_next_token_are_single_precision_on_the_host():
    logits = next_token_logits(CountingForward(), ((3, 4), (5, 6)), CPU)
    assert (logits.dtype, logits.argmax(dim=1).tolist()) == (torch.float32, [5, 7])


def test_a_cpu_cannot_be_slowed():
    with pytest.raises(OptionError, match="slowing the device needs a GPU, and the model runs on 'cpu'"):
        Decoder(ScriptedStep(), CPU, ()).slow_device(0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_times_every_step_of_the_last_request():
    device = torch.device("cuda", 0)
    decoder = Decoder(SampledStep(FlatForward(), device), device, ())
    list(decoder.stream(request((0,), output_tokens=5)))
    list(decoder.stream(request((0,), output_tokens=3)))
    assert len(decoder.device_ns()) == 3
    assert all(duration > 0 for duration in decoder.device_ns())
