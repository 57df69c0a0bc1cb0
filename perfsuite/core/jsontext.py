"""Owns JSON as text that diffs well: sorted keys, one space of indent, a list of plain values on one line."""

import json
from typing import Any


def dumps(data: Any) -> str:
    """The text of plain JSON data, ending in a newline; json.loads gives the data back.

    Keys are strings. A list that holds lists or objects has one of them per line or block. ValueError for NaN and
    infinities, which JSON does not have.
    """
    return f"{_text(data, '')}\n"


def canonical(data: Any) -> str:
    """The one text that equal data always has, for digests."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _text(data: Any, margin: str) -> str:
    inner = margin + " "
    if isinstance(data, dict) and data:
        return _block("{", [f"{_scalar(key)}: {_text(data[key], inner)}" for key in sorted(data)], "}", margin)
    if isinstance(data, list) and any(isinstance(item, (dict, list)) for item in data):
        return _block("[", [_text(item, inner) for item in data], "]", margin)
    return _scalar(data)


def _block(opening: str, rows: list[str], closing: str, margin: str) -> str:
    inner = f"\n{margin} "
    return f"{opening}{inner}{f',{inner}'.join(rows)}\n{margin}{closing}"


def _scalar(data: Any) -> str:
    return json.dumps(data, allow_nan=False)
