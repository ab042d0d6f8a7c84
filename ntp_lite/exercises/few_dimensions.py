"""Checkers of the exercises of "Few dimensions"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._common import NoAnswerError, compare, say, value_of


def _circle(
    P: Any,
    t: float,
    log: Callable[[Any], Any] = np.log,
    factor: Callable[[Any], Any] = lambda x: 1 - np.cos(x),
    join: Callable[[list[float]], Any] = np.prod,
    frequencies: bool = True,
    offset: int = 0,
) -> Any:
    """The logits, entry by entry; the keywords are ways to get them wrong."""
    V, m = P.shape
    angle = [2 * np.pi * (z + offset) / V for z in range(V)]
    L = np.zeros((V, m))
    for j in range(m):
        T = [z for z in range(V) if P[z, j] > 0]
        for v in range(V):
            L[v, j] = -t * join([factor(angle[v] - angle[z]) for z in T])
            for z in T if frequencies else []:
                others = [y for y in T if y != z]
                above = np.prod([factor(angle[v] - angle[y]) for y in others])
                below = np.prod([factor(angle[z] - angle[y]) for y in others])
                L[v, j] += log(P[z, j]) * above / below
    return L


def circle_logits(answer: Any) -> bool:
    """Accepts f_j(2 pi z / V), trigonometric logits; a function of P (V, m) and t."""
    P = np.array([[0.5, 0, 0], [0, 0, 0.2], [0.3, 0, 0], [0, 1, 0], [0, 0, 0.8], [0.2, 0, 0]])
    t = 3.0
    right = _circle(P, t)
    plain = _circle(P, 0.0)
    mistakes = {
        "the frequencies are missing: add the first sum, of ln P.": _circle(
            P, t, frequencies=False
        ),
        "the last term is missing; without it nothing pushes the other words down.": plain,
        "the sign of t: words off the support must go down.": _circle(P, -t),
        "a sum over the support does not vanish on it; take the product.": _circle(
            P, t, join=np.sum
        ),
        "P in place of its logarithm.": _circle(P, t, log=lambda p: p),
        "base-2 logarithms; the book uses natural ones.": _circle(P, t, log=np.log2),
        "sin has no small enough degree here; the factor is 1 - cos.": _circle(
            P, t, factor=lambda x: np.abs(np.sin(x / 2))
        ),
        "the factor is 1 - cos of the difference of angles, not cos.": _circle(P, t, factor=np.cos),
        "columns were centred; return the f as they are.": right - right.mean(axis=0),
        "t is inside the product: it multiplies the whole product once.": plain
        + _circle(P, 1.0, frequencies=False) * t ** (P > 0).sum(axis=0),
    }
    success = "rank at most 2k + 1, exact frequencies, and margins that grow with t."
    return compare(answer, right, success, mistakes, arguments=(P.copy(), t))


def solution_circle_price(V: int) -> float:
    """The nuclear norm of the circle whose smallest margin is one."""
    return float(V / (1 - np.cos(2 * np.pi / V)))


def circle_price(answer: Any) -> bool:
    """Accepts V / (1 - cos(2 pi / V)), the nuclear norm of the circle; a function of V."""
    V = 12
    step = 2 * np.pi / V
    right = solution_circle_price(V)
    mistakes = {
        "this is the norm with s = 1, whose smallest margin is far below 1; rescale.": V,
        "this is the scale s; sum the singular values.": right / V,
        "two singular values of sV/2 each; you have counted one.": right / 2,
        "the two singular values are sV/2 each, not sV.": 2 * right,
        "the angle between neighbours is 2 pi / V.": V / (1 - np.cos(step / 2)),
        "the strongest competitor is the neighbour, not the opposite word.": V / 2,
        "this is the price with room, V - 1; in the plane margins cost more.": V - 1,
        "this is the Frobenius norm; the price is the nuclear norm.": right / np.sqrt(2),
        "the margin is 1 - cos, not sin.": V / np.sin(step),
        "this is the approximation for large V; give the exact norm.": V**3 / (2 * np.pi**2),
        "this is the upper bound V^3 / 8; give the norm itself.": V**3 / 8,
        "angles in radians, please.": V / (1 - np.cos(360 / V)),
    }
    success = "about V^3 / (2 pi^2): each word must be told from close neighbours."
    return compare(answer, right, success, mistakes, arguments=(V,))


def _frequency_tables() -> list[Any]:
    """Soft labels that tell the mistakes apart: ranks 3, 3, 1 and 2, some supports full."""
    rng = np.random.default_rng(0)
    generic = rng.uniform(0.2, 1.0, size=(4, 5))
    some_follow = np.vstack([generic, np.zeros((2, 5))])
    others = np.array([[0, 0, 0, 0, 0.5, 0.5], [0, 0, 0, 0, 1, 0]]).T
    doubling = np.vstack([2.0 ** np.outer(np.arange(4), np.arange(1, 5)), np.zeros((1, 4))])
    mixed = np.zeros((6, 4))
    mixed[:3, :2] = rng.uniform(0.2, 1.0, size=(3, 2))
    mixed[3:, 2:] = rng.uniform(0.2, 1.0, size=(3, 2))
    tables = [np.hstack([some_follow, others]), generic, doubling, mixed]
    return [table / table.sum(axis=0) for table in tables]


def _frequency_dimensions(
    P: Any,
    log: Callable[[Any], Any] = np.log,
    centred: bool = True,
    for_the_face: str = "unless full",
    join: Callable[[list[int]], int] = max,
) -> int:
    """The bound of the text; the keywords are ways to get it wrong."""
    supports, bounds = P > 0, []
    for T in np.unique(supports, axis=1).T:
        same = (supports == T[:, None]).all(axis=0)
        block = log(P[np.ix_(T, same)])
        if centred:
            block = block - block.mean(axis=0)
        has_face = for_the_face == "always" or (for_the_face == "unless full" and not T.all())
        rank = int(np.linalg.matrix_rank(block, tol=1e-9))
        bounds.append(rank + 1 if has_face else rank)
    return join(bounds)


def frequency_dimensions(answer: Any) -> bool:
    """Accepts the dimensions that fixed words need for the frequencies; a function of P (V, m)."""
    tables = _frequency_tables()
    try:
        got = [value_of(answer, P.copy()) for P in tables]
    except NoAnswerError as reason:
        return say(False, str(reason))

    def all_with(**mistake: Any) -> list[int]:
        return [_frequency_dimensions(P, **mistake) for P in tables]

    mistakes = {
        "centre each column of the block: softmax does not see constants.": all_with(centred=False),
        "a face needs a direction of its own: one more, unless T holds all tokens.": all_with(
            for_the_face="never"
        ),
        "if T holds all tokens there is no face to find, and nothing to add.": all_with(
            for_the_face="always"
        ),
        "the rank of P itself; logits are logarithms.": all_with(log=lambda p: p),
        "the supports share the dimensions: take the largest number, not the sum.": all_with(
            join=sum
        ),
    }
    success = "a bound that any text can tell you before you train."
    return compare(got, all_with(), success, mistakes)
