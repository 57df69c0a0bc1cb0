"""Owns the JSON Schema of what codec.encode makes of a type: generated, so that it cannot lag behind the values."""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from inspect import getdoc
from typing import Any, Union, get_args, get_origin

from perfsuite.core.codec import ADDED_LATER, hints, is_flat

Schema = dict[str, Any]
_SCALARS = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}


class Definitions:
    """The schemas of all types that were asked for, by name, as they go under '$defs'."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def of(self, hint: Any) -> Schema:
        """The schema of a type; a dataclass is defined once and referred to."""
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(option) for option in get_args(hint)]}
        if origin is tuple:
            return self._of_tuple(get_args(hint))
        if origin in (Mapping, dict):
            return {"type": "object", "additionalProperties": self.of(get_args(hint)[1])}
        if origin is frozenset:
            return {"type": "array", "items": self.of(get_args(hint)[0])}
        if isinstance(hint, type) and issubclass(hint, Enum):
            return {"enum": [member.value for member in hint]}
        return self._of_dataclass(hint) if is_dataclass(hint) else {"type": _SCALARS[hint]}

    def _of_tuple(self, items: tuple[Any, ...]) -> Schema:
        if len(items) == 2 and items[1] is Ellipsis:
            listed = {"type": "array", "items": self.of(items[0])}
            if not (is_dataclass(items[0]) and is_flat(items[0])):  # type: ignore[arg-type]
                return listed
            return {"anyOf": [{"type": "array", "maxItems": 0}, self._columns(items[0])]}
        return {"type": "array", "prefixItems": [self.of(item) for item in items], "minItems": len(items)}

    def _columns(self, kind: Any) -> Schema:
        """Values of one flat type: a list per field, all of one length."""
        name = f"{kind.__name__}Columns"
        if name not in self.schemas:
            columns = {field: {"type": "array", "items": self.of(hint)} for field, hint in hints(kind).items()}
            told = f"A list of {kind.__name__}, a column per field, all of one length. {_first_paragraph(kind)}"
            self.schemas[name] = {**closed(columns), "description": told}
        return {"$ref": f"#/$defs/{name}"}

    def _of_dataclass(self, kind: Any) -> Schema:
        if kind.__name__ not in self.schemas:
            self.schemas[kind.__name__] = {}
            properties = {field: self.of(hint) for field, hint in hints(kind).items()}
            later = {field.name for field in fields(kind) if field.metadata.get(ADDED_LATER)}
            self.schemas[kind.__name__] = {
                **closed(properties, optional=later),
                "description": _first_paragraph(kind),
            }
        return {"$ref": f"#/$defs/{kind.__name__}"}


def closed(properties: Mapping[str, Schema], *, optional: set[str] | frozenset[str] = frozenset()) -> Schema:
    """An object with exactly these properties; the `optional` ones may be missing."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _first_paragraph(kind: type) -> str:
    return " ".join((getdoc(kind) or "").split())
