"""Owns the answer to "which of the two moved?" where host and device timed the same quantity."""

from collections.abc import Sequence
from dataclasses import replace

from perfsuite.core.metrics import SERIES, Metric, parse_metric
from perfsuite.core.units import format_change
from perfsuite.core.verdict import Outcome, Verdict

WORTH_NAMING = frozenset({Outcome.REGRESSED, Outcome.IMPROVED, Outcome.INCONCLUSIVE})


def attributed(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """The verdicts, those that are no pass saying which of host and device moved: "host +6.0 %, device +0.1 %: …"."""
    by_metric = {verdict.metric: verdict for verdict in verdicts}
    return tuple(replace(verdict, moved=_moved(verdict, by_metric)) for verdict in verdicts)


def _moved(verdict: Verdict, by_metric: dict[str, Verdict]) -> str:
    metric = parse_metric(verdict.metric, where="verdict")
    series = SERIES[metric.series]
    other = by_metric.get(Metric(series=series.sibling, statistic=metric.statistic).key)
    if verdict.outcome not in WORTH_NAMING or other is None or other is verdict:
        return ""
    host, device = (other, verdict) if series.is_device else (verdict, other)
    if host.change is None or device.change is None:
        return ""
    changes = f"host {format_change(host.change)}, device {format_change(device.change)}"
    if verdict.outcome is Outcome.INCONCLUSIVE:
        return changes
    mover = "device" if series.is_device or _is_on_the_device(host, device) else "host"
    return f"{changes}: the {mover} got {'slower' if verdict.outcome is Outcome.REGRESSED else 'faster'}"


def _is_on_the_device(host: Verdict, device: Verdict) -> bool:
    """Whether the device makes up half of the host's change or more: what the host waits for is in both."""
    of_host, of_device = _difference(host), _difference(device)
    return of_device / of_host >= 0.5 if of_host else True


def _difference(verdict: Verdict) -> float:
    return (verdict.candidate or 0.0) - (verdict.baseline or 0.0)
