"""What docs/history.md quotes is what the commands print."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from perfsuite import cli
from perfsuite.core.entry import run_entry
from perfsuite.history import open_history
from tests.builders import make_cell, make_environment, make_recording
from tests.docs.blocks import quoted

CELL = make_cell(model="tinyllama-1.1b", prompt=100, output=32)


def test_the_trend_is_the_one_that_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thirty nights of three sessions: 5 % slower with another torch, 3 % faster ten nights later."""
    history = open_history(str(tmp_path / "history.db"), where="test")
    draw = random.Random(1)  # noqa: S311 - noise, no secret
    for night in range(30):
        level = 2.74 * (1 + 0.05 * (night >= 12) - 0.03 * (night >= 22)) * draw.gauss(1, 0.003)
        environment = make_environment(torch="2.11.0" if night < 12 else "2.13.0")
        sessions = [
            replace(
                make_recording(
                    CELL, n=60, noise=0.02, seed=100 * night, session=s, ttft_ms=level, environment=environment
                ),
                started_at=f"2026-01-{night + 1:02}T03:04:0{s}Z",
            )
            for s in range(3)
        ]
        commit = f"{draw.getrandbits(160):040x}"
        history.append(run_entry(sessions, [], run_id=str(night), commit=commit, perfsuite="0.1", kind="judged"))
    assert cli.main(["trend", "p100", "--history", str(tmp_path / "history.db")]) == 0
    assert capsys.readouterr().out.rstrip() == quoted("history.md", "tests/docs/test_history_page.py").rstrip()
