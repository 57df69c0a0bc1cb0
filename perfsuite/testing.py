"""Owns what users test their own samplers with: `assert_valid_sampler`, and hypothesis strategies for its arguments.

`sampling_params()` and `logits()` need the package hypothesis, `assert_valid_sampler` does not.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from perfsuite.core.boundaries import Floats
from perfsuite.core.draws import Tally, tally
from perfsuite.core.errors import PerfsuiteError
from perfsuite.core.examination import VOCABULARY, Question, questions
from perfsuite.core.greedy import check_greedy
from perfsuite.core.independence import Draw, Pair, check_pairs
from perfsuite.core.oracle import Context, next_token
from perfsuite.core.problem import Problem, Property
from perfsuite.core.sampling_checks import check_draws, describe
from perfsuite.core.workload import SamplingParams

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["InvalidSamplerError", "Sampler", "assert_valid_sampler", "logits", "sampling_params"]

Sampler = Callable[[Tensor, Tensor, SamplingParams, torch.Generator], Tensor]
"""sampler(logits [B, V], ids [B, L], params, generator) -> next ids [B]."""

COPIES = 96
"""How many rows of a batch ask the same question; rows are independent draws, which is checked first."""
LOOKS = (2, 4, 8, 16)
"""Rounds of draws after which they are looked at; what is open after the last stays open."""
FLAT_VOCABULARY = 64


class InvalidSamplerError(PerfsuiteError, AssertionError):
    """A sampler lacks a property that every correct one has; the text says which, and shows the evidence."""


def assert_valid_sampler(sampler: Sampler, *, seed: int = 0) -> None:
    """Raise InvalidSamplerError if the sampler does not draw from the distribution that the parameters ask for.

    The sampler is called as a token loop would, with prompts and then one more id at a time, on float32 logits on the
    CPU; every row is a sequence of its own. A correct sampler is refused at most once in a million calls. Draws go on
    until every known way to be wrong is shown or excluded, a second at most for a sampler of a millisecond; what the
    last draws leave open is refused as well, since not decided is not passed.
    """
    examiner = _Examiner(sampler, seed)
    _refuse(examiner.randomness())  # the others take draws to be independent
    _refuse((*examiner.greedy(), *examiner.distributions()))


def _refuse(problems: Iterable[Problem]) -> None:
    found = tuple(dict.fromkeys(map(str, problems)))
    if found:
        raise InvalidSamplerError("the sampler is not valid\n" + "\n".join(f"  {line}" for line in found))


class _Examiner:
    """One sampler under examination, and the generator that it is given."""

    def __init__(self, sampler: Sampler, seed: int) -> None:
        self._sampler = sampler
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)

    def randomness(self) -> tuple[Problem, ...]:
        """Same seed, same tokens; other seeds, later calls and other rows draw for themselves."""
        context = Context(logits=np.zeros(FLAT_VOCABULARY), params=SamplingParams(), prompt=(0,))
        rows = 2 * COPIES
        ask = np.repeat(context.logits[None], rows, axis=0), np.zeros((rows, 1), dtype=np.int64)

        def answers(seed: int) -> list[list[int]]:
            generator = torch.Generator().manual_seed(seed)
            return [self._call(*ask, context.params, generator) for _ in range(2)]

        first, again, other = answers(self._seed), answers(self._seed), answers(self._seed + 1)
        if first != again:
            finding = "two generators with the same seed gave different tokens"
            return (Problem(property=Property.RANDOMNESS, finding=finding),)
        token = next_token(context)

        def pairs(ones: Sequence[int], others: Sequence[int]) -> list[Pair]:
            return [(Draw(drawn=a, token=token), Draw(drawn=b, token=token)) for a, b in zip(ones, others, strict=True)]

        return check_pairs(
            {
                "draws of neighbouring rows of a batch": pairs(first[0][::2], first[0][1::2]),
                "draws of successive calls": pairs(first[0], first[1]),
                "draws under different seeds": pairs(first[0], other[0]),
            }
        )

    def greedy(self) -> tuple[Problem, ...]:
        """Temperature 0 and top-k 1, before and after a penalty, take the largest score."""
        found: tuple[Problem, ...] = ()
        for params in (
            SamplingParams(temperature=0),
            SamplingParams(top_k=1),
            SamplingParams(temperature=0, repetition_penalty=1.5),
        ):
            draw = np.random.default_rng([self._seed, params.top_k])
            rows = draw.normal(0, 3, (COPIES, VOCABULARY)).astype(np.float32).astype(np.float64)
            prompts = draw.integers(VOCABULARY, size=(COPIES, 4))
            drawn = self._call(rows, prompts, params, self._generator)
            tokens = [
                next_token(Context(logits=row, params=params, prompt=tuple(prompt)))
                for row, prompt in zip(rows, prompts.tolist(), strict=True)
            ]
            draws = [Draw(drawn=a, token=token) for a, token in zip(drawn, tokens, strict=True)]
            found += check_greedy(draws, where=describe(params))
        return found

    def distributions(self) -> tuple[Problem, ...]:
        """Draws against the oracle, in rounds until all is decided."""
        asked = questions(self._seed)
        tallies = [[tally(question.context(row)) for row in range(question.rows)] for question in asked]
        undecided: tuple[str, ...] = ()
        for count in range(1, LOOKS[-1] + 1):
            tallies = [self._drawn(question, rows) for question, rows in zip(asked, tallies, strict=True)]
            if count in LOOKS:
                finding = check_draws([one for rows in tallies for one in rows], looks=len(LOOKS))
                if finding.is_decided:
                    return finding.problems
                undecided = finding.open
        draws = sum(one.draws for rows in tallies for one in rows)
        return tuple(
            Problem(property=Property.EFFECT, finding=f"{draws} draws could not exclude that {name}")
            for name in undecided
        )

    def _drawn(self, question: Question, tallies: list[Tally]) -> list[Tally]:
        """The tallies with one more round of draws; the copies of a row stand apart, so that neighbours differ."""
        ids = np.tile(np.array(question.prompts), (COPIES, 1))
        for step in range(len(question.generated[0])):
            drawn = self._call(np.tile(question.forced(step), (COPIES, 1)), ids, question.params, self._generator)
            wanted = np.tile(np.array(question.generated)[:, step], COPIES)
            _refuse(_certain(drawn, wanted.tolist()))
            ids = np.column_stack([ids, wanted])
        drawn = self._call(np.tile(question.logits, (COPIES, 1)), ids, question.params, self._generator)
        return [one.added(drawn[row :: question.rows]) for row, one in enumerate(tallies)]

    def _call(self, rows: Floats, ids: Any, params: SamplingParams, generator: torch.Generator) -> list[int]:
        """The sampler's answer as a list; InvalidSamplerError if it is none."""
        logits_asked = torch.from_numpy(rows).to(torch.float32)
        try:
            answer = self._sampler(logits_asked, torch.from_numpy(np.ascontiguousarray(ids)), params, generator)
        except Exception as error:
            raise InvalidSamplerError(f"answer: the sampler raised {type(error).__name__}: {error}") from error
        _refuse(_shape(answer, *rows.shape))
        tokens: list[int] = answer.tolist()
        return tokens


def _certain(drawn: Sequence[int], wanted: Sequence[int]) -> tuple[Problem, ...]:
    wrong = next(((row, a, b) for row, (a, b) in enumerate(zip(drawn, wanted, strict=True)) if a != b), None)
    if wrong is None:
        return ()
    row, token, certain = wrong
    finding = (
        f"row {row} drew token {token} where token {certain} is certain: its logit is larger than all others by 60"
    )
    return (Problem(property=Property.SUPPORT, finding=finding),)


def _shape(answer: object, rows: int, vocabulary: int) -> tuple[Problem, ...]:
    if not isinstance(answer, Tensor) or answer.shape != (rows,) or answer.is_floating_point():
        found = f"{answer.dtype} {list(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
        finding = f"the sampler returned {found}; it must be whole numbers [{rows}], one id for each row"
        return (Problem(property=Property.ANSWER, finding=finding),)
    outside = answer[(answer < 0) | (answer >= vocabulary)]
    if not len(outside):
        return ()
    finding = f"token id {int(outside[0])} is outside the vocabulary of {vocabulary}"
    return (Problem(property=Property.ANSWER, finding=finding),)


def sampling_params() -> "SearchStrategy[SamplingParams]":
    """Every kind of SamplingParams: greedy and sampled, with each parameter on and off."""
    st = _hypothesis()
    found: SearchStrategy[SamplingParams] = st.builds(
        SamplingParams,
        temperature=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.1, 4)),
        top_k=st.one_of(st.just(0), st.integers(1, 100)),
        top_p=st.one_of(st.just(1.0), st.floats(0.01, 1)),
        repetition_penalty=st.one_of(st.just(1.0), st.floats(0.5, 2)),
        seed=st.integers(0, 2**31 - 1),
    )
    return found


def logits(*, max_batch: int = 4, max_vocabulary: int = 64) -> "SearchStrategy[Tensor]":
    """Logits [B, V] (float32): smooth ones, ties, tokens ruled out by -inf, and values that overflow half precision.

    Every row has a finite logit.
    """
    st = _hypothesis()
    number = st.sampled_from(
        [
            st.floats(-20, 20, width=32),
            st.integers(-4, 4).map(float),
            st.one_of(st.just(-np.inf), st.floats(-20, 20, width=32)),
            st.one_of(st.sampled_from([1e5, -1e5, 1e30, -1e30]), st.floats(-20, 20, width=32)),
        ]
    )

    def rows(shape: tuple[int, int], kind: Any) -> Any:
        row = st.lists(kind, min_size=shape[1], max_size=shape[1]).filter(lambda values: max(values) > -np.inf)
        return st.lists(row, min_size=shape[0], max_size=shape[0]).map(torch.tensor)

    shapes = st.tuples(st.integers(1, max_batch), st.integers(1, max_vocabulary))
    found: SearchStrategy[Tensor] = st.tuples(shapes, number).flatmap(lambda drawn: rows(*drawn))
    return found


def _hypothesis() -> Any:
    try:
        from hypothesis import strategies
    except ImportError as error:
        raise ImportError(
            "perfsuite.testing: logits() and sampling_params() need the package hypothesis; install it with: "
            "pip install 'perfsuite[test]'"
        ) from error
    return strategies
