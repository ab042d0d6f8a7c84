"""Checkers of "How do we know it is optimal?": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest

from ntp_lite.exercises import certificates


def ridge_right(N):
    joint = N / N.sum()
    return np.linalg.norm(joint - joint.sum(axis=0) / len(N), 2)


def of_counts(norm=2, priors=True, uniform=None, scale=1.0):
    def answer(N):
        P, pi = N / N.sum(axis=0), N.sum(axis=0) / N.sum()
        G = P - (1 / len(N) if uniform is None else uniform(N))
        G = G * pi if priors else G
        return scale * (np.abs(G).max() if norm == "max" else np.linalg.norm(G, norm))

    return answer


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (of_counts(priors=False), "priors are missing"),
        (of_counts(uniform=lambda N: 1 / N.shape[1]), "you took 1/m"),
        (of_counts(uniform=lambda N: 0.0), "uniform prediction 1/V first"),
        (of_counts("fro"), "Frobenius"),
        (of_counts("nuc"), "nuclear"),
        (of_counts("max"), "largest entry"),
        (of_counts(scale=18.0), "divide the counts by n"),
        (
            lambda N: np.linalg.norm(
                (N / N.sum(axis=1, keepdims=True) - 1 / len(N)) * N.sum(axis=0) / N.sum(), 2
            ),
            "wrong axis",
        ),
    ],
)
def test_largest_ridge_hints(answer, hint, capsys):
    assert not certificates.largest_ridge(answer)
    assert hint in capsys.readouterr().out


def alignment(axis=0, priors=True, norms=(2, "nuc"), divide=True, sign=1, stable=True):
    def answer(L, P, pi):
        shift = L.max(axis=axis, keepdims=True) if stable else 0.0
        E = np.exp(L - shift)
        G = sign * (P - E / E.sum(axis=axis, keepdims=True)) * (pi if priors else 1.0)
        size = np.linalg.norm(G, norms[0]) * np.linalg.norm(L, norms[1])
        return np.sum(G * L) / (size if divide else 1.0)

    return answer


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (alignment(divide=False), "divide by |G|_op |L|_*"),
        (alignment(sign=-1), "the sign"),
        (alignment(norms=("fro", "fro")), "cosine"),
        (alignment(norms=("nuc", 2)), "exchanged"),
        (alignment(norms=(2, "fro")), "of L you need the nuclear norm"),
        (alignment(priors=False), "priors are missing"),
        (alignment(axis=1), "wrong axis"),
        (alignment(stable=False), "overflow"),
    ],
)
def test_path_alignment_hints(answer, hint, capsys):
    assert not certificates.path_alignment(answer)
    assert hint in capsys.readouterr().out


def escaping(sign=1.0, step=0.1, column=0, transpose=True):
    def answer(W, H, G):
        U, _, Vt = np.linalg.svd(G)
        row = Vt[column] if transpose else Vt[:, column]
        new_H = np.vstack([H, sign * step * row[None]])
        return np.hstack([W, step * U[:, [column]]]), new_H

    return answer


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (escaping(sign=-1.0), "same sign"),
        (escaping(step=3.0), "smaller step"),
        (escaping(column=2), "leading pair"),
        (escaping(transpose=False), "another order"),
        (lambda W, H, G: (W, H), "one more column of W"),
        (
            lambda W, H, G: (np.pad(W, ((0, 0), (0, 1))), np.vstack([H, np.ones(H.shape[1])])),
            "have not changed",
        ),
        (lambda W, H, G: W, "return the two new factors"),
    ],
)
def test_escape_hints(answer, hint, capsys):
    assert not certificates.escape(answer)
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize(
    ("checker", "solution"),
    [
        (certificates.largest_ridge, ridge_right),
        (certificates.path_alignment, alignment()),
        (certificates.escape, escaping()),
        (certificates.escape, escaping(step=0.02)),
    ],
)
def test_right_answers_pass(checker, solution, capsys):
    assert checker(solution)
    assert "Right" in capsys.readouterr().out


def test_the_point_to_escape_from_is_stationary():
    W, H = certificates._stationary(0.02)
    _, G = certificates._objective(W, H, 0.02)
    assert np.abs(0.02 * W - G @ H.T).max() < 1e-6 and np.abs(0.02 * H - W.T @ G).max() < 1e-6
    assert np.linalg.norm(G, 2) > 0.03 and np.linalg.norm(W) > 0.1
