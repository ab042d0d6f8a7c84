"""Checkers of the exercises of "Subspace collapse"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._common import compare


def _statistic(X: Any, classes: Any, power: int = 2, balanced_mean: bool = False) -> float:
    """Within over total of the columns of X, literally."""
    names = np.unique(classes)
    means = {c: X[:, classes == c].mean(axis=1) for c in names}
    within = sum((np.linalg.norm(x - means[c]) ** power) for x, c in zip(X.T, classes, strict=True))
    centre = np.mean([means[c] for c in names], axis=0) if balanced_mean else X.mean(axis=1)
    total = sum(np.linalg.norm(x - centre) ** power for x in X.T)
    return float(within / total)


def collapse_statistic(answer: Any) -> bool:
    """Accepts sum |x_j - class mean|^2 / sum |x_j - mean|^2 over contexts with a twin.

    The answer is a function of X (d, M) and classes (M,).
    """
    rng = np.random.default_rng(11)
    classes = np.array([3, 0, 1, 0, 2, 1, 1, 4, 0, 5, 2])  # 3, 4 and 5 are alone
    X = rng.normal(size=(len(classes), len(classes))) + 2 * rng.normal(size=(11, 6))[:, classes]
    keep = np.isin(classes, (0, 1, 2))
    right = _statistic(X[:, keep], classes[keep])
    within = right * np.square(X[:, keep] - X[:, keep].mean(axis=1, keepdims=True)).sum()
    centred_on_all = np.square(X[:, keep] - X.mean(axis=1, keepdims=True)).sum()
    mistakes = {
        "contexts that are alone in their class were counted; they add nothing within, but they "
        "swell the total. Leave them out.": _statistic(X, classes),
        "the mean of all must be taken over the contexts that were kept.": within / centred_on_all,
        "add up squared lengths, not lengths.": _statistic(X[:, keep], classes[keep], 1),
        "wrong axis: contexts are the columns of X.": _statistic(X.T[:, keep], classes[keep]),
        "this is the square root of the ratio; leave the squares.": np.sqrt(right),
        "this is between over total; within is what is left: one minus it.": 1 - right,
        "total: take the mean of all contexts, not the mean of the class means.": _statistic(
            X[:, keep], classes[keep], balanced_mean=True
        ),
        "not centred: subtract the mean of all contexts in the total.": within
        / np.square(X[:, keep]).sum(),
        "this is within over between; divide by the total.": right / (1 - right),
        "not a number: did you take the mean of an empty class?": np.nan,
    }
    success = "0 would mean collapsed; compare with (M - C) / (M - 1)."
    return compare(answer, right, success, mistakes, arguments=(X.copy(), classes.copy()))


def forced_distance(answer: Any) -> bool:
    """Accepts |L_in,i - L_in,j| of two twins: a function of two vectors of positive counts."""
    a, b = np.array([1, 4, 2, 9]), np.array([3, 1, 5, 2])
    difference = np.log(a) - np.log(b)
    shift = np.log(a.sum() / b.sum())
    right = np.linalg.norm(difference - difference.mean())
    mistakes = {
        "forgotten to centre: subtract the mean over the support from the logarithms.": (
            np.linalg.norm(difference)
        ),
        "logarithms of frequencies, but not centred on the support.": np.linalg.norm(
            difference - shift
        ),
        "this is the distance of the frequencies; logits are logarithms.": np.linalg.norm(
            a / a.sum() - b / b.sum()
        ),
        "base-2 logarithms; the book uses natural ones.": right / np.log(2),
        "base-10 logarithms; the book uses natural ones.": right / np.log(10),
        "this is the square; take the root.": right**2,
        "this is half the distance.": right / 2,
        "a sum of absolute values; use the Euclidean length.": np.abs(
            difference - difference.mean()
        ).sum(),
    }
    success = "no model with correct frequencies can bring the logits of these twins closer."
    return compare(answer, right, success, mistakes, arguments=(a.copy(), b.copy()))
