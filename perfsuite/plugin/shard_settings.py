"""Owns the reading of --perf-shard, and what it excludes."""

from perfsuite.core.errors import OptionError
from perfsuite.core.shard import Shard, parse_shard
from perfsuite.plugin.reader import FLAGS, Reader

EXCLUDED = ("against", "confirm_against", "arms")
"""What is judged in turns cannot be judged anew from a report."""


def read_shard(reader: Reader) -> Shard | None:
    """The shard that was asked for, `None` for the whole run; OptionError for what does not go together with one."""
    text, option = reader.text("shard"), FLAGS["shard"].option
    if not text:
        return None
    given = [name for name in EXCLUDED if reader.text(name)] + (["selftest"] if reader.switch("selftest") else [])
    if given:
        raise OptionError(f"{option}: not together with {FLAGS[given[0]].option}; what it finds cannot be merged")
    return parse_shard(text, where=option)
