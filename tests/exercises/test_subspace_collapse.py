"""Checkers of "Subspace collapse": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from reference import verdict

from ntp_lite import exercises


def statistic(X, classes, keep=True, total="kept", power=2):
    """The statistic and the ways to get it wrong."""
    alone = np.bincount(classes)[classes] < 2
    chosen = X[:, ~alone] if keep else X
    names = classes[~alone] if keep else classes
    within = 0.0
    for c in np.unique(names):
        members = chosen[:, names == c]
        lengths = np.linalg.norm(members - members.mean(axis=1, keepdims=True), axis=0)
        within += np.sum(lengths**power)
    base, centre = {
        "kept": (chosen, chosen.mean(axis=1)),
        "all": (X, X.mean(axis=1)),
        "centre of all": (chosen, X.mean(axis=1)),
        "zero": (chosen, np.zeros(len(X))),
        "class means": (
            chosen,
            np.mean([chosen[:, names == c].mean(axis=1) for c in np.unique(names)], axis=0),
        ),
    }[total]
    return within / np.sum(np.linalg.norm(base - centre[:, None], axis=0) ** power)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (statistic, "Right"),
        (lambda X, c: statistic(X, c, keep=False), "alone in their class were counted"),
        (lambda X, c: statistic(X, c, total="all"), "swell the total"),
        (lambda X, c: statistic(X, c, total="centre of all"), "must be taken over the contexts"),
        (lambda X, c: statistic(X, c, power=1), "squared lengths"),
        (lambda X, c: statistic(X.T, c), "wrong axis"),
        (lambda X, c: 1 - statistic(X, c), "one minus it"),
        (lambda X, c: np.sqrt(statistic(X, c)), "square root of the ratio"),
        (lambda X, c: statistic(X, c, total="class means"), "class means"),
        (lambda X, c: statistic(X, c, total="zero"), "not centred"),
        (lambda X, c: statistic(X, c) / (1 - statistic(X, c)), "within over between"),
        (lambda X, c: np.nan, "empty class"),
    ],
)
def test_collapse_statistic_checker(answer, message, capsys):
    right, text = verdict(exercises.subspace_collapse.collapse_statistic, answer, capsys)
    assert right == (message == "Right") and message in text


def log_ratio(a, b):
    return np.log(a) - np.log(b)


def frequency_ratio(a, b):
    return log_ratio(a / a.sum(), b / b.sum())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda a, b: np.std(log_ratio(a, b)) * np.sqrt(len(a)), "Right"),
        (lambda a, b: np.linalg.norm(frequency_ratio(a, b) - log_ratio(a, b).mean()), "Not yet"),
        (lambda a, b: np.linalg.norm(log_ratio(a, b)), "forgotten to centre"),
        (lambda a, b: np.linalg.norm(frequency_ratio(a, b)), "not centred on the support"),
        (lambda a, b: np.linalg.norm(a / a.sum() - b / b.sum()), "logits are logarithms"),
        (lambda a, b: np.std(log_ratio(a, b) / np.log(2)) * 2, "base-2"),
        (lambda a, b: np.std(log_ratio(a, b) / np.log(10)) * 2, "base-10"),
        (lambda a, b: np.var(log_ratio(a, b)) * 4, "take the root"),
        (lambda a, b: np.std(log_ratio(a, b)), "half the distance"),
        (lambda a, b: np.abs(log_ratio(a, b) - log_ratio(a, b).mean()).sum(), "absolute values"),
    ],
)
def test_forced_distance_checker(answer, message, capsys):
    right, text = verdict(exercises.subspace_collapse.forced_distance, answer, capsys)
    assert right == (message == "Right") and message in text
