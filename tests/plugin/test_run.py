"""The life of a baseline, through the command line."""

import json
from pathlib import Path

import pytest

from tests.plugin.conftest import Run


def stored(project: pytest.Pytester) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in project.path.glob("baselines/**/*.json")}


def test_without_perf_the_tests_are_skipped_with_a_reason(run: Run) -> None:
    result = run("-rs", small=False)
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["SKIPPED*needs --perf*"])


def test_without_a_baseline_numbers_are_shown_and_nothing_counts_as_passed(run: Run) -> None:
    result = run("--perf")
    result.assert_outcomes(skipped=8)
    result.stdout.fnmatch_lines(
        ["*fake, tiny*on scripted*", "*no baseline for 'scripted'*", "perfsuite: 12 gates: 12 no baseline"]
    )


def test_a_saved_baseline_lies_in_a_file_per_cell(run: Run, project: pytest.Pytester) -> None:
    run("--save-baseline", "--perf-sessions=1").assert_outcomes(passed=8)
    names = sorted(str(path.relative_to(project.path)) for path in project.path.glob("baselines/**/*.json"))
    assert names == [f"baselines/scripted/tiny/fake/p{length}-o4.json" for length in (10, 20)]


def test_the_same_code_stays_green(run: Run, saved: Path) -> None:
    result = run("--perf", "--perf-tolerance=ttft.p99=off")
    assert result.ret == 0
    result.assert_outcomes(passed=6, skipped=2)
    result.stdout.no_fnmatch_line("*regressed*")


def test_a_slowdown_turns_the_run_red_and_is_told_with_its_size(run: Run, saved: Path) -> None:
    result = run("--perf", "--perf-inject-slowdown=10%")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*fake/tiny/p10-o4: TTFT P50 regressed * ms -> * ms (+* %, 95 % CI *"])
    result.stdout.fnmatch_lines(["*reproduce: pytest --perf *-k '[[]fake/tiny/p10-o4'"])


def test_judging_never_changes_a_baseline(run: Run, saved: Path, project: pytest.Pytester) -> None:
    before = stored(project)
    run("--perf")
    run("--perf", "--perf-inject-slowdown=10%")
    assert stored(project) == before


def test_saving_again_shows_old_and_new(run: Run, saved: Path) -> None:
    result = run("--save-baseline", "--perf-sessions=2")
    result.stdout.fnmatch_lines(["fake/tiny/p10-o4: saved 2 sessions: TTFT P50 * ms -> * ms (*"])


def test_strict_fails_what_was_not_compared(run: Run) -> None:
    run("--perf", "--perf-strict").assert_outcomes(failed=8)


def test_a_tail_with_too_few_samples_is_refused_with_the_number_needed(run: Run, saved: Path) -> None:
    result = run("--perf", "-rs")
    result.stdout.fnmatch_lines(["*TTFT P99 inconclusive*300 are needed*"])


def test_another_workload_in_the_file_makes_the_cell_incomparable(
    run: Run, saved: Path, project: pytest.Pytester
) -> None:
    source = next(project.path.glob("baselines/**/p10-o4.json"))
    source.rename(source.with_name("p20-o4.json"))
    result = run("--perf", "-rs")
    result.stdout.fnmatch_lines(["*fake/tiny/p20-o4: incomparable: workload:*"])


def test_another_model_in_the_file_makes_the_cell_incomparable(run: Run, saved: Path, project: pytest.Pytester) -> None:
    (project.path / "baselines/scripted/tiny").rename(project.path / "baselines/scripted/tinyllama-1.1b")
    result = run("--perf", "--perf-model=tinyllama-1.1b")
    result.stdout.fnmatch_lines(["*/p10-o4: incomparable: model: 'tiny' there, 'tinyllama-1.1b' here*"])


def test_another_device_in_the_file_makes_the_cell_incomparable(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "--perf-strategy=tests.scripted:OnDevice"
    monkeypatch.setenv("DEVICE", "H100")
    run("--save-baseline", "--perf-sessions=2", own).assert_outcomes(passed=8)
    (project.path / "baselines/h100").rename(project.path / "baselines/h200")
    monkeypatch.setenv("DEVICE", "H200")
    result = run("--perf", own)
    result.stdout.fnmatch_lines(["*/p10-o4: incomparable: device: 'H100' there, 'H200' here*"])
    allowed = run("--perf", own, "--perf-allow-mismatch=device")
    allowed.stdout.no_fnmatch_line("*/p10-o4: incomparable*")


def test_a_baseline_of_another_device_is_named(run: Run, saved: Path, project: pytest.Pytester) -> None:
    (project.path / "baselines/scripted").rename(project.path / "baselines/nvidia-h100")
    result = run("--perf")
    result.stdout.fnmatch_lines(["*no baseline for 'scripted' (there is one for 'scripted')*"])


def test_a_stored_cell_that_is_not_measured_is_named(run: Run, saved: Path) -> None:
    result = run("--perf", "--perf-prompt-lengths=10")
    result.stdout.fnmatch_lines(["stored but not measured in this run: fake/tiny/p20-o4"])


def test_the_json_report_holds_samples_and_verdicts(run: Run, project: pytest.Pytester) -> None:
    run("--perf", "--perf-json=out.json")
    document = json.loads((project.path / "out.json").read_text())
    cell = document["cells"][0]
    assert len(cell["recordings"][0]["samples"]["arrivals_ns"]) == 70
    assert [verdict["outcome"] for verdict in cell["verdicts"]] == ["no baseline"] * 6


def test_nothing_is_measured_for_collect_only(run: Run, project: pytest.Pytester) -> None:
    run("--perf", "--collect-only")
    assert not (project.path / ".perfsuite").exists()


def test_only_selected_cells_are_measured(run: Run) -> None:
    result = run("--perf", "-k", "p10-o4")
    result.stdout.fnmatch_lines(["perf fake/tiny session 1, 1 cell: done*"])


def test_quiet_leaves_the_verdicts(run: Run) -> None:
    result = run("--perf", "-q")
    result.stdout.fnmatch_lines(["perfsuite: 12 gates: 12 no baseline"])
    result.stdout.no_fnmatch_line("*TTFT, ms*")


def test_ini_values_are_defaults_for_the_flags(run: Run, project: pytest.Pytester) -> None:
    lines = ["perf_strategy=fake", "perf_prompt_lengths=30", "perf_samples=20", "perf_strict=true"]
    project.makeini("[pytest]\n" + "\n".join(lines))
    result = run("--perf", small=False)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["*fake/tiny/p30-o32*no baseline*"])


def test_the_repositorys_own_suite_is_written_with_the_public_fixtures(run: Run, project: pytest.Pytester) -> None:
    suite = Path(__file__).parent.parent / "perf" / "test_latency.py"
    project.makepyfile(test_speed=suite.read_text())
    run("--save-baseline", "--perf-sessions=1").assert_outcomes(passed=12)


def test_a_test_marked_skip_is_not_measured(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        test_speed="""
        import pytest

        @pytest.mark.skipif("True", reason="no GPU here")
        @pytest.mark.perf(prompt_tokens=33)
        def test_one(perf_judgement): pass
        """
    )
    result = run("--save-baseline")
    result.assert_outcomes(skipped=1)
    assert stored(project) == {}


def test_a_red_gate_never_ends_green_whatever_the_test_asserts(run: Run, saved: Path, project: pytest.Pytester) -> None:
    project.makepyfile(test_speed="def test_one(perf_judgement): pass")
    result = run("--perf", "--perf-inject-slowdown=20%")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_cells_that_are_only_recorded_are_not_judged(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_speed="def test_one(perf_recording): pass")
    result = run("--perf")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["perfsuite: 0 gates: nothing was judged"])


def test_the_json_report_is_written_without_a_terminal(run: Run, project: pytest.Pytester) -> None:
    run("--perf", "--perf-json=out.json", "-p", "no:terminal")
    assert json.loads((project.path / "out.json").read_text())["cells"]


def test_a_strategy_that_cannot_run_is_skipped_under_all_and_fails_when_strict(
    run: Run, project: pytest.Pytester
) -> None:
    project.makeconftest(
        """
        from perfsuite import strategies
        strategies.BUILTIN = {"missing": "tests.scripted:Unavailable"}
        """
    )
    result = run("--perf", "--perf-strategy=all", "-rs")
    result.assert_outcomes(skipped=8)
    result.stdout.fnmatch_lines(["*pip install engine*"])
    run("--perf", "--perf-strategy=all", "--perf-strict").assert_outcomes(errors=8)


def test_too_few_sessions_to_turn_red_are_said(run: Run) -> None:
    result = run("--perf", "--perf-sessions=2")
    result.stdout.fnmatch_lines(["--perf-sessions: nothing turns red below 3 sessions that agree"])
