"""Checkers of "Few dimensions": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from reference import verdict

from ntp_lite import exercises
from ntp_lite.exercises.few_dimensions import solution_circle_price as price


def logits(P, t, log=np.log, kind="1 - cos", join="prod", frequencies=True, inside=False):
    """The reference of the chapter, vectorised, and the ways to get it wrong."""
    V, m = P.shape
    angle = 2 * np.pi * np.arange(V) / V
    x = angle[:, None] - angle
    table = {"1 - cos": 1 - np.cos(x), "sin": np.abs(np.sin(x / 2)), "cos": np.cos(x)}[kind]
    L = np.empty((V, m))
    for j in range(m):
        T = np.flatnonzero(P[:, j])
        columns = t * table[:, T] if inside else table[:, T]
        f = -columns.prod(axis=1) if join == "prod" else -columns.sum(axis=1)
        f = f if inside else t * f
        for z in T if frequencies else []:
            y = np.setdiff1d(T, [z])
            f = f + log(P[z, j]) * (table[:, y] / table[z, y]).prod(axis=1)
        L[:, j] = f
    return L


def logits_by_interpolation(P, t):
    """Another right answer: a polynomial through its own values at 2k + 1 points."""
    V, m = P.shape
    angle = 2 * np.pi * np.arange(V) / V
    L = np.empty((V, m))
    for j in range(m):
        T = np.flatnonzero(P[:, j])
        for v in range(V):
            gaps = 1 - np.cos(angle[v] - angle[T])
            weights = [
                np.prod([gaps[b] / (1 - np.cos(angle[z] - angle[T[b]]))
                         for b in range(len(T)) if T[b] != z]) for z in T
            ]  # fmt: skip
            L[v, j] = np.dot(np.log(P[T, j]), weights) - t * gaps.prod()
    return L


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (logits, "Right"),
        (logits_by_interpolation, "Right"),
        (lambda P, t: logits(P, t, frequencies=False), "frequencies are missing"),
        (lambda P, t: logits(P, 0.0), "the last term is missing"),
        (lambda P, t: logits(P, -t), "the sign of t"),
        (lambda P, t: logits(P, t, join="sum"), "take the product"),
        (lambda P, t: logits(P, t, log=lambda p: p), "P in place of its logarithm"),
        (lambda P, t: logits(P, t, log=np.log2), "base-2"),
        (lambda P, t: logits(P, t, kind="sin"), "no small enough degree"),
        (lambda P, t: logits(P, t, kind="cos"), "not cos"),
        (lambda P, t: logits(P, t) - logits(P, t).mean(axis=0), "columns were centred"),
        (lambda P, t: logits(P, t, inside=True), "inside the product"),
        (lambda P, t: logits(P, t).T, "transposed"),
        (lambda P, t: logits(P, t)[:-1], "the shape is"),
    ],
)
def test_circle_logits_checker(answer, message, capsys):
    right, text = verdict(exercises.few_dimensions.circle_logits, answer, capsys)
    assert right == (message == "Right") and message in text


def price_by_svd(V):
    angle = 2 * np.pi * np.arange(V) / V
    L = np.cos(angle[:, None] - angle)
    return np.linalg.norm(L / (L[0, 0] - L[1, 0]), "nuc")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (price, "Right"),
        (price_by_svd, "Right"),
        (lambda V: V, "far below 1; rescale"),
        (lambda V: price(V) / V, "sum the singular values"),
        (lambda V: price(V) / 2, "counted one"),
        (lambda V: 2 * price(V), "not sV"),
        (lambda V: V / (1 - np.cos(np.pi / V)), "angle between neighbours"),
        (lambda V: V / 2, "not the opposite word"),
        (lambda V: V - 1, "price with room"),
        (lambda V: price(V) / np.sqrt(2), "Frobenius"),
        (lambda V: V / np.sin(2 * np.pi / V), "not sin"),
        (lambda V: V / (1 - np.cos(360 / V)), "radians"),
        (lambda V: V**3 / (2 * np.pi**2), "approximation for large V"),
        (lambda V: V**3 / 8, "upper bound"),
        (lambda V: "cheap", "expected numbers"),
    ],
)
def test_circle_price_checker(answer, message, capsys):
    right, text = verdict(exercises.few_dimensions.circle_price, answer, capsys)
    assert right == (message == "Right") and message in text
