"""Checkers of the exercises of "The unconstrained features model"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._common import NoAnswerError, compare, say, value_of


def gradients(answer: Callable[..., Any]) -> bool:
    """A function (W, H, P, pi, ridge) -> (grad_W, grad_H).

    Explained mistakes: reversed sign, priors left out, ridge left out or doubled, softmax along the
    contexts, swapped order.
    """
    rng = np.random.default_rng(3)
    W, H = rng.normal(size=(5, 3)), rng.normal(size=(3, 7))
    P = rng.dirichlet(np.ones(5), size=7).T
    pi, ridge = rng.dirichlet(np.ones(7)), 0.1
    try:
        value = value_of(answer, W.copy(), H.copy(), P.copy(), pi.copy(), ridge)
        got_W, got_H = (np.asarray(x, dtype=np.float64) for x in value)
    except NoAnswerError as reason:
        return say(False, str(reason))
    except (TypeError, ValueError):
        return say(False, "return the two gradients, `return grad_W, grad_H`.")
    wrong_shape = _wrong_shape_of_gradients(got_W, got_H, W, H)
    if wrong_shape:
        return say(False, wrong_shape)
    E = np.exp(W @ H)
    Q, Q_wrong_axis = E / E.sum(axis=0), E / E.sum(axis=1, keepdims=True)

    def is_for(G: NDArray[np.float64], level: float, sign: float = 1.0) -> bool:
        right_W, right_H = level * W - sign * G @ H.T, level * H - sign * W.T @ G
        return np.allclose(got_W, right_W, atol=1e-9) and np.allclose(got_H, right_H, atol=1e-9)

    G = (P - Q) * pi
    if is_for(G, ridge):
        return say(True, "these are the gradients of F.")
    hints = [
        (is_for(G, ridge, -1.0), "the part of the loss has the wrong sign: Q - P, not P - Q."),
        (is_for(G, -ridge, -1.0), "this is minus the gradient, the direction in which F falls."),
        (is_for(G, -ridge), "the ridge has the wrong sign; its gradient is + ridge * W."),
        (is_for(P - Q, ridge), "the priors are missing: pi_j multiplies column j of P - Q."),
        (is_for((P - Q) / 7, ridge), "contexts count by their priors pi_j, not equally."),
        (is_for(G, 0.0), "the ridge is missing: it adds ridge * W and ridge * H."),
        (is_for(G, 2 * ridge), "the ridge is doubled: (ridge / 2) |W|^2 has gradient ridge * W."),
        (
            is_for((P - Q_wrong_axis) * pi, ridge),
            "the softmax runs along the wrong axis: each column (context) sums to one.",
        ),
        (np.allclose(got_W, ridge * W - G @ H.T), "grad_W is right, grad_H is not."),
        (np.allclose(got_H, ridge * H - W.T @ G), "grad_H is right, grad_W is not."),
        (True, "right shapes, wrong numbers; check G = (P - Q) diag(pi) first."),
    ]
    return say(False, next(hint for found, hint in hints if found))


def _wrong_shape_of_gradients(
    got_W: NDArray[np.float64],
    got_H: NDArray[np.float64],
    W: NDArray[np.float64],
    H: NDArray[np.float64],
) -> str:
    """What is wrong with the shapes of the two gradients; empty if nothing is."""
    if (got_W.shape, got_H.shape) == (H.shape, W.shape):
        return "the order is swapped: first the gradient for W, then the one for H."
    for name, got, wanted in (("grad_W", got_W, W), ("grad_H", got_H, H)):
        if got.shape != wanted.shape:
            return f"{name} has shape {got.shape}, expected {wanted.shape}."
    return ""


def solution_smallest_excess(energy: float, pi: Any, support_sizes: Any, V: int) -> float:
    """sum_j pi_j ln(1 + (V / k_j - 1) exp(-2 energy))."""
    return float(np.sum(pi * np.log1p((V / support_sizes - 1) * np.exp(-2 * energy))))


def smallest_excess(answer: Callable[..., Any]) -> bool:
    """A function (energy, pi, support_sizes, V) -> the least excess loss at that energy.

    Explained mistakes: unweighted mean over contexts, the 2 or the sign in the exponent left out,
    the second bound, the logarithm or the 1 in V / k_j - 1 left out, tokens not divided by k_j.
    """
    pi, k, V, energy = np.array([0.5, 0.3, 0.2]), np.array([1, 4, 9]), 10, 1.5
    factor = float(np.exp(-2 * energy))
    ratio = V / k - 1
    mistakes = {
        "contexts count by their priors: average over them with the weights pi_j.": float(
            np.mean(np.log1p(ratio * factor))
        ),
        "the 2 in the exponent is missing: logits between -M and M differ by up to 2 M.": (
            solution_smallest_excess(energy / 2, pi, k, V)
        ),
        "the sign in the exponent: more energy allows a smaller excess.": (
            solution_smallest_excess(-energy, pi, k, V)
        ),
        "that is the second bound, which is weaker; use the first.": float(
            pi @ np.log(V / k) * factor
        ),
        "the logarithm is missing: ln(1 + u), not u.": float(pi @ ratio * factor),
        "the 1 is missing: V / k_j - 1 tokens off the support for each one on it.": float(
            pi @ np.log1p(V / k * factor)
        ),
        "divide V - k_j by k_j: the mass off the support is compared with the mass on it.": float(
            pi @ np.log1p((V - k) * factor)
        ),
    }
    right = solution_smallest_excess(energy, pi, k, V)
    return compare(answer, right, "no optimiser can get around this.", mistakes, (energy, pi, k, V))


def merged_floor(answer: Callable[..., Any]) -> bool:
    """A function (N, groups) -> entropy floor of the counts added up within groups, in nats.

    Explained mistakes: the floor of the unmerged contexts, one group for all, probabilities
    averaged without weights, bits, groups that are not weighted by their frequency.
    """
    N = np.array([[3, 1, 0, 2, 1], [0, 6, 1, 2, 1], [1, 0, 5, 0, 9], [0, 0, 1, 4, 0]])
    groups = np.array([7, 2, 7, 2, 4])
    n = N.sum()

    def entropy(p: NDArray[np.float64]) -> float:
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    members = [N[:, groups == g] for g in np.unique(groups)]
    sums = [x.sum(axis=1) for x in members]
    wanted = sum(s.sum() / n * entropy(s / s.sum()) for s in sums)
    separate = sum(s.sum() / n * entropy(s / s.sum()) for s in N.T)
    unweighted = sum(x.sum() / n * entropy((x / x.sum(axis=0)).mean(axis=1)) for x in members)
    mistakes = {
        "this is the floor for contexts that can be told apart; add the counts "
        "within each group first.": separate,
        "this merges all contexts into one; only those of one group share an embedding.": entropy(
            N.sum(axis=1) / n
        ),
        "within a group, add counts; the mean of the distributions forgets that some "
        "contexts are more frequent.": unweighted,
        "this is in bits; use the natural logarithm.": wanted / np.log(2),
        "weight the groups by their share of positions.": np.mean(
            [entropy(s / s.sum()) for s in sums]
        ),
    }
    return compare(
        answer,
        wanted,
        "what a network cannot tell apart, it has to average.",
        mistakes,
        arguments=(N, groups),
    )
