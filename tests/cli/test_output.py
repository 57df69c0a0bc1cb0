"""What the commands write: to readers that leave, to terminals that show little, to disks that are full, to nobody."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import perfsuite
from perfsuite.core import jsontext
from perfsuite.core.options import Options
from perfsuite.report import json_report
from tests.builders import make_recording

COMMAND = [sys.executable, "-m", "perfsuite.cli"]
SLOWER = 1.5
NOTE = "mod\xe8le \udcff"
FULL = Path("/dev/full")


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of before.json and after.json, whose one cell is slower."""
    monkeypatch.setenv("PYTHONPATH", str(Path(perfsuite.__file__).parents[1]))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, factor in (("before", 1.0), ("after", SLOWER)):
        recordings = [make_recording(session=s, noise=0.02, n=60, ttft_ms=40 * factor) for s in range(6)]
        data = json_report.document(Options(), recordings, ())
        (tmp_path / f"{name}.json").write_text(jsontext.dumps({**data, "notes": [NOTE]}))
    return tmp_path


@pytest.fixture
def left() -> Iterator[int]:
    """The end of a pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize("arguments", [["compare", "before.json", "after.json"], ["show", "after.json"], ["--help"]])
def test_a_reader_that_leaves_ends_the_command_quietly_and_is_no_regression(arguments: list[str], left: int) -> None:
    result = subprocess.run([*COMMAND, *arguments], stdout=left, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.usefixtures("reports")
def test_a_complaint_that_nobody_reads_keeps_its_exit_code(left: int) -> None:
    result = subprocess.run([*COMMAND, "show", "no.json"], stdout=subprocess.DEVNULL, stderr=left, check=False)
    assert result.returncode == 2


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize(
    ("environment", "note"),
    [
        ({"PYTHONIOENCODING": "ascii"}, b"mod\\xe8le \\udcff"),
        ({"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, b"mod\\xe8le \\udcff"),
        ({"PYTHONIOENCODING": "utf-8"}, b"mod\xc3\xa8le \\udcff"),
    ],
)
def test_what_an_output_cannot_show_is_escaped(environment: dict[str, str], note: bytes) -> None:
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONIOENCODING", "PYTHONUTF8")}
    everything = {**own, **environment}
    result = subprocess.run([*COMMAND, "show", "after.json"], capture_output=True, env=everything, check=False)
    assert (result.returncode, result.stderr, result.stdout.splitlines()[-1]) == (0, b"", note)


@pytest.mark.usefixtures("reports")
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with FULL.open("w") as full:
        result = subprocess.run(
            [*COMMAND, "show", "after.json"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (2, "perfsuite: standard output: No space left on device\n")


@pytest.mark.usefixtures("reports")
def test_a_closed_output_takes_anything() -> None:
    closing = ["sh", "-c", '"$@" >&-', "sh", *COMMAND, "show", "after.json"]
    result = subprocess.run(closing, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.usefixtures("reports")
def test_a_name_that_no_file_can_have_is_one_line() -> None:
    result = subprocess.run([*COMMAND, "show", "a" * 300], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, f"perfsuite: {'a' * 300}: File name too long\n")
