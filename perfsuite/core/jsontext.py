"""Owns JSON as text that diffs well: sorted keys, one space of indent, a list of plain values on one line."""

import json
import re
from typing import Any

DEEPEST = 100
"""So many lists and objects within each other are read; what perfsuite writes has less than a fifth of that."""

_BEGINNING = re.compile(r'\s*(?:\{\s*(?:"([^"]*)"\s*:|\})|\[)')


def dumps(data: Any) -> str:
    """The text of plain JSON data, ending in a newline; json.loads gives the data back.

    Keys are strings. A list that holds lists or objects has one of them per line or block. ValueError for NaN and
    infinities, which JSON does not have.
    """
    return f"{_text(data, '')}\n"


def loads(text: str) -> Any:
    """What a text of JSON says.

    json.JSONDecodeError if it is none; ValueError, in one line, if nobody could work on it: numbers of thousands of
    digits, lists in lists in lists.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        found = "nested too deeply" if isinstance(error, RecursionError) else "it holds a number of thousands of digits"
        raise ValueError(found) from error
    if _is_deeper(data, DEEPEST):
        raise ValueError("nested too deeply")
    return data


def first_key(text: str) -> str | None:
    """The first key of an object by how its text begins; '' for a list or an empty object, `None` for anything else."""
    found = _BEGINNING.match(text)
    return (found[1] or "") if found else None


def canonical(data: Any) -> str:
    """The one text that equal data always has, for digests."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _is_deeper(data: Any, levels: int) -> bool:
    """Level by level: a function that calls itself would meet the limit that this is to keep others from."""
    level = [data] if isinstance(data, (dict, list)) else []
    for _ in range(levels):
        inside = (item for each in level for item in (each.values() if isinstance(each, dict) else each))
        level = [item for item in inside if isinstance(item, (dict, list))]
    return bool(level)


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
