"""Owns the prompts: fresh random token ids for every request, the same ones in every session."""

import zlib
from dataclasses import replace

import numpy as np

from perfsuite.core.sample import Phase, Request
from perfsuite.core.workload import Workload


def draw_request(workload: Workload, phase: Phase, index: int, vocabulary: int, salt: int = 0) -> Request:
    """The `index`-th request of a phase: ids drawn uniformly from the whole vocabulary by the workload's seed.

    A prefill request asks for one token. Prompts never repeat within a session, so no cached prefix can help, and are
    equal across sessions, so that two sessions do the same work; unless a `salt` makes them a session's own, for a
    server that outlives it and may remember them.
    """
    key = [workload.seed, zlib.crc32(workload.slug.encode()), zlib.crc32(phase.value.encode()), index]
    key += [salt] if salt else []
    shape = (workload.batch_size, workload.prompt_tokens)
    ids = np.random.default_rng(key).integers(0, vocabulary, size=shape)
    return Request(
        prompts=tuple(tuple(row) for row in ids.tolist()),
        output_tokens=1 if phase is Phase.PREFILL else workload.output_tokens,
        sampling=replace(workload.sampling, seed=workload.sampling.seed + (workload.seed << 32) + index),
    )
