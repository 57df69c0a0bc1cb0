"""How large the HTML report of many cells is, and how soon a browser has it: python docs/benchmarks/html_report.py."""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from perfsuite.report.html.page import page
from tests.chromium import Browser, find, running
from tests.reported import make_run

OPENED = "performance.timing.loadEventEnd - performance.timing.navigationStart"
PHONE, DESKTOP = 390, 1280


def opened_ms(browser: Browser, path: Path, width: int, times: int) -> float:
    """The median time until the page is loaded and laid out."""
    found = []
    for _ in range(times):
        browser.show(path, width=width)
        browser.value("document.body.getBoundingClientRect().height")
        found.append(float(browser.value(OPENED)))
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=500, help="a multiple of 10")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    run = make_run([f"s{index}" for index in range(10)], range(8, 8 + 8 * (options.cells // 10), 8))
    began = time.perf_counter()
    text = page(run)
    made = time.perf_counter() - began
    sys.stdout.write(f"{len(run.cells)} cells, 12 sessions each: {len(text.encode()) / 1e6:.1f} MB in {made:.1f} s\n")
    program = find()
    if program is None:
        sys.exit("no Chromium here; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, running(program) as browser:
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        for name, width in (("desktop", DESKTOP), ("phone", PHONE)):
            sys.stdout.write(f"{name}: open after {opened_ms(browser, path, width, options.times):.0f} ms\n")


if __name__ == "__main__":
    main()
