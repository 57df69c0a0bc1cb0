"""A strategy's name leads to its class, without loading any engine."""

from importlib.metadata import EntryPoint

import pytest

import perfsuite.strategies
from perfsuite.core.errors import OptionError
from perfsuite.measure.opening import create
from perfsuite.strategies import BUILTIN, ENTRY_POINT_GROUP, references, resolve

FLAG = "--perf-strategy"


@pytest.fixture
def installed(monkeypatch):
    """Declare that packages bring these strategies."""

    def declare(**values):
        points = [EntryPoint(name=name, value=value, group=ENTRY_POINT_GROUP) for name, value in values.items()]
        monkeypatch.setattr(perfsuite.strategies, "entry_points", lambda group: points)

    declare()
    return declare


@pytest.mark.parametrize("name", BUILTIN)
def test_a_builtin_strategy_is_called_what_it_is_registered_as(name):
    assert create(BUILTIN[name]).name == name


def test_names_pass_in_order_and_once(installed):
    assert resolve(["fake", "eager", "fake"], FLAG) == ("fake", "eager")


def test_a_reference_passes_as_it_is(installed):
    assert resolve(["my.module:Mine", "mine.py:Mine"], FLAG) == ("my.module:Mine", "mine.py:Mine")


def test_all_means_every_strategy_that_measures_something(installed):
    installed(mine="my.module:Mine")
    chosen = resolve(["all"], FLAG)
    assert {"eager", "mine"} <= set(chosen)
    assert "fake" not in chosen


def test_all_may_be_joined_by_a_name(installed):
    assert resolve(["all", "fake", "eager"], FLAG)[-1] == "fake"


def test_an_installed_package_brings_a_strategy(installed):
    installed(mine="my.module:Mine")
    assert references()["mine"] == "my.module:Mine"
    assert resolve(["mine"], FLAG) == ("mine",)


@pytest.mark.parametrize("name", ["trtlm", "", "trtlm:", ":Class", "EAGER"])
def test_an_unknown_name_is_told_what_there_is(installed, name):
    with pytest.raises(OptionError) as caught:
        resolve(["eager", name], FLAG)
    choices = ", ".join(sorted(BUILTIN))
    assert str(caught.value) == (
        f"--perf-strategy: {name!r} is not a strategy; choose from {choices}, all or module:Class"
    )


def test_a_package_cannot_take_the_name_of_a_builtin(installed):
    installed(eager="my.module:Mine")
    with pytest.raises(OptionError, match=r"strategy 'eager': an installed package wants it to be 'my.module:Mine'"):
        references()
