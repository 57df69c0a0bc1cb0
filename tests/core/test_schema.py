from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import pytest
from jsonschema import Draft202012Validator

from perfsuite.core.codec import ADDED_LATER, encode
from perfsuite.core.schema import Definitions


class Kind(Enum):
    ONE = "one"


@dataclass(frozen=True, kw_only=True)
class Flat:
    """A flat value."""

    count: int
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Whole:
    """One of everything."""

    name: str
    share: float | None
    flats: tuple[Flat, ...]
    numbers: tuple[int, ...]
    by_name: Mapping[str, Flat]
    names: frozenset[str] = frozenset()
    added: bool = field(default=False, metadata={ADDED_LATER: True})


WHOLE = Whole(
    name="a",
    share=0.5,
    flats=(Flat(count=1, kind=Kind.ONE), Flat(count=2, kind=Kind.ONE)),
    numbers=(1, 2),
    by_name={"x": Flat(count=3, kind=Kind.ONE)},
    names=frozenset({"n"}),
)


def validator() -> Draft202012Validator:
    types = Definitions()
    schema = {**types.of(Whole), "$defs": types.schemas}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("value", [WHOLE, Whole(name="", share=None, flats=(), numbers=(), by_name={})])
def test_what_is_encoded_fits_the_schema_of_its_type(value: Whole) -> None:
    assert list(validator().iter_errors(encode(value))) == []


def test_a_field_that_older_files_lack_may_be_missing() -> None:
    data = encode(WHOLE)
    del data["added"]
    assert validator().is_valid(data)


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"share": "half"},
        {"flats": [{"count": 1}]},
        {"flats": {"count": [1], "kind": ["two"]}},
        {"numbers": [1.5]},
        {"by_name": {"x": {"count": 1}}},
        {"extra": 1},
    ],
)
def test_what_has_another_shape_does_not_fit(change: dict[str, object]) -> None:
    assert not validator().is_valid({**encode(WHOLE), **change})


def test_a_field_that_was_always_there_may_not_be_missing() -> None:
    data = encode(WHOLE)
    del data["share"]
    assert not validator().is_valid(data)


def test_a_definition_tells_what_its_type_is() -> None:
    types = Definitions()
    types.of(Whole)
    assert types.schemas["Whole"]["description"] == "One of everything."
    assert types.schemas["FlatColumns"]["description"].endswith("A flat value.")
