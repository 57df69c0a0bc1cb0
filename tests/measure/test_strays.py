import sys
from pathlib import Path
from types import ModuleType

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.measure.strays import refuse_foreign, stray


def module(name: str, path: Path) -> dict[str, ModuleType]:
    made = ModuleType(name)
    made.__file__ = str(path)
    return {name: made}


def test_a_module_of_the_other_arm_is_refused_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "their_model", module("their_model", tmp_path / "model.py")["their_model"])
    with pytest.raises(
        OptionError, match=r"module 'their_model' was loaded from .*model\.py, which is the other arm's"
    ):
        refuse_foreign(str(tmp_path))


def test_without_a_foreign_folder_everything_is_welcome() -> None:
    refuse_foreign(None)


def test_perfsuite_itself_and_an_environment_inside_the_repository_are_nobodys_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    found = {
        **module("perfsuite.core", tmp_path / "perfsuite" / "core.py"),
        **module("torch", tmp_path / ".venv" / "lib" / "torch.py"),
        **module("elsewhere", tmp_path.parent / "elsewhere.py"),
        "builtin": ModuleType("builtin"),
    }
    assert stray(tmp_path, found) is None
    assert stray(tmp_path, {**found, **module("mine", tmp_path / "mine.py")}) == ("mine", tmp_path / "mine.py")
