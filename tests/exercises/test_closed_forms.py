"""Checkers of "Closed forms": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from reference import polar, positive_off_support, verdict

import ntp_lite as ntp
from ntp_lite import exercises


def all_vectors(S):
    U, _, Rt = np.linalg.svd(S - S.mean(axis=0), full_matrices=False)
    return bool(((U @ Rt)[S == 0] <= 1e-12).all())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda S: positive_off_support(S) <= 1e-12, "Right"),
        (lambda S: ntp.proxy_bounds(S).exact, "Right"),
        (all_vectors, "arbitrary"),
        (lambda S: positive_off_support(S) > 1e-12, "opposite"),
        (lambda S: positive_off_support(S, centred=False) <= 1e-12, "not of S"),
        (lambda S: True, "wrong for S"),
        (lambda S: positive_off_support(S) < -1e-12, "rounding"),
        (lambda S: positive_off_support(S) <= 0.01, "wrong for S"),
        (lambda S: polar(ntp.centered_support(S))[S == 0].max() <= 1e-12, "ValueError"),
        (lambda S: S == 0, "one truth value"),
    ],
)
def test_proxy_is_certified_checker(answer, message, capsys):
    right, text = verdict(exercises.closed_forms.proxy_is_certified, answer, capsys)
    assert right == (message == "Right") and message in text


def normalised(gram):
    return gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram)))


def centred_gram(S, axis=0):
    X = S - S.mean(axis=axis, keepdims=True)
    return X.T @ X


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda S: normalised(centred_gram(S)), "Right"),
        (lambda S: np.corrcoef(S.T), "Right"),
        (lambda S: ntp.cosine_similarity(ntp.centered_support(S)), "Right"),
        (centred_gram, "inner products"),
        (lambda S: normalised(S.T @ S), "chance"),
        (lambda S: normalised(centred_gram(S, axis=1)), "centred the rows"),
        (lambda S: centred_gram(S) / (2 - 4 / 5), "one k for all"),
        (lambda S: centred_gram(S) / np.outer(*[np.diag(centred_gram(S))] * 2), "roots"),
        (lambda S: (S.T @ S - 4 / 5) / (2 - 4 / 5), "one size"),
        (lambda S: S.T @ S, "sizes of the overlaps"),
        (lambda S: np.corrcoef(S), "shape"),
    ],
)
def test_context_cosines_checker(answer, message, capsys):
    right, text = verdict(exercises.closed_forms.context_cosines, answer, capsys)
    assert right == (message == "Right") and message in text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda a, b: ((a + b) ** 3 / a**2 - a) / b, "Right"),
        (lambda a, b: ((a + b) ** 3 / b**2 - b) / a, "exchanged"),
        (lambda a, b: ((a + b) ** 2 / a - a) / b, "square it"),
        (lambda a, b: (a + b) ** 2 / a**2, "this is mu"),
        (lambda a, b: ((a + b) ** 2 / a**2 - a) / b, "denominator"),
        (lambda a, b: 7, "another one"),
    ],
)
def test_orthogonal_at_checker(answer, message, capsys):
    right, text = verdict(exercises.closed_forms.orthogonal_at, answer, capsys)
    assert right == (message == "Right") and message in text


DIFFERENCES = {3: (0, 1, 3), 4: (0, 1, 3, 9), 5: (0, 1, 4, 14, 16)}


def turned(V, chosen):
    first = np.isin(np.arange(V), chosen).astype(int)
    return np.column_stack([np.roll(first, shift) for shift in range(V)])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda V, k: turned(V, DIFFERENCES[k]), "Right"),
        (lambda V, k: turned(V, DIFFERENCES[k])[::-1].T, "Right"),
        (lambda V, k: turned(V, range(k)), "V = 7 and k = 3: words 0 and 1 meet 2 times"),
        (lambda V, k: turned(V, DIFFERENCES[k] if k < 5 else range(5)), "V = 21 and k = 5: words"),
        (lambda V, k: turned(V, (0, 1)), "allows 2 words"),
        (lambda V, k: turned(7, (0, 1, 3)), "V = 13 and k = 4: the shape is (7, 7)"),
        (lambda V, k: turned(V, DIFFERENCES[k]) - k / V, "other entries than 0 and 1"),
        (lambda V, k: "a", "a matrix"),
    ],
)
def test_design_checker(answer, message, capsys):
    right, text = verdict(exercises.closed_forms.design, answer, capsys)
    assert right == (message == "Right") and message in text
