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
