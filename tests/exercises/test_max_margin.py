"""Checkers of "The max-margin component": right answers pass, mistakes are named."""

from __future__ import annotations

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
