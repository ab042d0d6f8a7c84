"""Checkers of "Your own text, and scale": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import verdict

import ntp_lite as ntp
from ntp_lite import exercises


def floor(N):
    return ntp.SoftLabels.from_counts(N[:, N.any(axis=0)]).entropy


def floor_rise(N_A, N_B):
    """By the divergences of the theorem."""
    N = N_A + N_B
    P = N / N.sum(axis=0)
    total = 0.0
    for part in (N_A, N_B):
        own = part / np.maximum(part.sum(axis=0), 1)
        on = part > 0
        total += (part[on] * np.log(own[on] / P[on])).sum()
    return total / N.sum()


def floor_rise_by_floors(N_A, N_B):
    N = N_A + N_B
    totals = [floor(x) * x.sum() for x in (N, N_A, N_B)]
    return (totals[0] - totals[1] - totals[2]) / N.sum()


def floors(N_A, N_B):
    return floor(N_A + N_B), floor(N_A), floor(N_B)


def zeros_kept(N_A, N_B):
    with np.errstate(all="ignore"):
        totals = [-(N * np.log(N / N.sum(axis=0))).sum() for N in (N_A + N_B, N_A, N_B)]
    return (totals[0] - totals[1] - totals[2]) / (N_A + N_B).sum()


def flat(N_A, N_B):
    """Token frequencies in place of soft labels."""
    return floor_rise(N_A.sum(axis=1, keepdims=True), N_B.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (floor_rise, "Right"),
        (floor_rise_by_floors, "Right"),
        (lambda A, B: floors(A, B)[0] - np.mean(floors(A, B)[1:]), "equal weights"),
        (lambda A, B: -floor_rise(A, B), "the sign"),
        (lambda A, B: (A.sum() + B.sum()) * floor_rise(A, B), "divide by n"),
        (lambda A, B: floor_rise(A, B) / np.log(2), "base-2"),
        (lambda A, B: floors(A, B)[0], "subtract the weighted mean"),
        (lambda A, B: floors(A, B)[0] - sum(floors(A, B)[1:]), "floors were added"),
        (flat, "without their contexts"),
        (zeros_kept, "0 ln 0"),
        (lambda A, B: 0.1 + floor_rise(A, B), "should be another one"),
    ],
)
def test_floor_rise_checker(answer, message, capsys):
    right, text = verdict(exercises.your_text_and_scale.floor_rise, answer, capsys)
    assert right == (message == "Right") and message in text


def around(reference, t, s):
    with np.errstate(all="ignore"):
        return reference + np.log((s * np.exp(t - reference)).sum(axis=0))


def merged(t, s, direction=1, axis=0, add=True, base=1.0):
    top = t.max(axis=axis, keepdims=True)
    total = (s * np.exp(direction * (t - top))).sum(axis=axis)
    return add * top.squeeze(axis) + np.log(total) / base


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (merged, "Right"),
        (lambda t, s: torch.logsumexp(torch.tensor(t + np.log(s)), 0), "Right"),
        (lambda t, s: t.max(axis=0) + np.log(s.sum(axis=0)), "without rescaling"),
        (lambda t, s: np.log((s * np.exp(t)).sum(axis=0)), "overflow"),
        (lambda t, s: merged(t, s, direction=-1), "wrong direction"),
        (lambda t, s: around(t.mean(axis=0), t, s), "no safe reference"),
        (lambda t, s: around(t[0], t, s), "no safe reference"),
        (lambda t, s: around(t.min(axis=0), t, s), "the smallest top"),
        (lambda t, s: around(t.max(), t, s), "one top for all"),
        (lambda t, s: merged(t, s, add=False), "added back"),
        (lambda t, s: merged(t, s, axis=1), "wrong axis"),
        (lambda t, s: (t + np.log(s)).sum(axis=0), "what they are logarithms of"),
        (lambda t, s: merged(t, s, base=np.log(2)), "base-2"),
    ],
)
def test_merged_lse_checker(answer, message, capsys):
    right, text = verdict(exercises.your_text_and_scale.merged_lse, answer, capsys)
    assert right == (message == "Right") and message in text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (exercises.your_text_and_scale.solution_step_seconds, "Right"),
        (lambda V, m, d, r, b: 6 * V * m * d / min(r, b * 6 * d / 32), "Right"),
        (lambda V, m, d, r, b: 6 * V * m * d / r + 32 * V * m / b, "not their sum"),
        (lambda V, m, d, r, b: min(6 * V * m * d / r, 32 * V * m / b), "no bound"),
        (lambda V, m, d, r, b: max(2 * V * m * d / r, 32 * V * m / b), "forward product only"),
        (lambda V, m, d, r, b: max(4 * V * m * d / r, 32 * V * m / b), "two of the three"),
        (lambda V, m, d, r, b: max(3 * V * m * d / r, 32 * V * m / b), "are two operations"),
        (lambda V, m, d, r, b: max(6 * V * m * d / r, 128 * V * m / b), "bytes already"),
        (lambda V, m, d, r, b: 6 * V * m * d / r, "memory is forgotten"),
        (lambda V, m, d, r, b: 32 * V * m / b, "arithmetic is forgotten"),
        (lambda V, m, d, r, b: min(r, b * 6 * d / 32), "this is a rate"),
        (7.0, "shape"),
    ],
)
def test_step_seconds_checker(answer, message, capsys):
    right, text = verdict(exercises.your_text_and_scale.step_seconds, answer, capsys)
    assert right == (message == "Right") and message in text
