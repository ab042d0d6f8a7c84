"""Checkers of "A pretrained language model": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import verdict

from ntp_lite import exercises


def by_listing(cosines, chosen, times):
    """The resample written out: every draw a row, every pair of draws of different contexts."""
    drawn = [i for i, count in enumerate(times) for _ in range(count)]
    values = [
        cosines[i, j] for a, i in enumerate(drawn) for j in drawn[:a] if i != j and chosen[i, j]
    ]
    return np.mean(values)


def weighted(cosines, chosen, weights, apart=True):
    keep = chosen & ~np.eye(len(chosen), dtype=bool) if apart else chosen
    return (weights * keep * cosines).sum() / (weights * keep).sum()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (by_listing, "Right"),
        (exercises.pretrained.solution_resampled_mean, "Right"),
        (lambda c, k, t: weighted(c, k, np.outer(t, t), apart=False), "no pair with itself"),
        (lambda c, k, t: weighted(c, k, np.add.outer(t, t)), "not times_i + times_j"),
        (lambda c, k, t: weighted(c, k, np.outer(t > 0, t > 0)), "counts three times"),
        (lambda c, k, t: weighted(c, k, np.ones_like(c)), "without any resampling"),
        (lambda c, k, t: (c * k * np.outer(t, t))[~np.eye(len(t), dtype=bool)].sum(), "the sum;"),
        (
            lambda c, k, t: (
                (c * k * np.outer(t, t))[~np.eye(len(t), dtype=bool)].sum() / (k.sum() - len(t))
            ),
            "not by the number of pairs",
        ),
        (lambda c, k, t: 0.5, "Not yet"),
    ],
)
def test_resampled_mean_checker(answer, message, capsys):
    right, text = verdict(exercises.pretrained.resampled_mean, answer, capsys)
    assert right == (message == "Right") and message in text


def one_by_one(q, eps):
    """Add the most probable word that is left until the mass is there."""
    inside = np.zeros(len(q), dtype=bool)
    while q[inside].sum() < 1 - eps:
        inside[np.argmax(np.where(inside, -1, q))] = True
    return inside


def one_too_few(q, eps):
    inside = one_by_one(q, eps)
    inside[np.argmin(np.where(inside, q, 2))] = False
    return inside


def rarest_first(q, eps):
    """Add the least probable word until the mass is there."""
    inside = np.zeros(len(q), dtype=bool)
    while q[inside].sum() < 1 - eps - 1e-12:
        inside[np.argmin(np.where(inside, 2, q))] = True
    return inside


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (one_by_one, "Right"),
        (exercises.pretrained.solution_effective_support, "Right"),
        (one_too_few, "crosses"),
        (lambda q, eps: q > eps, "single probabilities"),
        (lambda q, eps: q >= eps * q.max(), "of the largest"),
        (lambda q, eps: one_by_one(q, 1 - eps), "this set has eps"),
        (rarest_first, "most probable"),
        (lambda q, eps: np.where(one_by_one(q, eps), q, 0), "True and False"),
        (lambda q, eps: one_by_one(q, eps).sum(), "return which"),
        (lambda q, eps: np.zeros(len(q)), "Not yet"),
    ],
)
def test_effective_support_checker(answer, message, capsys):
    right, text = verdict(exercises.pretrained.effective_support, answer, capsys)
    assert right == (message == "Right") and message in text


def by_loops(H, classes, last, centre=True, sign=1, every_last=False, shared=True, cosine=True):
    X = H - H.mean(axis=1)[:, None] if centre else H
    same, other = [], []
    for j in range(H.shape[1]):
        for i in range(j):
            if not every_last and (last[i] == last[j]) != shared:
                continue
            length = np.linalg.norm(X[:, i]) * np.linalg.norm(X[:, j]) if cosine else 1
            (same if classes[i] == classes[j] else other).append(X[:, i] @ X[:, j] / length)
    return sign * (np.mean(same) - np.mean(other))


def with_itself(H, classes, last):
    X = H - H.mean(axis=1)[:, None]
    X = X / np.linalg.norm(X, axis=0)
    pairs, same = np.equal.outer(last, last), np.equal.outer(classes, classes)
    return (X.T @ X)[pairs & same].mean() - (X.T @ X)[pairs & ~same].mean()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (by_loops, "Right"),
        (exercises.pretrained.solution_lead_of_support, "Right"),
        (lambda *a: by_loops(*a, centre=False), "subtract the mean context"),
        (lambda H, *a: by_loops(H - H.mean(axis=0), *a, centre=False), "wrong axis"),
        (lambda *a: by_loops(*a, cosine=False), "inner products"),
        (with_itself, "no pair with itself"),
        (lambda *a: by_loops(*a, every_last=True), "all last tokens"),
        (lambda *a: by_loops(*a, shared=False), "different last tokens"),
        (lambda *a: by_loops(*a, sign=-1), "wrong sign"),
        (lambda *a: 0.5, "Not yet"),
    ],
)
def test_lead_of_support_checker(answer, message, capsys):
    right, text = verdict(exercises.pretrained.lead_of_support, answer, capsys)
    assert right == (message == "Right") and message in text


D, WORDS = 4, 9


def pretend_model(texts, scale=1.0, bias=0.0, cap=0.0, padded=False, dtype=torch.float32):
    """Words and contexts that depend on the texts alone, or, `padded`, on the longest of them."""
    generator = torch.Generator().manual_seed(3)
    W = torch.randn(WORDS, D, generator=generator)
    longest = max(map(len, texts))
    rows = []
    for text in texts:
        letters = torch.tensor([ord(letter) for letter in text], dtype=torch.float32)
        rows.append(torch.stack([torch.sin(letters * k).mean() for k in range(1, D + 1)]) * 8)
    H = torch.stack(rows, dim=1)
    if padded:
        H = H * longest / 10
    L = W @ H
    if cap:
        L = cap * torch.tanh(L / cap)
    L = scale * L + bias * torch.arange(WORDS)[:, None]
    return W.to(dtype), H.to(dtype), L.to(dtype)


def without_last_norm(texts):
    W, H, L = pretend_model(texts)
    return W, H / H.norm(dim=0), L


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (pretend_model, "Right"),
        (lambda texts: [x.numpy().tolist() for x in pretend_model(texts)], "Right"),
        (lambda texts: pretend_model(texts, dtype=torch.float64), "Right"),
        (lambda texts: pretend_model(texts, scale=0.25), "0.25 times"),
        (lambda texts: pretend_model(texts, bias=0.5), "bias"),
        (lambda texts: pretend_model(texts, cap=30.0), "30 tanh"),
        (lambda texts: pretend_model(texts, padded=True), "padding"),
        (without_last_norm, "before the last norm"),
        (lambda t: (lambda W, H, L: (W, H.T, L))(*pretend_model(t)), "H has shape (3, 4)"),
        (lambda t: (lambda W, H, L: (W, H, L.T))(*pretend_model(t)), "words are rows"),
        (lambda t: (lambda W, H, L: (W, H[:3], L))(*pretend_model(t)), "so H of 3 texts"),
        (lambda t: (lambda W, H, L: (W[:5], H, L))(*pretend_model(t)), "other words?"),
        (lambda t: (lambda W, H, L: (W, H, L / 0))(*pretend_model(t)), "infinite"),
        (lambda texts: pretend_model(texts)[:2], "three matrices"),
        (lambda texts: ("W", "H", "L"), "three matrices"),
        (lambda texts: pretend_model(texts)[0][0], "three matrices"),
    ],
)
def test_own_model_checker(answer, message, capsys):
    right, text = verdict(exercises.pretrained.own_model, answer, capsys)
    assert right == (message == "Right") and message in text


def test_bfloat16_is_read(capsys):
    """A hub model's usual type; its own product has its rounding, which the checker allows."""

    def answer(texts):
        W, H, _ = pretend_model(texts, dtype=torch.bfloat16)
        return W, H, (W.double() @ H.double())

    assert verdict(exercises.pretrained.own_model, answer, capsys)[0]
