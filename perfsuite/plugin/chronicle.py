"""Owns a run's place in the history of --perf-history: tried before measuring, appended at the end, never lost."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite import __version__, runs
from perfsuite.core.entry import RunEntry, run_entry
from perfsuite.core.errors import BaselineError, HistoryError, OptionError
from perfsuite.history import open_history
from perfsuite.measure.environment import commit_of
from perfsuite.plugin.settings import Settings
from perfsuite.report.headings import counted

if TYPE_CHECKING:
    from perfsuite.history.store import HistoryStore
    from perfsuite.plugin.campaign import Campaign

OPTION = "--perf-history"


class Chronicle:
    """The history that a run is to be appended to."""

    def __init__(self, text: str, root: Path) -> None:
        self._store: HistoryStore = open_history(text, where=OPTION, root=root)
        self._root = root

    def check(self) -> None:
        """OptionError, before anything is measured, if nothing could be appended."""
        try:
            self._store.check()
        except HistoryError as error:
            raise OptionError(f"{OPTION}: {error}; mend that, or leave {OPTION} out") from error

    def append(self, campaign: "Campaign") -> str:
        """Append what the run measured; what became of it, in one line. No failure changes a verdict."""
        entry = _entry(campaign)
        try:
            self._store.append(entry)
        except HistoryError as error:
            return f"{OPTION}: {error}; {self._keep(entry)}"
        return f"{OPTION}: {counted(len(entry.sessions), 'recording')} appended to {self._store.shown}"

    def _keep(self, entry: RunEntry) -> str:
        try:
            path = runs.keep_entry(self._root, entry)
        except BaselineError as error:
            return f"and what was measured could not be kept for it either: {error}"
        return (
            f"what was measured is kept in {path}; import it with: perfsuite history import {path} {self._store.shown}"
        )


def chronicle_of(settings: Settings) -> Chronicle | None:
    """The run's history, reachable and writable; `None` if none was asked for."""
    if settings.history is None:
        return None
    chronicle = Chronicle(settings.history, settings.root)
    chronicle.check()
    return chronicle


def _entry(campaign: "Campaign") -> RunEntry:
    saving = campaign.options.save_baseline
    return run_entry(
        (recording for cell in campaign.cells for recording in campaign.recordings(cell)),
        () if saving else campaign.bench.judgements(),
        run_id=uuid.uuid4().hex,
        commit=commit_of(campaign.settings.root),
        perfsuite=__version__,
        kind="baseline" if saving else "judged",
    )


def append_to_history(campaign: "Campaign") -> None:
    """Note what became of the run's place in the history; an interrupted run has one when it is resumed to its end."""
    measured = any(campaign.recordings(cell) for cell in campaign.cells)
    if campaign.chronicle is None or not measured:
        return
    if campaign.is_interrupted:
        campaign.note(f"{OPTION}: an interrupted run is not appended; resume it")
        return
    campaign.note(campaign.chronicle.append(campaign))
