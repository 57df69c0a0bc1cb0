"""Owns the hiding of passwords in the URLs that people give: nothing that is printed or stored holds one."""

import re

HIDDEN = "***"
_IN_FRONT = re.compile(r"(://[^/@:\s]*):.*@")
_AMONG_PARAMETERS = re.compile(r"([?&][a-z]*password=)[^&\s]*", re.IGNORECASE)


def masked(text: str) -> str:
    """`text` with *** for the passwords of URLs in it: 'postgresql://ci:***@db/perf'."""
    return _AMONG_PARAMETERS.sub(rf"\1{HIDDEN}", _IN_FRONT.sub(rf"\1:{HIDDEN}@", text))
