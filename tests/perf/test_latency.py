"""The suite that comes with the package, under this repository's test ids."""

from perfsuite.suite.test_latency import test_latency_stays_within_tolerance

__all__ = ["test_latency_stays_within_tolerance"]
