"""`pytest --help` with the plugin: every flag is there, in its own words."""

import re

from perfsuite.plugin.flags import SWITCHES, VALUES
from tests.plugin.conftest import Run


def test_the_help_shows_every_flag_with_its_words(run: Run) -> None:
    result = run("--help", small=False)
    assert result.ret == 0
    shown = re.sub(r"\s", "", result.stdout.str())
    for flag in (*VALUES, *SWITCHES):
        assert flag.option in shown
        assert re.sub(r"\s", "", flag.help) in shown
