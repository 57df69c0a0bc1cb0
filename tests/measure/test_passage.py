"""What a strategy writes for the report."""

from dataclasses import replace

from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.clock import ScriptedClock
from perfsuite.measure.passage import GIVEN, write_passage
from tests import sampled

WORKLOAD = Workload(prompt_tokens=9, output_tokens=10, batch_size=2, sampling=SamplingParams(temperature=0))


def test_a_passage_goes_on_from_the_text_given_at_the_workloads_own_shape():
    strategy = sampled.Writes()
    passage = write_passage(strategy, WORKLOAD, strategy.scripted_clock)
    letters = sampled.Letters()
    assert passage.before == letters.decode(letters.encode(GIVEN[:9]))
    assert 0 < len(passage.text) <= 10


def test_a_long_prompt_repeats_what_is_given_and_keeps_its_end_only():
    strategy = sampled.Writes()
    long = replace(WORKLOAD, prompt_tokens=1000)
    assert len(write_passage(strategy, long, strategy.scripted_clock).before) == 24


def test_the_end_of_a_sequence_ends_the_passage():
    """Which is the same every time, as the seed is."""
    for prompt_tokens in range(1, 12):
        strategy = sampled.Writes()
        passage = write_passage(strategy, replace(WORKLOAD, prompt_tokens=prompt_tokens), strategy.scripted_clock)
        end = sampled.Letters.signs[sampled.END]
        assert end not in passage.text[:-1]
        assert passage.text[-1] == end or len(passage.text) == 10


def test_a_slow_strategy_writes_what_it_can_in_two_seconds():
    strategy = sampled.WritesSlowly()
    passage = write_passage(strategy, WORKLOAD, strategy.scripted_clock)
    assert 0 < len(passage.text) <= 3
    assert strategy.scripted_clock.now_ns() < 3e9


def test_ids_that_the_model_does_not_have_write_nothing():
    class Short(sampled.Letters):
        def encode(self, text):
            return (sampled.VOCABULARY,) * len(text)

    strategy = type("Foreign", (sampled.Sampled,), {"alphabet": lambda self: Short()})()
    assert write_passage(strategy, WORKLOAD, ScriptedClock()) is None
