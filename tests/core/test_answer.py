"""The shape of an answer: counts, ids, finish reasons, end of sequence, finite logits."""

import numpy as np
import pytest

from perfsuite.core.answer import check_answer, check_ending, check_logits
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import SamplingParams

EOS = 9


def request(rows=1, ignore_eos=True):
    return Request(prompts=((1, 2),) * rows, output_tokens=3, sampling=SamplingParams(), ignore_eos=ignore_eos)


def chunks(*tokens, row=0, reason="length"):
    reasons = [None] * (len(tokens) - 1) + [reason]
    return [Chunk(token_ids=(token,), row=row, finish_reason=why) for token, why in zip(tokens, reasons, strict=True)]


def findings(found, asked):
    return [problem.finding for problem in check_answer(found, asked, vocabulary=10, eos=(EOS,))]


def test_a_whole_answer_has_no_problem():
    assert findings(chunks(1, 2, 3), request()) == []
    assert findings(chunks(1, 2, 3, reason=None), request()) == []
    assert findings([*chunks(1, 2, 3), *chunks(4, 5, 6, row=1)], request(rows=2)) == []


def test_an_end_of_sequence_is_ignored_or_honoured_as_asked():
    assert findings(chunks(1, EOS, 3), request()) == []
    assert findings(chunks(1, EOS, reason="stop"), request(ignore_eos=False)) == []
    assert findings(chunks(1, EOS, 3), request(ignore_eos=False)) == [
        "row 0 gave 3 tokens where 3 were asked for, token 2 of which ends the sequence"
    ]
    assert findings(chunks(1, EOS, reason="stop"), request()) == ["row 0 gave 2 tokens where 3 were asked for"]


def test_where_ends_are_in_question_a_row_must_say_why_it_ended():
    both = [*chunks(1, EOS, reason="stop"), *chunks(1, 2, 3, row=1, reason=None)]
    found = check_ending(both, request(rows=2, ignore_eos=False), vocabulary=10, eos=(EOS,))
    assert [problem.finding for problem in found] == ["row 1 ended without a finish reason"]
    assert check_ending(chunks(1, EOS, reason="stop"), request(ignore_eos=False), vocabulary=10, eos=(EOS,)) == ()


def test_an_end_of_sequence_as_the_last_token_may_be_called_either():
    assert findings(chunks(1, 2, EOS, reason="stop"), request(ignore_eos=False)) == []
    assert findings(chunks(1, 2, EOS), request(ignore_eos=False)) == []


@pytest.mark.parametrize(
    ("found", "finding"),
    [
        (chunks(1, 2), "row 0 gave 2 tokens where 3 were asked for"),
        (chunks(1, 2, 10), "token id 10 is outside the vocabulary of 10"),
        (chunks(1, 2, -1), "token id -1 is outside the vocabulary of 10"),
        (chunks(1, 2, 3, row=1), "a chunk came for row 1 of a batch of 1"),
        (chunks(1, 2, 3, reason="stop"), "row 0 ended with finish reason 'stop' instead of 'length'"),
        ([*chunks(1, 2), *chunks(3)], "row 0 went on after a finish reason"),
        ([], "a row gave 0 tokens where 3 were asked for"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said_in_one_line(found, finding):
    assert findings(found, request()) == [finding]


@pytest.mark.parametrize(
    ("logits", "finding"),
    [
        ([[0.0, 1.0], [np.nan, 0.0]], "the logit of token 0 in row 1 is nan"),
        ([[0.0, np.inf]], "the logit of token 1 in row 0 is inf"),
        ([[0.0, 1.0], [-np.inf, -np.inf]], "no logit of row 1 is finite"),
    ],
)
def test_logits_that_no_probability_comes_from_are_found(logits, finding):
    assert [problem.finding for problem in check_logits(np.array(logits))] == [finding]


def test_a_token_that_is_ruled_out_is_no_problem():
    assert check_logits(np.array([[0.0, -np.inf]])) == ()
