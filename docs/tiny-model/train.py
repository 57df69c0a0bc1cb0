"""Trains the embedded model and writes its weights: python docs/tiny-model/train.py [FILE] [--steps N]

Without FILE the weights go where the package keeps them. Takes about ten minutes on one core of a CPU. Everything is
drawn from one seed; on another CPU or torch the weights differ in their last digits, with another Python in their text.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, LlamaConfig

from perfsuite.models.presets import preset

TINY = preset("tiny")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how fast the model learns.

    A row has `context` tokens, in every `long_every`-th step `long_context`: a model that has read short rows only is
    lost behind them, and learns to read on too slowly if the long ones come last.
    """

    steps: int = 6000
    rows: int = 4
    context: int = 256
    long_every: int = 5
    long_context: int = 1024
    warmup: int = 200
    rate: float = 3e-3
    decay: float = 0.1
    initial_deviation: float = 0.04
    threads: int = 1
    seed: int = 0

    def shape_at(self, step: int) -> tuple[int, int]:
        """Rows and tokens a row: the same number of tokens in every step."""
        if (step + 1) % self.long_every:
            return self.rows, self.context
        return self.rows * self.context // self.long_context, self.long_context

    def rate_at(self, step: int) -> float:
        """The learning rate: a straight line up, half a cosine down to nothing."""
        done = max(0.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.rate * min(1.0, (step + 1) / self.warmup) * (1 + math.cos(math.pi * done)) / 2


def new_model(plan: Plan) -> Any:
    """The shape of the preset, with weights small enough to learn from."""
    config = dict(TINY.config if TINY else {}) | {"initializer_range": plan.initial_deviation}
    return AutoModelForCausalLM.from_config(LlamaConfig(**config))


def batches(ids: np.ndarray, plan: Plan) -> Iterator[Tensor]:
    """For every step rows of consecutive ids from anywhere in the text, [rows, context + 1]."""
    places = np.random.default_rng(plan.seed)
    for step in range(plan.steps):
        rows, context = plan.shape_at(step)
        starts = places.integers(0, len(ids) - context, size=(rows, 1))
        yield torch.from_numpy(ids[starts + np.arange(context + 1)])


def loss_of(model: Any, batch: Tensor) -> Tensor:
    """Mean nats per token of each row's tokens but the first."""
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def optimizer_of(model: Any, plan: Plan) -> torch.optim.Optimizer:
    """AdamW that pulls matrices towards nothing and leaves norms alone."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    norms = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": plan.decay}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.95))


def train(model: Any, ids: np.ndarray, plan: Plan) -> None:
    """All steps of the plan, with a line every hundred."""
    optimizer, losses = optimizer_of(model, plan), []
    for step, batch in enumerate(batches(ids, plan)):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            say(f"step {step + 1}: {sum(losses[-100:]) / 100 / math.log(2):.3f} bits per token")


def save(model: Any, file: Path) -> None:
    """The weights in half precision; the last layer is the first one's table and is not written twice."""
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    del weights["lm_head.weight"]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(to_bytes(weights, metadata={"format": "pt"}))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path, nargs="?", default=TINY.weights if TINY else None)
    parser.add_argument("--steps", type=int, default=Plan().steps)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    plan = replace(Plan(), steps=asked.steps)
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    texts = corpus.training_documents()
    ids = corpus.tokens(corpus.shuffled(texts, plan.seed))
    say(f"Python {sys.version.split()[0]}, torch {torch.__version__}")
    say(f"{len(texts)} documents, {len(ids)} tokens, digest {corpus.digest(texts)}")
    model, start = new_model(plan), time.monotonic()
    train(model, ids, plan)
    save(model, asked.file)
    say(f"{plan.steps} steps in {time.monotonic() - start:.0f} s, written to {asked.file}")


if __name__ == "__main__":
    main()
