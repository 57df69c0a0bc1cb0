"""What the documentation says about the code is checked against the code."""

import re
from pathlib import Path
from typing import Any

import pytest

from perfsuite.plugin.flags import SWITCHES, VALUES, Flag
from perfsuite.testing import InvalidSamplerError

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


def test_the_readmes_sampler_is_refused_for_the_reason_given_there() -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (example,) = (text for text in examples if "assert_valid_sampler" in text)
    assert len(example.strip().splitlines()) <= 10
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - our own README
    with pytest.raises(InvalidSamplerError, match="all parameters but the temperature are ignored"):
        names["test_my_sampler"]()
