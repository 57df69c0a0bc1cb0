import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite.core import jsontext

json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_data)
def test_json_loads_gives_the_data_back(data: object) -> None:
    assert json.loads(jsontext.dumps(data)) == data


def test_keys_are_sorted_and_objects_indented_by_one() -> None:
    assert jsontext.dumps({"b": 1, "a": {"c": None}}) == '{\n "a": {\n  "c": null\n },\n "b": 1\n}\n'


def test_a_list_of_plain_values_stays_on_one_line() -> None:
    assert jsontext.dumps({"ns": [1, 2, 3]}) == '{\n "ns": [1, 2, 3]\n}\n'


def test_a_list_of_lists_has_one_inner_list_per_line() -> None:
    assert jsontext.dumps([[1, 2], [3]]) == "[\n [1, 2],\n [3]\n]\n"


def test_empty_objects_and_lists_stay_on_one_line() -> None:
    assert jsontext.dumps({"a": {}, "b": []}) == '{\n "a": {},\n "b": []\n}\n'


def test_one_changed_number_changes_one_line() -> None:
    before, after = (jsontext.dumps({"samples": [[1], [number], [3]], "x": 1}).splitlines() for number in (2, 9))
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsontext.dumps({"x": [number]})


def test_equal_data_has_one_canonical_text() -> None:
    assert jsontext.canonical({"b": 1, "a": [1, 2]}) == jsontext.canonical({"a": [1, 2], "b": 1}) == '{"a":[1,2],"b":1}'


@given(json_data)
def test_what_was_written_is_read(data: object) -> None:
    assert jsontext.loads(jsontext.dumps(data)) == data


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 101 + "]" * 101, "nested too deeply"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "it holds a number of thousands of digits"),
    ],
)
def test_what_nobody_could_work_on_is_one_line(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}$"):
        jsontext.loads(text)


def test_as_many_levels_as_are_allowed_are_read() -> None:
    assert jsontext.loads("[" * 100 + "]" * 100)


def test_what_is_no_json_is_told_as_json_does() -> None:
    with pytest.raises(json.JSONDecodeError):
        jsontext.loads("{oops")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (' {\n "baseline": {"a"', "baseline"),
        ("{}", ""),
        ("[1]", ""),
        ("", None),
        ("oops", None),
        ("7", None),
        ('{"base', None),
        ("{", None),
    ],
)
def test_the_first_key_is_seen_in_how_a_text_begins(text: str, key: str | None) -> None:
    assert jsontext.first_key(text) == key
