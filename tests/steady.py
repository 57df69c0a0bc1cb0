"""Owns a strategy whose n-th session of a cell draws the same times whatever else is measured beside it."""

STEADY = '''
import os

import numpy as np

from perfsuite.strategies.fake import FakeStrategy


class Steady(FakeStrategy):
    """STEADY_SEED begins every series of draws, the file STEADY_COUNT counts sessions, STEADY_SLOW: 'length:factor'."""

    name = "steady"

    def open(self, model, workloads):
        yield from super().open(model, workloads)
        with open(os.environ["STEADY_COUNT"], "a") as count:
            count.write("x")
        self._session = os.path.getsize(os.environ["STEADY_COUNT"])
        self._calls = {}
        slow = os.environ.get("STEADY_SLOW", "")
        self._slow = dict(part.split(":") for part in slow.split(",") if part)

    def stream(self, request):
        length = len(request.prompts[0])
        self._calls[length] = call = self._calls.get(length, 0) + 1
        seed = int(os.environ["STEADY_SEED"])
        factor = float(self._slow.get(str(length), 1))
        own = np.random.default_rng([seed, self._session, length])
        self._session_factor = factor * float(np.exp(own.normal(0, self._script.session_sd)))
        self._noise = np.random.default_rng([seed, self._session, length, call])
        yield from super().stream(request)
'''
