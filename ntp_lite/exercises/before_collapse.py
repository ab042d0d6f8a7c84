"""Checkers of the exercises of "Structure before collapse"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linprog

from ._common import compare


def _price(q: int, own: float, alpha: float, beta: float) -> float:
    """Nuclear norm of M for the logits alpha E_1 + beta E_2."""
    return float(2 * (q - 1) / np.sqrt(q + own**2) * alpha + (q - 1) ** 2 / own * beta)


_POINTS = [(4, 1.0), (4, 2.0), (9, 1.6), (9, 1.8), (2, 0.7), (2, 3.0)]  # (q, own)


def _border(q: int) -> float:
    """The strength at which structure gives way to identity."""
    return float(np.sqrt(q / 3))


def _rows(
    structure: Callable[[int], tuple[float, float]] = lambda q: (float(q), 0.0),
    identity: Callable[[int], tuple[float, float]] = lambda q: (1.0, 1.0),
    border: Callable[[int], float] = _border,
    price: Callable[[int, float, float, float], float] = _price,
) -> list[tuple[float, float, float]]:
    """(alpha, beta, price) at each point: right by default, or with one mistake."""
    rows = []
    for q, own in _POINTS:
        alpha, beta = identity(q) if own > border(q) else structure(q)
        rows.append((alpha, beta, price(q, own, alpha, beta)))
    return rows


def _at_each(answer: Any, points: list[tuple[Any, ...]]) -> Any:
    """The answer's values at all points; its stub or missing return as it is.

    What is not a function, too, is returned as it is: `compare` says what is wrong with it.
    """
    if not callable(answer):
        return answer

    def collected(*_: Any) -> Any:
        values = []
        for point in points:
            value = answer(*point)
            if value is ... or value is None:
                return value
            values.append(value)
        return values

    return collected


def limit_direction(answer: Any) -> bool:
    """Accepts (alpha, beta, price) as a function of q and the strength `own`, at several points."""
    opposite = _rows(structure=lambda q: (1.0, 1.0), identity=lambda q: (float(q), 0.0))
    mistakes = {
        "the cases are exchanged: structure stays when identity is dear, 3 omega^2 < q.": opposite,
        "where structure stays, alpha is q, not 1: the margins must reach 1.": _rows(
            structure=lambda q: (1.0, 0.0)
        ),
        "where structure stays, it is beta that vanishes: E_1 holds the attributes.": _rows(
            structure=lambda q: (0.0, float(q))
        ),
        "the border is 3 omega^2 = q, not 3 omega = q.": _rows(border=lambda q: q / 3),
        "the border is 3 omega^2 = q, not omega^2 = q.": _rows(border=lambda q: float(np.sqrt(q))),
        "the price holds singular values of M, not of L: divide by the features' roots.": _rows(
            price=lambda q, own, a, b: 2 * (q - 1) * a + (q - 1) ** 2 * b
        ),
        "in the price, take the root of q + omega^2.": _rows(
            price=lambda q, own, a, b: 2 * (q - 1) / (q + own**2) * a + (q - 1) ** 2 / own * b,
        ),
        "the rank of E_1 is 2 (q - 1): two attributes.": _rows(
            price=lambda q, own, a, b: (q - 1) / np.sqrt(q + own**2) * a + (q - 1) ** 2 / own * b,
        ),
    }
    success = "and the price is continuous: at the border both directions cost the same."
    return compare(_at_each(answer, _POINTS), _rows(), success, mistakes, arguments=(0,))


_COEFFICIENTS = [(3.0, 1.0, 4), (1.0, 2.0, 5), (2.5, 0.0, 3), (0.0, 1.5, 7)]  # (alpha, beta, q)


def structure_formula(answer: Any) -> bool:
    """Accepts the structure of alpha E_1 + beta E_2, a function of (alpha, beta, q)."""

    def values(formula: Callable[[float, float, int], float]) -> list[float]:
        return [formula(*point) for point in _COEFFICIENTS]

    def length(a: float, b: float, q: int) -> float:
        return (q - 1) * (2 * a * a + (q - 1) * b * b)

    mistakes = {
        "this is the numerator; divide by the squared length of a column.": values(
            lambda a, b, q: q * (a * a - b * b)
        ),
        "inner products of columns are entries of L'L, in which both coefficients are squared.": (
            values(lambda a, b, q: q * (a - b) / ((q - 1) * (2 * a + (q - 1) * b)))
        ),
        "this is the cosine where one attribute is shared; subtract that where none is.": values(
            lambda a, b, q: ((q - 2) * a * a - (q - 1) * b * b) / length(a, b, q)
        ),
        "the sign: one attribute shared, minus none.": values(
            lambda a, b, q: q * (b * b - a * a) / length(a, b, q)
        ),
        "the diagonal of E_1 is 2 (q - 1) / m: it has rank 2 (q - 1).": values(
            lambda a, b, q: q * (a * a - b * b) / ((q - 1) * (a * a + (q - 1) * b * b))
        ),
        "alpha goes with E_1 and beta with E_2; they are exchanged.": values(
            lambda a, b, q: q * (b * b - a * a) / length(b, a, q)
        ),
    }
    expected = values(lambda a, b, q: q * (a * a - b * b) / length(a, b, q))
    success = "zero for the simplex, q / (2 (q - 1)) without identity."
    return compare(
        _at_each(answer, _COEFFICIENTS), expected, success, mistakes, arguments=(0,)
    )  # fmt: skip


_SIZES = [(2, 8, 0.9), (2, 8, 1.5), (3, 5, 0.6), (5, 3, 2.0), (4, 4, 1.0)]  # (q_1, q_2, own)


def _programme(prices: Any, margins: Any) -> float:
    """Least price of coefficients, of any sign, for margins of at least one."""
    bound = -np.ones(len(margins))
    found = linprog([*prices, *prices], A_ub=np.hstack([-margins, margins]), b_ub=bound)
    return float(found.fun) if found.success else float("nan")


def _prices(q_1: int, q_2: int, own: float) -> Any:
    """Rank of each projection over the root of the features' eigenvalue there."""
    ranks = np.array([q_1 - 1, q_2 - 1, (q_1 - 1) * (q_2 - 1)])
    return ranks / np.sqrt([q_2 + own**2, q_1 + own**2, own**2])


def _margins(q_1: int, q_2: int) -> Any:
    """Margins over a token of the same colour, of the same shape, and of neither."""
    return np.array([
        [0, 1 / q_1, 1 - 1 / q_1],
        [1 / q_2, 0, 1 - 1 / q_2],
        [1 / q_2, 1 / q_1, 1 - 1 / q_1 - 1 / q_2],
    ])  # fmt: skip


def least_price(answer: Any) -> bool:
    """Accepts the value of the linear programme, a function of (q_1, q_2, own)."""

    def values(
        prices: Callable[[int, int, float], Any] = _prices,
        margins: Callable[[int, int], Any] = _margins,
    ) -> list[float]:
        return [_programme(prices(a, b, own), margins(a, b)) for a, b, own in _SIZES]

    mistakes = {
        "the eigenvalues are exchanged: things of one colour are as many as there are shapes.": (
            values(lambda a, b, own: _prices(a, b, own) * np.sqrt(_ratio(a, b, own)))
        ),
        "the price holds singular values of M, not of L: divide by the features' roots.": values(
            lambda a, b, own: np.array([a - 1, b - 1, (a - 1) * (b - 1)])
        ),
        "the price has roots of eigenvalues, not the eigenvalues.": values(
            lambda a, b, own: _prices(a, b, own) ** 2 / [a - 1, b - 1, (a - 1) * (b - 1)]
        ),
        "the margin over a token of neither colour nor shape is missing.": values(
            margins=lambda a, b: _margins(a, b)[:2]
        ),
        "a token of the same colour differs in shape, and the other way round.": values(
            margins=lambda a, b: _margins(b, a)
        ),
        "this is the price of the simplex; attributes alone may be cheaper.": [
            float(_prices(a, b, own).sum()) for a, b, own in _SIZES
        ],
        "this is the price of attributes alone; with identity it may be cheaper.": [
            float(_prices(a, b, own) @ [b, a, 0]) for a, b, own in _SIZES
        ],
    }
    success = "three numbers instead of m times (q_1 + q_2 + m)."
    return compare(
        _at_each(answer, _SIZES), values(), success, mistakes, arguments=(0,), rtol=1e-5
    )  # fmt: skip


def _ratio(q_1: int, q_2: int, own: float) -> Any:
    """What exchanging the eigenvalues of the two attributes does to the squared prices."""
    of_colour = (q_2 + own**2) / (q_1 + own**2)
    return np.array([of_colour, 1 / of_colour, 1.0])
