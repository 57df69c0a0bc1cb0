"""Real trials of the gate, with the scripted strategy in processes of its own."""

import sys
from dataclasses import replace

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import parse_metric
from perfsuite.core.options import GateOptions, MeasureOptions
from perfsuite.core.selftest import Gated, Trial
from perfsuite.core.verdict import Outcome
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import SessionJob
from perfsuite.measure.trial import Ways, measure_options, try_gate
from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.builders import make_baseline, make_recording
from tests.measured import CELLS, MEASURED, QUIET, REFERENCE, quiet_baselines

TOLERANCES = {parse_metric(text, where="test"): 0.05 for text in ("ttft.p50", "tpot.p50", "ttft_device.p50")}


class Log:
    """The jobs that began and the ends that came."""

    def __init__(self) -> None:
        self.jobs: list[SessionJob] = []
        self.ends: list[SessionEnd] = []

    def ways(self, reference: str = REFERENCE) -> Ways:
        return Ways(
            workloads=lambda cell: (cell.workload,),
            reference=lambda _: reference,
            import_path=tuple(sys.path),
            options=GateOptions(sessions=4),
            gates=6,
            began=self.jobs.append,
            progressed=lambda _: None,
            ended=self.ends.append,
        )


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCRIPT_VARIABLE, QUIET)


def tried(log: Log, slowdown: float = 0.0, reference: str = REFERENCE) -> Trial:
    gated = [Gated(baseline=baseline, tolerances=TOLERANCES) for baseline in quiet_baselines()]
    return try_gate(gated, log.ways(reference), slowdown=slowdown)


def outcomes(trial: Trial) -> dict[str, set[Outcome]]:
    found: dict[str, set[Outcome]] = {}
    for _, verdict in trial.verdicts():
        found.setdefault(verdict.metric, set()).add(verdict.outcome)
    return found


def test_how_a_baseline_was_measured_is_read_back_from_it() -> None:
    assert measure_options(quiet_baselines()[0], 0.1) == replace(MEASURED, injected_slowdown=0.1)


def test_a_baseline_that_does_not_say_its_blocks_is_measured_in_the_usual_ones() -> None:
    options = measure_options(make_baseline(make_recording(n=30, decode=0)))
    assert (options.samples, options.decode_samples, options.warmup) == (30, 1, 2)
    assert options.block_size == MeasureOptions().block_size


def test_the_same_code_passes_and_its_time_is_told() -> None:
    log = Log()
    trial = tried(log)
    assert trial.wrong() == trial.uncompared() == ()
    assert {outcome for found in outcomes(trial).values() for outcome in found} <= {Outcome.PASSED, Outcome.IMPROVED}
    assert len(trial.sessions_ns) == len(log.jobs) == len(log.ends)
    assert set(trial.spent_ns) == set(CELLS)
    assert min(trial.spent_ns.values()) > 0


def test_a_slowdown_is_red_after_three_sessions_and_the_device_is_not_slowed() -> None:
    log = Log()
    trial = tried(log, slowdown=0.1)
    assert outcomes(trial)["ttft.p50"] == outcomes(trial)["tpot.p50"] == {Outcome.REGRESSED}
    assert outcomes(trial)["ttft_device.p50"] == {Outcome.PASSED}
    assert trial.wrong() == ()
    assert [job.session for job in log.jobs] == [0, 1, 2]
    assert {job.measure for job in log.jobs} == {replace(MEASURED, injected_slowdown=0.1)}


def test_a_strategy_that_cannot_run_is_refused_with_its_remedy() -> None:
    with pytest.raises(OptionError, match=r"fake/tiny/p10-o4: needs the package 'engine'; install it with"):
        tried(Log(), reference="tests.scripted:Unavailable")


def test_a_session_that_dies_on_one_cell_is_made_again_without_it() -> None:
    log = Log()
    trial = tried(log, reference="tests.scripted:DiesAt20")
    reasons = {cell.id: verdict.reason for cell, verdict in trial.uncompared()}
    assert "killed by SIGKILL" in reasons["fake/tiny/p20-o4"]
    assert [len(job.cells) for job in log.jobs] == [2, 1]
