"""What the plugin costs a pytest start that does not measure: paired runs with and without it, medians of differences.

python docs/benchmarks/plugin_cost.py [PAIRS]
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")


def seconds(folder: Path, *arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([*PYTEST, *arguments, str(folder)], cwd=folder, capture_output=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_one.py").write_text("def test_one(): pass\n")
        seconds(folder)
        timed = [(seconds(folder, "-p", "no:perfsuite.plugin"), seconds(folder)) for _ in range(pairs)]
    differences = sorted(1000 * (with_it - bare) for bare, with_it in timed)
    bare_ms = 1000 * statistics.median(bare for bare, _ in timed)
    low, high = differences[pairs // 4], differences[-1 - pairs // 4]
    sys.stdout.write(
        f"bare pytest {bare_ms:.0f} ms; the plugin adds {statistics.median(differences):.1f} ms "
        f"(median of {pairs} pairs, middle half {low:.1f}..{high:.1f} ms)\n"
    )


if __name__ == "__main__":
    main()
