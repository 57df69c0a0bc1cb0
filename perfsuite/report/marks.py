"""Owns a shape for every outcome, so that no colour is needed to tell them apart."""

from perfsuite.core.verdict import Outcome

MARKS = {
    Outcome.REGRESSED: "▲",
    Outcome.INVALID: "✕",
    Outcome.INCOMPARABLE: "≠",
    Outcome.NO_BASELINE: "○",
    Outcome.INCONCLUSIVE: "?",
    Outcome.PASSED: "●",
    Outcome.IMPROVED: "▼",
}
