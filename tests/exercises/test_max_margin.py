"""Checkers of "The max-margin component": right answers pass, mistakes are named."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from reference import verdict

from ntp_lite import exercises


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (exercises.max_margin.solution_lower_bound, "Right"),
        (lambda G, S: (G / np.linalg.svd(G)[1][0])[S > 0].sum(), "Right"),
        (lambda G, S: (G * S).sum(), "without scaling"),
        (lambda G, S: (G * S).sum() / max(1, np.linalg.norm(G, 2)), "below one"),
        (lambda G, S: (G * S).sum() / np.linalg.norm(G), "Frobenius"),
        (lambda G, S: (G * S).sum() / np.linalg.norm(G, "nuc"), "nuclear"),
        (lambda G, S: (G * S).sum() / np.abs(G).max(), "largest entry"),
        (lambda G, S: (G * S).sum() * np.linalg.norm(G, 2), "multiplied"),
        (lambda G, S: np.abs(G).sum() / 2 / np.linalg.norm(G, 2), "with their signs"),
        (lambda G, S: np.linalg.norm(G, 2), "operator norm of G"),
    ],
)
def test_lower_bound_checker(answer, message, capsys):
    right, text = verdict(exercises.max_margin.lower_bound, answer, capsys)
    assert right == (message == "Right") and message in text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (exercises.max_margin.solution_expanded_norm, "Right"),
        (lambda M, r, c: np.linalg.norm(np.repeat(np.repeat(M, r, 0), c, 1), "nuc"), "Right"),
        (lambda M, r, c: np.linalg.norm(M, "nuc"), "M itself"),
        (lambda M, r, c: np.linalg.norm(np.outer(r, c) * M, "nuc"), "square roots"),
        (lambda M, r, c: np.linalg.norm(M * np.sqrt(c), "nuc"), "the rows are not"),
        (lambda M, r, c: np.linalg.norm(np.sqrt(r)[:, None] * M, "nuc"), "the columns are not"),
        (lambda M, r, c: np.linalg.norm(np.sqrt(np.outer(r, c)) * M), "Frobenius"),
        (lambda M, r, c: np.linalg.norm(np.sqrt(np.outer(r, c)) * M, 2), "operator"),
    ],
)
def test_expanded_norm_checker(answer, message, capsys):
    right, text = verdict(exercises.max_margin.expanded_norm, answer, capsys)
    assert right == (message == "Right") and message in text


def dual(S):
    """A dual solution by CVXPY, which knows nothing of the package."""
    G = cp.Variable(S.shape)
    rules = [cp.sigma_max(G) <= 1, cp.sum(G, axis=0) == 0, cp.multiply(1 - S, G) <= 0]
    value = cp.sum(cp.multiply(G, S))
    cp.Problem(cp.Maximize(value), rules).solve(solver=cp.CLARABEL)
    return G.value


def polar_factor(S):
    """That of the proxy, which is not the solution."""
    U, _, Vt = np.linalg.svd(S - S.mean(axis=0), full_matrices=False)
    return U @ Vt


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (dual, "Right"),
        (lambda S: 0.9 * dual(S), "90.0% of A"),
        (lambda S: 1.1 * dual(S), "largest singular value is 1.1000"),
        (polar_factor, "off the support is positive"),
        (lambda S: np.maximum(dual(S), 0), "sums to"),
        (lambda S: dual(S).T, "columns are contexts"),
        (lambda S: dual(S) / 0.0, "nan or infinite"),
        (lambda S: "prices", "expected numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_prices_checker(answer, message, capsys):
    right, text = verdict(exercises.max_margin.prices, answer, capsys)
    assert right == (message == "Right") and message in text
