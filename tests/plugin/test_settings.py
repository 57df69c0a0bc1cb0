"""What flags and ini keys are read as, and what is refused of them, without a run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.plugin.settings import Settings, read_settings

Read = Callable[..., Settings]


@pytest.fixture
def read(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Read:
    """The settings of a command line in a folder of its own, with these lines in its ini file."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def settings_of(*arguments: str, ini: str = "") -> Settings:
        pytester.makeini(f"[pytest]\n{ini}")
        return read_settings(pytester.parseconfig("-p", "perfsuite.plugin", "--perf", *arguments))

    return settings_of


def refusal(read: Read, *arguments: str, ini: str = "") -> str:
    with pytest.raises(OptionError) as refused:
        read(*arguments, ini=ini)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("option", ["shard", "against", "json", "history", "quantization", "budget", "goodput"])
def test_a_flag_that_is_given_but_empty_is_refused(read: Read, option: str) -> None:
    assert refusal(read, f"--perf-{option}=") == f"--perf-{option}: it is empty; give it a value or leave it out"


def test_an_empty_flag_takes_back_what_the_ini_file_says(read: Read) -> None:
    assert read(ini="perf_quantization = int8").options.models[0].quantization == "int8"
    assert read("--perf-quantization=", ini="perf_quantization = int8").options.models[0].quantization is None


def test_a_value_of_the_ini_file_is_refused_by_its_key(read: Read) -> None:
    assert refusal(read, ini="perf_batch_size = two") == "perf_batch_size (tox.ini): 'two' is not a whole number"
    assert refusal(read, ini="perf_strict = maybe").startswith("perf_strict (tox.ini): it is neither true nor false")
    assert refusal(read, ini="perf_tolerance = ttft.p50=5").startswith("perf_tolerance (tox.ini) (ttft.p50): '5' is")
    assert (
        refusal(read, "--perf-batch-size=x", ini="perf_batch_size = 2")
        == "--perf-batch-size: 'x' is not a whole number"
    )


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--perf-seed=9223372036854775808", "it must be 9,223,372,036,854,775,808 or below"),
        ("--perf-samples=1000001", "it must be 1,000,000 or below"),
        ("--perf-decode-samples=100000000000000000000", "it must be 1,000,000 or below"),
        ("--perf-batch-size=100000000", "it must be 1,000,000 or below"),
        ("--perf-inject-slowdown=10001%", "'10001%' is not allowed; it must be 10000% or below"),
    ],
)
def test_a_number_that_nobody_means_is_refused(read: Read, argument: str, words: str) -> None:
    assert words in refusal(read, argument)


def test_no_baseline_is_saved_of_what_is_slowed_down(read: Read) -> None:
    told = refusal(read, "--save-baseline", "--perf-inject-slowdown=10%")
    assert told == "--perf-inject-slowdown: not together with --save-baseline; no baseline is slowed down"


@pytest.mark.parametrize("option", ["baseline-dir", "engine-dir", "json", "against", "model"])
@pytest.mark.parametrize("text", ["~nobody-of-that-name/x", "x" * 300], ids=["home", "long"])
def test_a_path_that_cannot_be_is_one_line(read: Read, option: str, text: str) -> None:
    told = refusal(read, f"--perf-{option}={text}")
    assert told.startswith(f"--perf-{option}")
    assert "no such home" in told or "too long" in told


def test_a_home_is_written_out_for_folders(read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read("--perf-baseline-dir=~/kept").baseline_dir == tmp_path / "kept"
    assert read("--perf-engine-dir=~/engines").engine_dir == str(tmp_path / "engines")


def test_a_baseline_folder_that_is_a_file_is_found_at_once(read: Read, pytester: pytest.Pytester) -> None:
    (pytester.path / "occupied").write_text("a file")
    assert "is no folder; name one" in refusal(read, "--perf-baseline-dir=occupied")


def test_one_arm_gives_nothing_twice(read: Read) -> None:
    told = refusal(read, "--perf-arms=fake dtype=float32 dtype=float16,fake")
    assert told.startswith("--perf-arms: 'fake dtype=float32 dtype=float16' gives something twice in one arm")


def test_a_list_of_devices_names_one_between_two_commas(read: Read) -> None:
    assert "names nothing between two commas" in refusal(read, "--perf-devices=,")
