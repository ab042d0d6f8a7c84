"""Checkers of "The entropy floor": right answers pass, mistakes are named."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

import ntp_lite as ntp
from ntp_lite.exercises import entropy_floor
from ntp_lite.exercises.entropy_floor import solution_entropy_floor as floor
from ntp_lite.exercises.entropy_floor import solution_smallest_spread as spread


def split(N):
    return N / N.sum(axis=0), N.sum(axis=0) / N.sum()


def entropies(A, axis=0):
    return -(A * np.log(np.where(A > 0, A, 1.0))).sum(axis=axis)


def nan_floor(N):
    P, pi = split(N)
    with np.errstate(all="ignore"):
        return -pi @ (P * np.log(P)).sum(axis=0)


def backward_floor(N):
    return N.sum(axis=1) / N.sum() @ entropies(N / N.sum(axis=1, keepdims=True), 1)


def log_softmax(L, axis=0):
    return L - np.log(np.exp(L).sum(axis=axis, keepdims=True))


def safe(L, P, pi):
    log_Q, on = log_softmax(L), P > 0
    x = np.where(on, log_Q - np.log(np.where(on, P, 1.0)), 0.0)
    return pi @ ((P * (np.expm1(x) - x)).sum(axis=0) + np.where(on, 0, np.exp(log_Q)).sum(axis=0))


def naive(L, P, pi, log_Q=None, weights=None):
    log_Q = log_softmax(L) if log_Q is None else log_Q
    kl = (P * (np.log(np.where(P > 0, P, 1.0)) - log_Q)).sum(axis=0)
    return (pi if weights is None else weights) @ kl


def restricted(L, P, pi):
    log_Q = log_softmax(L)
    return naive(L, P, pi, log_Q - np.log(((P > 0) * np.exp(log_Q)).sum(axis=0)))


def half_safe(L, P, pi):
    on = P > 0
    x = np.where(on, log_softmax(L) - np.log(np.where(on, P, 1.0)), 0.0)
    return pi @ (P * (np.exp(x) - 1 - x)).sum(axis=0)


def by_root(V, pi, k, excess, rho=None):
    rho = V / k - 1 if rho is None else rho

    def surplus(R):
        return pi @ np.log1p(rho * np.exp(-R)) - excess

    return brentq(surplus, 0, 60, xtol=1e-12) if surplus(0) > 0 else 0.0


def unbounded(V, pi, k, excess):
    x = brentq(lambda x: pi @ np.log1p((V / k - 1) * x) - excess, 0, 1e9, xtol=1e-15)
    return -np.log(x)


def off_only(L, P, pi):
    return pi @ np.where(P > 0, 0, np.exp(log_softmax(L))).sum(axis=0)


def plain_exp(L, P, pi):
    return half_safe(L, P, pi) + off_only(L, P, pi)


def nan_excess(L, P, pi):
    with np.errstate(all="ignore"):
        return pi @ (P * (np.log(P) - log_softmax(L))).sum(axis=0)


RIGHT = [
    (entropy_floor.entropy_floor, floor),
    (entropy_floor.entropy_floor, lambda N: ntp.SoftLabels.from_counts(N).entropy),
    (entropy_floor.smallest_spread, spread),
    (entropy_floor.smallest_spread, by_root),
    (entropy_floor.safe_excess, safe),
]

WRONG = [
    (entropy_floor.entropy_floor, nan_floor, "counts as 0"),
    (entropy_floor.entropy_floor, lambda N: floor(N) / math.log(2), "in bits"),
    (entropy_floor.entropy_floor, lambda N: entropies(split(N)[0]).mean(), "equal weights"),
    (entropy_floor.entropy_floor, lambda N: entropies(split(N)[0]).sum(), "without weights"),
    (entropy_floor.entropy_floor, backward_floor, "wrong axis"),
    (entropy_floor.entropy_floor, lambda N: entropies(N / N.sum()).sum(), "joint table"),
    (entropy_floor.entropy_floor, lambda N: -floor(N), "the sign"),
    (
        entropy_floor.smallest_spread,
        lambda V, pi, k, e: np.log(pi @ np.log(V / k) / e),
        "second line",
    ),
    (entropy_floor.smallest_spread, lambda V, pi, k, e: np.log(pi @ (V / k - 1) / e), "not u"),
    (entropy_floor.smallest_spread, lambda V, pi, k, e: by_root(V, pi, k, e, V / k), "the 1 is"),
    (entropy_floor.smallest_spread, lambda V, pi, k, e: by_root(V, pi, k, e, 1 - k / V), "by V"),
    (entropy_floor.smallest_spread, lambda V, pi, k, e: by_root(V, pi, k, e, V - k), "by k_j"),
    (entropy_floor.smallest_spread, lambda *a: spread(*a) / math.log(10), "natural logarithm."),
    (entropy_floor.smallest_spread, lambda *a: spread(*a) / math.log(2), "not base 2"),
    (
        entropy_floor.smallest_spread,
        lambda V, pi, k, e: by_root(V, np.full(3, 1 / 3), k, e),
        "plain mean",
    ),
    (
        entropy_floor.smallest_spread,
        lambda V, pi, k, e: by_root(V, np.ones(3), k, e),
        "adding them up",
    ),
    (entropy_floor.smallest_spread, lambda *a: np.exp(-spread(*a)), "exp(-R)"),
    (entropy_floor.smallest_spread, lambda *a: -spread(*a), "the sign"),
    (entropy_floor.smallest_spread, unbounded, "return 0"),
    (entropy_floor.safe_excess, nan_excess, "became nan"),
    (
        entropy_floor.safe_excess,
        lambda L, P, pi: -pi @ (P * log_softmax(L)).sum(0),
        "the loss itself",
    ),
    (
        entropy_floor.safe_excess,
        lambda L, P, pi: naive(L, P, pi, weights=np.full(3, 1 / 3)),
        "weigh them",
    ),
    (entropy_floor.safe_excess, lambda L, P, pi: naive(L, P, pi) / math.log(2), "in bits"),
    (entropy_floor.safe_excess, half_safe, "second sum"),
    (entropy_floor.safe_excess, restricted, "leaks off it"),
    (entropy_floor.safe_excess, lambda L, P, pi: naive(L, P, pi, log_softmax(L, 1)), "wrong axis"),
    (entropy_floor.safe_excess, off_only, "first sum"),
    (entropy_floor.safe_excess, naive, "off the support you get"),
    (entropy_floor.safe_excess, plain_exp, "on the support you get"),
]


@pytest.mark.parametrize(("checker", "answer"), RIGHT)
def test_right_answers_pass(checker, answer, capsys):
    assert checker(answer)
    assert capsys.readouterr().out.startswith("Right:")


@pytest.mark.parametrize(("checker", "answer", "hint"), WRONG)
def test_likely_mistakes_get_their_hint(checker, answer, hint, capsys):
    assert not checker(answer)
    assert hint in capsys.readouterr().out
