"""The whole path to an endpoint: flags, processes, baseline, verdict; and what a user is told where there is none."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsuite.core.engine import KEY_VARIABLE
from tests.plugin.conftest import Run
from tests.strategies.server import Server, as_json, serving

pytestmark = pytest.mark.slow

httpx = pytest.importorskip("httpx", reason="needs the extra openai")

KEY = "sk-do-not-tell"
QUICK = ("--perf-strategy=openai", "--perf-model=served", "--perf-prompt-lengths=10", "--perf-output-tokens=4")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as answering:
        yield answering


@pytest.fixture
def run_endpoint(run: Run, server: Server, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The suite against the server, whose model has a vocabulary in the folder of the run."""
    (project.path / "model").mkdir()
    (project.path / "model" / "config.json").write_text('{"vocab_size": 100}')
    monkeypatch.setenv("PYTHONPATH", str(Path(httpx.__file__).parents[1]), prepend=os.pathsep)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    quick = (*QUICK, f"--perf-endpoint={server.url}", "--perf-tokenizer=model", "--perf-samples=20")
    return lambda *arguments: run(*quick, *arguments, small=False)


def test_an_endpoint_is_measured_saved_and_judged_and_its_key_is_nowhere(
    run_endpoint: Run, project: pytest.Pytester
) -> None:
    run_endpoint("--save-baseline", "--perf-sessions=2").assert_outcomes(passed=4)
    result = run_endpoint("--perf", "--perf-sessions=1", "--perf-json=out.json", "--perf-tolerance=ttft.p50=100%")
    assert "no baseline" not in str(result.stdout)
    document = json.loads((project.path / "out.json").read_text())
    (cell,) = document["cells"]
    assert [recording["failures"] for recording in cell["recordings"]] == [[]] * len(cell["recordings"]) != []
    assert {recording["memory"]["host_peak"] for recording in cell["recordings"]} == {None}
    shown = [path.read_text(errors="replace") for path in project.path.rglob("*") if path.is_file()]
    assert not any(KEY in text for text in (*shown, str(result.stdout), str(result.stderr)))


def test_an_endpoint_out_of_reach_is_one_line_and_fails_its_cells_alone(run: Run) -> None:
    both = ("--perf-strategy=openai,fake", "--perf-endpoint=http://127.0.0.1:1/v1", "--perf-samples=20")
    result = run("--perf", *QUICK, *both, small=False)
    result.assert_outcomes(failed=4, skipped=4)
    result.stdout.fnmatch_lines(["*--perf-endpoint: http://127.0.0.1:1/v1: cannot be reached: *"])
    result.stdout.fnmatch_lines(["fake, served (none) on scripted: *"])
    assert "Traceback" not in str(result.stdout) + str(result.stderr)


def test_a_model_that_is_not_served_is_one_line(run_endpoint: Run) -> None:
    result = run_endpoint("--perf", "--perf-model=other")
    text = str(result.stdout) + str(result.stderr)
    assert "it serves no model 'other'; give --perf-model served" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--perf-endpoint=nowhere", "--perf-endpoint: 'nowhere' is no URL of a server"),
        ("--perf-endpoint=http://sk-do-not-tell@host/v1", "--perf-endpoint: a URL with credentials"),
        ("--perf-request-timeout=soon", "--perf-request-timeout: 'soon'"),
        ("--perf-tensor-parallel=0", "--perf-tensor-parallel: 0 is not allowed; it must be 1 or above"),
        ("--perf-tensor-parallel-size=two", "--perf-tensor-parallel: 'two' is not a whole number"),
        ("--perf-gpu-memory-utilization=2", "--perf-gpu-memory-utilization: 2.0 is not allowed; it must be above 0"),
        ("--perf-goodput=ttft:50", "--perf-goodput (ttft): '50' is not a duration; write for example '90s'"),
        (
            "--perf-goodput=speed:5ms",
            "--perf-goodput: 'speed:5ms' is no objective, or one given twice; write 'ttft:50ms",
        ),
        ("--perf-max-model-len=no", "--perf-max-model-len: 'no' is not a whole number"),
    ],
)
def test_a_flag_that_cannot_be_used_is_one_line(run: Run, flag: str, words: str) -> None:
    result = run("--perf", flag)
    assert result.ret == 4
    assert words in str(result.stderr)
    assert KEY not in str(result.stderr) + str(result.stdout)
    assert "Traceback" not in str(result.stderr)


def test_a_server_that_breaks_after_it_was_opened_costs_its_cells_only(run_endpoint: Run, server: Server) -> None:
    spoken = server.completions
    server.completions = lambda asked: (
        spoken(asked) if len(asked.body["prompt"]) == 32 else as_json({"error": "overloaded"}, 503)
    )
    result = run_endpoint("--perf", "--perf-sessions=1")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*3 of 3 requests failed*HTTP 503: overloaded*"])


def test_requests_at_once_have_times_of_their_own_and_a_goodput(run_endpoint: Run, project: pytest.Pytester) -> None:
    asked = ("--perf-batch-size=4", "--perf-goodput=ttft:10s,tpot:10s", "--perf-json=out.json", "--perf-sessions=1")
    result = run_endpoint("--perf", *asked)
    result.stdout.fnmatch_lines(["openai/served/p10-o4-b4 *100.0 %*40/40*", "goodput counts full requests with TTFT*"])
    (cell,) = json.loads((project.path / "out.json").read_text())["cells"]
    samples = cell["recordings"][0]["samples"]
    assert {len(rows) for rows in samples["rows_ns"]} == {4}
    assert cell["summaries"]["ttft"]["count"] == 4 * 20
    assert (cell["goodput"]["good"], cell["goodput"]["requests"]) == (40, 40)
    assert cell["throughput"]["tokens_per_second"] > 0
    assert cell["used"]["throughput"] == [pytest.approx(cell["throughput"]["tokens_per_second"])]
