"""A tokenizer of bytes, as the embedded model has it, saved as Hugging Face folders are."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from perfsuite.core.workload import ModelSpec
from perfsuite.models.alphabet import BEGIN, END
from perfsuite.models.load import load

PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Id n is byte n; begin and end as in the alphabet."""
    others = [byte for byte in range(256) if byte not in PRINTABLE]
    letters = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    vocabulary = {letter: byte for byte, letter in letters.items()} | {"<begin>": BEGIN, "<end>": END}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    ends = {"bos_token": "<begin>", "eos_token": "<end>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ends)


def save_tiny(folder: Path) -> None:
    """The embedded model as a folder that any engine can load: config, weights and tokenizer."""
    load(ModelSpec(name="tiny", device="cpu")).model.save_pretrained(folder)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}U:{{ m['content'] }}\n{% endfor %}A:"
    tokenizer.save_pretrained(folder)
