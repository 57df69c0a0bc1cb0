"""Owns what README.md and docs/reports.md quote: made from small runs, so that a test can make it again.

`python -m tests.docs.quoted` writes the quotes into the pages.
"""

import re
from dataclasses import replace
from pathlib import Path

from perfsuite.core.baseline import UNKNOWN_COMMIT
from perfsuite.core.circumstances import Circumstances, circumstances
from perfsuite.core.options import Options
from perfsuite.core.units import NS_PER_MS
from perfsuite.core.verdict import Interval, Judgement, Outcome
from perfsuite.plugin import commands
from perfsuite.report.annotations import Place, annotations
from perfsuite.report.circumstances import circumstance_lines
from perfsuite.report.markdown import markdown
from perfsuite.report.openmetrics import openmetrics
from perfsuite.report.properties import properties
from perfsuite.report.run import Run
from perfsuite.report.terminal import saved
from perfsuite.report.verdicts import Commands, verdicts
from tests.builders import make_baseline, make_cell, make_environment, make_recording, make_verdict

ROOT = Path(__file__).parents[2]
REPORTS, README = ROOT / "docs" / "reports.md", ROOT / "README.md"
FIRST = make_cell(prompt=10, output=16)
FIRST_ARGV = (
    *("--perf", "--perf-inject-slowdown", "100%", "--pyargs", "perfsuite.suite.test_latency"),
    *("--perf-prompt-lengths", "10,100", "--perf-output-tokens", "16", "--perf-samples", "60"),
    *("--perf-tolerance", "ttft.p50=50%,tpot.p50=50%,e2e.p50=50%,ttft.p99=off"),
)
FIRST_REGRESSION = {
    "ttft.p50": (1.64, 3.48, 1.124, (0.934, 1.333), 60),
    "tpot.p50": (1.18, 2.54, 1.145, (0.952, 1.357), 10),
    "e2e.p50": (19.5, 41.8, 1.143, (0.946, 1.359), 10),
}
"""What a run of eager on tiny measured, as README tells it: levels in ms, change and interval, samples a session."""
ARGV = ("--perf", "--perf-model", "tiny")
SLOW, CALM = make_cell(prompt=100, output=32), make_cell(prompt=400, output=32)
REASON = "3 of 3 candidate sessions are worse by more than 2.5 %"


def run() -> Run:
    """One cell that got slower since transformers is another, and one that did not."""
    calm = replace(make_verdict(Outcome.PASSED), change=0.003, interval=Interval(low=-0.008, high=0.014))
    judged = {SLOW: replace(make_verdict(reason=REASON), candidate_sessions=3), CALM: calm}
    before, now = (replace(make_environment(), noted={"transformers": version}) for version in ("5.16.0", "5.17.0"))
    return Run(
        options=Options(),
        recordings={
            cell: (make_recording(cell, environment=now, ttft_ms=47.9 if cell is SLOW else 61.3, n=300),)
            for cell in judged
        },
        baselines={cell: make_baseline(make_recording(cell, environment=before)) for cell in judged},
        judgements=tuple(Judgement(cell=cell, verdicts=(verdict,)) for cell, verdict in judged.items()),
        command="pytest --perf --perf-model tiny",
        reproduce=lambda cell: commands.reproduce(ARGV, cell),
        save=lambda cell: commands.save(ARGV, cell),
    )


def first_regression() -> str:
    """The lines of a run that was slowed by 100 %."""
    found = [
        replace(
            make_verdict(metric=metric, reason="3 of 3 candidate sessions are worse by more than 22.5 %"),
            tolerance=0.5,
            baseline=before * NS_PER_MS,
            candidate=after * NS_PER_MS,
            change=change,
            interval=Interval(low=low, high=high),
            baseline_sessions=3,
            candidate_sessions=3,
            samples=samples,
        )
        for metric, (before, after, change, (low, high), samples) in FIRST_REGRESSION.items()
    ]
    told = Commands(
        reproduce=lambda cell: commands.reproduce(FIRST_ARGV, cell),
        save=lambda cell: commands.save(FIRST_ARGV, cell),
        save_all=commands.save_all(FIRST_ARGV),
    )
    slowed = Circumstances(
        cells=(FIRST,), commit=UNKNOWN_COMMIT, saved_at="2026-01-02", changes=("--perf-inject-slowdown 100 %",)
    )
    lines = (*verdicts((Judgement(cell=FIRST, verdicts=tuple(found)),), told), *circumstance_lines([slowed]))
    return "\n".join(line.text for line in lines).strip()


def first_baseline() -> str:
    """The lines of a run that saved a baseline, with the levels that the regression is told by."""
    levels = {name: before for name, (before, *_) in FIRST_REGRESSION.items()}
    lines = []
    for cell, factor in ((FIRST, 1.0), (make_cell(prompt=100, output=16), 1.37)):
        ttft, tpot = factor * levels["ttft.p50"], levels["tpot.p50"]
        own = [make_recording(cell, session=s, n=60, decode=10, ttft_ms=ttft, tpot_ms=tpot) for s in range(3)]
        lines.append(saved(None, make_baseline(*own)))
    return "\n".join(lines)


def quotes() -> dict[str, str]:
    """The quotes of docs/reports.md by their names on the page."""
    whole = run()
    told = Commands(reproduce=whole.reproduce, save=whole.save, save_all=commands.save_all(ARGV))
    changed = circumstances(whole.judgements, whole.baselines, whole.recordings)
    metrics = openmetrics(whole).splitlines()
    shown = {f"ttft_ms.{name}" for name in ("p50", "p99")} | {"tpot_ms.p50", "startup_s", "memory_bytes"}
    shown |= {"cell", "ttft.p50.verdict", "ttft.p50.change"}
    named = [f'<property name="{n}" value="{v}" />' for n, v in properties(SLOW, whole) if n in shown]
    latencies = [line for line in metrics if line.startswith("perfsuite_latency_seconds") and 'series="ttft"' in line]
    return {
        "terminal": "\n".join(line.text for line in (*verdicts(whole.judgements, told), *circumstance_lines(changed))),
        "summary": markdown(whole).rstrip(),
        "annotation": "\n".join(annotations(whole, {SLOW: Place(path="tests/perf/test_latency.py", line=15)})),
        "junit": "\n".join(named),
        "openmetrics": "\n".join([*(line for line in metrics[3:6]), latencies[1], "…", "# EOF"]),
    }


def pages() -> dict[Path, dict[str, str]]:
    """The quotes of every page."""
    return {REPORTS: quotes(), README: {"first baseline": first_baseline(), "first regression": first_regression()}}


def filled(path: Path) -> str:
    """A page with every quote as it is made today."""
    page = path.read_text(encoding="utf-8")
    for name, text in pages()[path].items():
        pattern = rf"(<!-- quote: {name} -->\n(`+)[a-z]*\n).*?(\n\2\n)"
        page, count = re.subn(pattern, lambda found, t=text: found[1] + t + found[3], page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{path.name}: {count} places for the quote {name!r}")
    return page


if __name__ == "__main__":
    for place in pages():
        place.write_text(filled(place), encoding="utf-8")
