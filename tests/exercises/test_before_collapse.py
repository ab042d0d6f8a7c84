"""Checkers of "Structure before collapse": right answers pass, mistakes are named."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from reference import verdict

from ntp_lite import exercises


def price(q, own, alpha, beta, rank=2, root=np.sqrt, features=True):
    c_1 = rank * (q - 1) / (root(q + own**2) if features else 1)
    return c_1 * alpha + (q - 1) ** 2 / (own if features else 1) * beta


def direction(border, **options):
    def answer(q, own):
        alpha, beta = (1, 1) if own > border(q) else (q, 0)
        return alpha, beta, price(q, own, alpha, beta, **options)

    return answer


def cheapest(q, own):
    """By the prices alone: the cheaper of the two."""
    both = [(1.0, 1.0), (float(q), 0.0)]
    return min([(*x, price(q, own, *x)) for x in both], key=lambda row: row[2])


def dearest(q, own):
    both = [(1.0, 1.0), (float(q), 0.0)]
    return max([(*x, price(q, own, *x)) for x in both], key=lambda row: row[2])


def right_border(q):
    return np.sqrt(q / 3)


def stays_with(alpha, beta):
    """Wrong logits below the border; None stands for q."""

    def answer(q, own):
        below = (alpha, q if beta is None else beta)
        x = (1, 1) if own > right_border(q) else below
        return (*x, price(q, own, *x))

    return answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (cheapest, "Right"),
        (direction(right_border), "Right"),
        (dearest, "the cases are exchanged"),
        (direction(lambda q: q / 3), "not 3 omega = q"),
        (direction(np.sqrt), "not omega^2 = q"),
        (stays_with(1, 0), "alpha is q, not 1"),
        (stays_with(0, None), "beta that vanishes"),
        (direction(right_border, features=False), "not of L"),
        (direction(right_border, root=lambda x: x), "take the root"),
        (direction(right_border, rank=1), "two attributes"),
    ],
)
def test_limit_direction_checker(answer, message, capsys):
    right, text = verdict(exercises.before_collapse.limit_direction, answer, capsys)
    assert right == (message == "Right") and message in text


def projections(q_1, q_2):
    """E_c, E_s, E_2, entry by entry, and the Gram matrix of the features without identity."""
    colour, shape = np.divmod(np.arange(q_1 * q_2), q_2)
    same_colour = (colour[:, None] == colour).astype(float)
    same_shape = (shape[:, None] == shape).astype(float)
    m = q_1 * q_2
    of_colour, of_shape = same_colour / q_2 - 1 / m, same_shape / q_1 - 1 / m
    return of_colour, of_shape, np.eye(m) - 1 / m - of_colour - of_shape, same_colour + same_shape


def measured_structure(alpha, beta, q):
    """The definition, on the matrix."""
    of_colour, of_shape, identity, shared = projections(q, q)
    L = alpha * (of_colour + of_shape) + beta * identity
    cosine = L.T @ L / (L[:, 0] @ L[:, 0])
    return cosine[shared == 1].mean() - cosine[shared == 0].mean()


def length(a, b, q):
    return (q - 1) * (2 * a**2 + (q - 1) * b**2)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (measured_structure, "Right"),
        (lambda a, b, q: q * (a**2 - b**2) / length(a, b, q), "Right"),
        (lambda a, b, q: q * (a**2 - b**2), "divide by the squared length"),
        (lambda a, b, q: q * (a - b) / ((q - 1) * (2 * a + (q - 1) * b)), "are squared"),
        (
            lambda a, b, q: ((q - 2) * a**2 - (q - 1) * b**2) / length(a, b, q),
            "subtract that where none is",
        ),
        (lambda a, b, q: -measured_structure(a, b, q), "the sign"),
        (lambda a, b, q: q * (a**2 - b**2) / (length(a, b, q) - (q - 1) * a**2), "it has rank"),
        (lambda a, b, q: measured_structure(b, a, q), "exchanged"),
    ],
)
def test_structure_formula_checker(answer, message, capsys):
    right, text = verdict(exercises.before_collapse.structure_formula, answer, capsys)
    assert right == (message == "Right") and message in text


def measured_prices(q_1, q_2, own, power=0.5, features=True):
    """Prices of the three projections: trace over a power of the features' eigenvalue."""
    *parts, shared = projections(q_1, q_2)
    gram = shared + own**2 * np.eye(q_1 * q_2)
    eigenvalues = np.array([np.trace(part @ gram) / np.trace(part) for part in parts])
    return np.array([np.trace(part) for part in parts]) / (eigenvalues**power if features else 1)


def measured_margins(q_1, q_2):
    """What each projection adds to the margin of thing 0 over each other token."""
    parts = projections(q_1, q_2)[:3]
    return np.array([[part[0, 0] - part[v, 0] for part in parts] for v in range(1, q_1 * q_2)])


def cheapest(prices, margins):
    x = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(prices @ cp.abs(x)), [margins @ x >= 1])
    return problem.solve(solver=cp.CLARABEL)


def least_price(q_1, q_2, own, **options):
    return cheapest(measured_prices(q_1, q_2, own, **options), measured_margins(q_1, q_2))


def without_the_third_margin(q_1, q_2, own):
    attribute_shared = projections(q_1, q_2)[3][1:, 0] == 1
    margins = measured_margins(q_1, q_2)[attribute_shared]
    return cheapest(measured_prices(q_1, q_2, own), margins)


def with_margins_exchanged(q_1, q_2, own):
    return cheapest(measured_prices(q_1, q_2, own), measured_margins(q_2, q_1))


def with_eigenvalues_exchanged(q_1, q_2, own):
    ratio = np.sqrt((q_2 + own**2) / (q_1 + own**2))
    prices = measured_prices(q_1, q_2, own) * [ratio, 1 / ratio, 1]
    return cheapest(prices, measured_margins(q_1, q_2))


def price_of_simplex(q_1, q_2, own):
    return measured_prices(q_1, q_2, own).sum()


def price_of_attributes(q_1, q_2, own):
    return measured_prices(q_1, q_2, own) @ [q_2, q_1, 0]


@pytest.mark.reference
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (least_price, "Right"),
        (with_eigenvalues_exchanged, "the eigenvalues are exchanged"),
        (lambda *x: least_price(*x, features=False), "not of L"),
        (lambda *x: least_price(*x, power=1), "roots of eigenvalues"),
        (without_the_third_margin, "of neither colour nor shape"),
        (with_margins_exchanged, "differs in shape"),
        (price_of_simplex, "the price of the simplex"),
        (price_of_attributes, "of attributes alone"),
    ],
)
def test_least_price_checker(answer, message, capsys):
    right, text = verdict(exercises.before_collapse.least_price, answer, capsys)
    assert right == (message == "Right") and message in text
