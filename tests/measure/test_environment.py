import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from perfsuite.core.options import MeasureOptions
from perfsuite.core.workload import ModelFacts
from perfsuite.measure import environment, nvml
from perfsuite.measure.environment import code_without, collect, commit_of, host_name, host_peak_bytes
from tests.builders import make_environment
from tests.repository import Repository


def facts(device: str) -> ModelFacts:
    return ModelFacts(vocabulary=10, positions=None, parameters=1, dtype="float32", device=device, fingerprint="abc")


def test_a_device_that_is_no_machine_names_itself() -> None:
    assert collect(facts("scripted"), MeasureOptions()).device == "scripted"


def test_a_model_that_is_split_says_over_how_many_devices() -> None:
    split = collect(replace(facts("scripted"), ranks=2), MeasureOptions())
    assert split.device == split.must_agree["device"] == "2 x scripted"
    assert split.slug == "2-x-scripted"


def test_what_runs_elsewhere_does_not_depend_on_this_torch() -> None:
    import torch

    assert torch.__version__
    assert set(collect(facts("endpoint host:8000"), MeasureOptions()).must_agree) == {
        "device", "model", "dtype", "warm-up", "block"
    }  # fmt: skip


def test_a_server_on_this_machine_runs_on_its_gpus_or_its_cpu() -> None:
    assert host_name().endswith(" cores") or "NVIDIA" in host_name()


def test_on_a_cpu_torch_and_its_threads_must_agree() -> None:
    import torch

    must_agree = collect(facts("cpu"), MeasureOptions()).must_agree
    assert must_agree["threads"] == str(torch.get_num_threads())
    assert must_agree["torch"] == torch.__version__.partition("+")[0]


def test_a_cpu_is_named_with_its_number_of_cores() -> None:
    assert collect(facts("cpu"), MeasureOptions()).device.endswith(" cores")


def test_the_model_and_its_dtype_must_agree() -> None:
    must_agree = collect(facts("cpu"), MeasureOptions()).must_agree
    assert (must_agree["model"], must_agree["dtype"]) == ("abc", "float32")


def test_what_quantized_the_weights_must_agree_and_is_absent_where_nothing_did() -> None:
    quantized = replace(facts("cpu"), quantization="int8 weight-only (torchao 0.18.0)")
    assert collect(quantized, MeasureOptions()).must_agree["quantization"] == "int8 weight-only (torchao 0.18.0)"
    assert "quantization" not in collect(facts("cpu"), MeasureOptions()).must_agree


def test_the_commit_of_a_folder_without_a_checkout_is_unknown(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == "unknown"


def test_the_commit_of_a_changed_checkout_says_so(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    clean = commit_of(tmp_path)
    (tmp_path / "file").write_text("two")
    assert len(clean) == 40
    assert commit_of(tmp_path) == f"{clean}-dirty"


def test_a_process_has_held_some_memory() -> None:
    assert (host_peak_bytes() or 0) > 2**20


def test_what_is_set_on_a_gpu_must_agree_and_what_only_describes_it_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"power limit": "700 W", "mig": "off", "ecc": "on"}
    monkeypatch.setattr(environment, "uuid_of", lambda device: "GPU-1")
    monkeypatch.setattr(
        nvml, "look", lambda uuid, question: answers if question is nvml.Device.settings else 80 * 2**30
    )
    found = collect(facts("scripted"), MeasureOptions())
    assert {name: found.must_agree[name] for name in ("power limit", "mig")} == {"power limit": "700 W", "mig": "off"}
    assert {name: found.noted[name] for name in ("ecc", "memory", "uuid")} == {
        "ecc": "on",
        "memory": "80.0 GiB",
        "uuid": "GPU-1",
    }
    assert "ecc" not in found.must_agree


def test_the_governor_of_a_cpu_must_agree_where_it_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "GOVERNOR", tmp_path / "governor")
    assert "governor" not in collect(facts("cpu"), MeasureOptions()).must_agree
    (tmp_path / "governor").write_text("powersave\n")
    assert collect(facts("cpu"), MeasureOptions()).must_agree["governor"] == "powersave"


def test_a_container_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mark").touch()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(environment, "CONTAINERS", {str(tmp_path / "mark"): "docker"})
    assert collect(facts("cpu"), MeasureOptions()).noted["container"] == "docker"
    monkeypatch.setattr(environment, "CONTAINERS", {})
    assert collect(facts("cpu"), MeasureOptions()).noted["container"] == "none seen"


@pytest.mark.parametrize(
    ("there", "here", "differs"), [("700 W", "500 W", True), ("700 W", None, False), (None, "500 W", False)]
)
def test_a_setting_is_compared_where_both_sides_know_it(there: str | None, here: str | None, differs: bool) -> None:
    sides = [make_environment(**({"power limit": text} if text else {})) for text in (here, there)]
    phrases = ("power limit: '700 W' there, '500 W' here",) if differs else ()
    assert sides[0].differences(sides[1]) == phrases
    assert sides[0].differences(sides[1], ignore=frozenset({"power limit"})) == ()


def test_code_is_the_same_whatever_became_of_the_baselines(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    baselines = repository.folder / "baselines"
    baselines.mkdir()
    (baselines / "p10.json").write_text("{}")
    commit = repository.commit("a model", model_py="a = 1\n")
    assert code_without(repository.folder, baselines) == commit
    (baselines / "p10.json").write_text("[]")
    assert code_without(repository.folder, baselines) == commit
    repository.write(model_py="a = 2\n")
    changed = code_without(repository.folder, baselines)
    assert changed.startswith(f"{commit} ")
    repository.write(model_py="a = 3\n")
    assert code_without(repository.folder, baselines) != changed


def test_code_is_told_where_the_baselines_lie_outside_and_unknown_without_a_repository(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    commit = repository.commit("a model", model_py="a = 1\n")
    assert code_without(repository.folder, tmp_path / "baselines") == commit
    assert code_without(tmp_path, tmp_path / "baselines") == "unknown"
