"""The statements of "Open directions", each by an independent truth."""

from __future__ import annotations

from itertools import product

import numpy as np

import ntp_lite as ntp


def test_unseen_pairs():
    """Theorem label: prop-open-directions-unseen

    Part 1 by removing each position; part 2 on the path. Mutations: shares of pairs; a bound
    that forgets the prior.
    """
    rng = np.random.default_rng(0)
    N = rng.integers(0, 4, size=(6, 8)) * (rng.random((6, 8)) < 0.6)
    N[0] += N.sum(axis=0) == 0
    positions = [(z, j) for z, j in product(range(6), range(8)) for _ in range(N[z, j])]
    new_pair = new_context = 0
    for i, (z, j) in enumerate(positions):
        others = positions[:i] + positions[i + 1 :]
        new_pair += (z, j) not in others
        new_context += all(context != j for _, context in others)
    n = len(positions)
    assert new_pair / n == (N == 1).sum() / n != (N == 1).sum() / (N > 0).sum()
    assert new_context / n == (N.sum(axis=0) == 1).sum() / n

    labels = ntp.SoftLabels.from_counts(N)
    held_out = rng.integers(0, 3, size=N.shape)
    unseen = held_out * (N == 0)
    u, least = unseen.sum() / held_out.sum(), labels.pi[unseen.any(axis=0)].min()
    losses = []
    for point in ntp.ridge_path(labels, [1e-3, 1e-5, 1e-7], tol=1e-6):
        log_Q = point.L - np.log(np.exp(point.L).sum(axis=0))
        loss, time = -(held_out * log_Q).sum() / held_out.sum(), np.log(1 / point.ridge)
        assert loss >= u * (time + np.log(least))
        price = -log_Q - np.log(labels.pi)
        assert price[N == 0].min() >= time - 1e-4
        assert not (-log_Q)[N == 0].min() >= time - 1e-4  # the prior forgotten
        assert not price[N > 0].min() >= time - 1e-4  # on the support there is no such bound
        losses.append(loss)
    slope = (losses[-1] - losses[-2]) / np.log(1e2)
    assert np.isclose(slope, u, rtol=0.1) and not np.isclose(slope, 1, rtol=0.1)
