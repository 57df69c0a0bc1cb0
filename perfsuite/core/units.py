"""Owns the conversion between integer nanoseconds and what people type or read."""

import re

from perfsuite.core.errors import OptionError

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_DURATION_NS = {"ms": NS_PER_MS, "s": NS_PER_S, "m": 60 * NS_PER_S, "h": 3600 * NS_PER_S}


def to_ms(nanoseconds: float) -> float:
    """Milliseconds of a duration in nanoseconds."""
    return nanoseconds / NS_PER_MS


def to_s(nanoseconds: float) -> float:
    """Seconds of a duration in nanoseconds."""
    return nanoseconds / NS_PER_S


def parse_duration(text: str, *, where: str) -> int:
    """Nanoseconds of '90s', '5m', '1.5h' or '250ms'; `where` names the flag in the OptionError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*", text)
    if match is None or float(match[1]) == 0:
        raise OptionError(f"{where}: {text!r} is not a duration; write for example '90s', '5m' or '1h'")
    return round(float(match[1]) * _DURATION_NS[match[2]])


def parse_percent(text: str, *, where: str) -> float:
    """The fraction that a positive percentage means ('5%' is 0.05); a number without its unit is refused."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if match is None or float(match[1]) == 0:
        raise OptionError(f"{where}: {text!r} is not a percentage above zero; write for example '5%'")
    return float(match[1]) / 100


def format_ms(nanoseconds: float) -> str:
    """Milliseconds with three significant digits and at most three decimals: '0.412', '4.31', '41.2', '412'."""
    ms = to_ms(nanoseconds)
    if ms == 0:
        return "0"
    decimals = 3 if abs(ms) < 1 else 2 if abs(ms) < 10 else 1 if abs(ms) < 100 else 0
    return f"{ms:.{decimals}f}"


def format_seconds(nanoseconds: float) -> str:
    """Seconds with one decimal, two below ten: '0.42 s', '75.1 s'."""
    seconds = to_s(nanoseconds)
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def format_change(fraction: float) -> str:
    """A relative change with its sign: 0.163 is '+16.3 %'."""
    return f"{100 * fraction:+.1f} %"


def format_percent(fraction: float) -> str:
    """A fraction without a sign: 0.05 is '5 %'."""
    return f"{100 * fraction:g} %"


def format_bytes(count: int) -> str:
    """A byte count in binary units: '13.2 GiB', '421 MiB', '104 KiB'."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def format_si(amount: float, unit: str) -> str:
    """An amount with three significant digits and a decimal prefix: '3.06 TB/s', '13.2 GB', '800 TFLOP/s'."""
    prefixes = ("", "k", "M", "G", "T", "P")
    power = 0
    while abs(amount) >= 999.5 and power + 1 < len(prefixes):
        amount, power = amount / 1000, power + 1
    decimals = 2 if abs(amount) < 9.995 else 1 if abs(amount) < 99.95 else 0
    return f"{amount:.{decimals}f} {prefixes[power]}{unit}"


def format_share(fraction: float) -> str:
    """A part of a whole, at most three digits below 1000 %: '0.4 %', '4.5 %', '45 %', '145 %'."""
    percent = 100 * fraction
    return f"{percent:.{1 if percent < 9.95 else 0}f} %"
