import subprocess
from dataclasses import replace
from pathlib import Path

from perfsuite.core.options import MeasureOptions
from perfsuite.core.workload import ModelFacts
from perfsuite.measure.environment import collect, commit_of, host_name, host_peak_bytes


def facts(device: str) -> ModelFacts:
    return ModelFacts(vocabulary=10, positions=None, parameters=1, dtype="float32", device=device, fingerprint="abc")


def test_a_device_that_is_no_machine_names_itself() -> None:
    assert collect(facts("scripted"), MeasureOptions()).device == "scripted"


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
