"""What the documentation says about the code is checked against the code."""

import re
from pathlib import Path
from typing import Any

import pytest

from perfsuite.core.metrics import SERIES
from perfsuite.core.options import DEFAULT_RESOURCES, DEFAULT_TOLERANCES
from perfsuite.core.resources import RESOURCES
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


def test_the_page_of_metrics_has_every_series_and_resource_with_its_default_gate() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = {
        cells[1].strip(" `"): cells[-2] for cells in (line.split("|") for line in page.splitlines()) if len(cells) > 3
    }
    assert set(rows) >= {*SERIES, *RESOURCES}
    gated = {metric.key: value for metric, value in DEFAULT_TOLERANCES.items()} | DEFAULT_RESOURCES
    for name, shown in rows.items():
        if name in SERIES or name in RESOURCES:
            own = {key: value for key, value in gated.items() if key.partition(".")[0] == name}
            said = [f"{key.partition('.')[2].upper()} {100 * value:g} %".strip() for key, value in own.items()]
            assert shown.strip() == ", ".join(said)


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_benchmarks_are_all_listed() -> None:
    folder = ROOT / "docs" / "benchmarks"
    index = (folder / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in folder.iterdir() if path.suffix in (".py", ".md")} - {"README.md", "__init__.py"}
    assert [name for name in files if f"]({name})" not in index] == []


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
