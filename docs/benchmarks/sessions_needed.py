"""How many fresh processes a baseline needs: python docs/benchmarks/sessions_needed.py baselines/DEVICE [TEXT]

Takes the first m sessions of every stored cell as the baseline, chooses modes and fits the noise from these alone, and
counts the gates that could hold their tolerance (docs/gate.md 5). TEXT picks the cells whose id contains it.
"""

import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from perfsuite.core.baseline import Baseline
from perfsuite.core.calibration import Calibrated, calibrate, choose_modes
from perfsuite.core.judgement import suite_noise
from perfsuite.core.metrics import SERIES
from perfsuite.core.options import GateOptions
from perfsuite.store import BaselineStore

OPTIONS = GateOptions()


def shortened(baseline: Baseline, sessions: int) -> Baseline:
    """The baseline as if it had been saved after so many sessions."""
    recordings = baseline.recordings[:sessions]
    return replace(baseline, recordings=recordings, modes=choose_modes(recordings))


def calibrated(baselines: list[Baseline]) -> list[Calibrated]:
    """Every gated metric of every cell."""
    noise = suite_noise(baselines, OPTIONS.tolerances)
    gates = sum(bool(SERIES[m.series].values(b.recordings[0])) for b in baselines for m in OPTIONS.tolerances)
    return [
        each
        for baseline in baselines
        for each in calibrate(baseline, OPTIONS.tolerances, noise=noise, gates=gates, looks=OPTIONS.sessions)
    ]


def main(folder: Path, text: str) -> None:
    """Print a table in Markdown: sessions against the share of gates, per metric."""
    found = BaselineStore(folder.parent).load_all(folder.name)
    stored = [baseline for baseline in found if text in baseline.cell.id]
    most = min(len(baseline.recordings) for baseline in stored)
    counts: dict[str, list[str]] = defaultdict(list)
    for sessions in range(2, most + 1):
        by_metric: dict[str, list[Calibrated]] = defaultdict(list)
        for each in calibrated([shortened(baseline, sessions) for baseline in stored]):
            by_metric[f"{each.cell.strategy_slug} {each.metric.label} within {100 * each.tolerance:g} %"].append(each)
        for name, found in by_metric.items():
            counts[name].append(f"{sum(each.can_gate for each in found)}/{len(found)}")
    heads = [str(sessions) for sessions in range(2, most + 1)]
    lines = [f"| gates of {folder.name} that m sessions can hold, m = | {' | '.join(heads)} |", "|---" * (most) + "|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in counts.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "".join(sys.argv[2:3]))
