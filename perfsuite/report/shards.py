"""Owns the words for a shard of a run: how much of the run it is, and that its verdicts are preliminary."""

from perfsuite.core.shard import Portion
from perfsuite.report.headings import counted

MERGE = "perfsuite merge RESULT... -o FILE"


def shard_line(portion: Portion, *, is_judged: bool) -> str:
    """What the end of a run says of its shard."""
    whole = counted(len(portion.cells), "cell")
    if not portion.own:
        return f"shard {portion.label}: none of the run's {whole} is in it, nothing was measured"
    told = f"shard {portion.label}: {len(portion.own)} of the run's {whole}"
    return f"{told}; its verdicts are preliminary, {MERGE} judges what --perf-json wrote of all" if is_judged else told
