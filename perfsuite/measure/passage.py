"""Owns the line of text that a strategy writes for the report: what it is given, and how long it may write."""

from perfsuite.core.sample import Request
from perfsuite.core.sampling_check import Passage
from perfsuite.core.workload import Workload
from perfsuite.measure.clock import Clock
from perfsuite.measure.strategy import KnowsAlphabet, Strategy

GIVEN = '''\
def find(self, name):
    """Return the item with this name, or None."""
    for item in self.items:
        if item.name == name:
            return item
    return None


'''
"""Given as often as a prompt has room for it, then cut off: code, which is what the embedded model can write."""
LEAST_TOKENS = 16
"""That any alphabet takes for it."""
WRITING_NS = 2 * 10**9
"""When this is over, no further token is waited for."""
SHOWN_BEFORE = 24
"""Characters kept of what a passage goes on from."""


def write_passage(strategy: Strategy, workload: Workload, clock: Clock) -> Passage | None:
    """What an open strategy writes under a workload's parameters, to its end; `None` where ids have no text.

    Prompt length, batch size and parameters are the workload's, so that nothing has to be made ready for it.
    """
    alphabet = strategy.alphabet() if isinstance(strategy, KnowsAlphabet) else None
    if alphabet is None:
        return None
    prompt = alphabet.encode(GIVEN * (workload.prompt_tokens // LEAST_TOKENS + 1))[: workload.prompt_tokens]
    vocabulary = strategy.facts().vocabulary
    if len(prompt) < workload.prompt_tokens or not all(0 <= token < vocabulary for token in prompt):
        return None
    request = Request(
        prompts=(prompt,) * workload.batch_size,
        output_tokens=workload.output_tokens,
        sampling=workload.sampling,
        ignore_eos=False,
    )
    text = alphabet.decode(_first_row(strategy, request, clock))
    return Passage(before=alphabet.decode(prompt)[-SHOWN_BEFORE:], text=text) if text else None


def _first_row(strategy: Strategy, request: Request, clock: Clock) -> list[int]:
    end_ns = clock.now_ns() + WRITING_NS
    ids: list[int] = []
    for chunk in strategy.stream(request):
        if chunk.row == 0:
            ids.extend(chunk.token_ids)
        if clock.now_ns() >= end_ns:
            break
    return ids
