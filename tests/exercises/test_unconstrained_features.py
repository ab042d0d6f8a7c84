"""Checkers of "The unconstrained features model": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import softmax

import ntp_lite as ntp
from ntp_lite.exercises import unconstrained_features
from ntp_lite.exercises.unconstrained_features import solution_smallest_excess as least


def gradients(W, H, P, pi, ridge, sign=1.0):
    G = sign * (P - softmax(W @ H)) * pi
    return ridge * W - G @ H.T, ridge * H - W.T @ G


def transposed_softmax(W, H, P, pi, ridge):
    G = (P - softmax((W @ H).T).T) * pi
    return ridge * W - G @ H.T, ridge * H - W.T @ G


def merged(N, groups):
    sums = np.stack([N[:, groups == g].sum(axis=1) for g in np.unique(groups)], axis=1)
    return ntp.SoftLabels.from_counts(sums).entropy


def averaged(N, groups):
    """Means of the distributions in a group, weighted by the group's frequency."""
    total = 0.0
    for g in np.unique(groups):
        counts = N[:, groups == g]
        p = (counts / counts.sum(axis=0)).mean(axis=1)
        p = p[p > 0]
        total -= counts.sum() / N.sum() * (p * np.log(p)).sum()
    return total


SOLUTIONS = [
    (unconstrained_features.gradients, gradients),
    (unconstrained_features.gradients, lambda *x: tuple(torch.as_tensor(g) for g in gradients(*x))),
    (unconstrained_features.smallest_excess, least),
    (
        unconstrained_features.smallest_excess,
        lambda E, pi, k, V: pi @ np.log((k + (V - k) / np.exp(E) ** 2) / k),
    ),
    (unconstrained_features.smallest_excess, lambda *x: np.array(least(*x))),
    (unconstrained_features.merged_floor, merged),
]

MISTAKES = [
    (unconstrained_features.gradients, lambda *x: gradients(*x, sign=-1.0), "Q - P, not P - Q"),
    (
        unconstrained_features.gradients,
        lambda *x: tuple(-g for g in gradients(*x)),
        "minus the gradient",
    ),
    (
        unconstrained_features.gradients,
        lambda W, H, P, pi, r: gradients(W, H, P, pi, -r),
        "ridge has the wrong",
    ),
    (
        unconstrained_features.gradients,
        lambda W, H, P, pi, r: gradients(W, H, P, np.ones(7), r),
        "priors are missing",
    ),
    (
        unconstrained_features.gradients,
        lambda W, H, P, pi, r: gradients(W, H, P, np.ones(7) / 7, r),
        "not equally",
    ),
    (
        unconstrained_features.gradients,
        lambda W, H, P, pi, r: gradients(W, H, P, pi, 0),
        "ridge is missing",
    ),
    (
        unconstrained_features.gradients,
        lambda W, H, P, pi, r: gradients(W, H, P, pi, 2 * r),
        "doubled",
    ),
    (unconstrained_features.gradients, transposed_softmax, "wrong axis"),
    (unconstrained_features.gradients, lambda *x: gradients(*x)[::-1], "swapped"),
    (
        unconstrained_features.gradients,
        lambda *x: (gradients(*x)[0], 0 * gradients(*x)[1]),
        "grad_H is not",
    ),
    (unconstrained_features.gradients, lambda *x: gradients(*x)[0], "two gradients"),
    (
        unconstrained_features.gradients,
        lambda *x: (gradients(*x)[0].T, gradients(*x)[1]),
        "has shape",
    ),
    (
        unconstrained_features.smallest_excess,
        lambda E, pi, k, V: least(E, np.ones(3) / 3, k, V),
        "priors",
    ),
    (unconstrained_features.smallest_excess, lambda E, *x: least(E / 2, *x), "2 in the exponent"),
    (unconstrained_features.smallest_excess, lambda E, *x: least(-E, *x), "the sign"),
    (
        unconstrained_features.smallest_excess,
        lambda E, pi, k, V: pi @ np.log(V / k) * np.exp(-2 * E),
        "second bound",
    ),
    (
        unconstrained_features.smallest_excess,
        lambda E, pi, k, V: pi @ (V / k - 1) * np.exp(-2 * E),
        "logarithm is missing",
    ),
    (
        unconstrained_features.smallest_excess,
        lambda E, pi, k, V: pi @ np.log1p(V / k * np.exp(-2 * E)),
        "the 1 is missing",
    ),
    (
        unconstrained_features.smallest_excess,
        lambda E, pi, k, V: pi @ np.log1p((V - k) * np.exp(-2 * E)),
        "by k_j",
    ),
    (
        unconstrained_features.merged_floor,
        lambda N, g: ntp.SoftLabels.from_counts(N).entropy,
        "told apart",
    ),
    (unconstrained_features.merged_floor, lambda N, g: merged(N, 0 * g), "merges all contexts"),
    (unconstrained_features.merged_floor, averaged, "add counts"),
    (unconstrained_features.merged_floor, lambda N, g: merged(N, g) / np.log(2), "in bits"),
    (
        unconstrained_features.merged_floor,
        lambda N, g: np.mean([merged(N[:, g == x], g[g == x]) for x in np.unique(g)]),
        "weight the groups",
    ),
]


@pytest.mark.parametrize(("checker", "answer"), SOLUTIONS)
def test_solution_passes(checker, answer, capsys):
    assert checker(answer)
    assert capsys.readouterr().out.startswith("Right: ")


@pytest.mark.parametrize(("checker", "answer", "hint"), MISTAKES)
def test_mistake_is_explained(checker, answer, hint, capsys):
    assert not checker(answer)
    assert hint in capsys.readouterr().out
