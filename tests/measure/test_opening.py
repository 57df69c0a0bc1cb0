from pathlib import Path

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.workload import ModelSpec
from perfsuite.measure.opening import create, opened
from tests.scripted import Scripted


def test_a_strategy_is_created_from_a_module_and_a_class() -> None:
    assert create("tests.scripted:Scripted").name == "scripted"


def test_a_strategy_is_created_from_a_file_and_a_class(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from tests.scripted import Scripted\n\nclass Mine(Scripted):\n    name = 'mine'\n")
    assert create(f"{file}:Mine").name == "mine"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("tests.scripted:Nothing", "tests.scripted has no class 'Nothing'"),
        ("tests.nowhere:Scripted", "there is no module 'tests.nowhere'"),
        ("/nowhere/mine.py:Mine", "'/nowhere/mine.py:Mine': there is no such file"),
        ("builtins:dict", "it lacks name, abilities, open, stream, facts, evidence, close"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused_in_one_line(reference: str, words: str) -> None:
    with pytest.raises(OptionError, match=r"^strategy") as caught:
        create(reference)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def f(:", "SyntaxError: invalid syntax (mine.py, line 1)"),
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero (mine.py, line 2)"),
        ("import nosuchthing", "ModuleNotFoundError: No module named 'nosuchthing' (mine.py, line 1)"),
        ("class Mine:\n    def __init__(self): self.x = {}['k']", "KeyError: 'k' (mine.py, line 2)"),
        (
            "from tests.scripted import Scripted\nclass Mine(Scripted): abilities = ['batch']",
            "are ['batch'], not a froz",
        ),
    ],
)
def test_a_strategy_whose_code_breaks_is_told_with_its_line(tmp_path: Path, code: str, words: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(code)
    with pytest.raises(OptionError, match=r"^strategy") as caught:
        create(f"{file}:Mine")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_opened_strategy_is_closed_even_after_an_error() -> None:
    strategy = Scripted()
    with pytest.raises(ZeroDivisionError), opened(strategy, ModelSpec(name="tiny")):
        raise ZeroDivisionError
    assert strategy.is_closed
