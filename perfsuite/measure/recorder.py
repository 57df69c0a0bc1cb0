"""Owns the timing of requests: warm-up, blocks, the order of cells, and what counts as an answer.

It knows no engine: a strategy streams chunks, the clock stamps them here.
"""

import secrets
from collections.abc import Callable, Mapping

import numpy as np

from perfsuite.core.errors import DeviceLostError, one_line
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.sample import Chunk, Failure, Phase, Request, Sample
from perfsuite.measure.arrivals import answer_problem, arrivals, rows_of
from perfsuite.measure.canary import Canaries, Readings, beside
from perfsuite.measure.clock import Clock
from perfsuite.measure.fault import device_fault, loss_told, lost
from perfsuite.measure.garbage import garbage_collection_paused, long_lived_objects_left_alone
from perfsuite.measure.prompts import draw_request
from perfsuite.measure.session import Progress
from perfsuite.measure.slowdown import slowed
from perfsuite.measure.strategy import Ability, PreparesRequests, RunsElsewhere, Strategy
from perfsuite.measure.take import CellTake
from perfsuite.measure.told import begin_peak, counts_of, device_ns_of, peak_of
from perfsuite.measure.turns import Binding, Turns
from perfsuite.measure.watch import Watcher

WARMUP_BLOCK = -1
REPLACEMENTS = 2
"""How often samples are taken anew that were taken while the machine was disturbed."""
DECODE_WARMUP_SHARE = 5  # one full request for so many one-token ones: decode steps repeat within each request


class Recorder:
    """Measures the cells of one open strategy, in turn, in short blocks spread over the session."""

    def __init__(
        self,
        strategy: Strategy,
        clock: Clock,
        options: MeasureOptions,
        report: Callable[[Progress], None],
        watcher: Watcher | None = None,
        *,
        turns: Turns | None = None,
    ) -> None:
        self._strategy = strategy
        self._clock = clock
        self._options = options
        self._report = report
        self._watcher = watcher
        self._turns = turns
        self._block_size = options.block_size
        self._binding = Binding() if strategy.facts().device.startswith("cuda") else None
        self._vocabulary = strategy.facts().vocabulary
        self._salt = 1 + secrets.randbits(32) if isinstance(strategy, RunsElsewhere) else 0
        self._canaries = Canaries(strategy, clock) if turns is None else None
        self._current: CellTake | None = None
        self.lost: str | None = None
        self.is_free = False
        """Whether requests of a turn were made from other cores than the turn's."""
        waits = options.injected_slowdown and not options.slow_device
        self._stream = slowed(strategy.stream, options.injected_slowdown, clock) if waits else strategy.stream

    def measure(self, cells: tuple[Cell, ...], *, order_seed: int) -> tuple[CellTake, ...]:
        """One take per cell; `order_seed` draws the order of the cells anew for every round of blocks.

        When the device is lost it ends there: `lost` says by what, and the takes hold what was measured before.
        """
        takes = tuple(CellTake(cell=cell) for cell in cells)
        try:
            self._measure_all(takes, np.random.default_rng(order_seed))
        except DeviceLostError as error:
            self._release()
            self.lost = str(error)
            self._mark_cut_short(takes, str(error))
        return takes

    def _measure_all(self, takes: tuple[CellTake, ...], order: np.random.Generator) -> None:
        for index, take in enumerate(takes):
            self._begin(take, Progress(stage="warm-up", cell=index))
            self._warm_up(take)
        if self._turns is not None:
            self._turns.request_ns = tuple(take.warm_ns for take in takes if take.warm_ns is not None)
        with long_lived_objects_left_alone():
            self._measure_in_turn(takes, order)
            if self._watcher is not None:
                self._replace_disturbed(takes, self._blocks, self._watcher)

    @property
    def _blocks(self) -> int:
        return -(-max(self._options.samples, self._options.decode_samples) // self._block_size)

    def _begin(self, take: CellTake, progress: Progress) -> None:
        self._current = take
        self._report(progress)

    def _mark_cut_short(self, takes: tuple[CellTake, ...], fault: str) -> None:
        """The cell at which the device was lost, and every other that is not finished, say so."""
        wanted = self._options.samples + self._options.decode_samples
        for take in takes:
            if take is self._current:
                take.failures.append(lost(fault))
            elif len(take.samples) + len(take.failures) < wanted and not take.is_broken and self._current:
                take.failures.append(lost(fault, where=self._current.cell, samples=len(take.samples)))

    def _read_canaries(self) -> Readings:
        with loss_told():
            return self._canaries.read() if self._canaries is not None else {}

    def _measure_in_turn(self, takes: tuple[CellTake, ...], order: np.random.Generator) -> None:
        """Block by block, as many as there are once the first turn says how long they are."""
        self._read_canaries()  # cold caches and first kernels
        before = self._read_canaries()
        block = 0
        while block < self._blocks:
            for index in order.permutation(len(takes)).tolist():
                done, total = self._options.samples * block // self._blocks, self._options.samples
                level = takes[index].level
                told = Progress(
                    stage="measure", cell=index, done=done, total=total, p50_ns=level.value, half_ns=level.half_width
                )
                self._begin(takes[index], told)
                self._take_turn(takes[index], block)
                before = self._take_block(takes[index], block, self._shares(block), before)
            block += 1
        self._take_turn()

    def _take_turn(self, take: CellTake | None = None, block: int = 0) -> None:
        """Where another session shares the machine, wait until it rests; the first request after that does not count.

        Unless the turn says that it does. The last turn of a session, without a take, is for what follows the samples.
        """
        if self._turns is None:
            return
        turn = self._turns.take()
        self._block_size = turn.requests or self._block_size
        if take is None:
            self._release()
            return
        if self._binding is not None and turn.core is not None:
            self.is_free |= not self._binding.bind(turn.core)
        if not turn.first_counts:
            beyond = 1 + self._options.warmup + self._options.samples + self._options.decode_samples
            self._take(take, Phase.PREFILL, beyond + block, WARMUP_BLOCK)

    def _release(self) -> None:
        if self._binding is not None:
            self._binding.release()

    def _shares(self, block: int) -> dict[Phase, range]:
        """The indices of the samples of each kind that this block takes."""
        counts = {Phase.PREFILL: self._options.samples, Phase.DECODE: self._options.decode_samples}
        return {phase: _share(count, block, self._blocks) for phase, count in counts.items()}

    def _replace_disturbed(self, takes: tuple[CellTake, ...], blocks: int, watcher: Watcher) -> None:
        """Take anew what was taken while the machine was disturbed; the last look only sets aside."""
        taken = self._options.samples + self._options.decode_samples
        for block in range(blocks, blocks + REPLACEMENTS + 1):
            seen = watcher.monitoring(self._clock.now_ns())
            missing = {index: counts for index, take in enumerate(takes) if (counts := take.look_back(seen))}
            if not missing or block == blocks + REPLACEMENTS:
                return
            before = self._read_canaries()
            for index, counts in missing.items():
                self._begin(takes[index], Progress(stage="measure anew", cell=index, total=counts.total()))
                shares = {phase: range(taken, taken + count) for phase, count in counts.items()}
                before = self._take_block(takes[index], block, shares, before)
            taken += max(counts.total() for counts in missing.values())

    def _warm_up(self, take: CellTake) -> None:
        before_ns = self._clock.now_ns()
        self._take(take, Phase.DECODE, 0, WARMUP_BLOCK)
        take.first_call_ns = self._clock.now_ns() - before_ns
        for index in range(1, 1 + self._options.warmup):
            self._take(take, Phase.PREFILL, index, WARMUP_BLOCK)
            if index % DECODE_WARMUP_SHARE == 0:
                self._take(take, Phase.DECODE, index, WARMUP_BLOCK)

    def _take_block(self, take: CellTake, block: int, shares: Mapping[Phase, range], before: Readings) -> Readings:
        """The samples with these indices, and the canaries beside them; what was read of those after the block."""
        with garbage_collection_paused():
            self._watch_peak(take, lambda: begin_peak(self._strategy))
            for phase, share in shares.items():
                for index in share:
                    self._take(take, phase, 1 + self._options.warmup + index, block)
            self._watch_peak(take, lambda: take.saw_peak(peak_of(self._strategy)))
        after = self._read_canaries()
        take.canaries.extend(beside(block, before, after))
        return after

    def _take(self, take: CellTake, phase: Phase, index: int, block: int) -> None:
        """Time one request into `take`; a request that breaks becomes a failure, and a broken cell takes no more."""
        if take.is_broken:
            return
        request = draw_request(take.cell.workload, phase, index, self._vocabulary, self._salt)
        stage = "warm-up" if block == WARMUP_BLOCK else "measure"
        try:
            if isinstance(self._strategy, PreparesRequests):
                self._strategy.prepare(request)
            start_ns, stamps = self._time(request)
            counts, device_ns = counts_of(self._strategy), device_ns_of(self._strategy)
            problem = answer_problem(stamps, request, self._vocabulary, counts)
        except Exception as error:  # noqa: BLE001 - the border to engines that are not ours
            self._fail(take, stage, phase, error)
            return
        if problem:
            take.failures.append(Failure(stage="answer", message=problem, phase=phase))
            return
        rows = len(request.prompts)
        arrivals_ns, tokens = arrivals(start_ns, stamps, rows, counts)
        has_requests = Ability.CONCURRENCY in self._strategy.abilities
        sample = Sample(
            phase=phase,
            block=block,
            arrivals_ns=arrivals_ns,
            tokens=tokens,
            device_ns=device_ns,
            sent_ns=start_ns,
            **(rows_of(start_ns, stamps, rows, counts) if has_requests else {}),
        )
        (take.warmups if block == WARMUP_BLOCK else take.samples).append(sample)

    def _fail(self, take: CellTake, stage: str, phase: Phase, error: Exception) -> None:
        """A failure of this cell; DeviceLostError where no cell can be measured any more."""
        fault = device_fault(error)
        if fault is not None:
            raise DeviceLostError(fault) from error
        take.failures.append(Failure(stage=stage, message=one_line(error), phase=phase))

    def _watch_peak(self, take: CellTake, ask: Callable[[], None]) -> None:
        """Ask for a peak, unless the cell is broken; that it cannot be told is a failure of the cell."""
        try:
            if not take.is_broken:
                ask()
        except Exception as error:  # noqa: BLE001 - the border to engines that are not ours
            self._fail(take, "memory", Phase.PREFILL, error)

    def _time(self, request: Request) -> tuple[int, list[tuple[int, Chunk]]]:
        now_ns = self._clock.now_ns
        start_ns = now_ns()
        stamps = [(now_ns(), chunk) for chunk in self._stream(request)]
        return start_ns, stamps


def _share(count: int, block: int, blocks: int) -> range:
    """The indices of `count` samples that fall into this block when they are spread evenly over all."""
    return range(count * block // blocks, count * (block + 1) // blocks)
