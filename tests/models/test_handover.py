"""A model reaches an engine as a folder or an id, whatever kind it is."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import ModelLoadError, OptionError
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.models.fingerprint import fingerprint
from perfsuite.models.handover import handed_over
from perfsuite.models.presets import names, packaged_weights
from tests.models.test_tokenizer import put_tokenizer

SHORT = (Workload(prompt_tokens=10, output_tokens=5),)


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_the_embedded_model_is_its_own_folder() -> None:
    spec = ModelSpec(name="tiny")
    with handed_over(spec, SHORT, engine="e") as handover:
        assert Path(handover.location) == packaged_weights(spec).parent
        assert (handover.load_format, handover.dtype, handover.longest, handover.end_id) == ("auto", "float16", 64, 257)
        assert (handover.facts.vocabulary, handover.facts.positions, handover.facts.layers) == (258, 1024, 4)
        assert handover.facts.fingerprint == fingerprint(spec, commit=None, weights=None)


def test_dummy_weights_are_the_engines_own_and_so_is_the_fingerprint() -> None:
    spec = ModelSpec(name="tiny", load_format="dummy")
    prints = set()
    for engine in ("one", "two"):
        with handed_over(spec, SHORT, engine=engine) as handover:
            assert handover.load_format == "dummy"
            prints.add(handover.facts.fingerprint)
    assert len(prints) == 2


@pytest.mark.parametrize("name", [name for name in names() if name != "tiny"])
def test_every_shape_becomes_a_folder_that_names_its_class(name: str, caches: Path) -> None:
    with handed_over(ModelSpec(name=name), SHORT, engine="e") as handover:
        config = json.loads((Path(handover.location) / "config.json").read_text())
        assert config["architectures"][0].endswith("ForCausalLM")
        assert config["vocab_size"] == handover.facts.vocabulary
        assert handover.load_format == "dummy"
    assert Path(handover.location).parent == caches / "perfsuite" / "models"
    assert [path.name for path in Path(handover.location).iterdir()] == ["config.json"]


def test_a_shape_has_the_same_folder_in_every_session_and_another_shape_another_one(caches: Path) -> None:
    places = []
    for name in ("llama-2-7b", "llama-2-7b", "tinyllama-1.1b"):
        with handed_over(ModelSpec(name=name), SHORT, engine="e") as handover:
            places.append(handover.location)
    assert places[0] == places[1] != places[2]


def test_where_no_cache_can_be_written_the_folder_is_temporary(caches: Path) -> None:
    (caches / "perfsuite").write_text("no folder")
    with handed_over(ModelSpec(name="llama-2-7b"), SHORT, engine="e") as handover:
        assert json.loads((Path(handover.location) / "config.json").read_text())["architectures"] == [
            "LlamaForCausalLM"
        ]
    assert not Path(handover.location).exists()


@pytest.fixture
def full(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What makes the caches' disk full, and no other one."""

    def put(source: Path, target: Path) -> None:
        if Path(target).is_relative_to(caches / "perfsuite"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    replace = os.replace
    return lambda: monkeypatch.setattr(os, "replace", put)


def test_a_full_disk_leaves_nothing_behind_in_the_cache(caches: Path, full: Callable[[], None]) -> None:
    full()
    with handed_over(ModelSpec(name="llama-2-7b"), SHORT, engine="e") as given:
        assert not Path(given.location).is_relative_to(caches / "perfsuite")
    assert [path for path in caches.rglob("*") if not path.is_dir()] == []


def test_a_cache_that_takes_nothing_more_serves_what_it_holds(caches: Path, full: Callable[[], None]) -> None:
    """vLLM finds what it compiled by this path."""
    with handed_over(ModelSpec(name="llama-2-7b"), SHORT, engine="e") as written:
        full()
    with handed_over(ModelSpec(name="llama-2-7b"), SHORT, engine="e") as found:
        assert found.location == written.location


def test_a_config_that_was_changed_in_the_cache_is_put_right(caches: Path) -> None:
    with handed_over(ModelSpec(name="llama-2-7b"), SHORT, engine="e") as given:
        config = Path(given.location) / "config.json"
        right = config.read_bytes()
        config.write_bytes(right[:-5])
    with handed_over(ModelSpec(name="llama-2-7b"), SHORT, engine="e"):
        assert config.read_bytes() == right


def test_a_dtype_is_that_of_the_other_strategies_on_a_gpu(tmp_path: Path) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "dtype": "bfloat16", "vocab_size": 100}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for asked, given in (("auto", "bfloat16"), ("float16", "float16")):
        with handed_over(ModelSpec(name=str(tmp_path), dtype=asked), SHORT, engine="e") as handover:
            assert handover.dtype == given
            assert handover.location == str(tmp_path)


def test_without_workloads_the_longest_sequence_is_the_models() -> None:
    with handed_over(ModelSpec(name="tiny"), (), engine="e") as handover:
        assert handover.longest == 1024


def test_a_workload_beyond_what_was_asked_for_is_refused() -> None:
    spec = ModelSpec(name="tiny", engine=EngineOptions(max_model_len=14))
    with pytest.raises(OptionError, match="take 15 positions, the model has 14"), handed_over(spec, SHORT, engine="e"):
        pass


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError), handed_over(ModelSpec(name=str(tmp_path)), SHORT, engine="e"):
        pass


def test_a_tokenizer_of_another_model_is_told_as_where_the_model_is_loaded_here(tmp_path: Path) -> None:
    config = {"model_type": "llama", "vocab_size": 50, "eos_token_id": [2, 3]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    put_tokenizer(tmp_path, 50, eos=7)
    with handed_over(ModelSpec(name=str(tmp_path)), SHORT, engine="e") as handover:
        assert handover.end_id == 2
        assert handover.notes == (
            "tokenizer: ends a text with id 7, the model with 2, 3; it may be that of another model",
        )
    put_tokenizer(tmp_path, 51)
    with (
        pytest.raises(ModelLoadError, match="its tokenizer has ids up to 50"),
        handed_over(ModelSpec(name=str(tmp_path)), SHORT, engine="e"),
    ):
        pass
