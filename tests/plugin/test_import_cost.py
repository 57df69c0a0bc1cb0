"""Every pytest start pays for the plugin: it must import nothing heavy."""

import subprocess
import sys

from perfsuite.core.options import DEFAULT_PROMPT_LENGTHS, DEFAULT_TOLERANCES, Options, parse_lengths, parse_tolerances
from perfsuite.plugin.flags import VALUES

HEAVY = ("numpy", "scipy", "torch", "transformers", "perfsuite.core", "perfsuite.measure", "dataclasses", "sqlalchemy")


def test_the_plugin_imports_neither_numpy_nor_torch_nor_the_core() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import perfsuite.plugin;"
        f"print([name for name in {HEAVY!r} if name in set(sys.modules) - before])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_defaults_in_the_help_texts_are_the_defaults() -> None:
    texts = {flag.name: flag.default for flag in VALUES}
    options = Options()
    assert parse_lengths(texts["prompt_lengths"], where="test") == DEFAULT_PROMPT_LENGTHS
    assert parse_tolerances(texts["tolerance"], where="test") == DEFAULT_TOLERANCES
    assert (texts["model"], texts["strategy"]) == (options.models[0].name, options.strategies[0])
    assert [texts[name] for name in ("samples", "warmup", "output_tokens", "batch_size", "seed")] == [
        str(number)
        for number in (
            options.measure.samples,
            options.measure.warmup,
            options.output_tokens,
            options.batch_size,
            options.seed,
        )
    ]
    assert [texts[name] for name in ("temperature", "top_k", "top_p", "repetition_penalty")] == [
        f"{value:g}"
        for value in (
            options.sampling.temperature,
            options.sampling.top_k,
            options.sampling.top_p,
            options.sampling.repetition_penalty,
        )
    ]
