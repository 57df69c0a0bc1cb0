"""A strategy from outside: the worked example of the documentation, in a file and in an installed package."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.plugin.conftest import Run

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-strategy.md"


def block(language: str) -> str:
    """The first block of that language in the guide."""
    blocks = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert isinstance(blocks[0], str)
    return blocks[0]


def example() -> str:
    return block("python")


def test_the_worked_example_runs_from_its_file(run: Run, project: pytest.Pytester) -> None:
    (project.path / "counting.py").write_text(example(), encoding="utf-8")
    result = run("--perf", "--perf-strategy=counting.py:Counting", "--perf-batch-size=2")
    result.stdout.fnmatch_lines(["Counting, tiny*on my device*", "*no baseline for 'my device'*"])


def test_the_worked_example_is_short_its_packaging_included() -> None:
    assert len((example() + block("toml")).splitlines()) <= 40


def test_an_installed_package_adds_a_strategy_by_its_entry_point(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = project.path / "site"
    install(make_wheel(project.path, example()), site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    result = run("--perf", "--perf-strategy=counting")
    result.stdout.fnmatch_lines(["counting, tiny*on my device*"])
    suite = run("--perf", "--pyargs", "perfsuite.suite", "--perf-strategy=counting", "-rs")
    suite.stdout.fnmatch_lines(["*counting/tiny/p10-o4*no baseline*", "*strategy 'counting' shows no logits*"])
    assert suite.ret == 0


def entry_point() -> str:
    """'counting = counting:Counting', as the guide's pyproject.toml has it."""
    (line,) = re.findall(r'\[project.entry-points."perfsuite.strategies"\]\n(.*)\n', block("toml"))
    return str(line).replace('"', "")


def make_wheel(folder: Path, source: str) -> Path:
    """A wheel of one module, written by hand: building one would fetch a build backend."""
    wheel = folder / "counting-1.0-py3-none-any.whl"
    info = "counting-1.0.dist-info"
    files = {
        "counting.py": source,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[perfsuite.strategies]\n{entry_point()}\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return wheel


def install(wheel: Path, site: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, timeout=120)
