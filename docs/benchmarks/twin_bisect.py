"""Bisect on real sessions: sixteen commits of a sample repository, of which one makes the model slower.

python -m docs.benchmarks.twin_bisect FOLDER [--strategy eager|jit] [--change PERCENT] [--planted N]      from the root

The repository is that of docs/benchmarks/twin.py; every commit changes a file, the planted one the model as well.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from docs.benchmarks.twin import (
    BUDGET,
    CLASSES,
    FLAGS,
    ONE_THREAD,
    ROOT,
    ROUNDS,
    SAMPLES,
    SPEED_TEST,
    STRATEGIES,
    calibrate,
    git,
)

COMMITS = 16


def make_history(folder: Path, planted: int, steps: int) -> list[str]:
    """The commits, oldest first; from the planted one on, counted from 0, the work is there."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / ".gitignore").write_text(".perfsuite/\n__pycache__/\n", encoding="utf-8")
    (folder / "test_speed.py").write_text(SPEED_TEST, encoding="utf-8")
    (folder / "strategies.py").write_text(STRATEGIES, encoding="utf-8")
    commits = []
    for number in range(COMMITS):
        (folder / "work.py").write_text(f"STEPS = [{steps if number >= planted else 0}]\n", encoding="utf-8")
        (folder / "NEWS").write_text(f"{number}\n", encoding="utf-8")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", f"number {number}")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return commits


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--strategy", default="eager", choices=sorted(CLASSES))
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--change", type=int, default=8, help="percent")
    parser.add_argument("--planted", type=int, default=11, help=f"1 to {COMMITS - 1}")
    arguments = parser.parse_args()
    place = arguments.folder.absolute()
    steps = calibrate(arguments.strategy, arguments.model, (arguments.change,), place / "calibration", ROUNDS)
    project = place / "history"
    commits = make_history(project, arguments.planted, steps[arguments.change])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--perf", "--perf-bisect"]
    command += ["--perf-strategy", f"strategies:{CLASSES[arguments.strategy]}", "--perf-model", arguments.model]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--perf-against", commits[0], *FLAGS, "--perf-samples", str(SAMPLES), "--perf-budget", BUDGET],
        cwd=project,
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join((str(project), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stdout.splitlines() if "--perf-bisect" in line or "Strategy" in line or ":" in line]
    sys.stdout.write("\n".join(told[-40:]) + done.stderr[-2000:])
    found = f"the first bad commit is {commits[arguments.planted][:7]}" in done.stdout
    sys.stdout.write(f"\n{'found' if found else 'NOT found'}: number {arguments.planted} of {COMMITS}, ")
    sys.stdout.write(f"{time.monotonic() - began:.0f} s, exit {done.returncode}\n")


if __name__ == "__main__":
    main()
