"""Owns the check of greedy answers: the largest score, up to what rounding cannot tell."""

from collections.abc import Iterable

from perfsuite.core.independence import Draw
from perfsuite.core.problem import Problem, Property


def check_greedy(draws: Iterable[Draw], *, where: str) -> tuple[Problem, ...]:
    """The first token that is not the largest, with both scores; never a false alarm within the bounds of rounding.

    What an answer did not tell, an id below 0, says nothing.
    """
    for step, draw in enumerate(draws):
        token, best = draw.token, int(draw.token.scores.argmax())
        if draw.drawn >= 0 and not token.allowed[draw.drawn]:
            finding = (
                f"{where}, draw {step}: token {draw.drawn} with score {token.scores[draw.drawn]:.6g} was taken where "
                f"token {best} has {token.scores[best]:.6g}; rounding explains {token.errors[best]:.2g}"
            )
            return (Problem(property=Property.GREEDY, finding=finding),)
    return ()
