from dataclasses import replace

import pytest

from perfsuite.core.codec import decode, encode
from perfsuite.core.engine import KEY_VARIABLE, EngineOptions
from perfsuite.core.errors import OptionError
from perfsuite.core.workload import ModelSpec


@pytest.mark.parametrize("url", ["", "host:8000", "ftp://host/v1", "http://", "http://host:none/v1", "http://[::1/v1"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match=r"^endpoint: .* is no URL of a server; give one such as http://127\.0\.0\.1"):
        EngineOptions(endpoint=url)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:sk-secret@host/v1",
        "http://sk-secret@host/v1",
        "http://host/v1?key=sk-secret",
        "http://h/#sk-secret",
    ],
)
def test_a_url_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(OptionError) as caught:
        EngineOptions(endpoint=url)
    assert "sk-secret" not in str(caught.value)
    assert KEY_VARIABLE in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("tensor_parallel_size", 0, "tensor parallel: 0 is not allowed; it must be 1 or above"),
        ("gpu_memory_utilization", 0.0, "gpu memory utilization: 0.0 is not allowed; it must be above 0 and at most 1"),
        ("gpu_memory_utilization", 1.1, "gpu memory utilization: 1.1 is not allowed; it must be above 0 and at most 1"),
        ("max_model_len", 1, "max model len: 1 is not allowed; it must be 2 or above"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(name: str, value: float, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        replace(EngineOptions(), **{name: value})
    assert str(caught.value) == words


def test_a_model_keeps_its_options_in_a_file_and_older_files_have_none() -> None:
    spec = ModelSpec(name="served", engine=EngineOptions(endpoint="http://host:8000/v1", max_model_len=64))
    assert decode(ModelSpec, encode(spec)) == spec
    older = {name: value for name, value in encode(spec).items() if name != "engine"}
    assert decode(ModelSpec, older) == ModelSpec(name="served")
