"""What users write: their own tests, workloads and strategies."""

import pytest

from tests.plugin.conftest import Run

OWN_STRATEGY = '''
import pytest
from perfsuite import Chunk, Evidence, ModelFacts

class Echo:
    """Answers with the prompt's own tokens."""

    name = "echo"
    abilities = frozenset()

    def open(self, model, workloads):
        yield "load"

    def stream(self, request):
        for index in range(request.output_tokens):
            yield Chunk(token_ids=(request.prompts[0][index % len(request.prompts[0])],))

    def facts(self):
        return ModelFacts(vocabulary=50, positions=None, parameters=0, dtype="none", device="mine", fingerprint="1")

    def evidence(self):
        return Evidence()

    def close(self):
        pass

@pytest.mark.perf(strategy=Echo, prompt_tokens=[8, 16], output_tokens=3)
def test_echo(perf_recording):
    assert perf_recording.milliseconds("e2e.p50") < 50
'''


def test_a_users_own_test_takes_few_lines(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        test_speed="""
        import pytest

        @pytest.mark.perf(prompt_tokens=64, output_tokens=8, tolerance="ttft.p50=8%")
        def test_chat_stays_fast(perf_recording, perf_judgement):
            assert perf_recording.milliseconds("ttft.p50") < 50
            assert perf_recording.summary("e2e").count % 10 == 0
            perf_judgement.require("ttft.p50", "e2e.p50")
        """
    )
    run("--save-baseline", "--perf-sessions=4").assert_outcomes(passed=1)
    run("--perf").assert_outcomes(passed=1)


def test_a_strategy_written_beside_the_test_is_measured(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_speed=OWN_STRATEGY)
    result = run("--perf")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["Echo, tiny*on mine*"])


def test_a_strategy_is_named_by_file_and_class(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(mine=OWN_STRATEGY)
    result = run("--perf", "--perf-strategy=mine.py:Echo")
    result.stdout.fnmatch_lines(["Echo/tiny/p10-o4*"])


def test_two_fixtures_of_one_cell_measure_it_once(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        test_speed="""
        def test_one(perf_recording, perf_judgement): pass
        def test_two(perf_recording): assert len(perf_recording.recordings) == 1
        """
    )
    result = run("--perf")
    result.assert_outcomes(passed=4)
    assert str(result.stdout).count("session 1, ") == 1


def test_a_fixture_outside_perf_skips_with_a_reason(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_speed="def test_one(perf_recording, perf_strategy): raise AssertionError")
    result = run("-rs", small=False)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs --perf*"])


def test_a_live_strategy_is_opened_once_for_all_tests_of_its_arm(run: Run, project: pytest.Pytester) -> None:
    source = """
        from perfsuite import Request, SamplingParams
        seen = []

        def test_live(perf_strategy):
            seen.append(perf_strategy)
            request = Request(prompts=((1, 2),), output_tokens=3, sampling=SamplingParams())
            assert sum(len(chunk.token_ids) for chunk in perf_strategy.stream(request)) == 3

        def test_same(perf_strategy, perf_cell):
            assert seen == [perf_strategy] and perf_cell.strategy == "fake"
        """
    project.makepyfile(test_speed=source)
    run("--perf", "--perf-prompt-lengths=10").assert_outcomes(passed=2)


def test_numbers_of_a_cell_whose_requests_broke_are_refused(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_speed="def test_one(perf_recording): perf_recording.milliseconds('ttft.p50')")
    result = run("--perf", "--perf-strategy=tests.scripted:RaisesAt20")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*p20-o4: 3 of 3 requests failed*no kernel for this shape*"])


def test_a_metric_that_is_not_gated_is_said(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_speed="def test_one(perf_judgement): perf_judgement.require('ttft.p95')")
    result = run("--perf", "-rs")
    result.stdout.fnmatch_lines(["*TTFT P95 is not gated here*"])


def test_a_number_that_needs_more_samples_is_refused(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_speed="def test_one(perf_recording): perf_recording.milliseconds('ttft.p99')")
    result = run("--perf")
    result.stdout.fnmatch_lines(["*TTFT P99 needs 239 samples more; raise --perf-samples*"])


KEEPS_ENGINES = """
    from perfsuite.strategies.fake import FakeStrategy
    from perfsuite.core.errors import OptionError
    from perfsuite.core.recording import Evidence

    class Engines(FakeStrategy):
        folder = None

        def keep_engines_in(self, folder):
            self.folder = folder

        def open(self, model, workloads):
            if self.folder is not None and not self.folder.is_dir():
                raise OptionError(f"--perf-engine-dir: there is no folder {str(self.folder)!r}; build it")
            yield from super().open(model, workloads)

        def evidence(self):
            return Evidence(notes=(f"engine folder: {self.folder}",))
    """


def test_the_folder_of_engines_reaches_sessions_and_live_strategies(run: Run, project: pytest.Pytester) -> None:
    folder = project.mkdir("built")
    project.makepyfile(mine=KEEPS_ENGINES)
    project.makepyfile(
        test_speed=f"""
        NOTE = "engine folder: {folder}"

        def test_session(perf_recording):
            assert perf_recording.recordings[0].evidence.notes[0] == NOTE

        def test_live(perf_strategy):
            assert perf_strategy.evidence().notes[0] == NOTE
        """
    )
    result = run("--perf", "--perf-strategy=mine.py:Engines", "--perf-engine-dir=built", "--perf-prompt-lengths=10")
    result.assert_outcomes(passed=2)


def test_engines_that_do_not_fit_are_one_line(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(mine=KEEPS_ENGINES)
    result = run("--perf", "--perf-strategy=mine.py:Engines", "--perf-engine-dir=none")
    assert result.ret != 0
    lines = [line for line in (*result.outlines, *result.errlines) if "there is no folder" in line]
    assert any(f"--perf-engine-dir: there is no folder '{project.path}/none'; build it" in line for line in lines)
    assert "Traceback" not in str(result.stdout)
