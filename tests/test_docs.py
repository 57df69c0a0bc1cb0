"""What the documentation says about the code is checked against the code."""

from pathlib import Path

from perfsuite.plugin.flags import SWITCHES, VALUES, Flag

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def row(flag: Flag) -> str:
    mark = " ¹" if flag.has_ini else ""
    default = f"`{flag.default}`" if flag.default not in ("", "false") else ""
    return f"| `{flag.option}`{mark} | {default} | {flag.help} |"


def test_the_readme_lists_every_flag_as_the_help_does() -> None:
    missing = [row(flag) for flag in (*VALUES, *SWITCHES) if row(flag) not in README]
    assert missing == []


def test_the_check_of_every_change_runs_the_readmes_test_command() -> None:
    command = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox -e py"
    assert command in README
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
