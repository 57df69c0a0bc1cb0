"""Owns the hiding of passwords and tokens in the URLs that people give: nothing printed or stored holds one."""

import re

HIDDEN = "***"
_IN_FRONT = re.compile(r"(://[^/@:\s]*):.*@")
_ALONE = re.compile(r"(https?://)[^/@:\s]+@")
_AMONG_PARAMETERS = re.compile(r"([?&][a-z]*password=)[^&\s]*", re.IGNORECASE)


def masked(text: str) -> str:
    """`text` with *** for the passwords of URLs in it: 'postgresql://ci:***@db/perf'.

    Also for who stands alone before a host on the web, where that is a token: 'git+https://***@github.com/a/b'.
    """
    in_front = _IN_FRONT.sub(rf"\1:{HIDDEN}@", text)
    return _AMONG_PARAMETERS.sub(rf"\1{HIDDEN}", _ALONE.sub(rf"\1{HIDDEN}@", in_front))
