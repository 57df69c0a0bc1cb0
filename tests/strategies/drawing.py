"""What an engine would draw from the embedded model, by transformers' own processors, or with one of them left out."""

from functools import cache

import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from perfsuite.core.workload import ModelSpec
from perfsuite.models.load import load

NOTHING = "nothing"
IGNORED = ("temperature", "top_k", "top_p", "repetition_penalty", "seed")


@cache
def model():
    return load(ModelSpec(name="tiny", device="cpu", dtype="float32")).model


def processors(params, *ignored):
    """Those that are not off, in their order."""
    top_k = params.top_k if params.top_k and params.top_k > 0 else 0
    wanted = {
        "repetition_penalty": (RepetitionPenaltyLogitsProcessor, params.repetition_penalty, 1),
        "temperature": (TemperatureLogitsWarper, params.temperature, 1),
        "top_k": (TopKLogitsWarper, top_k, 0),
        "top_p": (TopPLogitsWarper, params.top_p, 1),
    }
    return [
        kind(value) for name, (kind, value, off) in wanted.items() if value not in (off, None) and name not in ignored
    ]


def drawing(ignores=NOTHING):
    """A function of a prompt and sampling parameters, as vLLM and TensorRT-LLM name them, to an answer's tokens."""

    def draw(ids, params):
        greedy = ignores != "temperature" and (params.temperature == 0 or params.top_k == 1)
        random = torch.Generator().manual_seed(0 if ignores == "seed" else params.seed or 0)
        row, answer = torch.tensor([list(ids)]), []
        with torch.inference_mode():
            for _ in range(params.max_tokens):
                scores = model()(row).logits[:, -1].float()
                for process in processors(params, ignores, *(["temperature"] if greedy else [])):
                    scores = process(row, scores)
                drawn = (
                    scores.argmax(-1) if greedy else torch.multinomial(scores.softmax(-1), 1, generator=random)[:, 0]
                )
                answer.append(int(drawn))
                row = torch.cat([row, drawn[:, None]], dim=1)
        return answer

    return draw
