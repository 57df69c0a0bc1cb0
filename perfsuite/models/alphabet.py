"""Owns the alphabet of the embedded model: 256 bytes, then a token that begins and one that ends a document.

This file imports neither torch nor transformers.
"""

from collections.abc import Iterable

BEGIN = 256
END = 257
SIZE = 258


def encode(text: str) -> tuple[int, ...]:
    """The ids of a text: its UTF-8 bytes; neither begin nor end."""
    return tuple(text.encode())


def decode(ids: Iterable[int]) -> str:
    """The text of ids; begin and end are left out, bytes that are no UTF-8 become '\N{REPLACEMENT CHARACTER}'."""
    return bytes(token for token in ids if token < BEGIN).decode(errors="replace")
