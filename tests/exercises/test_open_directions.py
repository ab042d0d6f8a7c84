"""Checkers of "Open directions": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from reference import verdict

from ntp_lite import exercises


def singles(N):
    return (N == 1).sum(), (N.sum(axis=0) == 1).sum()


def leave_one_out(N):
    pairs = np.minimum(N, 1)[N == 1].sum()
    return [pairs / N.sum(), np.count_nonzero(N.sum(axis=0) == 1) / N.sum()]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda N: np.array(singles(N)) / N.sum(), "Right"),
        (leave_one_out, "Right"),
        (lambda N: (singles(N)[0] / (N > 0).sum(), singles(N)[1] / N.shape[1]), "by the number of"),
        (lambda N: (singles(N)[0] / (N > 0).sum(), singles(N)[1] / N.sum()), "not of pairs"),
        (lambda N: (singles(N)[0] / N.sum(), singles(N)[1] / N.shape[1]), "not of contexts"),
        (singles, "divide by n"),
        (lambda N: ((N == 1).sum() / N.sum(), (N.sum(axis=1) == 1).sum() / N.sum()), "wrong axis"),
        (
            lambda N: ((N == 1).sum() / N.sum(), ((N > 0).sum(axis=0) == 1).sum() / N.sum()),
            "not a context seen once",
        ),
        (
            lambda N: ((N == 1).sum() / N.sum(), (N.max(axis=0) == 1).sum() / N.sum()),
            "add up its column",
        ),
        (lambda N: np.array(singles(N))[::-1] / N.sum(), "other way round"),
        (lambda N: 1 - np.array(singles(N)) / N.sum(), "one minus them"),
    ],
)
def test_unseen_shares_checker(answer, message, capsys):
    right, text = verdict(exercises.open_directions.unseen_shares, answer, capsys)
    assert right == (message == "Right") and message in text


def mass_off(N, L, pi):
    odds = np.exp(L)
    return sum(pi[j] * odds[N[:, j] == 0, j].sum() / odds[:, j].sum() for j in range(N.shape[1]))


def crossing(pi=None, share=None, given=np.log, back=np.exp, negate=True):
    """The rule with one thing done otherwise."""

    def answer(N, ridges, logits):
        weights = N.sum(axis=0) / N.sum() if pi is None else np.full(N.shape[1], pi(N))
        mass = np.array([mass_off(N, L, weights) for L in logits])
        target = (N == 1).sum() / (N.sum() if share is None else share(N))
        sign = -1 if negate else 1
        return back(np.interp(sign * target, sign * mass, given(ridges)))

    return answer


def by_hand(N, ridges, logits):
    """Look for the pair of ridges around the target, then a straight line between them."""
    pi = N.sum(axis=0) / N.sum()
    mass = [mass_off(N, L, pi) for L in logits]
    target = np.mean(N[N > 0] == 1) * (N > 0).sum() / N.sum()
    i = next(i for i in range(len(mass)) if mass[i + 1] < target)
    way = (mass[i] - target) / (mass[i] - mass[i + 1])
    return ridges[i] ** (1 - way) * ridges[i + 1] ** way


def nearest_given(N, ridges, logits):
    pi = N.sum(axis=0) / N.sum()
    target = (N == 1).sum() / N.sum()
    return min(zip(ridges, logits, strict=True), key=lambda x: abs(mass_off(N, x[1], pi) - target))[
        0
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (exercises.open_directions.solution_stopping_ridge, "Right"),
        (by_hand, "Right"),
        (crossing(), "Right"),
        (crossing(pi=lambda N: 1 / N.shape[1]), "by their priors"),
        (crossing(share=lambda N: (N > 0).sum()), "not by the pairs"),
        (crossing(given=np.asarray, back=np.asarray), "in ln(ridge), not in"),
        (nearest_given, "nearest of the given"),
        (crossing(negate=False), "negate both"),
        (crossing(back=np.asarray), "take the exponential"),
    ],
)
def test_stopping_ridge_checker(answer, message, capsys):
    right, text = verdict(exercises.open_directions.stopping_ridge, answer, capsys)
    assert right == (message == "Right") and message in text
