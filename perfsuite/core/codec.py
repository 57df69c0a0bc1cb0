"""Owns the translation between perfsuite's values and plain JSON data; it knows no file and no JSON text.

A tuple of values (a session's samples) becomes one list per field, so that a thousand samples are a few lines.
Decoding checks every name and type, because these files are edited by people: the error says where.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from perfsuite.core.errors import PerfsuiteError

T = TypeVar("T")

WIDEST = 2**64
"""No whole number in a file is so far from 0: with thousands of digits it would pass here and break what computes."""
ADDED_LATER = "added later"
"""Metadata of a field that older files lack: it then has its default."""


class CodecError(ValueError):
    """Data that does not have the shape of the wanted type; the text starts with the place."""


def encode(value: object) -> Any:
    """Dictionaries, lists, strings, numbers, booleans and None for a value made of frozen dataclasses."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(encode(item) for item in value)
    if isinstance(value, tuple):
        return _encode_tuple(value)
    return value


def _encode_tuple(items: tuple[object, ...]) -> Any:
    if items and all(is_dataclass(item) and type(item) is type(items[0]) for item in items) and is_flat(type(items[0])):
        return {f.name: [encode(getattr(item, f.name)) for item in items] for f in fields(cast("Any", items[0]))}
    return [encode(item) for item in items]


def is_flat(kind: type) -> bool:
    """Whether no field of the type is a dataclass itself: then a tuple of its values becomes columns."""
    return not any(_is_value_type(hint) for hint in hints(kind).values())


def _is_value_type(hint: Any) -> bool:
    return is_dataclass(hint) or any(_is_value_type(arg) for arg in get_args(hint))


@cache
def hints(kind: Any) -> dict[str, Any]:
    """The types of its fields by name."""
    return get_type_hints(kind)


def decode(kind: type[T], data: object, *, where: str = "value") -> T:
    """The value of type `kind` that `encode` turned into `data`; raises CodecError with the place and the finding."""
    return cast("T", _decode(kind, data, where))


def _decode(hint: Any, data: object, where: str) -> object:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(hint), data, where)
    if origin is tuple:
        return _decode_tuple(get_args(hint), data, where)
    if origin in (Mapping, dict):
        item = get_args(hint)[1]
        return {key: _decode(item, value, f"{where}.{key}") for key, value in _mapping(data, where).items()}
    if is_dataclass(hint):
        return _decode_dataclass(cast("type", hint), _mapping(data, where), where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _decode_enum(hint, data, where)
    return _decode_scalar(cast("type", hint), data, where)


def _decode_union(options: tuple[Any, ...], data: object, where: str) -> object:
    if data is None and type(None) in options:
        return None
    (kind,) = (option for option in options if option is not type(None))
    return _decode(kind, data, where)


def _decode_tuple(args: tuple[Any, ...], data: object, where: str) -> tuple[object, ...]:
    item = args[0]
    if isinstance(data, Mapping):
        data = _rows(data, where)
    if not isinstance(data, list):
        raise CodecError(f"{where}: expected a list, found {_short(data)}")
    if item is int:  # the bulk of every file, checked in one pass
        if not all(type(value) is int for value in data):
            raise CodecError(f"{where}: expected whole numbers, found {_short(data)}")
        for value in (min(data, default=0), max(data, default=0)):
            _check_width(value, where)
        return tuple(data)
    return tuple(_decode(item, value, f"{where}[{index}]") for index, value in enumerate(data))


def _rows(columns: Mapping[str, object], where: str) -> list[dict[str, object]]:
    lists = {name: column for name, column in columns.items() if isinstance(column, list)}
    if len(lists) != len(columns) or len({len(column) for column in lists.values()}) > 1:
        raise CodecError(f"{where}: the columns {', '.join(columns)} are not lists of one length")
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _decode_dataclass(kind: type, data: Mapping[str, object], where: str) -> object:
    types_of = hints(kind)
    names = {f.name for f in fields(kind)}
    needed = {f.name for f in fields(kind) if not f.metadata.get(ADDED_LATER)}
    missing, extra = sorted(needed - set(data)), sorted(set(data) - names)
    if missing or extra:
        raise CodecError(f"{where}: " + "; ".join(_name_findings(missing, extra)))
    values = {name: _decode(types_of[name], value, f"{where}.{name}") for name, value in data.items()}
    try:
        return kind(**values)
    except (ValueError, TypeError, PerfsuiteError) as error:
        raise CodecError(f"{where}: {error}") from error


def _name_findings(missing: list[str], extra: list[str]) -> list[str]:
    missing_text = [f"lacks {', '.join(missing)}"] if missing else []
    return missing_text + ([f"has the unknown {', '.join(extra)}"] if extra else [])


def _decode_enum(kind: type[Enum], data: object, where: str) -> Enum:
    try:
        return kind(data)
    except ValueError as error:
        allowed = ", ".join(str(member.value) for member in kind)
        raise CodecError(f"{where}: {_short(data)} is none of {allowed}") from error


def _decode_scalar(kind: type, data: object, where: str) -> object:
    if type(data) is int:
        _check_width(data, where)
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise CodecError(f"{where}: expected {kind.__name__}, found {_short(data)}")
    if isinstance(data, float) and not math.isfinite(data):
        raise CodecError(f"{where}: expected a finite number, found {data}")
    return data


def _check_width(value: int, where: str) -> None:
    if not -WIDEST < value < WIDEST:
        raise CodecError(f"{where}: {_short(value)} is too large a number; at most 20 digits are read")


def _mapping(data: object, where: str) -> Mapping[str, object]:
    if not isinstance(data, dict):
        raise CodecError(f"{where}: expected an object, found {_short(data)}")
    return data


def _short(data: object) -> str:
    text = repr(data)
    return text if len(text) <= 40 else f"{text[:37]}..."
