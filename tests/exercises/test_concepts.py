"""Checkers of "Concepts in singular vectors": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from reference import verdict
from scipy.linalg import subspace_angles

import ntp_lite as ntp
from ntp_lite import exercises


def singular(A):
    return np.linalg.svd(A, compute_uv=False)


def share(A, r, power=2):
    s = singular(A)
    return (s[:r] ** power).sum() / (s**power).sum()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda S, r: share(S - S.mean(axis=0), r), "Right"),
        (
            lambda S, r: (
                np.sum(singular(ntp.centered_support(S))[:r] ** 2)
                / np.linalg.norm(ntp.centered_support(S)) ** 2
            ),
            "Right",
        ),
        (lambda S, r: share(S - S.mean(axis=0), r, 1), "square the singular values"),
        (lambda S, r: share(S, r), "centre the columns"),
        (lambda S, r: share(S - S.mean(axis=1, keepdims=True), r), "centred the rows"),
        (
            lambda S, r: share(S - S.mean(axis=0), r) - share(S - S.mean(axis=0), r - 1),
            "add up the first r",
        ),
        (lambda S, r: (singular(S - S.mean(axis=0))[:r] ** 2).sum(), "whole squared norm"),
        (lambda S, r: share(S - S.mean(axis=0), r + 1), "one more"),
        (lambda S, r: 0.5, "another one"),
    ],
)
def test_share_checker(answer, message, capsys):
    right, text = verdict(exercises.concepts.share_of_concepts, answer, capsys)
    assert right == (message == "Right") and message in text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda s, x: np.log(9 * (s / x - 1)) / (2 * s), "Right"),
        (lambda s, x: np.log(s / x - 1) / (2 * s), "one half"),
        (lambda s, x: np.log(9 * (s / x - 1)) / s, "both factors"),
        (lambda s, x: np.log10(9 * (s / x - 1)) / (2 * s), "natural"),
        (lambda s, x: np.log(0.9 * (s / x - 1)) / (2 * s), "not of 0.9"),
        (lambda s, x: np.log(10 * (s / x - 1)) / (2 * s), "not of 10"),
        (lambda s, x: np.log(0.9 * s / x) / (2 * s), "saturation"),
    ],
)
def test_nine_tenths_checker(answer, message, capsys):
    right, text = verdict(exercises.concepts.nine_tenths, answer, capsys)
    assert right == (message == "Right") and message in text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda A, B: singular(A.T @ B).min(), "Right"),
        (lambda A, B: np.cos(subspace_angles(A, B).max()), "Right"),
        (lambda A, B: np.linalg.norm(A.T @ B, 2), "best-agreeing"),
        (lambda A, B: np.abs((A * B).sum(axis=0)).min(), "column by column"),
        (lambda A, B: singular(A.T @ B).mean(), "mean over directions"),
        (lambda A, B: np.linalg.norm(A.T @ B) ** 2 / A.shape[1], "squared cosines"),
        (lambda A, B: singular(A.T @ B).min() ** 2, "take the root"),
        (lambda A, B: abs(np.linalg.det(A.T @ B)), "determinant"),
        (lambda A, B: np.linalg.det(A.T @ B), "up to a sign"),
    ],
)
def test_span_checker(answer, message, capsys):
    right, text = verdict(exercises.concepts.span_agreement, answer, capsys)
    assert right == (message == "Right") and message in text
