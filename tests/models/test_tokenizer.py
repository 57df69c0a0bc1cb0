"""A tokenizer that belongs to another model is noticed when the model is loaded, whatever strategy loads it."""

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from perfsuite.core.errors import ModelLoadError
from perfsuite.core.workload import ModelSpec
from perfsuite.measure.opening import opened
from perfsuite.models import tokenizer as subject
from perfsuite.models.load import load
from perfsuite.strategies.eager import EagerStrategy
from tests.models.test_load import LLAMA, cpu, save


def put_tokenizer(folder, ids, eos=2):
    words = {f"w{index}": index for index in range(ids)}
    special = {"unk_token": "w0"} | ({} if eos is None else {"eos_token": f"w{eos}"})
    fast = Tokenizer(models.WordLevel(words))
    PreTrainedTokenizerFast(tokenizer_object=fast, **special).save_pretrained(folder)


@pytest.fixture
def folder(tmp_path):
    """A model with 50 ids that ends a text with id 2."""
    save(tmp_path, LLAMA | {"eos_token_id": 2})
    return tmp_path


@pytest.mark.parametrize("eos", [2, None])
def test_the_models_own_tokenizer_is_no_note(folder, eos):
    put_tokenizer(folder, 50, eos)
    assert load(cpu(folder)).notes == ()


def test_a_tokenizer_with_fewer_ids_than_a_padded_model_is_no_note(folder):
    put_tokenizer(folder, 45)
    assert load(cpu(folder)).notes == ()


def test_without_a_tokenizer_there_is_nothing_to_compare(folder):
    assert load(cpu(folder)).notes == ()
    assert load(cpu("tiny")).notes == ()


def test_ids_beyond_the_models_are_an_error(folder):
    put_tokenizer(folder, 51)
    with pytest.raises(ModelLoadError) as caught:
        load(cpu(folder))
    assert str(caught.value) == (
        f"model '{folder}': its tokenizer has ids up to 50, the model's end at 49; the tokenizer is that of another "
        "model: put the right one there, or remove it (perfsuite needs none)"
    )


def test_far_fewer_ids_than_the_model_has_are_noted(folder, monkeypatch):
    monkeypatch.setattr(subject, "PADDING", 4)
    put_tokenizer(folder, 45)
    assert load(cpu(folder)).notes == ("tokenizer: has 45 ids, the model 50; it may be that of another model",)


def test_another_end_of_texts_is_noted_in_the_evidence_of_a_strategy(folder):
    put_tokenizer(folder, 50, eos=7)
    with opened(EagerStrategy(), cpu(folder)) as strategy:
        note = strategy.evidence().note("tokenizer")
    assert note == "ends a text with id 7, the model with 2; it may be that of another model"


def test_a_model_that_several_ids_end_agrees_with_each_of_them(tmp_path):
    save(tmp_path, LLAMA | {"eos_token_id": [2, 7]})
    put_tokenizer(tmp_path, 50, eos=7)
    assert load(cpu(tmp_path)).notes == ()


def test_a_tokenizer_that_cannot_be_loaded_is_said_not_to_have_been_compared(folder):
    (folder / "tokenizer.json").write_text("{")
    (note,) = load(cpu(folder)).notes
    assert note.startswith("tokenizer: not compared with the model, as it cannot be loaded (")


def test_of_a_hugging_face_id_only_what_was_downloaded_is_read(monkeypatch):
    asked = {}

    def from_pretrained(name, **options):
        asked.update(options, name=name)
        raise OSError("not in the cache")

    monkeypatch.setattr(subject._AutoTokenizer, "from_pretrained", from_pretrained)
    assert subject.tokenizer_notes(ModelSpec(name="some/model"), 50, (2,)) == ()
    assert asked["name"] == "some/model"
    assert asked["local_files_only"] is True
