"""No password or token of a URL is left in what may be printed."""

import pytest

from perfsuite.core.secret import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ci:geheim@db:5432/perf", "postgresql://ci:***@db:5432/perf"),
        ("--perf-history=postgresql://ci:ge:h@e/im@db/perf", "--perf-history=postgresql://ci:***@db/perf"),
        ("postgresql://ci:@db/perf", "postgresql://ci:***@db/perf"),
        ("postgresql://db/perf?user=ci&password=geheim&x=1", "postgresql://db/perf?user=ci&password=***&x=1"),
        ("postgresql://db/perf?sslpassword=geheim", "postgresql://db/perf?sslpassword=***"),
        ("postgresql://ci@db:5432/perf", "postgresql://ci@db:5432/perf"),
        ("a @ git+https://ghp_geheim@host/a/b@main", "a @ git+https://***@host/a/b@main"),
        ("a @ git+https://ci:geheim@host/a/b", "a @ git+https://ci:***@host/a/b"),
        ("a @ git+ssh://git@host/a/b", "a @ git+ssh://git@host/a/b"),
        ("https://host/models@main", "https://host/models@main"),
        ("sqlite:////var/perf.db", "sqlite:////var/perf.db"),
        ("history.db", "history.db"),
    ],
)
def test_passwords_are_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown
