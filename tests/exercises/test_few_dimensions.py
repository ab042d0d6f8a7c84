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


def dimensions(P, rank=np.linalg.matrix_rank, log=np.log, centre=True, full=0, rest=1, join=max):
    """Groups by the bytes of the support; the ways to get it wrong."""
    groups = {}
    for column in P.T:
        groups.setdefault((column > 0).tobytes(), []).append(column)
    found = []
    for columns in groups.values():
        on = columns[0] > 0
        block = np.array([log(column[on]) for column in columns])
        block = block - block.mean(axis=1, keepdims=True) if centre else block
        found.append(rank(block, tol=1e-9) + (full if on.all() else rest))
    return join(found)


def rank_by_elimination(A, tol):
    """Another right answer: how many rows Gram and Schmidt keep."""
    kept = []
    for row in A:
        row = row - sum((row @ q) * q for q in kept)
        if np.linalg.norm(row) > tol:
            kept.append(row / np.linalg.norm(row))
    return len(kept)


def one_block(P):
    """All contexts as one group, with a small number for zeros."""
    block = np.log(np.maximum(P, 1e-9))
    return np.linalg.matrix_rank(block - block.mean(axis=0)) + 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (dimensions, "Right"),
        (lambda P: dimensions(P, rank=rank_by_elimination), "Right"),
        (lambda P: dimensions(P, centre=False), "centre each column"),
        (lambda P: dimensions(P, rest=0), "a face needs a direction"),
        (lambda P: dimensions(P, full=1), "no face to find"),
        (lambda P: dimensions(P, log=lambda p: p), "the rank of P itself"),
        (lambda P: dimensions(P, join=sum), "the largest number"),
        (one_block, "entries are wrong"),
        (lambda P: "three", "expected numbers"),
    ],
)
def test_frequency_dimensions_checker(answer, message, capsys):
    right, text = verdict(exercises.few_dimensions.frequency_dimensions, answer, capsys)
    assert right == (message == "Right") and message in text
