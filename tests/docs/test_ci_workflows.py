"""The workflows that docs/ci offers to copy: what a linter says of their format, and whether their options exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perfsuite.plugin.flags import SWITCHES, VALUES

CI = Path(__file__).parents[2] / "docs" / "ci"
SCHEMAS = {
    "github-actions.yml": "vendor.github-workflows",
    "github-matrix.yml": "vendor.github-workflows",
    "gitlab-ci.yml": "vendor.gitlab-ci",
    "gitlab-matrix.yml": "vendor.gitlab-ci",
}
OPTION = re.compile(r"--(?:perf|save)[a-z-]*")


def lint(path: Path, schema: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_workflow_has_the_format_of_its_ci(name: str) -> None:
    result = lint(CI / name, SCHEMAS[name])
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("name", "key"), [("github-actions.yml", "runs-on"), ("gitlab-ci.yml", "script")])
def test_the_linter_sees_a_key_that_is_wrong(tmp_path: Path, name: str, key: str) -> None:
    (tmp_path / name).write_text((CI / name).read_text().replace(f"{key}:", f"{key}-:"))
    assert lint(tmp_path / name, SCHEMAS[name]).returncode != 0


def test_the_workflow_in_the_readme_has_the_format_of_github(tmp_path: Path) -> None:
    """And uses the options of the one in docs/ci, which is longer."""
    (block,) = re.findall(r"```yaml\n(.*?)```", (CI.parents[1] / "README.md").read_text(), re.DOTALL)
    (tmp_path / "readme.yml").write_text(block)
    result = lint(tmp_path / "readme.yml", SCHEMAS["github-actions.yml"])
    assert result.returncode == 0, result.stdout
    assert set(OPTION.findall(block)) <= set(OPTION.findall((CI / "github-actions.yml").read_text()))


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
@pytest.mark.parametrize("name", [name for name in SCHEMAS if name.startswith("github")])
def test_actionlint_finds_nothing(tmp_path: Path, name: str) -> None:
    """Beyond the format: expressions, needs, shell scripts. The label of the runner is the user's own."""
    (tmp_path / "actionlint.yaml").write_text("self-hosted-runner:\n  labels: [gpu]\n")
    command = ["actionlint", "-config-file", str(tmp_path / "actionlint.yaml"), str(CI / name)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_option_in_a_workflow_exists(name: str) -> None:
    used = set(OPTION.findall((CI / name).read_text()))
    assert used - {flag.option for flag in (*VALUES, *SWITCHES)} == {"--perf"} | (used & {"--save-baseline"})


def test_every_workflow_is_checked() -> None:
    assert {path.name for path in CI.glob("*.yml")} == set(SCHEMAS)
