"""TensorRT's packages are found in either flavour, and a missing one is said with the commands that install it."""

import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
import torch

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.strategies import _engine_toolkit
from perfsuite.strategies._engine_toolkit import find_toolkit, without_a_gpu


@pytest.fixture
def installed(monkeypatch):
    """Declare which distributions are installed; what they bring can be imported."""

    def declare(**versions):
        def version(package):
            found = versions.get(package.replace("-", "_"))
            if found is None:
                raise PackageNotFoundError(package)
            return found

        monkeypatch.setattr(_engine_toolkit, "version", version)
        for module in ("tensorrt", "tensorrt_rtx"):
            monkeypatch.setitem(sys.modules, module, SimpleNamespace(__version__=f"1 of {module}"))

    return declare


def test_without_either_flavour_the_message_has_both_commands(installed):
    installed()
    major, minor, *_ = torch.__version__.split(".")
    with pytest.raises(StrategyUnavailableError) as caught:
        find_toolkit()
    assert str(caught.value) == (
        "tensorrt needs torch_tensorrt, and neither of its flavours is installed; for TensorRT-RTX: pip install "
        f"'torch-tensorrt-rtx=={major}.{minor}.*' tensorrt-rtx==1.4.0.76, for TensorRT: pip install "
        f"'torch-tensorrt=={major}.{minor}.*'"
    )


@pytest.mark.parametrize(
    ("package", "expected", "is_rtx"),
    [
        ("torch_tensorrt_rtx", "TensorRT-RTX 1 of tensorrt_rtx, torch_tensorrt 2.11.0", True),
        ("torch_tensorrt", "TensorRT 1 of tensorrt, torch_tensorrt 2.11.0", False),
    ],
)
def test_whichever_flavour_is_installed_is_taken(installed, package, expected, is_rtx):
    installed(**{package: "2.11.0"})
    toolkit = find_toolkit()
    assert str(toolkit) == expected
    assert toolkit.is_rtx is is_rtx


def test_a_package_that_cannot_be_imported_is_said_with_its_own_words(installed, monkeypatch):
    installed(torch_tensorrt="2.11.0")

    def broken(name):
        raise OSError("libcudart.so.13: cannot open shared object file\nmore")

    monkeypatch.setattr(_engine_toolkit.importlib, "import_module", broken)
    with pytest.raises(StrategyUnavailableError) as caught:
        find_toolkit()
    assert "TensorRT is installed but cannot be imported (libcudart.so.13: cannot open shared object file); " in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what is answered where there is no GPU")
def test_what_torch_answers_for_a_gpu_that_is_not_there_is_its_own_again_afterwards():
    before = torch.cuda.get_device_capability
    with without_a_gpu():
        assert torch.cuda.get_device_capability() == (8, 9)
        assert torch.cuda.current_device() == 0
    assert torch.cuda.get_device_capability is before
