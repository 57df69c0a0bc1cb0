"""Owns the reading of the flags of the gate: tolerances, how many sessions, for how long, what may differ."""

from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import Metric
from perfsuite.core.options import (
    DEFAULT_RESOURCES,
    DEFAULT_TOLERANCES,
    GateOptions,
    merge_tolerances,
    parse_resources,
    parse_tolerances,
)
from perfsuite.core.recording import ENVIRONMENT_KEYS
from perfsuite.core.units import parse_duration
from perfsuite.plugin.reader import FLAGS, Reader


def read_gate(reader: Reader, *, save_baseline: bool) -> GateOptions:
    """The options of the gate; OptionError, which names the flag, for what is not allowed."""
    budget, sessions = reader.text("budget"), reader.whole_or_none("sessions")
    defaults = GateOptions()
    return GateOptions(
        tolerances=_tolerances(reader),
        resources=_resources(reader),
        sessions=defaults.sessions if save_baseline else sessions or defaults.sessions,
        twin_sessions=sessions or defaults.twin_sessions,
        baseline_sessions=sessions or defaults.baseline_sessions,
        budget_ns=parse_duration(budget, where=FLAGS["budget"].option) if budget else None,
        strict=reader.switch("strict"),
        ignored_environment=_allowed_mismatches(reader),
    )


def _allowed_mismatches(reader: Reader) -> frozenset[str]:
    keys = frozenset(part.strip() for part in reader.text("allow_mismatch").split(",") if part.strip())
    unknown = sorted(keys - set(ENVIRONMENT_KEYS))
    if unknown:
        known = ", ".join(ENVIRONMENT_KEYS)
        raise OptionError(f"{FLAGS['allow_mismatch'].option}: {unknown[0]!r} is not a key; choose from {known}")
    return keys


def _tolerances(reader: Reader) -> dict[Metric, float]:
    flag = FLAGS["tolerance"]
    return merge_tolerances(DEFAULT_TOLERANCES, parse_tolerances(reader.text("tolerance"), where=flag.option))


def _resources(reader: Reader) -> dict[str, float]:
    flag = FLAGS["tolerance"]
    return merge_tolerances(DEFAULT_RESOURCES, parse_resources(reader.text("tolerance"), where=flag.option))
