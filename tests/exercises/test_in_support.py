"""Checkers of "The in-support component": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from reference import verdict

import ntp_lite as ntp
from ntp_lite import exercises
from ntp_lite.exercises.in_support import solution_in_support
from ntp_lite.exercises.in_support import solution_project as centred


def log_of(N):
    return np.log(np.where(N > 0, N, 1.0))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (centred, "Right"),
        (lambda L, S: ntp.split_logits(L, ntp.SoftLabels.from_counts(S)).in_support, "Right"),
        (lambda L, S: S * (L - L.mean(axis=0)), "over all V tokens"),
        (lambda L, S: S * (L - (S * L).mean(axis=0)), "divide it by k_j"),
        (lambda L, S: L - (S * L).sum(axis=0) / S.sum(axis=0), "multiply by S once more"),
        (lambda L, S: S * L - (S * L).sum(axis=0) / S.sum(axis=0), "minus the mean"),
        (
            lambda L, S: S * (L - ((S * L).sum(axis=1) / S.sum(axis=1))[:, None]),
            "wrong axis",
        ),
        (lambda L, S: S * L, "now centre"),
        (lambda L, S: L - centred(L, S), "the other part"),
        (lambda L, S: centred(L, S).T, "transposed"),
    ],
)
def test_project_checker(answer, message, capsys):
    right, text = verdict(exercises.in_support.project, answer, capsys)
    assert right == (message == "Right") and message in text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (solution_in_support, "Right"),
        (lambda N: ntp.in_support_logits(ntp.SoftLabels.from_counts(N)), "Right"),
        (lambda N: centred(log_of(N) / np.log(2), N > 0), "bits"),
        (lambda N: centred(log_of(N) / np.log(10), N > 0), "base 10"),
        (lambda N: log_of(N / N.sum(axis=0)), "subtract its mean"),
        (lambda N: log_of(N), "log N on the support"),
        (lambda N: (N > 0) * (log_of(N) - log_of(N).mean(axis=0)), "log N is divided by V"),
        (lambda N: log_of(N) - log_of(N).sum(axis=0) / (N > 0).sum(axis=0), "minus the mean"),
        (lambda N: np.where(N > 0, centred(log_of(N), N > 0), np.nan), "finite"),
        (
            lambda N: (N > 0) * (log_of(N / N.sum(0)) - log_of(N / N.sum(0)).mean(axis=0)),
            "divided by V",
        ),
        (
            lambda N: log_of(N / N.sum(0)) - log_of(N / N.sum(0)).sum(axis=0) / (N > 0).sum(axis=0),
            "multiply by S at the end",
        ),
        (
            lambda N: (
                (N > 0) * (log_of(N / N.sum(0)) - (N / N.sum(0) * log_of(N / N.sum(0))).sum(axis=0))
            ),
            "weighted by P",
        ),
        (lambda N: centred(log_of(N / N.sum(axis=1, keepdims=True)), N > 0), "normalised rows"),
        (
            lambda N: centred(
                np.where(
                    N > 0, log_of(N / N.sum(0)) - np.log((N / N.sum(0)).sum(1, keepdims=True)), 0
                ),
                N > 0,
            ),
            "total share",
        ),
    ],
)
def test_in_support_checker(answer, message, capsys):
    right, text = verdict(exercises.in_support.in_support, answer, capsys)
    assert right == (message == "Right") and message in text
