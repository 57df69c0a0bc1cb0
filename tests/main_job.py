"""The main job on the embedded model, as a script: measure, save a baseline, stay green, turn red when slowed down.

python tests/main_job.py [pytest options]
"""

import re
import subprocess
import sys
import tempfile

FEW = ("--perf-decode-samples", "10", "--perf-output-tokens", "16")
TWO_CELLS = (
    *("--perf-prompt-lengths", "10,100", "--perf-samples", "60"),
    *("--perf-tolerance", "ttft.p50=50%,tpot.p50=50%,e2e.p50=50%,ttft.p99=off"),
)
"""Small enough for a minute, and a tolerance that a busy laptop can hold; the defaults are 9 lengths and 5 %."""
BASELINES = (3, 6)
"""Sessions of a first baseline, and of a second one: a machine that gets faster or slower after one was saved leaves
everything undecided, and one whose sessions differ by a sixth tells 100 % only by more of them."""
PATIENCE = ("--perf-budget", "240s")
"""What a restless machine may take for a verdict; a quiet one needs a sixth of it."""
BUSY = "is something else keeping this machine busy?"


def pytest(*arguments: str) -> tuple[int, str]:
    """Run pytest, show what it prints, and hand back its exit code and output."""
    command = ["pytest", *arguments, "-r", "N", "tests/perf/test_latency.py"]
    sys.stdout.write(f"\n$ {' '.join(command)}\n")
    sys.stdout.flush()
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    lines = []
    for line in process.stdout or ():
        sys.stdout.write(line)
        sys.stdout.flush()
        lines.append(line)
    return process.wait(), "".join(lines)


def require(holds: bool, words: str) -> None:
    if not holds:
        sys.exit(f"main job: {words}")


def decided(output: str) -> tuple[int, int]:
    """How many of a run's gates it decided, and how many there were: 'perfsuite: 6 gates: 4 passed, 2 inconclusive'."""
    found = re.findall(r"^perfsuite: (\d+) gates: (.*)", output, re.MULTILINE)
    gates, counts = found[-1] if found else ("0", "")
    return sum(int(count) for count in re.findall(r"(\d+) (?:passed|improved)", counts)), int(gates)


def judged(sessions: int, options: list[str]) -> tuple[int, int, bool]:
    """Of the same code against a new baseline, how many gates passed and were there; whether a slowdown was red."""
    code, output = pytest("--save-baseline", "--perf-sessions", str(sessions), *options)
    require(code == 0 and f"saved {sessions} sessions" in output, "saving a baseline failed")
    code, output = pytest("--perf", *PATIENCE, *options)
    require(code == 0 and "regressed" not in output, "the same code did not stay green")
    passed, gates = decided(output)
    code, output = pytest("--perf", "--perf-inject-slowdown", "100%", *PATIENCE, *options)
    return passed, gates, code == 1 and "regressed" in output


def main() -> None:
    options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        options = [*FEW, "--perf-baseline-dir", folder, *options]
        code, _ = pytest("--perf", *options)
        require(code == 0, "measuring failed")
        for sessions in BASELINES:
            passed, gates, is_red = judged(sessions, [*TWO_CELLS, *options])
            if is_red:
                break
        require(is_red, f"a slowdown of 100 % did not turn red by {len(BASELINES)} baselines; {BUSY}")
    open_ = f", {gates - passed} left open" if gates > passed else ""
    green = f"green ({passed} of {gates} gates{open_})" if passed else f"not red (but nothing was decided: {BUSY})"
    sys.stdout.write(f"\nmain job: measured, saved, {green} on the same code, red on a slowdown: as it should be\n")


if __name__ == "__main__":
    main()
