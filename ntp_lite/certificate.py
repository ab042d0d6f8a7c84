"""The judge: optimality certificates from the returned arrays alone (chapters 05 and 07).

Nothing here knows how logits were found. Everything is recomputed, in float64 or better, and a
gap is always a duality gap: primal minus dual value, a bound on how far from optimal logits are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from ._validate import check_limits, check_logits
from .constraints import Support, project_dual, project_margin, support_mask
from .linalg import spectral_norm
from .soft_labels import SoftLabels


@dataclass(frozen=True)
class Certificate:
    """Primal and dual value of one problem; `dual <= optimum <= primal`.

    primal, dual : of the ridge problem in nats above the floor Hc, so that no digits are lost; of
        the max-margin problem nuclear norms.
    gap : primal - dual.  relative_gap : gap / primal, 0 for 0/0.  ridge : None for max-margin.
    violation : Frobenius distance by which L and the dual were moved to be feasible (max-margin).
    operator_norm : |G|_op of G = (P - softmax(L)) diag(pi), or of the max-margin dual.
    alignment : <G, L> / (|G|_op |L|_*), at most 1; 1 exactly on the regularisation path.
    """

    primal: float
    dual: float
    gap: float
    relative_gap: float
    violation: float = 0.0
    ridge: float | None = None
    operator_norm: float | None = None
    alignment: float | None = None

    def __str__(self) -> str:
        bounds = f"primal {self.primal:.6g}, dual {self.dual:.6g}, gap {self.gap:.2e}"
        return f"{bounds}, relative gap {self.relative_gap:.2e}"


def certify_ridge(L: ArrayLike, labels: SoftLabels, ridge: float | None = None) -> Certificate:
    """How far are any logits L (V, m) from minimising CE(L) + ridge |L|_* ?

    The Fenchel dual is  max sum_j pi_j H(Q_j)  over Q with columns in the simplex and
    |(P - Q) diag(pi)|_op <= ridge. With Q = softmax(L), G = (P - Q) diag(pi) and
    theta = min(1, ridge / |G|_op), the point P + theta (Q - P) is feasible, so its entropy bounds
    the optimum from below, whatever L is. `ridge=None` takes ridge := |G|_op, the least at
    which theta = 1; then gap = |G|_op |L|_* - <G, L>. Values are in nats, minus Hc. Raises
    ValueError for ridge <= 0, a wrong shape, NaN or infinity. This book; chapter 05.
    """
    if ridge is not None:
        check_limits(ridge=ridge)
    logits, pi, on = check_logits(L, labels.N.shape), labels.pi, labels.entries
    highest = logits.max(axis=0)
    Q = np.exp(logits - highest)  # to be normalised; off the support only
    Q[on] = 0.0
    # Near the optimum Q is close to P: on the support everything is written in x = log(Q/P), and
    # with the longest floats there are, so that gaps near 1e-12 keep their digits.
    counts = labels.N.data.astype(np.longdouble)
    log_P = np.log(counts / labels.support_sums(counts)[on[1]])
    logits_on = logits[on].astype(np.longdouble) - highest[on[1]]
    total = labels.support_sums(np.exp(logits_on)) + Q.sum(axis=0)
    x = logits_on - np.log(total)[on[1]] - log_P
    change, weight = np.expm1(x), counts / labels.n  # Q/P - 1 and pi_j P[z,j]
    Q /= total.astype(np.float64)
    G = -Q * pi
    G[on] = -weight * change
    norm, operator_norm = float(np.linalg.norm(logits, "nuc")), spectral_norm(G)
    level = operator_norm if ridge is None else float(ridge)
    theta = 1.0 if operator_norm <= level else level / operator_norm
    primal = float((weight * (change - x)).sum() + Q.sum(axis=0) @ pi) + level * norm
    # Hc - H(Q_theta), with Q_theta = P (1 + y) on the support and theta Q off it.
    y = theta * change
    log_ratio = np.log1p(np.maximum(y, np.finfo(y.dtype).epsneg - 1))  # finite where Q underflows
    on_support = weight * (y * log_P + (1 + y) * log_ratio)
    dual = float(entr(theta * Q).sum(axis=0) @ pi - on_support.sum())
    inner, bound = float((G * logits).sum()), operator_norm * norm
    # At theta = 1 the two forms of the gap agree; the second has fewer roundings (none at L = 0).
    gap = max(primal - dual if theta < 1 else level * norm - inner, 0.0)
    ratio, alignment = relative(gap, primal), inner / bound if bound > 0 else 1.0
    return Certificate(primal, dual, gap, ratio, 0.0, level, operator_norm, alignment)


def certify_margin(L: ArrayLike, dual: ArrayLike, S: Support) -> Certificate:
    """How far are L and a dual matrix (both (V, m)) from solving the max-margin problem of S?

    Primal: min |L|_* with L equal on each support and at least 1 larger there than elsewhere.
    Dual: max <G, S> with |G|_op <= 1, columns summing to zero, and G <= 0 off the support.
    L is first projected onto its constraints and centred, G projected onto its cone and scaled, so
    the two values bound the optimum for any input; `violation` says how far they were moved.
    Raises ValueError for shapes that differ, NaN or infinity, or an S that is not a support.
    This book; chapter 07.
    """
    support = support_mask(S)
    given, G = check_logits(L, support.shape), check_logits(dual, support.shape, "dual")
    feasible, cone = project_margin(given, support), project_dual(G, support)
    violation = np.linalg.norm(feasible - given) + np.linalg.norm(cone - G)
    feasible -= feasible.mean(axis=0)  # keeps the margins, cannot raise the norm
    primal = float(np.linalg.norm(feasible, "nuc"))
    operator_norm = spectral_norm(cone)
    value = float(cone[support].sum()) / max(1.0, operator_norm)
    value = max(value, 0.0)  # G = 0 is feasible
    if primal < 1e-12 * support.size**0.5:  # no margins at all: every k_j = V, or V = 1
        primal = value = 0.0
    gap, ratio = primal - value, relative(primal - value, primal)
    return Certificate(primal, value, gap, ratio, float(violation), None, operator_norm)


def relative(gap: float, primal: float) -> float:
    """gap / primal, with 0/0 = 0."""
    return 0.0 if gap == 0 else (gap / primal if primal > 0 else float("inf"))
