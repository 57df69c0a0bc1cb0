"""Owns what a strategy tells beside its chunks, checked for its type: own strategies are anybody's code.

Every function raises what the strategy raises, and CodecError or TypeError, in one line, for what is no such value.
"""

from typing import TypeVar

from perfsuite.core.codec import decode, encode
from perfsuite.core.recording import Evidence, Memory
from perfsuite.core.workload import ModelFacts
from perfsuite.measure.strategy import CountsTokens, KnowsMemory, KnowsPeaks, Strategy, TimesDevice

T = TypeVar("T")


def facts_of(strategy: Strategy) -> ModelFacts:
    return _storable(ModelFacts, strategy.facts(), "facts()")


def memory_of(strategy: Strategy) -> Memory:
    """Nothing where the strategy does not know its memory."""
    return _storable(Memory, strategy.memory(), "memory()") if isinstance(strategy, KnowsMemory) else Memory()


def evidence_of(strategy: Strategy) -> Evidence:
    return _storable(Evidence, strategy.evidence(), "evidence()")


def counts_of(strategy: Strategy) -> tuple[int, ...] | None:
    """How many tokens each chunk of the last request held; `None` where the chunks say it."""
    return _numbers(strategy.token_counts(), "token_counts()") if isinstance(strategy, CountsTokens) else None


def device_ns_of(strategy: Strategy) -> tuple[int, ...] | None:
    """What the device stamped of the last request; `None` where it stamps nothing."""
    return _numbers(strategy.device_ns(), "device_ns()") if isinstance(strategy, TimesDevice) else None


def begin_peak(strategy: Strategy) -> None:
    """From here on the allocator's peak counts, where the strategy can tell it."""
    if isinstance(strategy, KnowsPeaks):
        strategy.begin_peak()


def peak_of(strategy: Strategy) -> int | None:
    """The peak since `begin_peak`, bytes."""
    peak = strategy.peak_bytes() if isinstance(strategy, KnowsPeaks) else None
    return peak if peak is None else _of_type(int, peak, "peak_bytes()")


def _storable(kind: type[T], value: T, where: str) -> T:
    """The value, if it can be stored and read again."""
    decode(kind, encode(_of_type(kind, value, where)), where=where)
    return value


def _of_type(kind: type[T], value: T, where: str) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{where} gave a {type(value).__name__}, not a {kind.__name__}")
    return value


def _numbers(value: tuple[int, ...] | None, where: str) -> tuple[int, ...] | None:
    if value is not None and not (isinstance(value, tuple) and all(type(number) is int for number in value)):
        raise TypeError(f"{where} gave {str(value)[:60]!r}, not a tuple of whole numbers")
    return value
