"""Runs tests/perf/test_sampling.py for strategies and dtypes on one device, side by side, and writes the table.

python -m docs.benchmarks.sampling_on_device                              # all in-process strategies on a GPU
python -m docs.benchmarks.sampling_on_device --device cpu --strategies eager --dtypes float32,float16 --processes 1
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
SUITE = "tests/perf/test_sampling.py"
STRATEGIES = "eager,cuda-graph,jit,jit-cuda-graph"
CHECKS = {
    "test_draws_are_what_the_parameters_ask_for": "draws, batch 1",
    "test_draws_of_a_batch_are_what_the_parameters_ask_for": "draws, batch 4",
    "test_a_sequence_ends_where_it_should_and_only_there": "ends, batch 1",
    "test_a_row_of_a_batch_ends_where_it_should_and_the_others_go_on": "ends, batch 4",
    "test_logits_are_those_of_eager_in_float32": "logits",
}
MISSING = "did not run"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one test said: `word` for the table, `message` for below it."""

    word: str
    message: str = ""


def main() -> int:
    """0 if every check of every strategy was passed."""
    asked = _arguments()
    arms = list(product(asked.strategies.split(","), asked.dtypes.split(",")))
    print("| strategy | dtype |", " | ".join(CHECKS.values()), "| seconds |", file=sys.stdout)  # noqa: T201
    print("|---|---|" + "---|" * len(CHECKS) + "---|")  # noqa: T201
    said: list[str] = []
    passed = True
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.processes) as pool:
        outcomes = pool.map(lambda arm: run(*arm, asked, Path(folder)), arms)
        for (strategy, dtype), (results, seconds) in zip(arms, outcomes, strict=True):
            row = [results.get(test, Result(word=MISSING)) for test in CHECKS]
            print(f"| {strategy} | {dtype} |", " | ".join(each.word for each in row), f"| {seconds:.0f} |", flush=True)  # noqa: T201
            said += [f"- {strategy}, {dtype}: {each.message}" for each in row if each.message]
            passed &= all(each.word.startswith("passed") for each in row)
    print("\n" + "\n".join(said))  # noqa: T201
    return 0 if passed else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--strategies", default=STRATEGIES)
    parser.add_argument("--dtypes", default="float16,bfloat16")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--processes", type=int, default=8, help="so many strategies and dtypes at a time")
    return parser.parse_args()


def run(strategy: str, dtype: str, asked: argparse.Namespace, folder: Path) -> tuple[dict[str, Result], float]:
    """The results by test, and the seconds that all of them took."""
    report = folder / f"{strategy}-{dtype}.xml"
    options = {"strategy": strategy, "dtype": dtype, "device": asked.device, "model": asked.model}
    flags = [f"--perf-{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--perf", SUITE, *flags]
    done = subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if not report.is_file():
        return dict.fromkeys(CHECKS, Result(word=MISSING, message=done.stdout.strip()[-300:])), 0.0
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - our own file
    return dict(_results(cases)), sum(float(case.get("time", "0")) for case in cases)


def _results(cases: list[ElementTree.Element]) -> Iterator[tuple[str, Result]]:
    for case in cases:
        yield str(case.get("name")).partition("[")[0], _result(case)


def _result(case: ElementTree.Element) -> Result:
    told = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
    draws = f", {told['draws']} draws" if "draws" in told else ""
    for kind, word in (("failure", "**failed**"), ("error", "**failed**"), ("skipped", "open")):
        found = case.find(kind)
        if found is not None:
            return Result(word=word + draws, message=" ".join((found.get("message") or found.text or "").split()))
    return Result(word=f"passed{draws}")


if __name__ == "__main__":
    sys.exit(main())
