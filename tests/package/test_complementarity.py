"""Strict complementarity: closed forms where it holds and fails; what the certificate bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from reference import supports

import ntp_lite as ntp

# The proxy solves this one; its polar factor is 0 at token 1 of context 0, where the margin is 1.
FAILS = np.array([[0, 0, 0, 2], [0, 0, 1, 0], [0, 5, 4, 5], [3, 4, 0, 4]])


def nested(q):
    """q copies of {a}, then {a, b} and {a, c}: the polar factor at d is (1 - sqrt(q)/2) / ..."""
    return np.repeat([[1, 1, 1], [0, 1, 0], [0, 0, 1], [0, 0, 0]], [q, 1, 1], axis=1)


def polar_factor(X):
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    rank = (s > 1e-10).sum()
    return U[:, :rank] @ Vt[:rank]


def test_fails_where_the_polar_factor_vanishes():
    """Mutations seen to fail: max replaced by min, or by the margin alone."""
    S = (FAILS > 0).astype(int)
    proxy = ntp.centered_support(S)
    G = polar_factor(proxy)
    assert abs(G[1, 0]) < 1e-14  # by hand, and its margin in the proxy is one
    assert G[(S == 0) & (np.arange(16).reshape(4, 4) != 4)].max() < -1e-2
    solved = ntp.solve_max_margin(S, tol=1e-12)
    np.testing.assert_allclose(solved.L, proxy, atol=1e-5)
    found = ntp.strict_complementarity(solved, S)
    assert not found.holds
    assert found.entries.tolist() == [[1, 0]]
    assert max(found.margins[0], found.duals[0], found.strength) < 1e-6
    assert "token 1 of context 0" in str(found)


@pytest.mark.parametrize("q", range(1, 8))
def test_nested_supports_fail_at_four_copies_only(q):
    """For q < 4 the margin at d is above one, for q > 4 the dual is negative; at 4 neither."""
    solved = ntp.solve_max_margin(nested(q), tol=1e-12)
    found = ntp.strict_complementarity(solved, nested(q))
    assert found.holds == (q != 4)
    if q == 4:
        assert found.entries.tolist() == [[3, j] for j in range(4)]
    else:
        assert found.strength > 0.03
        assert len(found.entries) == 0
        assert "holds" in str(found)


def test_lily_holds():
    ids, vocab = ntp.load_corpus("lily")
    for context_length in (1, 2):
        labels = ntp.SoftLabels.from_tokens(ids, context_length, len(vocab))
        found = ntp.strict_complementarity(ntp.solve_max_margin(labels, tol=1e-10), labels)
        assert found.holds
        assert found.strength > 1e-3


def test_slack_decides_and_is_checked():
    labels = ntp.random_soft_labels(8, 10, 3, seed=0)
    solved = ntp.solve_max_margin(labels, tol=1e-10)
    found = ntp.strict_complementarity(solved, labels)
    assert found.holds
    wide = ntp.strict_complementarity(solved, labels, slack=2 * found.strength)
    assert not wide.holds
    assert np.maximum(wide.margins, wide.duals)[0] == found.strength
    with pytest.raises(ValueError, match="slack is -1"):
        ntp.strict_complementarity(solved, labels, slack=-1)
    with pytest.raises(ValueError, match="S has shape"):
        ntp.strict_complementarity(solved, np.eye(3))


def test_full_supports_have_nothing_to_decide():
    S = np.ones((3, 2))
    found = ntp.strict_complementarity(ntp.solve_max_margin(S), S)
    assert found.holds
    assert found.strength == np.inf


@settings(max_examples=30)
@given(supports(max_V=6, max_m=6))
def test_no_entry_has_both(S):
    """The identity: the sum of (-G)(margin - 1) is at most the gap; so none has both numbers."""
    solved = ntp.solve_max_margin(S, tol=1e-8)
    off = S == 0
    level = (solved.L * S).sum(axis=0) / S.sum(axis=0)
    products = (-solved.dual * (level - solved.L - 1))[off]
    assert (products > -1e-12).all()
    assert products.sum() <= solved.certificate.gap + 1e-9
    found = ntp.strict_complementarity(solved, S)
    assert found.holds == (len(found.entries) == 0)
    assert found.holds == (found.strength > found.slack)
