"""What the ids of a model stand for, where somebody knows."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from perfsuite.core.workload import ModelSpec
from perfsuite.models.alphabet import BEGIN, END
from perfsuite.models.alphabets import alphabet_of


def test_the_embedded_model_writes_bytes_behind_its_begin():
    known = alphabet_of(ModelSpec(name="tiny"))
    assert known.encode("é") == (BEGIN, 0xC3, 0xA9)
    assert known.decode((BEGIN, 97, 98, END)) == "ab"


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(name="tiny", load_format="dummy"),
        ModelSpec(name="llama-2-7b"),
        ModelSpec(name="meta-llama/Llama-2-7b-hf"),
    ],
)
def test_drawn_weights_and_what_is_not_here_write_nothing(spec):
    assert alphabet_of(spec) is None


def test_a_folder_without_a_tokenizer_writes_nothing(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert alphabet_of(ModelSpec(name=str(tmp_path))) is None


def test_a_folder_with_a_tokenizer_writes_by_it(tmp_path):
    letters = pre_tokenizers.ByteLevel.alphabet()
    inner = Tokenizer(models.BPE(vocab={"<s>": 0, **{s: i for i, s in enumerate(sorted(letters), start=1)}}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>").save_pretrained(tmp_path)  # noqa: S106
    known = alphabet_of(ModelSpec(name=str(tmp_path)))
    ids = known.encode("def f(é):\n")
    assert len(ids) == len("def f(é):\n".encode())
    assert known.decode((0, *ids)) == "def f(é):\n"
    assert alphabet_of(ModelSpec(name=str(tmp_path), load_format="dummy")) is None
