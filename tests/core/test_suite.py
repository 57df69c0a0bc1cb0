from dataclasses import replace

from perfsuite.core.judgement import judge_cell, suite_noise
from perfsuite.core.options import DEFAULT_TOLERANCES, GateOptions
from perfsuite.core.suite import Gates, Question, judge_suite, suite_drifts
from perfsuite.core.verdict import Outcome
from tests.builders import make_baseline, make_cell, make_recording, make_sessions

METRIC = next(iter(DEFAULT_TOLERANCES))
CELLS = tuple(make_cell(prompt=length) for length in range(10, 130, 10))


def question(index: int) -> Question:
    sessions = [make_recording(CELLS[index], session=s, noise=0.03, n=60, seed=7 * index) for s in range(9)]
    return Question(
        cell=CELLS[index],
        gates=Gates(tolerances={METRIC: 0.05}),
        recordings=tuple(sessions[6:]),
        stored=make_baseline(*sessions[:6]),
        save_command=f"save {index}",
    )


QUESTIONS = [question(index) for index in range(len(CELLS))]


def test_every_cell_is_judged_with_the_noise_of_all_and_for_all_gates() -> None:
    found = judge_suite(QUESTIONS, GateOptions())
    baselines = [asked.stored for asked in QUESTIONS]
    noise = suite_noise(baselines, [METRIC])  # type: ignore[arg-type]
    expected = judge_cell(
        CELLS[3],
        baselines[3],  # type: ignore[arg-type]
        QUESTIONS[3].recordings,
        tolerances={METRIC: 0.05},
        gates=len(CELLS),
        options=GateOptions(),
        noise=noise,
        save_command="save 3",
    )
    assert found[3] == expected
    assert found[3] != judge_suite([QUESTIONS[3]], GateOptions())[0]


def test_two_tests_of_one_cell_have_a_judgement_each_and_its_noise_counts_once() -> None:
    twice = [QUESTIONS[0], replace(QUESTIONS[0], gates=Gates(tolerances={METRIC: 0.5})), *QUESTIONS[1:]]
    found = judge_suite(twice, GateOptions())
    assert [judgement.verdicts[0].tolerance for judgement in found[:2]] == [0.05, 0.5]
    assert [judgement.cell for judgement in found] == [CELLS[0], *CELLS]


def test_a_baseline_that_cannot_be_read_makes_its_cell_invalid_and_no_other() -> None:
    broken = [replace(QUESTIONS[0], stored="p10.json: the file ends too early"), *QUESTIONS[1:]]
    first, *others = judge_suite(broken, GateOptions())
    assert [(verdict.outcome, verdict.reason) for verdict in first.all] == [
        (Outcome.INVALID, "p10.json: the file ends too early")
    ]
    assert all(verdict.outcome is not Outcome.INVALID for other in others for verdict in other.all)


def test_a_cell_without_a_baseline_has_no_history_to_drift_in() -> None:
    recordings = make_sessions(make_recording(CELLS[0]), 3)
    judgement = judge_suite([replace(QUESTIONS[0], stored=None, recordings=recordings)], GateOptions())[0]
    assert suite_drifts([(judgement, None, recordings)]) == ()
