"""Owns the suite as a product: `pytest --perf --pyargs perfsuite.suite` in any folder, whose baselines lie in it."""
