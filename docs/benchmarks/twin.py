"""Twin mode on real sessions: runs on the same code, and on revisions with work added to the model's forward.

python -m docs.benchmarks.twin FOLDER [--strategy eager|jit] [--model tiny] [--runs N]      from the root

Makes a sample repository in FOLDER whose strategy runs a model with some more work in its last layer; how much
is found out by timing both in turns in one process. That process has its caches for itself: in runs the same work
came to four fifths of it, so --steps takes what earlier runs say, whose lines have their steps and the ratio found.
Every run is `pytest --perf --perf-against`; its outcome is a line in FOLDER/results.jsonl as soon as it is there, and
the table is made of all lines, so that it can go on later.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
PROMPT, SAMPLES, BUDGET = 100, 640, "10m"
ROUNDS = 60
"""Rounds of twenty requests of each in which the work is calibrated."""
FLAGS = (
    *("--perf-prompt-lengths", str(PROMPT)),
    *("--perf-decode-samples", "1", "--perf-output-tokens", "2"),
    *("--perf-tolerance", "ttft.p50=5%,ttft.p99=off,tpot.p50=off,e2e.p50=off,ttft_device.p50=off,tpot_device.p50=off"),
)
SPEED_TEST = """
import pytest

@pytest.mark.perf
def test_speed(perf_judgement):
    perf_judgement.require("ttft.p50")
"""
STRATEGIES = '''
"""The sample repository's own way of running its model: some work more than the library's, in its last layer."""

import torch
from perfsuite.strategies.eager import EagerStrategy
from perfsuite.strategies.jit import JitStrategy
from work import STEPS


class Longer(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        like = inner.down_proj.weight
        self.weight = torch.nn.Parameter(torch.eye(like.shape[0], dtype=like.dtype, device=like.device), False)

    def forward(self, hidden):
        more = hidden[:, -1:]
        for _ in range(STEPS[0]):
            more = torch.tanh(more @ self.weight)
        return self.inner(hidden) + more * 0.0


class Own:
    def load(self, spec, workloads):
        loaded = super().load(spec, workloads)
        layer = loaded.model.model.layers[-1]
        layer.mlp = Longer(layer.mlp)
        return loaded


class Eager(Own, EagerStrategy):
    pass


class Jit(Own, JitStrategy):
    pass
'''
CLASSES = {"eager": "Eager", "jit": "Jit"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "sample" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_repository(folder: Path, steps: dict[int, int]) -> None:
    """A commit, and a tag, for every change in percent; the last one is checked out again by each run."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / ".gitignore").write_text(".perfsuite/\n__pycache__/\n", encoding="utf-8")
    (folder / "test_speed.py").write_text(SPEED_TEST, encoding="utf-8")
    (folder / "strategies.py").write_text(STRATEGIES, encoding="utf-8")
    for change, count in steps.items():
        (folder / "work.py").write_text(f"STEPS = [{count}]  # about +{change} %\n", encoding="utf-8")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", f"+{change} %")
        git(folder, "tag", f"plus-{change}")


def times_ns(strategy: Any, requests: Sequence[Any]) -> Iterator[int]:
    for request in requests:
        began = time.perf_counter_ns()
        for _ in strategy.stream(request):
            pass
        yield time.perf_counter_ns() - began


def calibrate(name: str, model: str, changes: Sequence[int], folder: Path, rounds: int) -> dict[int, int]:
    """How many steps more make the first token so many percent later, by three strategies open in this process."""
    import torch

    from perfsuite.core.sample import Phase
    from perfsuite.core.workload import ModelSpec, Workload
    from perfsuite.measure.prompts import draw_request

    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "strategies.py").write_text(STRATEGIES, encoding="utf-8")
    (folder / "work.py").write_text("STEPS = [0]\n", encoding="utf-8")
    sys.path.insert(0, str(folder))
    import strategies  # type: ignore[import-not-found]

    workload = Workload(prompt_tokens=PROMPT, output_tokens=2)
    counts, opened = (0, 40), []
    requests = [draw_request(workload, Phase.PREFILL, index, 258) for index in range(20)]
    for count in counts:
        strategies.STEPS[0] = count
        strategy = getattr(strategies, CLASSES[name])()
        list(strategy.open(ModelSpec(name=model), (workload,)))
        list(times_ns(strategy, requests))
        opened.append((count, strategy))
    found: dict[int, list[int]] = {count: [] for count in counts}
    for round_ in range(rounds):
        for count, strategy in opened if round_ % 2 else opened[::-1]:
            strategies.STEPS[0] = count
            found[count] += list(times_ns(strategy, requests))[1:]
    for _, strategy in opened:
        strategy.close()
    plain = statistics.median(found[0])
    share = float(np.median(np.array(found[40]) / np.array(found[0]))) - 1
    sys.stdout.write(f"{name}: {plain / 1e6:.3f} ms, 40 steps more take {100 * share:.2f} %\n")
    return {change: round(40 * change / 100 / share) for change in changes}


def one_run(project: Path, name: str, model: str, change: int, flags: Sequence[str]) -> dict[str, Any]:
    """The verdict of one run of twin mode, and how long it took."""
    git(project, "checkout", "--quiet", f"plus-{change}")
    report = project / ".perfsuite" / "report.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--perf", "--perf-against", "plus-0"]
    command += ["--perf-strategy", f"strategies:{CLASSES[name]}", "--perf-model", model]
    command += ["--perf-json", str(report), *FLAGS, *flags]
    load, began = os.getloadavg()[0], time.monotonic()
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join((str(project), str(ROOT)))}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    taken = time.monotonic() - began
    if not report.exists():
        raise SystemExit(done.stdout + done.stderr)
    (cell,) = json.loads(report.read_text(encoding="utf-8"))["cells"]
    (verdict,) = (each for each in cell["verdicts"] if each["metric"] == "ttft.p50")
    return {
        "strategy": name,
        "change": change,
        "steps": int((project / "work.py").read_text(encoding="utf-8").partition("[")[2].partition("]")[0]),
        "outcome": verdict["outcome"],
        "ratio": 1 + (verdict["change"] or 0.0),
        "interval": verdict["interval"],
        "sessions": verdict["candidate_sessions"],
        "same": verdict["baseline_sessions"],
        "bias": cell["twin"]["ttft.p50"]["bias"],
        "seconds": round(taken, 1),
        "load": load,
        "exit": done.returncode,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row per strategy and change."""
    lines = [
        "| strategy | work added | runs | passed | regressed | improved | inconclusive | ratio found, mean (sd) | "
        "sessions, mean | seconds to the verdict, median (range) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, change in sorted({(each["strategy"], each["change"]) for each in results}):
        own = [each for each in results if (each["strategy"], each["change"]) == (name, change)]
        counts = {
            word: sum(each["outcome"] == word for each in own)
            for word in ("passed", "regressed", "improved", "inconclusive")
        }
        found, taken = [each["ratio"] for each in own], [each["seconds"] for each in own]
        scatter = f"{statistics.stdev(found):.4f}" if len(found) > 1 else "-"
        sessions = statistics.mean(each["sessions"] + each["same"] for each in own)
        lines.append(
            f"| {name} | {'none' if not change else f'+{change} %'} | {len(own)} | "
            + " | ".join(str(counts[word]) for word in counts)
            + f" | {statistics.mean(found):.4f} ({scatter}) | {sessions:.1f} | "
            f"{statistics.median(taken):.0f} ({min(taken):.0f}..{max(taken):.0f}) |"
        )
    return "\n".join(lines)


def spread(project: Path) -> str:
    """How much A/A sessions of the last runs differ in ratios, and the same ones in milliseconds."""
    from perfsuite.core.codec import decode
    from perfsuite.core.metrics import Metric, Statistic
    from perfsuite.core.statistics import session_estimate
    from perfsuite.core.twin import TwinSession, ratios
    from perfsuite.runs import Pair

    metric = Metric(series="ttft", statistic=Statistic.P50)
    found = []
    for path in sorted((project / ".perfsuite" / "runs").glob("*/pair-*.json")):
        pair = decode(Pair, json.loads(path.read_text(encoding="utf-8")), where=path.name)
        if pair.arms[0] != pair.arms[1]:
            continue
        for old, new in zip(pair.old, pair.new, strict=True):
            ratio = session_estimate(ratios(metric, TwinSession(old=old, new=new)), Statistic.P50)
            raw = session_estimate([sample.ttft_ns for sample in old.of_phase(old.samples[0].phase)], Statistic.P50)
            found.append((ratio, raw))
    ratio_sd, raw_sd = (statistics.stdev(each[side] for each in found) for side in (0, 1))
    return f"{len(found)} A/A sessions: sd {100 * ratio_sd:.2f} % in ratios, {100 * raw_sd:.1f} % in the old arm's ms"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--strategy", default="eager", choices=sorted(CLASSES))
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--changes", default="0,5,8")
    parser.add_argument("--steps", default="", metavar="5=42,8=68", help="the work of each change; else calibrated")
    parser.add_argument("--until", default="", metavar="HH:MM", help="begin no run after this time (UTC)")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="pairs a session")
    parser.add_argument("--budget", default=BUDGET, help="of one run")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of twenty requests of each, to calibrate")
    arguments = parser.parse_args()
    flags = ("--perf-samples", str(arguments.samples), "--perf-budget", arguments.budget)
    changes = [int(part) for part in arguments.changes.split(",")]
    project = arguments.folder.absolute() / arguments.strategy
    results_file = arguments.folder / "results.jsonl"
    if not project.exists():
        steps = {0: 0, **dict((int(part) for part in pair.split("=")) for pair in arguments.steps.split(",") if pair)}
        if not arguments.steps:
            place = arguments.folder / f"calibration-{arguments.strategy}"
            steps = calibrate(arguments.strategy, arguments.model, (0, 5, 8), place, arguments.rounds)
        sys.stdout.write(f"steps by percent: {steps}\n")
        make_repository(project, steps)
    for _ in range(arguments.runs):
        for change in changes:
            if arguments.until and time.strftime("%H:%M", time.gmtime()) >= arguments.until:
                break
            found = one_run(project, arguments.strategy, arguments.model, change, flags)
            sys.stdout.write(f"{json.dumps(found)}\n")
            sys.stdout.flush()
            with results_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
    if results_file.exists():
        sys.stdout.write(table([json.loads(line) for line in results_file.read_text().splitlines()]) + "\n")
        sys.stdout.write(f"{spread(project)}\n")


if __name__ == "__main__":
    main()
