"""Owns what disturbances of the machine mean for samples: which of them they touch, and how many are too many."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perfsuite.core.reading import Monitoring
from perfsuite.core.rules import Cause, Stretch, stretches
from perfsuite.core.sample import Sample

MANY = 0.25
"""A recording of which a larger share of samples was disturbed is invalid; fewer are set aside and taken anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause, and how many samples were taken while it lasted; `detail` tells of its first stretch."""

    cause: Cause
    detail: str
    samples: int


def touching(sample: Sample, found: Sequence[Stretch]) -> Stretch | None:
    """What disturbed the machine while this request was under way; `None` if nothing did."""
    if sample.sent_ns is None:
        return None
    begin_ns, end_ns = sample.sent_ns, sample.sent_ns + sample.e2e_ns
    return next((stretch for stretch in found if stretch.begin_ns < end_ns and stretch.end_ns > begin_ns), None)


def divided(samples: Iterable[Sample], found: Sequence[Stretch]) -> tuple[list[Sample], list[Sample]]:
    """The samples that nothing touched, and the disturbed ones."""
    clean: list[Sample] = []
    disturbed: list[Sample] = []
    for sample in samples:
        (disturbed if touching(sample, found) else clean).append(sample)
    return clean, disturbed


def findings(samples: Sequence[Sample], monitoring: Monitoring) -> tuple[Finding, ...]:
    """Every cause that touched one of the samples, those that touched most first."""
    found = stretches(monitoring)
    counts: dict[Cause, list[Stretch]] = {}
    for sample in samples if found else ():
        stretch = touching(sample, found)
        if stretch is not None:
            counts.setdefault(stretch.cause, []).append(stretch)
    listed = [Finding(cause=cause, detail=own[0].detail, samples=len(own)) for cause, own in counts.items()]
    return tuple(sorted(listed, key=lambda finding: -finding.samples))


def windows(samples: Iterable[Sample]) -> tuple[tuple[int, int], ...]:
    """From the first sending of each block to its last answer, in order; samples without a time have none."""
    found: dict[int, tuple[int, int]] = {}
    for sample in samples:
        if sample.sent_ns is not None:
            begin_ns, end_ns = sample.sent_ns, sample.sent_ns + sample.e2e_ns
            known = found.get(sample.block, (begin_ns, end_ns))
            found[sample.block] = min(known[0], begin_ns), max(known[1], end_ns)
    return tuple(sorted(found.values()))
