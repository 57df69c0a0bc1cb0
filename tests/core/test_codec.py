import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite.core.baseline import Baseline
from perfsuite.core.codec import CodecError, decode, encode
from perfsuite.core.recording import Environment, Evidence, Memory, Recording, StartupPhase
from perfsuite.core.roofline import Limits, Rate, Roofline
from perfsuite.core.sample import Failure, Phase, Sample
from perfsuite.core.sampling_check import SamplingCheck
from perfsuite.core.verdict import Interval, Judgement, Outcome
from perfsuite.core.work import Attention, ModelWork
from perfsuite.core.workload import SamplingParams
from tests.builders import make_baseline, make_cell, make_environment, make_recording, make_verdict

counts = st.integers(0, 2**62)
maybe_counts = st.none() | counts
texts = st.text(max_size=20)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    length = draw(st.integers(1, 4))
    times = st.lists(counts, min_size=length, max_size=length).map(tuple)
    return Sample(
        phase=draw(st.sampled_from(Phase)),
        block=draw(counts),
        arrivals_ns=draw(times),
        tokens=draw(times),
        device_ns=draw(st.none() | times),
    )


rates = st.builds(lambda rate: Rate(measured=rate, ceiling=1.25 * rate), st.floats(1e-3, 1e18))
rooflines = st.builds(
    Roofline,
    limits=st.builds(Limits, reading=rates, computing=rates),
    work=st.builds(
        ModelWork,
        weight_bytes=counts,
        token_flops=counts,
        head_flops=counts,
        attention=st.lists(
            st.builds(Attention, layers=counts, kv_bytes=counts, pair_flops=counts, window=maybe_counts), max_size=2
        ).map(tuple),
    ),
)

recordings = st.builds(
    Recording,
    cell=st.just(make_cell()),
    environment=st.builds(
        Environment, device=texts, must_agree=st.dictionaries(texts, texts), noted=st.dictionaries(texts, texts)
    ),
    session=counts,
    started_at=texts,
    startup=st.lists(st.builds(StartupPhase, name=texts, duration_ns=counts)).map(tuple),
    memory=st.builds(Memory, weights=maybe_counts, host_peak=maybe_counts),
    evidence=st.builds(Evidence, recompiles=maybe_counts, notes=st.lists(texts).map(tuple)),
    warmups=st.lists(samples(), max_size=3).map(tuple),
    samples=st.lists(samples(), max_size=3).map(tuple),
    failures=st.lists(st.builds(Failure, stage=texts, message=texts), max_size=3).map(tuple),
    injected_slowdown=st.floats(0, 10),
    roofline=st.none() | rooflines,
)


@settings(max_examples=50)
@given(recordings)
def test_any_recording_survives_json(recording: Recording) -> None:
    assert decode(Recording, json.loads(json.dumps(encode(recording)))) == recording


def test_a_baseline_survives_json() -> None:
    baseline = make_baseline()
    assert decode(Baseline, json.loads(json.dumps(encode(baseline)))) == baseline


def test_a_judgement_survives_json() -> None:
    judgement = Judgement(cell=make_cell(), verdicts=(make_verdict(), make_verdict(Outcome.PASSED, "tpot.p50")))
    assert decode(Judgement, json.loads(json.dumps(encode(judgement)))) == judgement


def test_samples_become_one_list_per_field() -> None:
    encoded = encode(make_recording(n=2, decode=0))["samples"]
    assert encoded["arrivals_ns"] == [[40_000_000], [40_000_000]]
    assert encoded["phase"] == ["prefill", "prefill"]


def test_values_that_hold_other_values_stay_objects() -> None:
    encoded = encode((make_verdict(),))
    assert encoded[0]["interval"] == {"low": 0.121, "high": 0.204, "confidence": 0.95}


def test_a_set_is_encoded_in_order() -> None:
    assert encode(frozenset({"torch", "driver"})) == ["driver", "torch"]


def test_a_whole_number_is_accepted_where_a_fraction_may_stand() -> None:
    assert decode(Interval, {"low": 0, "high": 1, "confidence": 0.95}) == Interval(low=0.0, high=1.0)


def damaged(**changes: Any) -> dict[str, Any]:
    return {**encode(make_recording(n=2, decode=1)), **changes}


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        ([], r"^recording: expected an object, found \[\]$"),
        (damaged(session="0"), r"^recording\.session: expected int, found '0'$"),
        (damaged(session=True), r"^recording\.session: expected int, found True$"),
        (damaged(session=1.0), r"^recording\.session: expected int, found 1\.0$"),
        (
            damaged(injected_slowdown=float("nan")),
            r"^recording\.injected_slowdown: expected a finite number, found nan$",
        ),
        (damaged(session=10**400), r"^recording\.session: 10{36}\.\.\. is too large a number; at most 20 digits are"),
        (damaged(injected_slowdown=10**400), r"^recording\.injected_slowdown: 10{36}\.\.\. is too large a number"),
        (damaged(session=None), r"^recording\.session: expected int, found None$"),
        (damaged(sesion=1), r"^recording: has the unknown sesion$"),
        (damaged(memory={}), r"^recording\.memory: lacks host_peak, peak_allocated, peak_reserved, weights$"),
        (damaged(failures=3), r"^recording\.failures: expected a list, found 3$"),
        (damaged(failures=[3]), r"^recording\.failures\[0\]: expected an object, found 3$"),
        (damaged(failures={"stage": ["open"], "message": []}), r"^recording\.failures: the columns stage, message"),
        (damaged(failures={"stage": "open", "message": "x"}), r"^recording\.failures: the columns stage, message"),
        (damaged(failures={"stage": ["open"]}), r"^recording\.failures\[0\]: lacks message$"),
        (
            damaged(startup={"name": ["a"], "duration_ns": ["b"]}),
            r"^recording\.startup\[0\]\.duration_ns: expected int",
        ),
    ],
)
def test_data_of_the_wrong_shape_is_refused_with_its_place(data: object, finding: str) -> None:
    with pytest.raises(CodecError, match=finding):
        decode(Recording, data, where="recording")


def with_sample(**changes: list[object]) -> dict[str, Any]:
    columns = {"phase": ["prefill"], "block": [0], "arrivals_ns": [[1]], "tokens": [[1]], "device_ns": [None]}
    return damaged(samples={**columns, **changes})


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        (with_sample(phase=["warm"]), r"^recording\.samples\[0\]\.phase: 'warm' is none of prefill, decode$"),
        (with_sample(arrivals_ns=[[1.5]]), r"^recording\.samples\[0\]\.arrivals_ns: expected whole numbers"),
        (with_sample(arrivals_ns=[[True]]), r"^recording\.samples\[0\]\.arrivals_ns: expected whole numbers"),
        (with_sample(arrivals_ns=[[]]), r"^recording\.samples\[0\]: a sample needs one token count per arrival"),
    ],
)
def test_a_broken_sample_is_refused_with_its_number(data: object, finding: str) -> None:
    with pytest.raises(CodecError, match=finding):
        decode(Recording, data, where="recording")


def test_a_long_finding_is_cut_short() -> None:
    with pytest.raises(CodecError) as caught:
        decode(SamplingParams, "x" * 1000)
    assert len(str(caught.value)) < 80


def test_a_wrong_value_in_a_mapping_is_refused_with_its_key() -> None:
    data = {**encode(make_environment()), "noted": {"host": 7}}
    with pytest.raises(CodecError, match=r"^environment\.noted\.host: expected str, found 7$"):
        decode(Environment, data, where="environment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    counts: Mapping[str, tuple[int, ...]]


def test_a_mapping_of_tuples_survives() -> None:
    shelf = Shelf(counts={"a": (1, 2), "b": ()})
    assert decode(Shelf, encode(shelf)) == shelf


def test_a_field_that_was_added_later_may_be_missing_and_then_has_its_default() -> None:
    data = encode(make_recording())
    del data["sampling"]
    assert decode(Recording, data) == make_recording()


def test_a_sampling_check_survives() -> None:
    recording = replace(
        make_recording(), sampling=SamplingCheck(draws=3, problems=("a",), told=("b", "c"), open=("b",))
    )
    assert decode(Recording, encode(recording)) == recording
