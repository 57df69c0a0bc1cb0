"""Prompts are chosen where what is wanted shows soonest."""

from dataclasses import replace

from perfsuite.core.draws import tally
from perfsuite.core.oracle import Context
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.standard import standard_of
from perfsuite.measure.telling import candidate_prompts, telling_prompts
from tests import sampled

WORKLOAD = Workload(
    prompt_tokens=12, output_tokens=12, sampling=SamplingParams(temperature=0.6, top_k=5, repetition_penalty=1.5)
)


def nats(prompt: tuple[int, ...], name: str) -> float:
    logits = sampled.Sampled().next_token_logits((prompt,))[0].astype(float)
    rivals = tally(Context(logits=logits, params=WORKLOAD.sampling, prompt=prompt)).rivals
    return max((rival.nats for rival in rivals if rival.name == name), default=0.0)


def test_what_is_wanted_shows_at_the_prompts_chosen_for_it() -> None:
    standard = standard_of(sampled.Sampled())
    for seed in range(5):
        for name in ("top-k keeps one token too few", "the penalty leaves the last id out"):
            wanted = frozenset({name})
            workload = replace(WORKLOAD, seed=seed)
            candidates = candidate_prompts(standard, sampled.VOCABULARY, workload)
            (prompt,) = telling_prompts(standard, candidates, workload, wanted)
            assert nats(prompt, name) >= 0.005


def test_what_no_first_token_shows_is_looked_for_behind_ids_of_any_kind() -> None:
    standard = standard_of(sampled.Sampled())
    later = frozenset({"the penalty falls on the prompt alone"})
    candidates = candidate_prompts(standard, sampled.VOCABULARY, WORKLOAD)
    plain, other = (
        telling_prompts(standard, candidates, replace(WORKLOAD, batch_size=2), wanted)
        for wanted in (frozenset(), later)
    )
    assert plain != other
    assert all(len(set(prompt)) < 12 for prompt in plain)
    assert {len(prompt) for prompt in other} == {12}
