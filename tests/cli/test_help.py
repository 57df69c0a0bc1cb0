"""`--help` of the command and of each of its commands."""

import pytest

from perfsuite import cli

COMMANDS = ("", "selftest", "compare", "show", "merge", "trend", "history", "history import", "build-engine")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_printed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: perfsuite {command}".rstrip())
