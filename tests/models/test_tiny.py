"""The embedded model comes with the package, has learned something, ends what it writes, and is not mere noise."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from perfsuite.core.errors import ModelLoadError
from perfsuite.core.sample import Request
from perfsuite.core.workload import ModelSpec, SamplingParams
from perfsuite.measure.opening import opened
from perfsuite.models import presets
from perfsuite.models.alphabet import BEGIN, END, SIZE, decode, encode
from perfsuite.models.load import load
from perfsuite.strategies.eager import EagerStrategy

TINY = ModelSpec(name="tiny", device="cpu")
FOLDER = presets.packaged_weights(TINY).parent
UNIFORM = math.log(SIZE)
UNSEEN = '''\
def describe_basket(self, apples, prefix=None):
    """Return a line that says how many apples there are.

    If *prefix* is given, it is put before the line.
    """
    if not isinstance(apples, int):
        raise TypeError("apples must be an int, not %s" % type(apples).__name__)
    if prefix is None:
        prefix = self.prefix
    result = []
    for index in range(apples):
        result.append(self.name(index))
    return prefix + ", ".join(result)
'''
"""Written for this test, in the manner of what the model has read."""


@pytest.fixture(scope="module")
def tiny():
    with opened(EagerStrategy(), TINY) as strategy:
        yield strategy


def written(strategy, text, output_tokens, **sampling):
    """The ids that follow a begun document, until it ends."""
    prompt = (BEGIN, *encode(text))
    asked = Request(
        prompts=(prompt,), output_tokens=output_tokens, sampling=SamplingParams(**sampling), ignore_eos=False
    )
    return [token for chunk in strategy.stream(asked) for token in chunk.token_ids]


def loss(spec, ids):
    """Mean nats per token, and whether every logit is a number."""
    row = torch.tensor([ids])
    with torch.inference_mode():
        logits = load(spec).model(row[:, :-1]).logits.float()
    assert logits.isfinite().all()
    return cross_entropy(logits[0], row[0, 1:]).item()


def test_its_file_is_at_most_two_megabytes():
    assert presets.packaged_weights(TINY).stat().st_size <= 2_000_000


def test_its_config_speaks_the_alphabet():
    config = presets.preset("tiny").config
    assert (config["vocab_size"], config["bos_token_id"], config["eos_token_id"]) == (SIZE, BEGIN, END)


def test_its_folder_is_one_that_transformers_loads_without_perfsuite():
    model, report = AutoModelForCausalLM.from_pretrained(FOLDER, output_loading_info=True)
    assert not any(report.values())
    assert sum(parameter.numel() for parameter in model.parameters()) == load(TINY).facts.parameters


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_it_predicts_text_that_it_has_not_read_far_better_than_chance(dtype):
    assert loss(replace(TINY, dtype=dtype), (BEGIN, *encode(UNSEEN), END)) < 0.3 * UNIFORM


def test_its_dummy_weights_have_learned_nothing():
    assert loss(replace(TINY, load_format="dummy"), (BEGIN, *encode(UNSEEN), END)) > 0.9 * UNIFORM


def test_it_stays_sane_to_its_last_position():
    ids = (BEGIN, *encode(UNSEEN), END) * 3
    assert loss(TINY, ids[:1025]) < 0.3 * UNIFORM


def test_its_distributions_are_peaked_and_no_certainties(tiny):
    ids = (BEGIN, *encode(UNSEEN))
    logits = tiny.next_token_logits(tuple(zip(*[ids[i:] for i in range(64)], strict=False)))
    entropy = torch.distributions.Categorical(logits=logits).entropy().mean().item()
    assert 0.05 * UNIFORM < entropy < 0.35 * UNIFORM


def test_a_greedy_continuation_is_text_and_no_single_token_repeated(tiny):
    ids = written(tiny, "def ", 60, temperature=0)
    assert len(set(ids)) > 8
    assert decode(ids).isprintable() or "\n" in decode(ids)


def test_it_expects_the_end_where_a_document_ends_and_hardly_elsewhere():
    with torch.inference_mode():
        logits = load(TINY).model(torch.tensor([(BEGIN, *encode(UNSEEN))])).logits[0]
    ending = logits.softmax(-1)[:, END]
    assert ending[-1] > 0.5
    assert ending[:-1].mean() < 0.01


def test_what_it_writes_ends_in_most_cases(tiny):
    lasts = [written(tiny, "", 500, seed=seed)[-1] for seed in range(4)]
    assert lasts.count(END) >= 2


def test_its_fingerprint_follows_its_weights(tmp_path, monkeypatch):
    trained, dummy = load(TINY), load(replace(TINY, load_format="dummy"))
    assert trained.facts.fingerprint != dummy.facts.fingerprint
    (tmp_path / "config.json").write_bytes((FOLDER / "config.json").read_bytes())
    other = (FOLDER / "model.safetensors").read_bytes()[:-2] + b"\0\0"
    (tmp_path / "model.safetensors").write_bytes(other)
    move_weights(monkeypatch, tmp_path / "model.safetensors")
    assert load(TINY).facts.fingerprint != trained.facts.fingerprint
    assert load(replace(TINY, load_format="dummy")).facts.fingerprint == dummy.facts.fingerprint


def test_without_its_file_it_says_that_the_installation_is_broken(tmp_path, monkeypatch):
    move_weights(monkeypatch, tmp_path / "model.safetensors")
    with pytest.raises(ModelLoadError, match=r"that come with perfsuite cannot be loaded: .*; install perfsuite again"):
        load(TINY)


def move_weights(monkeypatch, file):
    moved = replace(presets.preset("tiny"), weights=file)
    monkeypatch.setattr(presets, "_PRESETS", {"tiny": moved})
