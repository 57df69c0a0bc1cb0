"""Owns the errors that perfsuite raises on purpose; each message is one line: where, what was found, what to do."""


class PerfsuiteError(Exception):
    """Base of every error a user can cause or meet; `str(error)` is one line fit for a terminal."""


class OptionError(PerfsuiteError):
    """A flag, ini value or marker argument that cannot be used."""


class StrategyUnavailableError(PerfsuiteError):
    """A strategy cannot run here: package, device or model feature missing; the text holds the remedy."""


class ModelLoadError(PerfsuiteError):
    """A model name, folder or checkpoint that cannot be loaded."""


class DeviceMemoryError(PerfsuiteError):
    """A device has no room for what was asked of it; the text holds the sizes and what to lower."""


class DeviceLostError(PerfsuiteError):
    """A process whose device answers no more: every further call would fail. The text is what the device said."""


class EndpointError(PerfsuiteError):
    """A request that an endpoint refused, broke off, or answered with something else than a stream of tokens."""


class HistoryError(PerfsuiteError):
    """A database of earlier runs that cannot be reached, written or understood; no password is in the text."""


class BaselineError(PerfsuiteError):
    """A stored file that is broken, of a foreign schema, edited by hand, or cannot be written."""


def one_line(error: BaseException) -> str:
    """The first line of an error, at most 300 characters, behind its type unless the error is one of perfsuite's."""
    first = first_words(str(error))
    kind = "" if isinstance(error, PerfsuiteError) else f"{type(error).__name__}: "
    return f"{kind}{first}"[:300].rstrip(": ")


def first_words(text: str) -> str:
    """The first line that says something, with the next where it ends in a colon: what is wrong stands there."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
