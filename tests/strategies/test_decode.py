"""The token loop, driven by a scripted step: what is asked of the step, and what comes out as chunks."""

import pytest
import torch

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

    def prefill(self, ids, sampling):
        return self._next(("prefill", ids.tolist(), sampling))

    def decode(self, ids):
        return self._next(("decode", ids.tolist()))

    def _next(self, call):
        self.asked.append(call)
        self.inference.append(torch.is_inference_mode_enabled())
        return self._tokens[len(self.asked) - 1]


class CountingForward:
    """The most likely next token is the last one plus one; the vocabulary is 10."""

    def prefill(self, ids):
        return self.decode(ids)

    def decode(self, ids):
        return torch.nn.functional.one_hot((ids[:, -1] + 1) % 10, 10).float()


def request(*prompts, output_tokens=3, **changes):
    return Request(prompts=prompts, output_tokens=output_tokens, **{"sampling": GREEDY, **changes})


def answer(step, asked):
    """Row, tokens and finish reason of every chunk."""
    return [(c.row, c.token_ids, c.finish_reason) for c in Decoder(step, CPU, (EOS,)).stream(asked)]


def test_each_step_takes_in_what_the_one_before_gave():
    step = ScriptedStep([5], [6], [7])
    answer(step, request((1, 2)))
    assert step.asked == [("prefill", [[1, 2]], GREEDY), ("decode", [[5]]), ("decode", [[6]])]


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
    assert len(step.asked) == 1


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
    assert len(step.asked) == 1


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
    assert len(step.asked) == 1


def test_a_cpu_has_no_device_times():
    decoder = Decoder(ScriptedStep([5], [6], [7]), CPU, ())
    list(decoder.stream(request((1,))))
    assert decoder.device_ns() is None


def test_a_sampled_step_feeds_logits_to_the_sampler():
    assert [c for _, c, _ in answer(SampledStep(CountingForward(), CPU), request((3, 4)))] == [(5,), (6,), (7,)]


def test_the_penalty_falls_on_prompt_and_output():
    penalised = SamplingParams(temperature=0, repetition_penalty=1e9)
    step = SampledStep(CountingForward(), CPU)
    # 5 is in the prompt, so that all logits are near 0 and the first id with exactly 0 wins over it
    first = answer(step, request((5, 4), output_tokens=1, sampling=penalised))
    assert first == [(0, (5,), "length")]  # 1e-9 is still the largest
    assert step._seen.nonzero().tolist() == [[0, 4], [0, 5]]
