import errno
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.canary import RAW, Canary, Mode
from perfsuite.core.codec import decode
from perfsuite.core.errors import BaselineError
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import parse_metric
from perfsuite.core.reading import Monitoring
from perfsuite.core.recording import Environment
from perfsuite.store import RESTORE, BaselineStore
from tests.builders import (
    H100,
    make_baseline,
    make_block_recording,
    make_cell,
    make_environment,
    make_recording,
    make_sessions,
    with_requests,
)
from tests.watched import device_readings, host_readings, neighbour

A100 = "NVIDIA A100-SXM4-40GB"


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


def load(store: BaselineStore) -> object:
    return store.load(make_cell(), make_environment())


def refusal(store: BaselineStore) -> str:
    """The message with which the one stored baseline is refused; always one line that begins with the path."""
    with pytest.raises(BaselineError) as caught:
        load(store)
    path = store.path(make_cell(), make_environment())
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_a_saved_baseline_is_loaded_as_it_was(store: BaselineStore) -> None:
    baseline = make_baseline(make_recording(noise=0.1, device=True), make_recording(session=1, noise=0.1))
    store.save(baseline)
    assert load(store) == baseline


def test_a_cell_is_one_file_below_device_model_and_strategy(store: BaselineStore) -> None:
    path = store.save(make_baseline())
    assert path == store.directory / "nvidia-h100-80gb-hbm3_torch-2.11.0" / "tiny" / "eager" / "p100-o4.json"


def test_a_workload_with_a_dot_in_its_name_keeps_it(store: BaselineStore) -> None:
    cell = make_cell(model="llama-3.1-8b")
    path = store.save(make_baseline(make_recording(cell)))
    assert path.parts[-3:] == ("llama-3.1-8b", "eager", "p100-o4.json")
    assert store.cells(path.parts[-4]) == (cell.id,)


def test_a_cell_that_was_never_saved_has_no_baseline(store: BaselineStore) -> None:
    assert load(store) is None


def test_saving_again_replaces_the_baseline(store: BaselineStore) -> None:
    store.save(make_baseline(commit="old"))
    new = make_baseline(commit="new")
    store.save(new)
    assert load(store) == new


def test_saving_leaves_nothing_but_the_file(store: BaselineStore) -> None:
    path = store.save(make_baseline())
    assert list(path.parent.iterdir()) == [path]


def test_equal_baselines_are_equal_files(store: BaselineStore, tmp_path: Path) -> None:
    other = BaselineStore(tmp_path / "other")
    assert store.save(make_baseline()).read_bytes() == other.save(make_baseline()).read_bytes()


def test_a_file_is_read_by_lines(store: BaselineStore) -> None:
    """One sample a line, so that git can show what changed."""
    lines = store.save(make_baseline(make_recording(n=3, decode=0))).read_text().splitlines()
    assert [line.strip() for line in lines].count("[40000000],") == 2


def saved(store: BaselineStore, at: str = "2026-11-20T08:00:00Z", **must_agree: str) -> Path:
    baseline = make_baseline(make_recording(environment=make_environment(**must_agree)))
    return store.save(replace(baseline, saved_at=at))


def torch_of(store: BaselineStore, **must_agree: str) -> str | None:
    found = store.load(make_cell(), make_environment(**must_agree))
    return found and found.environment.must_agree["torch"]


def test_every_environment_has_a_baseline_of_its_own(store: BaselineStore) -> None:
    for release in ("2.11.0", "2.13.0"):
        saved(store, torch=release)
    assert [torch_of(store, torch=release) for release in ("2.11.0", "2.13.0")] == ["2.11.0", "2.13.0"]
    assert store.devices_with(make_cell()) == (H100,)
    assert store.cells_for(make_environment(torch="3.0.0")) == (make_cell().id,)
    assert store.cells_for(make_environment(A100)) == ()


def test_another_environment_gets_the_baseline_that_differs_least(store: BaselineStore) -> None:
    """So that it is called incomparable for what differs, not taken for new."""
    saved(store, torch="2.10.0", driver="570")
    saved(store, torch="2.12.0", driver="580")
    assert torch_of(store, torch="2.13.0", driver="580") == "2.12.0"
    assert torch_of(store, torch="2.10.0", driver="590") == "2.10.0"
    assert store.load(make_cell(), make_environment(A100)) is None


def test_of_several_that_differ_as_much_the_newest_is_named(store: BaselineStore) -> None:
    for release, at in (("2.10.0", "2026-11-21T08:00:00Z"), ("2.12.0", "2026-11-20T08:00:00Z")):
        saved(store, at, torch=release)
    assert torch_of(store, torch="2.13.0") == "2.10.0"


def test_what_was_stored_below_the_device_alone_is_found_and_replaced(store: BaselineStore) -> None:
    path = saved(store)
    old = store.directory / "nvidia-h100-80gb-hbm3" / path.relative_to(store.directory / path.parents[2].name)
    old.parent.mkdir(parents=True)
    path.rename(old)
    assert torch_of(store) == "2.11.0"
    saved(store, torch="2.13.0")
    assert old.exists()
    assert saved(store) == path
    assert not old.exists()


def test_a_setting_that_one_side_does_not_know_makes_no_second_baseline(store: BaselineStore) -> None:
    unknown = saved(store)
    known = saved(store, **{"power limit": "700 W"})
    assert known.parts[-4] == "nvidia-h100-80gb-hbm3_power-limit-700-w_torch-2.11.0"
    assert not unknown.exists()
    assert torch_of(store) == "2.11.0"
    assert saved(store) == unknown
    assert known.exists()


def test_the_devices_that_have_a_cell_are_named_as_they_call_themselves(store: BaselineStore) -> None:
    for device in (A100, H100):
        store.save(make_baseline(make_recording(environment=make_environment(device))))
    assert store.devices_with(make_cell()) == (A100, H100)
    assert store.devices_with(make_cell(prompt=7)) == ()


def test_a_device_whose_file_is_broken_is_named_by_its_folder(store: BaselineStore) -> None:
    store.save(make_baseline()).write_text("{")
    assert store.devices_with(make_cell()) == ("nvidia-h100-80gb-hbm3_torch-2.11.0",)


def test_the_stored_cells_of_a_device_are_listed(store: BaselineStore) -> None:
    cells = [make_cell(prompt=10), make_cell("jit", model="meta-llama/Llama-2-7b-hf")]
    for cell in cells:
        store.save(make_baseline(make_recording(cell)))
    assert store.cells(make_environment().key) == tuple(sorted(cell.id for cell in cells))
    assert store.cells("nvidia-a100") == ()


def test_what_is_no_baseline_is_not_listed(store: BaselineStore) -> None:
    path = store.save(make_baseline())
    (path.parent / ".p1-o1.json.7.tmp").touch()
    (path.parent / "README.md").touch()
    assert store.cells(make_environment().key) == (make_cell().id,)


def test_broken_json_is_refused_with_line_and_column(store: BaselineStore) -> None:
    store.save(make_baseline()).write_text('{\n "schema": 1,\n <<<<<<< HEAD\n}')
    assert refusal(store) == (
        "not JSON: Expecting property name enclosed in double quotes (line 3, column 2); "
        "restore it with git checkout, or record it again with: pytest --save-baseline"
    )


@pytest.mark.parametrize("kept", [0, 1, 100, -2])
def test_a_truncated_file_is_refused_as_ending_too_early(store: BaselineStore, kept: int) -> None:
    path = store.save(make_baseline())
    path.write_text(path.read_text()[:kept])
    assert refusal(store).startswith("the file ends too early (line ")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"schema": ' + "5" * 5000 + "}", "it holds a number of thousands of digits"),
    ],
)
def test_json_that_nobody_could_work_on_is_refused(store: BaselineStore, text: str, found: str) -> None:
    store.save(make_baseline()).write_text(text)
    assert refusal(store) == f"no JSON that can be read: {found}; {RESTORE}"


def test_what_others_put_at_a_baselines_place_is_not_listed_and_can_be_named(store: BaselineStore) -> None:
    own = store.save(make_baseline())
    foreign = store.directory / "docs" / "a" / "b" / "other.json"
    for path in (foreign, store.directory / ".git" / "a" / "b" / "c.json", own.parent / ".hidden.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"name": "other"}')
    assert store.devices() == (make_environment().key,)
    assert store.files(make_environment().key) == (own,)
    assert store.foreign() == (foreign,)


@pytest.mark.parametrize("text", ["", "{", '{"schema": 5', "<<<<<<< HEAD", '{\n "digest": "a"}'])
def test_a_damaged_baseline_stays_listed(store: BaselineStore, text: str) -> None:
    path = store.save(make_baseline())
    path.write_text(text)
    assert store.files(make_environment().key) == (path,)
    assert store.foreign() == ()


def test_a_foreign_schema_is_refused_with_both_numbers(store: BaselineStore) -> None:
    edit(store.save(make_baseline()), lambda data: data.update(schema=7))
    assert refusal(store) == (
        "schema 7; this perfsuite reads 1, 2, 3, 4 and 5; upgrade perfsuite, or record again with: "
        "pytest --save-baseline"
    )


@pytest.mark.parametrize("text", ["{}", "[]", "7", '{"baseline": {}}'])
def test_json_of_something_else_is_refused(store: BaselineStore, text: str) -> None:
    store.save(make_baseline()).write_text(text)
    assert refusal(store).startswith("not a perfsuite baseline, it has no 'schema'")


def test_a_missing_key_is_refused_with_its_place(store: BaselineStore) -> None:
    edit(store.save(make_baseline()), lambda data: data["baseline"].pop("commit"))
    assert refusal(store).startswith("baseline: lacks commit; ")


def test_an_unknown_key_is_refused_with_its_place(store: BaselineStore) -> None:
    edit(store.save(make_baseline()), lambda data: data["baseline"]["recordings"][2].update(note="x"))
    assert refusal(store).startswith("baseline.recordings[2]: has the unknown note; ")


def test_a_value_no_workload_can_have_is_refused(store: BaselineStore) -> None:
    edit(store.save(make_baseline()), lambda data: data["baseline"]["cell"]["workload"].update(prompt_tokens=0))
    assert "prompt_tokens: 0 is not allowed; it must be a whole number, 1 or above; restore it" in refusal(store)


def test_sessions_of_two_environments_in_one_file_are_refused(store: BaselineStore) -> None:
    edit(
        store.save(make_baseline()), lambda data: data["baseline"]["recordings"][1]["environment"].update(must_agree={})
    )
    assert "sessions of two environments are mixed" in refusal(store)


def test_a_file_without_its_digest_is_refused(store: BaselineStore) -> None:
    edit(store.save(make_baseline()), lambda data: data.pop("digest"))
    assert refusal(store).startswith("it must hold 'schema', 'digest' and 'baseline' and nothing else")


def test_a_number_edited_by_hand_is_noticed(store: BaselineStore) -> None:
    path = store.save(make_baseline())
    path.write_text(path.read_text().replace("40000000", "50000000", 1))
    assert refusal(store) == (
        "was edited by hand or damaged (its digest differs); "
        "restore it with git checkout, or record it again with: pytest --save-baseline"
    )


def test_reformatting_alone_is_no_edit(store: BaselineStore) -> None:
    edit(store.save(make_baseline()), lambda data: None)
    assert load(store) == make_baseline()


def test_a_file_that_is_no_text_is_refused(store: BaselineStore) -> None:
    store.save(make_baseline()).write_bytes(b"\xff\xfe\x00")
    assert refusal(store).startswith("the baseline cannot be read (not UTF-8 text)")


def test_a_folder_in_a_file_s_place_is_refused(store: BaselineStore) -> None:
    store.path(make_cell(), make_environment()).mkdir(parents=True)
    assert refusal(store).startswith("the baseline cannot be read (Is a directory)")


def test_a_file_in_the_folder_s_place_is_refused_and_not_taken_for_no_baseline(store: BaselineStore) -> None:
    store.directory.write_text("")
    assert refusal(store).startswith("the baseline cannot be read (Not a directory)")


def no_space(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_baseline_and_no_leftovers(
    store: BaselineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.save(make_baseline(commit="old"))
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(BaselineError) as caught:
        store.save(make_baseline(commit="new"))
    assert str(caught.value) == (
        f"{path}: the baseline cannot be saved (No space left on device); what was stored before is untouched"
    )
    assert load(store) == make_baseline(commit="old")
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_the_kernel_cuts_short_leaves_the_old_baseline(store: BaselineStore) -> None:
    old = make_baseline(make_recording(n=2, decode=0))
    path = store.save(old)
    script = (
        "from pathlib import Path; from perfsuite.store import BaselineStore; from tests.builders import *\n"
        f"BaselineStore(Path({str(store.directory)!r})).save(make_baseline(make_recording(n=2000)))"
    )
    size = path.stat().st_size + 1000
    ended = subprocess.run(
        [sys.executable, "-B", "-c", script],  # or its compiled modules would be cut short as well, and stay so
        cwd=Path(__file__).parents[1],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "BaselineError" in ended.stderr.splitlines()[-1]
    assert "the baseline cannot be saved (File too large)" in ended.stderr
    assert load(store) == old
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_save_leaves_no_leftovers(store: BaselineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    path = store.save(make_baseline())
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.save(make_baseline(commit="new"))
    assert list(path.parent.iterdir()) == [path]


def test_saving_where_a_folder_is_a_file_is_refused(store: BaselineStore) -> None:
    store.directory.write_text("")
    with pytest.raises(BaselineError, match="the baseline cannot be saved"):
        store.save(make_baseline())


def test_a_writable_folder_passes_the_check_and_stays_as_it_was(tmp_path: Path) -> None:
    BaselineStore(tmp_path).check_writable()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_be_made_passes_the_check_and_is_not_made(tmp_path: Path) -> None:
    BaselineStore(tmp_path / "a" / "b").check_writable()
    assert list(tmp_path.iterdir()) == []


def test_a_relative_folder_is_checked_where_it_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    BaselineStore(Path("baselines")).check_writable()
    with pytest.raises(BaselineError):
        BaselineStore(Path("taken/baselines")).check_writable()


@pytest.mark.parametrize("below", ["", "baselines", "baselines/deeper"])
def test_a_file_in_the_way_fails_the_check(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / below
    with pytest.raises(BaselineError) as caught:
        BaselineStore(folder).check_writable()
    assert str(caught.value) == (
        f"{folder}: no baseline can be saved here (Not a directory); "
        "make it a folder that you may write to, or name another with --perf-baseline-dir"
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses every writer")
def test_a_folder_nobody_may_write_to_fails_the_check() -> None:
    with pytest.raises(BaselineError, match=r"^/proc/baselines: no baseline can be saved here"):
        BaselineStore(Path("/proc/baselines")).check_writable()


HOST_MODE = Mode(canary=Canary.HOST, weight=0.6, reference_ns=1e6)


def make_divided() -> Baseline:
    """Three sessions beside a host canary of 1 ms, by which TTFT is divided, and one later session."""
    recording = make_block_recording([[40.0], [41.0]], {Canary.HOST: (1.0, 1.5)})
    baseline = make_baseline(*make_sessions(recording, 3))
    return replace(baseline, modes={"ttft.p50": HOST_MODE}, later=(recording,))


def seal(data: dict[str, Any]) -> None:
    """The digest that belongs to the rest."""
    body = {"schema": data["schema"], "baseline": data["baseline"]}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    data["digest"] = hashlib.sha256(text.encode()).hexdigest()


def to_layout_1(data: dict[str, Any]) -> None:
    """As it was written before there were canaries."""
    data["schema"] = 1
    for recording in data["baseline"]["recordings"]:
        del recording["canaries"], recording["roofline"]
    del data["baseline"]["modes"]
    del data["baseline"]["later"]
    seal(data)


def test_canaries_modes_and_later_sessions_are_loaded_as_they_were(store: BaselineStore) -> None:
    store.save(make_divided())
    assert load(store) == make_divided()


def test_a_file_of_layout_1_is_loaded_without_canaries_and_judged_raw(store: BaselineStore) -> None:
    edit(store.save(make_baseline()), to_layout_1)
    loaded = load(store)
    assert loaded == make_baseline()
    assert isinstance(loaded, Baseline)
    assert (loaded.mode(parse_metric("ttft.p50", where="test")), loaded.later) == (RAW, ())


def test_a_number_edited_by_hand_in_layout_1_is_noticed(store: BaselineStore) -> None:
    path = store.save(make_baseline())
    edit(path, to_layout_1)
    path.write_text(path.read_text().replace("40000000", "50000000", 1))
    assert refusal(store).startswith("was edited by hand or damaged (its digest differs)")


def test_a_layout_1_file_is_saved_again_in_today_s_layout(store: BaselineStore) -> None:
    path = store.save(make_baseline())
    edit(path, to_layout_1)
    loaded = load(store)
    assert isinstance(loaded, Baseline)
    store.save(loaded)
    assert json.loads(path.read_text())["schema"] == 5


def to_layout_2(data: dict[str, Any]) -> None:
    """As it was written before there were rooflines."""
    data["schema"] = 2
    for recording in (*data["baseline"]["recordings"], *data["baseline"]["later"]):
        del recording["roofline"]
    seal(data)


def test_a_file_of_layout_2_is_loaded_with_floors_that_are_not_known(store: BaselineStore) -> None:
    stored = replace(make_divided(), later=(make_recording(session=9),))
    edit(store.save(stored), to_layout_2)
    assert load(store) == stored


def test_a_number_edited_by_hand_in_layout_2_is_noticed(store: BaselineStore) -> None:
    path = store.save(make_baseline())
    edit(path, to_layout_2)
    path.write_text(path.read_text().replace("40000000", "50000000", 1))
    assert refusal(store).startswith("was edited by hand or damaged (its digest differs)")


MONITORED = ("monitoring", "set_aside")


def to_layout_3(data: dict[str, Any]) -> None:
    """As it was written before the machine was watched."""
    data["schema"] = 3
    for recording in data["baseline"]["recordings"]:
        for name in MONITORED:
            del recording[name]
        for samples in (recording["samples"], recording["warmups"]):
            del samples["sent_ns"]
    seal(data)


def test_a_file_of_layout_3_is_loaded_with_a_machine_that_nobody_watched(store: BaselineStore) -> None:
    edit(store.save(make_baseline()), to_layout_3)
    loaded = load(store)
    assert loaded == make_baseline()
    assert isinstance(loaded, Baseline)
    assert loaded.recordings[0].monitoring is None


def test_readings_and_samples_set_aside_are_loaded_as_they_were(store: BaselineStore) -> None:
    recording = make_recording()
    seen = Monitoring(
        device=device_readings(busy_share=0.97), host=host_readings(), neighbours=(neighbour(),), not_monitored=("x",)
    )
    timed = tuple(replace(sample, sent_ns=index) for index, sample in enumerate(recording.samples))
    watched = replace(recording, monitoring=seen, samples=timed, set_aside=timed[:2])
    store.save(make_baseline(watched))
    assert load(store) == make_baseline(watched)


def to_layout_4(data: dict[str, Any]) -> None:
    """As it was written before requests that are sent together had times of their own."""
    data["schema"] = 4
    for recording in data["baseline"]["recordings"]:
        for samples in (recording["samples"], recording["warmups"]):
            del samples["rows_ns"], samples["rows_tokens"]
    seal(data)


def test_a_file_of_layout_4_is_loaded_with_rows_that_share_one_time(store: BaselineStore) -> None:
    edit(store.save(make_baseline()), to_layout_4)
    assert load(store) == make_baseline()


def test_times_of_requests_are_loaded_as_they_were(store: BaselineStore) -> None:
    recording = with_requests(make_recording())
    store.save(make_baseline(recording))
    assert load(store) == make_baseline(recording)


def test_times_of_requests_are_not_compared_with_times_of_all_rows() -> None:
    rows, requests = make_recording(), with_requests(make_recording())
    assert make_baseline(rows).mismatches(requests) == ("times: of all rows there, of each request here",)
    assert make_baseline(requests).mismatches(requests) == ()


STORED = sorted((Path(__file__).parents[1] / "baselines").glob("*/*/*/p10-*.json"))


@pytest.mark.parametrize("path", STORED, ids=["/".join(path.parts[-4:-1]) for path in STORED])
def test_a_baseline_of_the_repository_is_read_whatever_its_layout(path: Path) -> None:
    body = json.loads(path.read_text())["baseline"]
    cell = decode(Cell, body["cell"])
    environment = decode(Environment, body["recordings"][0]["environment"])
    loaded = BaselineStore(path.parents[3]).load(cell, environment)
    assert isinstance(loaded, Baseline)
    assert len(loaded.recordings) == len(body["recordings"])


def mode_of(data: dict[str, Any]) -> dict[str, Any]:
    mode: dict[str, Any] = data["baseline"]["modes"]["ttft.p50"]
    return mode


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"canary": "moon"},
            "baseline.modes.ttft.p50.canary: 'moon' is none of host, forward, graph, device; restore it",
        ),
        ({"weight": 0}, "baseline.modes.ttft.p50: mode: weight 0.0 and reference 1000000.0 ns are not allowed; the "),
        ({"weight": float("nan")}, "baseline.modes.ttft.p50.weight: expected a finite number, found nan; restore it"),
        ({"weight": 3}, "baseline.modes.ttft.p50: mode: weight 3.0 and reference"),
        ({"reference_ns": 0}, "baseline.modes.ttft.p50: mode: weight 0.6 and reference 0.0 ns are not allowed; the "),
        ({"reference_ns": float("inf")}, "baseline.modes.ttft.p50.reference_ns: expected a finite number, found inf; "),
        ({"canary": None}, "baseline.modes.ttft.p50: mode: raw samples have no weight, found 0.6; restore it"),
        ({"weight": "1"}, "baseline.modes.ttft.p50.weight: expected float, found '1'; restore it"),
    ],
)
def test_a_mode_that_cannot_be_is_refused_with_its_place(
    store: BaselineStore, change: dict[str, Any], words: str
) -> None:
    edit(store.save(make_divided()), lambda data: mode_of(data).update(change))
    assert refusal(store).startswith(words)


def test_a_mode_edited_by_hand_is_noticed(store: BaselineStore) -> None:
    edit(store.save(make_divided()), lambda data: mode_of(data).update(reference_ns=2e6))
    assert refusal(store).startswith("was edited by hand or damaged (its digest differs)")


def test_a_canary_that_took_no_time_is_refused_with_its_place(store: BaselineStore) -> None:
    def stop(data: dict[str, Any]) -> None:
        data["baseline"]["recordings"][1]["canaries"]["duration_ns"][0] = 0

    edit(store.save(make_divided()), stop)
    assert refusal(store).startswith("baseline.recordings[1].canaries[0]: the host canary took 0 ns")


def test_a_later_session_of_another_environment_is_refused(store: BaselineStore) -> None:
    edit(store.save(make_divided()), lambda data: data["baseline"]["later"][0]["environment"].update(must_agree={}))
    assert "sessions of two environments are mixed" in refusal(store)
