"""Owns what docs/reports.md quotes: made from one small run, so that a test can make it again.

`python -m tests.docs.quoted` writes the quotes into the page.
"""

import re
from dataclasses import replace
from pathlib import Path

from perfsuite.core.options import Options
from perfsuite.core.verdict import Interval, Judgement, Outcome
from perfsuite.plugin import commands
from perfsuite.report.annotations import Place, annotations
from perfsuite.report.markdown import markdown
from perfsuite.report.openmetrics import openmetrics
from perfsuite.report.properties import properties
from perfsuite.report.run import Run
from perfsuite.report.verdicts import Commands, verdicts
from tests.builders import make_cell, make_recording, make_verdict

PAGE = Path(__file__).parents[2] / "docs" / "reports.md"
ARGV = ("--perf", "--perf-model", "tiny")
SLOW, CALM = make_cell(prompt=100, output=32), make_cell(prompt=400, output=32)
REASON = "3 of 3 candidate sessions are worse by more than 2.5 %"


def run() -> Run:
    """One cell that got slower and one that did not."""
    calm = replace(make_verdict(Outcome.PASSED), change=0.003, interval=Interval(low=-0.008, high=0.014))
    judged = {SLOW: make_verdict(reason=REASON), CALM: calm}
    return Run(
        options=Options(),
        recordings={cell: (make_recording(cell, ttft_ms=47.9 if cell is SLOW else 61.3, n=300),) for cell in judged},
        judgements=tuple(Judgement(cell=cell, verdicts=(verdict,)) for cell, verdict in judged.items()),
        command="pytest --perf --perf-model tiny",
        reproduce=lambda cell: commands.reproduce(ARGV, cell),
        save=lambda cell: commands.save(ARGV, cell),
    )


def quotes() -> dict[str, str]:
    """The quotes by their names on the page."""
    whole = run()
    told = Commands(reproduce=whole.reproduce, save=whole.save, save_all=commands.save_all(ARGV))
    metrics = openmetrics(whole).splitlines()
    shown = {f"ttft_ms.{name}" for name in ("p50", "p99")} | {"tpot_ms.p50", "startup_s", "memory_bytes"}
    shown |= {"cell", "ttft.p50.verdict", "ttft.p50.change"}
    named = [f'<property name="{n}" value="{v}" />' for n, v in properties(SLOW, whole) if n in shown]
    latencies = [line for line in metrics if line.startswith("perfsuite_latency_seconds") and 'series="ttft"' in line]
    return {
        "terminal": "\n".join(line.text for line in verdicts(whole.judgements, told)),
        "summary": markdown(whole).rstrip(),
        "annotation": "\n".join(annotations(whole, {SLOW: Place(path="tests/perf/test_latency.py", line=15)})),
        "junit": "\n".join(named),
        "openmetrics": "\n".join([*(line for line in metrics[3:6]), latencies[1], "…", "# EOF"]),
    }


def filled(page: str) -> str:
    """The page with every quote as it is made today."""
    for name, text in quotes().items():
        pattern = rf"(<!-- quote: {name} -->\n(`+)[a-z]*\n).*?(\n\2\n)"
        page, count = re.subn(pattern, lambda found, t=text: found[1] + t + found[3], page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{PAGE.name}: {count} places for the quote {name!r}")
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
