"""Independent reference code for the tests: slow, literal, and sharing nothing with the package.

Brute-force counting, vectorised CVXPY models, extended-precision certificates, and the random
supports (all degenerate kinds included) that the property tests draw.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations
from math import comb

import cvxpy as cp
import mpmath
import numpy as np
from hypothesis import strategies as st

# ---------------------------------------------------------------- counting


def brute_force_counts(ids, context_length):
    """`(contexts, counts)`: sorted distinct contexts and, for each, a Counter of next tokens."""
    table = defaultdict(Counter)
    ids = [int(i) for i in ids]
    for position in range(len(ids) - context_length):
        context = tuple(ids[position : position + context_length])
        table[context][ids[position + context_length]] += 1
    contexts = sorted(table)
    return contexts, [table[context] for context in contexts]


def all_subsets(V, k):
    """Support matrix with every k-subset of V tokens once, (V, C(V, k))."""
    S = np.zeros((V, comb(V, k)))
    for j, subset in enumerate(combinations(range(V), k)):
        S[list(subset), j] = 1
    return S


# ---------------------------------------------------------------- random supports and counts


@st.composite
def supports(draw, max_V=40, max_m=40):
    """A 0/1 support matrix; every degenerate kind occurs often.

    Kinds: k_j = 1, k_j = V, a token never seen, one context, V = 1, repeated columns and rows.
    """
    V = draw(st.sampled_from([1, 2, 3]) | st.integers(1, max_V), label="V")
    m = draw(st.sampled_from([1, 2]) | st.integers(1, max_m), label="m")
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    kinds = draw(
        st.sets(st.sampled_from(["one", "all", "unseen", "columns", "rows"])), label="kinds"
    )
    S = np.zeros((V, m))
    largest = rng.integers(1, V + 1)
    for j in range(m):
        S[rng.choice(V, rng.integers(1, largest + 1), replace=False), j] = 1
    if "one" in kinds:
        for j in rng.choice(m, (m + 1) // 2, replace=False):
            S[:, j] = np.eye(V)[rng.integers(V)]
    if "all" in kinds:
        S[:, rng.integers(m)] = 1
    if "columns" in kinds:
        S = S[:, rng.integers(m, size=m)]
    if "rows" in kinds:
        S = S[rng.integers(V, size=V)]
    if "unseen" in kinds and V > 1:
        S[rng.integers(V)] = 0
    empty = ~S.any(axis=0)
    seen = np.flatnonzero(S.any(axis=1))
    S[seen[0] if len(seen) else 0, empty] = 1
    return S


@st.composite
def counts(draw, max_V=8, max_m=8):
    """Whole-number counts on a random support, flat or skewed."""
    S = draw(supports(max_V, max_m))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    skew = draw(st.sampled_from([1.0, 0.5, 0.1]))
    return (S * rng.geometric(skew, size=S.shape)).astype(np.int64)


def mixed_counts(V, m, seed, largest_support=7):
    """Skewed counts on supports of 1 to `largest_support` tokens."""
    rng = np.random.default_rng(seed)
    N = np.zeros((V, m), dtype=np.int64)
    for j in range(m):
        k = rng.integers(1, min(V, largest_support) + 1)
        N[rng.choice(V, k, replace=False), j] = rng.geometric(0.3, k)
    return N


# ---------------------------------------------------------------- plain formulas


def softmax(L):
    E = np.exp(L - L.max(axis=0))
    return E / E.sum(axis=0)


def nuclear_norm(L):
    return float(np.linalg.svd(L, compute_uv=False).sum())


def operator_norm(G):
    return float(np.linalg.svd(G, compute_uv=False)[0])


def polar(A):
    """U R' of the singular value decomposition, without the null vectors."""
    U, s, Rt = np.linalg.svd(A, full_matrices=False)
    kept = s > 1e-10
    return U[:, kept] @ Rt[kept]


def positive_off_support(S, centred=True):
    """The largest entry of U R' off the support: the test whether the proxy is optimal."""
    return polar(S - S.mean(axis=0) * centred)[S == 0].max(initial=-np.inf)


def conditional_entropy(Q, pi):
    return float(-(np.where(Q > 0, Q * np.log(np.where(Q > 0, Q, 1)), 0) * pi).sum())


def cosine(A, B):
    return float((A * B).sum() / (np.linalg.norm(A) * np.linalg.norm(B)))


def margin_violation(L, S, margin=1.0):
    """Largest violation of any pairwise margin or equality constraint, by pairs of entries."""
    worst = 0.0
    for column, support in zip(L.T, S.T.astype(bool), strict=True):
        on, off = column[support], column[~support]
        worst = max(worst, on.max() - on.min())
        if off.size:
            worst = max(worst, (margin - (on[:, None] - off[None, :])).max())
    return worst


def dual_violation(G, S):
    """Largest violation of |G|_op <= 1, zero column sums, and G <= 0 off the support."""
    off = np.where(S.astype(bool), 0.0, G)
    return max(operator_norm(G) - 1, np.abs(G.sum(axis=0)).max(), off.max(initial=0.0))


# ---------------------------------------------------------------- CVXPY


def _solve(problem, size):
    if size <= 12:
        problem.solve(solver="CLARABEL")
    else:
        problem.solve(solver="SCS", eps_abs=1e-7, eps_rel=1e-7, max_iters=50_000)
    assert problem.status in ("optimal", "optimal_inaccurate"), problem.status
    return float(problem.value)


def cvxpy_max_margin(S):
    """`(optimal value, L)` of min |L|_* under the margins; nothing is merged.

    L = 1 a' on the support and 1 a' - 1 - T off it, T >= 0.
    """
    V, m = S.shape
    level = cp.Variable((1, m))
    slack = cp.Variable((V, m), nonneg=True)
    L = np.ones((V, 1)) @ level - cp.multiply(1 - S, 1 + slack)
    value = _solve(cp.Problem(cp.Minimize(cp.normNuc(L))), max(V, m))
    return value, np.asarray(L.value)


def cvxpy_max_margin_dual(S):
    """Optimal value of max <G, S>, |G|_op <= 1, columns summing to zero, G <= 0 off the support."""
    G = cp.Variable(S.shape)
    constraints = [cp.sigma_max(G) <= 1, cp.sum(G, axis=0) == 0, cp.multiply(1 - S, G) <= 0]
    return _solve(cp.Problem(cp.Maximize(cp.sum(cp.multiply(S, G))), constraints), max(S.shape))


def cvxpy_ridge(P, pi, ridge):
    """Optimal value of min CE(L) + ridge |L|_*."""
    L = cp.Variable(P.shape)
    loss = pi @ (cp.log_sum_exp(L, axis=0) - cp.sum(cp.multiply(P, L), axis=0))
    return _solve(cp.Problem(cp.Minimize(loss + ridge * cp.normNuc(L))), 0)


def cvxpy_ridge_dual(P, pi, ridge):
    """Optimal value of max sum_j pi_j H(Q_j), Q stochastic, |(P - Q) diag(pi)|_op <= ridge."""
    Q = cp.Variable(P.shape)
    entropy = cp.sum(cp.multiply(np.ones((len(P), 1)) * pi, cp.entr(Q)))
    distance = cp.sigma_max((P - Q) @ np.diag(pi))
    constraints = [cp.sum(Q, axis=0) == 1, distance <= ridge]
    return _solve(cp.Problem(cp.Maximize(entropy), constraints), 0)


def cvxpy_project_margin(L, S, margin):
    """Nearest matrix to L that is constant on supports and at least `margin` smaller off them."""
    X, level = cp.Variable(L.shape), cp.Variable((1, L.shape[1]))
    rows = np.ones((len(L), 1)) @ level
    constraints = [cp.multiply(S, X - rows) == 0, cp.multiply(1 - S, X - rows + margin) <= 0]
    cp.Problem(cp.Minimize(cp.sum_squares(X - L)), constraints).solve(solver="CLARABEL")
    return np.asarray(X.value)


# ---------------------------------------------------------------- extended precision


def mp_certificate(L, N, ridge, digits=60):
    """Certificate of the ridge problem in `digits` digits, from the defining formulas alone.

    `ridge=None` takes |G|_op. Values are mpmath numbers, measured from the floor Hc.
    """
    with mpmath.workdps(digits):
        V, m = L.shape
        counts_of = [[int(x) for x in column] for column in N.T]
        n = sum(map(sum, counts_of))
        pi = [mpmath.mpf(sum(column)) / n for column in counts_of]
        P = [[mpmath.mpf(x) / sum(column) for x in column] for column in counts_of]
        logits = [[mpmath.mpf(float(x)) for x in column] for column in L.T]
        Q = []
        for column in logits:
            weights = [mpmath.exp(x) for x in column]
            Q.append([w / mpmath.fsum(weights) for w in weights])
        G = mpmath.matrix(V, m)
        for j in range(m):
            for z in range(V):
                G[z, j] = pi[j] * (P[j][z] - Q[j][z])
        singular = mpmath.svd_r(G, compute_uv=False)
        norm = max(singular)
        nuclear = mpmath.fsum(mpmath.svd_r(mpmath.matrix(logits).T, compute_uv=False))
        level = norm if ridge is None else mpmath.mpf(float(ridge))
        theta = mpmath.mpf(1) if norm <= level else level / norm

        def plogp(x):
            return x * mpmath.log(x) if x > 0 else mpmath.mpf(0)

        floor = -mpmath.fsum(pi[j] * plogp(p) for j in range(m) for p in P[j])
        loss = -mpmath.fsum(
            pi[j] * p * mpmath.log(q) for j in range(m) for p, q in zip(P[j], Q[j], strict=True)
        )
        dual = -mpmath.fsum(
            pi[j] * plogp(p + theta * (q - p))
            for j in range(m)
            for p, q in zip(P[j], Q[j], strict=True)
        )
        primal = loss + level * nuclear
        inner = mpmath.fsum(G[z, j] * logits[j][z] for z in range(V) for j in range(m))
        bound = norm * nuclear
        return {
            "excess": loss - floor,
            "primal": primal - floor,
            "dual": dual - floor,
            "gap": primal - dual,
            "operator_norm": norm,
            "alignment": inner / bound if bound > 0 else mpmath.mpf(1),
        }


def mp_excess_loss(L, N, digits=60):
    """CE(L) - Hc as the difference of two sums, in `digits` digits."""
    with mpmath.workdps(digits):
        n = int(N.sum())
        total = mpmath.mpf(0)
        for column, counted in zip(L.T, N.T, strict=True):
            logits = [mpmath.mpf(float(x)) for x in column]
            log_sum = mpmath.log(mpmath.fsum(mpmath.exp(x) for x in logits))
            size = int(counted.sum())
            for x, c in zip(logits, counted, strict=True):
                if c:
                    p = mpmath.mpf(int(c)) / size
                    total += mpmath.mpf(int(c)) / n * (mpmath.log(p) - x + log_sum)
        return total


def verdict(checker, answer, capsys) -> tuple[bool, str]:
    """What an exercise checker returns, and what it prints."""
    right = checker(answer)
    return right, capsys.readouterr().out
