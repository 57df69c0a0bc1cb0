"""What docs/tiny-model.md says of the embedded model: python docs/tiny-model/evaluate.py

Loads it as a run does and reads it on the files of the standard library that it was not trained on.
"""

import math
import sys
from dataclasses import replace

import corpus
import numpy as np
import torch
from torch import Tensor

from perfsuite.core.sample import Request
from perfsuite.core.workload import DEFAULT_SAMPLING, ModelSpec, SamplingParams
from perfsuite.measure.opening import opened
from perfsuite.measure.strategy import Strategy
from perfsuite.models.alphabet import BEGIN, END, decode, encode
from perfsuite.models.load import load
from perfsuite.strategies.eager import EagerStrategy

TINY = ModelSpec(name="tiny", device="cpu")
CONTEXT = 1024
SAMPLES = 50
GREEDY_PROMPTS = ("def __init__(self", "@property\ndef ", "def read(self, size=-1):\n    ")


def windows(ids: np.ndarray) -> Tensor:
    """The text cut into rows of one context and the token after it, [N, CONTEXT + 1]."""
    count = (len(ids) - 1) // CONTEXT
    return torch.from_numpy(np.stack([ids[i * CONTEXT : (i + 1) * CONTEXT + 1] for i in range(count)]))


def log_probabilities(rows: Tensor) -> Tensor:
    """In bits, of every id at every position but the first, [N, CONTEXT, V]."""
    model = load(TINY).model
    with torch.inference_mode():
        parts = [model(row[None, :-1]).logits.log_softmax(-1) / math.log(2) for row in rows]
    return torch.cat(parts)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def say_loss(rows: Tensor, bits: Tensor) -> None:
    """The held-out loss: all of it, and by how much of the text the model has seen."""
    targets = rows[:, 1:]
    lost = -bits.gather(-1, targets[..., None])[..., 0]
    say(f"bits per byte: {lost.sum() / (targets < BEGIN).sum():.3f} on {(targets < BEGIN).sum():,} bytes")
    for first, last in ((0, 16), (16, 64), (64, 256), (256, 512), (512, 1024)):
        say(f"  after {first}..{last - 1} tokens: {lost[:, first:last].mean():.3f} bits per token")
    say(f"the right token is the likeliest: {(bits.argmax(-1) == targets).float().mean():.1%}")


def say_shape(rows: Tensor, bits: Tensor) -> None:
    """How peaked the distributions are, and how well the model knows where a document ends."""
    likeliest = bits.max(-1).values.exp2()
    entropy = -(bits.exp2() * bits).sum(-1)
    sure = (likeliest > 0.9).float().mean()
    ends, ending = rows[:, 1:] == END, bits[..., END].exp2()
    say(f"entropy: mean {entropy.mean():.2f}, median {entropy.median():.2f} of {math.log2(bits.shape[-1]):.2f} bits")
    say(f"likeliest token: mean {likeliest.mean():.2f}; above 0.9 at {sure:.0%} of positions")
    say(
        f"end: {ends.float().mean():.5f} of tokens, {ending.mean():.5f} expected, {ending[ends].mean():.2f} where it is"
    )


def answer(strategy: Strategy, prompt: tuple[int, ...], output_tokens: int, sampling: SamplingParams) -> list[int]:
    asked = Request(prompts=(prompt,), output_tokens=output_tokens, sampling=sampling, ignore_eos=False)
    return [token for chunk in strategy.stream(asked) for token in chunk.token_ids]


def say_samples() -> None:
    """How often a document ends, and what is written."""
    plain = SamplingParams(temperature=1.0)
    with opened(EagerStrategy(), TINY) as strategy:
        drawn = [answer(strategy, (BEGIN,), 1000, replace(plain, seed=seed)) for seed in range(SAMPLES)]
        lengths = sorted(len(ids) for ids in drawn)
        say(f"{sum(ids[-1] == END for ids in drawn)} of {SAMPLES} samples end, median length {lengths[SAMPLES // 2]}")
        for prompt in GREEDY_PROMPTS:
            ids = answer(strategy, (BEGIN, *encode(prompt)), 300, SamplingParams(temperature=0))
            say(f"--- greedy, after {prompt!r}\n{decode(ids)}")
        for name, sampling in (("temperature 0.7", SamplingParams(temperature=0.7)), ("default", DEFAULT_SAMPLING)):
            for seed in range(3):
                say(f"--- {name}, seed {seed}\n{decode(answer(strategy, (BEGIN,), 400, replace(sampling, seed=seed)))}")


def main() -> None:
    rows = windows(corpus.tokens(corpus.held_out_documents()))
    bits = log_probabilities(rows)
    say_loss(rows, bits)
    say_shape(rows, bits)
    say_samples()


if __name__ == "__main__":
    main()
