"""Checkers of the exercises of "From two matrices to one"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._common import NoAnswerError, compare, say, value_of


def rebalance(answer: Callable[..., Any]) -> bool:
    """A function (W, H) -> (W_new, H_new): same shapes, same product, W_new'W_new = H_new H_new'.

    Any rotation of the balanced factors is accepted. Explained mistakes: all singular values in one
    factor, the transposed right singular vectors, more than d columns.
    """
    rng = np.random.default_rng(4)
    W, H = rng.normal(size=(7, 3)) * 3, rng.normal(size=(3, 9))
    L = W @ H
    try:
        value = value_of(answer, W.copy(), H.copy())
        new_W, new_H = (np.asarray(x, dtype=np.float64) for x in value)
    except NoAnswerError as reason:
        return say(False, str(reason))
    except (TypeError, ValueError):
        return say(False, "return the two new factors, `return W_new, H_new`.")
    if new_W.ndim != 2 or new_H.ndim != 2 or new_W.shape[1] != new_H.shape[0]:
        return say(False, f"the shapes {new_W.shape} and {new_H.shape} cannot be multiplied.")
    if (len(new_W), new_H.shape[1]) != L.shape:
        return say(False, f"the product has shape {(len(new_W), new_H.shape[1])}, not {L.shape}.")
    if not np.allclose(new_W @ new_H, L, atol=1e-8):
        return say(
            False,
            "the product has changed. Does np.linalg.svd return V or its transpose? Do the square "
            "roots scale columns of U and rows of V'?",
        )
    if new_W.shape != W.shape:
        return say(
            False,
            f"the product is right, but the factors have width {new_W.shape[1]} instead of "
            f"{W.shape[1]}; the other singular values are zero, keep the first d.",
        )
    words, contexts = new_W.T @ new_W, new_H @ new_H.T
    if not np.allclose(words, contexts, atol=1e-8):
        if np.linalg.norm(words - contexts) < 1e-5 * np.linalg.norm(words):
            return say(False, "balanced, but only to a few digits: keep to float64.")
        total, least = (new_W**2).sum() + (new_H**2).sum(), 2 * np.linalg.norm(L, "nuc")
        return say(
            False,
            "the product is right, but the pair is not balanced: its energy is "
            f"{total / least:.3f} times the least. Give each factor the square root of Sigma.",
        )
    return say(True, "same logits, same shapes, least energy.")


def solution_least_penalty(L: Any, a: float, b: float) -> float:
    """The geometric mean of the two ridges times the nuclear norm."""
    return float(np.sqrt(a * b) * np.linalg.norm(L, "nuc"))


def least_penalty(answer: Callable[..., Any]) -> bool:
    """A function (L, a, b) -> sqrt(a b) |L|_*.

    Explained mistakes: arithmetic mean, product without the root, other norms.
    """
    L = np.random.default_rng(5).normal(size=(5, 8))
    a, b = 0.3, 2.0
    nuclear = float(np.linalg.norm(L, "nuc"))
    mean = float(np.sqrt(a * b))
    return compare(
        answer,
        solution_least_penalty(L, a, b),
        "the logits feel the geometric mean of the two ridges.",
        {
            "this is the arithmetic mean of the ridges times the nuclear norm; splits that move "
            "scale into the cheaper factor cost less.": (a + b) / 2 * nuclear,
            "almost: it is the root of a b that multiplies the norm.": a * b * nuclear,
            "this is twice the value; mind the halves in the penalty.": 2 * mean * nuclear,
            "the factor is right, but you took the Frobenius norm (the default of "
            "np.linalg.norm).": mean * float(np.linalg.norm(L)),
            "the factor is right, but you took the largest singular value, not their sum.": mean
            * float(np.linalg.norm(L, 2)),
        },
        arguments=(L, a, b),
    )


def imbalance_from_gradients(answer: Callable[..., Any]) -> bool:
    """A function (grad_W, grad_H, W, H, ridge) -> (W' grad_W - grad_H H') / ridge.

    Explained mistakes: no division, reversed sign, a plus sign, the transposed products, and Gram
    matrices in place of the gradients: these give D also when the gradients are replaced by zeros.
    """
    rng = np.random.default_rng(6)
    W, H, G = rng.normal(size=(6, 4)), rng.normal(size=(4, 9)), rng.normal(size=(6, 9))
    ridge = 0.05
    grad_W, grad_H = ridge * W - G @ H.T, ridge * H - W.T @ G
    D = W.T @ W - H @ H.T
    try:
        value = value_of(answer, grad_W, grad_H, W, H, ridge)
    except NoAnswerError as reason:
        return say(False, str(reason))
    if np.shape(value) in ((6, 6), (9, 9)):
        return say(
            False,
            f"your answer has shape {np.shape(value)}, one entry for each pair of words or "
            "contexts; W'W and HH' are (d, d): transpose the other factor.",
        )
    if callable(answer):
        try:
            unmoved = np.shape(value) == D.shape and np.allclose(
                np.asarray(value_of(answer, 0 * grad_W, 0 * grad_H, W, H, ridge)), D
            )
        except (NoAnswerError, TypeError, ValueError):
            unmoved = False
        if unmoved:
            return say(False, "this is W'W - HH', but from the factors alone; use the gradients.")
    return compare(
        value,
        D,
        "the gradients know the imbalance, as long as there is a ridge.",
        {
            "almost: divide by the ridge.": ridge * D,
            "the sign is reversed: it is W' grad_W minus grad_H H'.": -D,
            "subtract the two products; when they are added, the terms with G do not cancel.": (
                W.T @ grad_W + grad_H @ H.T
            )
            / ridge,
        },
        rtol=1e-6,
        atol=1e-8,
    )
