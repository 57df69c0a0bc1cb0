"""Owns the environment's part of the page: where it was measured, and in what that differs from the baseline."""

from collections.abc import Sequence

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Environment
from perfsuite.report.headings import counted
from perfsuite.report.html.markup import Markup, join, table, tag
from perfsuite.report.run import Run

Pair = tuple[Environment | None, Environment]
DIFFERS = "≠"


def environment_section(run: Run) -> Markup:
    """A table for every pair of a baseline's environment and the run's that occurs."""
    pairs: list[tuple[Pair, list[Cell]]] = []
    for cell, recordings in run.recordings.items():
        if recordings:
            baseline = run.baselines.get(cell)
            pair = (baseline.environment if baseline else None, recordings[0].environment)
            own = next((cells for known, cells in pairs if known == pair), None)
            if own is None:
                pairs.append((pair, own := []))
            own.append(cell)
    return join(_table(pair, cells) for pair, cells in pairs)


def _table(pair: Pair, cells: Sequence[Cell]) -> Markup:
    stored, measured = pair
    rows = [*_rows(pair, "must_agree"), *_rows(pair, "noted")]
    rows.sort(key=lambda row: not row[-1].startswith(DIFFERS))
    differing = sum(row[-1].startswith(DIFFERS) for row in rows)
    told = "no baseline to compare with" if stored is None else f"{counted(differing, 'difference')} to the baseline"
    named = cells[0].id if len(cells) == 1 else f"{cells[0].id} and {len(cells) - 1} more"
    body = [(*rest, _kind(kind)) for *rest, kind in rows]
    titles = ("key", "baseline", "now", "")
    return join(
        (tag("h3", f"{measured.device}: {told}"), tag("p", named, class_="quiet"), table(titles, body, label=told))
    )


def _kind(kind: str) -> str:
    return tag("span", kind, class_="badge incomparable") if kind.startswith(DIFFERS) else kind


def _rows(pair: Pair, part: str) -> list[tuple[str, str, str, str]]:
    """Key, there, here, and whether the two must agree, behind a mark where they do not."""
    stored, measured = pair
    old = dict(getattr(stored, part)) if stored else {}
    new = dict(getattr(measured, part))
    kind = "must agree" if part == "must_agree" else "noted"

    def told(key: str) -> str:
        return f"{DIFFERS} {kind}" if stored is not None and old.get(key) != new.get(key) else kind

    return [(key, old.get(key, "-"), new.get(key, "-"), told(key)) for key in dict.fromkeys((*new, *old))]
