"""A rank that is held by one that is gone ends its process; one that is busy does not."""

import os
import sys
from types import SimpleNamespace

import pytest

from perfsuite.core.errors import DeviceLostError
from perfsuite.core.sample import Request
from perfsuite.core.workload import SamplingParams
from perfsuite.measure.family import MARK
from perfsuite.strategies._vigil import Vigil
from tests.strategies.ranks import PROMPT, opened_on

WORDS = "rank 1 of 2: cuda:1 is out of memory; lower the batch size"


class Exited(BaseException):
    """In place of the end of the process."""


@pytest.fixture
def vigil(monkeypatch):
    """One over no ranks, in a process that belongs to a session."""

    def end(code):
        raise Exited(code)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setenv(MARK, "any")
    made = Vigil(SimpleNamespace(size=2, kill=lambda: None), {}, {}, lambda: None)
    made.broken = WORDS
    yield made
    made.end()


def looks(vigil, *found):
    """What is found at each look: that the rank is let go (True), is not (False), or is at a step ('step')."""
    left = iter(found)

    def wait(seconds):
        now = next(left)
        vigil.is_stepping = now == "step"
        return now is True

    vigil._let_go = SimpleNamespace(wait=wait, set=lambda: None)


def test_a_rank_that_is_held_in_a_step_ends_with_the_reason_as_its_last_words(vigil, capsys):
    looks(vigil, "step")
    with pytest.raises(Exited, match="1"):
        vigil._get_away()
    assert capsys.readouterr().err == f"{WORDS}\n"


def test_a_rank_that_compiles_goes_on_for_as_long_as_it_takes(vigil, capsys):
    """Nothing holds it, and what its session has measured would be lost with it."""
    looks(vigil, *[False] * 50, True)
    vigil._get_away()
    assert capsys.readouterr().err == f"{WORDS}\n"


def test_a_rank_that_is_let_go_says_nothing(vigil, capsys):
    looks(vigil, True)
    vigil._get_away()
    assert capsys.readouterr().err == ""


def test_a_process_that_belongs_to_no_session_is_left_alone(vigil, monkeypatch):
    monkeypatch.delenv(MARK)
    looks(vigil, "step")
    vigil._get_away()


@pytest.mark.skipif(sys.platform == "win32", reason="ranks find each other by local sockets")
def test_no_step_begins_once_a_rank_is_known_to_be_gone(monkeypatch):
    """It would be held by a sum with that rank."""
    with opened_on(2) as strategy:
        stream, begun = strategy._stream, []

        def counted(request):
            begun.append("the first step")
            for chunk in stream(request):
                yield chunk
                begun.append("another step")

        monkeypatch.setattr(strategy, "_stream", counted)
        chunks = strategy.stream(Request(prompts=(PROMPT,), output_tokens=8, sampling=SamplingParams()))
        next(chunks)
        strategy._team.vigil.break_off("rank 1 of 2 is gone")
        with pytest.raises(DeviceLostError, match="rank 1 of 2 is gone"):
            next(chunks)
        assert begun == ["the first step"]
