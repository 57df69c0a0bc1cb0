"""Only what the repository's own runs need."""

from contextlib import suppress

pytest_plugins = ["pytester"]

with suppress(ImportError):  # the suite itself, `pytest --perf tests/perf`, runs without
    from hypothesis import HealthCheck, settings

    # however busy the machine of the tests is: no test fails for the time that an example takes
    settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")
