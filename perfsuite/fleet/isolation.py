"""Owns which strategies may be measured while neighbours work: measured once for a host and its seats, kept on disk."""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from perfsuite.core import jsontext
from perfsuite.core.codec import decode, encode
from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.vicinity import Effect
from perfsuite.disk import explain, write_whole
from perfsuite.fleet.neighbours import try_beside
from perfsuite.fleet.place import Seat
from perfsuite.measure.clock import utc_now
from perfsuite.measure.environment import installed_versions
from perfsuite.measure.session import SessionJob

AUTO, AGAIN, TRUST = "auto", "again", "trust"
WAYS = (AUTO, AGAIN, TRUST)
TRUSTED = "--perf-neighbours trust: whether sessions side by side disturb each other was not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the trial of one strategy and model found, or why there was none; `arm` is 'eager/tiny'."""

    arm: str
    measured_at: str
    neighbours: int
    effects: tuple[Effect, ...] = ()
    failed: str = ""

    @property
    def may_share(self) -> bool:
        """Whether it was shown that neighbours change nothing that matters: not shown is not isolated."""
        return bool(self.effects) and all(effect.is_harmless for effect in self.effects)

    @property
    def words(self) -> str:
        if self.failed:
            return f"neighbours: {self.arm} runs alone, as its trial failed: {self.failed}"
        told = ", ".join(effect.words for effect in self.effects) or "nothing was timed"
        what = "may share the host" if self.may_share else "runs alone"
        return f"neighbours: {self.arm} {what}: beside {self.neighbours} busy: {told}"

    def allowing(self, allowed: Mapping[str, float]) -> "Finding":
        """The same by what is harmless now."""
        return replace(self, effects=tuple(replace(each, allowed=allowed[each.series]) for each in self.effects))


class Isolation:
    """Asks for every strategy and model once; `say` is told before a trial, which takes about as long as a session."""

    def __init__(
        self,
        seats: Sequence[Seat],
        folder: Path,
        *,
        way: str,
        say: Callable[[str], None],
    ) -> None:
        self._seats, self._folder, self._way, self._say = tuple(seats), folder, way, say
        self._found: dict[tuple[object, ...], Finding] = {}
        self._trouble = ""

    @property
    def notes(self) -> tuple[str, ...]:
        trusted = TRUSTED if self._way == TRUST and len(self._seats) > 1 else ""
        return tuple(filter(None, (trusted, *(found.words for found in self._found.values()), self._trouble)))

    def may_share(self, job: SessionJob, allowed: Callable[[], Mapping[str, float]]) -> bool:
        """Whether sessions of this strategy and model may run while other seats work; `allowed` says what is harmless.

        That is a change of the median by series, as a fraction.
        """
        if len(self._seats) < 2 or self._way == TRUST:
            return True
        key = (job.cells[0].strategy, job.cells[0].model)
        if key not in self._found:
            harmless = allowed()
            self._found[key] = self._stored(job, harmless) or self._measured(job, harmless)
        return self._found[key].may_share

    def _stored(self, job: SessionJob, allowed: Mapping[str, float]) -> Finding | None:
        """What an earlier run found on the same host, seats and versions."""
        if self._way == AGAIN:
            return None
        with suppress(OSError, ValueError, KeyError):
            text = self._path(job, allowed).read_text(encoding="utf-8")
            return decode(Finding, jsontext.loads(text), where="neighbours").allowing(allowed)
        return None

    def _measured(self, job: SessionJob, allowed: Mapping[str, float]) -> Finding:
        arm = _arm(job.cells[0])
        self._say(f"neighbours: measuring whether busy ones disturb {arm}")
        told, failed = tuple[Effect, ...](), ""
        try:
            told = try_beside(job, self._seats[0], self._seats[1:], allowed)
        except OptionError as error:
            failed = str(error)
        found = Finding(arm=arm, measured_at=utc_now(), neighbours=len(self._seats) - 1, effects=told, failed=failed)
        self._say(found.words)
        if not failed:
            self._keep(self._path(job, allowed), found)
        return found

    def _keep(self, path: Path, found: Finding) -> None:
        try:
            write_whole(path, jsontext.dumps(encode(found)))
        except OSError as error:
            self._trouble = f"{path}: what was found of neighbours cannot be kept ({explain(error)})"

    def _path(self, job: SessionJob, allowed: Mapping[str, float]) -> Path:
        """A file for this host, these seats, this strategy and model with its versions, and these series."""
        cell = job.cells[0]
        plan = [
            platform.node(),
            [encode(seat) for seat in self._seats],
            job.reference,
            encode(cell.model),
            encode(cell.workload),
            installed_versions(),
            sorted(allowed),
        ]
        digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
        return self._folder / f"{cell.strategy_slug}-{digest}.json"


def _arm(cell: Cell) -> str:
    return f"{cell.strategy_slug}/{cell.model.slug}"
