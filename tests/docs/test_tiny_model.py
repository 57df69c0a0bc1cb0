"""The pieces of the script that trains the embedded model, without training."""

import importlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perfsuite.models.alphabet import BEGIN, END

FOLDER = Path(__file__).parents[2] / "docs" / "tiny-model"
SOURCE = '''\
"""Not a document."""
LIMIT = 3

@cached
def first():
    def inside():
        pass
    return inside

class Shelf:
    """Not a document either."""

    async def second(self):
        # é
        return LIMIT
'''
FIRST = "@cached\ndef first():\n    def inside():\n        pass\n    return inside\n"
SECOND = "async def second(self):\n    # é\n    return LIMIT\n"


@pytest.fixture
def corpus(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("corpus")


@pytest.fixture
def train(corpus):
    return importlib.import_module("train")


def test_a_document_is_a_function_with_its_decorators_as_if_it_stood_alone(corpus):
    assert list(corpus.documents(SOURCE)) == [FIRST, SECOND]


def test_every_document_stands_between_its_begin_and_its_end(corpus):
    assert corpus.tokens(["é", "ab"]).tolist() == [BEGIN, 0xC3, 0xA9, END, BEGIN, 97, 98, END]


def test_the_order_of_the_documents_comes_from_the_seed(corpus):
    texts = [str(number) for number in range(20)]
    assert corpus.shuffled(texts, 1) == corpus.shuffled(texts, 1) != corpus.shuffled(texts, 2)
    assert sorted(corpus.shuffled(texts, 1)) == sorted(texts)


def test_another_text_has_another_digest(corpus):
    assert corpus.digest(["ab", "c"]) != corpus.digest(["a", "bc"])


def test_a_file_is_held_out_by_its_name_whatever_folder_it_lies_in(corpus):
    assert corpus.is_held_out(Path("/one/shutil.py"))
    assert corpus.is_held_out(Path("/two/shutil.py"))
    assert not corpus.is_held_out(Path("/one/json.py"))


def test_tests_and_other_peoples_packages_are_not_read(corpus):
    folders = {part for path in corpus.library_files() for part in path.parts}
    assert not folders & {"site-packages", "test"}


def test_the_learning_rate_rises_and_falls_to_nothing(train):
    plan = train.Plan(steps=1000, warmup=100, rate=1.0)
    rates = [plan.rate_at(step) for step in (0, 99, 550, 1000)]
    assert rates == pytest.approx([0.01, 1.0, 0.5, 0.0])


def test_every_step_takes_as_many_tokens_and_some_the_longest_context(train):
    plan = train.Plan(rows=8, long_every=3)
    assert [plan.shape_at(step) for step in range(4)] == [(8, 256), (8, 256), (2, 1024), (8, 256)]


def test_a_batch_is_consecutive_text_from_places_drawn_by_the_seed(train):
    plan = train.Plan(steps=3, rows=2, context=8, long_every=4, warmup=1)
    first, again = list(train.batches(np.arange(100), plan)), list(train.batches(np.arange(100), plan))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert all(row.tolist() == list(range(row[0], row[0] + 9)) for batch in first for row in batch)


def test_a_new_model_knows_nothing(train):
    torch.manual_seed(0)
    batch = torch.randint(0, 258, (2, 33))
    assert train.loss_of(train.new_model(train.Plan()), batch).item() == pytest.approx(math.log(258), rel=0.05)


def test_what_is_saved_is_what_the_package_loads(train, tmp_path):
    model = train.new_model(replace(train.Plan(), initial_deviation=0.1))
    train.save(model, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(model.config.to_json_string(), encoding="utf-8")
    loaded = type(model).from_pretrained(tmp_path, dtype=torch.float32)
    difference = model(torch.tensor([[1, 2, 3]])).logits - loaded(torch.tensor([[1, 2, 3]])).logits
    assert difference.abs().max() < 0.05
