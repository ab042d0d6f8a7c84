"""The judge: optimality certificates from the returned arrays alone.

Nothing here knows how logits were found. Everything is recomputed, in float64 or better, and a
gap is always a duality gap: primal minus dual value, a bound on how far from optimal logits are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from ._validate import as_ridge, check_logits
from .constraints import (
    WORKING_ENTRIES,
    Mask,
    Matrix,
    Support,
    _project_dual,
    _project_margin,
    distinct_rows,
    support_mask,
)
from .linalg import nuclear_norm, spectral_norm
from .soft_labels import SoftLabels, as_labels


@dataclass(frozen=True)
class Certificate:
    """Two bounds on the optimum of one convex problem; `dual <= optimum <= primal`.

    primal : the objective of the judged logits. dual : what no logits can fall below.
    gap : primal - dual, never negative; the logits are at most this far from optimal.
    relative_gap : gap / primal; 0 for 0/0.
    """

    primal: float
    dual: float
    gap: float
    relative_gap: float

    def __str__(self) -> str:
        bounds = f"primal {self.primal:.6g}, dual {self.dual:.6g}, gap {self.gap:.2e}"
        return f"{bounds}, relative gap {self.relative_gap:.2e}"


@dataclass(frozen=True)
class RidgeCertificate(Certificate):
    """Of  min CE(L) + ridge |L|_*  over all logits; values in nats above the floor Hc.

    Measured from the floor no digits are lost, and relative_gap never exceeds 1 (the floor itself
    is a lower bound).

    ridge : the ridge that was judged, |G|_op where none was given.
    operator_norm : |G|_op of G = (P - softmax(L)) diag(pi), at most `ridge` at the optimum.
    alignment : <G, L> / (|G|_op |L|_*), at most 1; 1 exactly on the regularisation path (and for
        L = 0 by definition).
    centering_gain : by how much subtracting the mean of each column of L would lower the primal,
        in nats. Softmax does not see that shift and the norm does: where the gain is a good part of
        the gap, as for most language models, judge with `center=True`.
    """

    ridge: float
    operator_norm: float
    alignment: float
    centering_gain: float


@dataclass(frozen=True)
class MarginCertificate(Certificate):
    """Of  min |L|_*  under the margin constraints of a support; values are nuclear norms.

    operator_norm : |G|_op of the dual matrix, projected and before it was scaled into the ball.
    violation : Frobenius distance by which L and the dual together were moved to be feasible; the
        bounds hold for what they were moved to.
    """

    operator_norm: float
    violation: float


@np.errstate(under="ignore", over="ignore", invalid="ignore")  # |L|_* itself may be infinite
def certify_ridge(
    L: ArrayLike, labels: SoftLabels, ridge: float | None = None, center: bool = False
) -> RidgeCertificate:
    """How far are any logits L (V, m) from minimising CE(L) + ridge |L|_* ?

    The Fenchel dual is  max sum_j pi_j H(Q_j)  over Q with columns in the simplex and
    |(P - Q) diag(pi)|_op <= ridge. With Q = softmax(L), G = (P - Q) diag(pi) and
    theta = min(1, ridge / |G|_op), the point P + theta (Q - P) is feasible, so its entropy bounds
    the optimum from below, whatever L is; so does the floor Hc, the entropy of Q = P. The better of
    the two counts.

    ridge : None takes ridge := |G|_op, the least at which theta = 1; then the first bound leaves
        gap = |G|_op |L|_* - <G, L>.
    center : judge L with the mean of each column subtracted: the same model, with the least norm.

    Values are in nats, minus Hc. Raises ValueError for ridge <= 0, a wrong shape, NaN or infinity.
    This book. Book: certificates.
    """
    level = None if ridge is None else as_ridge(ridge)
    as_labels(labels)
    logits = check_logits(L, labels.shape)
    if center:
        logits = logits - logits.mean(axis=0)
    bounds = ridge_bounds(logits, labels, level)
    means = logits.mean(axis=0)
    least_norm = nuclear_norm(logits - means) if means.any() else bounds.norm
    gain = max(bounds.ridge * (bounds.norm - least_norm), 0.0)
    return RidgeCertificate(
        bounds.primal,
        bounds.dual,
        bounds.gap,
        relative_gap(bounds.gap, bounds.primal),
        bounds.ridge,
        bounds.operator_norm,
        bounds.alignment,
        gain,
    )


def certify_margin(L: ArrayLike, dual: ArrayLike, S: Support) -> MarginCertificate:
    """How far are L and a dual matrix (both (V, m)) from solving the max-margin problem of S?

    Primal: min |L|_* with L equal on each support and at least 1 larger there than elsewhere.
    Dual: max <G, S> with |G|_op <= 1, columns summing to zero, and G <= 0 off the support.
    L is first projected onto its constraints and centred, G projected onto its cone and scaled, so
    the two values bound the optimum for any input; `violation` says how far they were moved.
    Raises ValueError for shapes that differ, NaN or infinity, or an S that is not a support.
    This book. Book: max_margin.
    """
    mask = support_mask(S)
    return margin_certificate(
        check_logits(L, mask.shape), check_logits(dual, mask.shape, "dual"), mask
    )


def relative_gap(gap: float, primal: float) -> float:
    """gap / primal, with 0/0 = 0 and infinity where nothing is known."""
    if gap == 0:
        return 0.0
    if not 0 < primal < np.inf:
        return float("inf")
    return gap / primal


# ---------------------------------------------------------------- for arrays that are right


@dataclass(frozen=True)
class Repeats:
    """How many equal rows (V, 1) and columns (m,) each one of a merged problem stands for.

    Only rows off every support may stand for several. Counts of a column are those of all that it
    stands for.
    """

    rows: Matrix
    columns: NDArray

    @property
    def roots(self) -> Matrix:
        """sqrt(r c'): with it, merged logits have the norms of all that they stand for."""
        return np.sqrt(self.rows * self.columns)


class RidgeBounds(NamedTuple):
    """What `ridge_bounds` finds; the fields of RidgeCertificate, and `norm` = |L|_*."""

    primal: float
    dual: float
    gap: float
    ridge: float
    operator_norm: float
    alignment: float
    norm: float


def ridge_bounds(
    logits: Matrix, labels: SoftLabels, ridge: float | None, repeats: Repeats | None = None
) -> RidgeBounds:
    """`certify_ridge` for finite logits of the right shape, without the gain of centring."""
    if repeats is None:
        repeats = Repeats(np.ones((labels.V, 1)), np.ones(labels.m))
    pi, on = labels.pi, labels.entries
    rows, roots = repeats.rows, repeats.roots
    highest = logits.max(axis=0)
    Q = np.exp(logits - highest)  # to be normalised; off the support only
    Q[on] = 0.0
    # Near the optimum Q is close to P: on the support everything is written in x = log(Q/P), and
    # with the longest floats there are, so that gaps near 1e-12 keep their digits.
    counts = labels.N.data.astype(np.longdouble)
    log_P = np.log(counts / labels.support_sums(counts)[on[1]])
    logits_on = logits[on].astype(np.longdouble) - highest[on[1]]
    total = labels.support_sums(np.exp(logits_on)) + (rows * Q).sum(axis=0)
    x = logits_on - np.log(total)[on[1]] - log_P
    change = np.expm1(x)  # Q/P - 1
    weight = counts / labels.n  # pi_j P[z,j]
    Q /= total.astype(np.float64)
    G = -Q * pi
    G[on] = -weight * change
    norm, operator_norm = nuclear_norm(roots * logits), spectral_norm(roots / repeats.columns * G)
    level = operator_norm if ridge is None else ridge
    theta = 1.0 if operator_norm <= level else level / operator_norm
    off_mass = (rows * Q).sum(axis=0) @ pi
    primal = float((weight * (change - x)).sum() + off_mass) + level * norm
    inner, bound = float((rows * G * logits).sum()), operator_norm * norm
    off_entropy = float((rows * entr(theta * Q)).sum(axis=0) @ pi)
    dual = off_entropy - _entropy_lost_on_support(theta, change, weight, log_P)
    # At theta = 1 the two forms of the gap agree; the second has fewer roundings (none at L = 0).
    gap = max(primal - dual if theta < 1 else level * norm - inner, 0.0)
    # Q = P is feasible as well: its entropy, the floor, may be the better bound.
    dual, gap = max(dual, 0.0), min(gap, max(primal, 0.0))
    alignment = inner / bound if bound > 0 else 1.0
    return RidgeBounds(primal, dual, gap, level, operator_norm, alignment, norm)


def _entropy_lost_on_support(
    theta: float,
    change: NDArray[np.longdouble],
    weight: NDArray[np.longdouble],
    log_P: NDArray[np.longdouble],
) -> float:
    """Hc minus the support's part of H(Q_theta), with Q_theta = P (1 + y) there."""
    y = theta * change
    log_ratio = np.log1p(np.maximum(y, np.finfo(y.dtype).epsneg - 1))  # finite where Q underflows
    return float((weight * (y * log_P + (1 + y) * log_ratio)).sum())


def margin_certificate(L: Matrix, dual: Matrix, mask: Mask) -> MarginCertificate:
    """`certify_margin` for finite matrices of the support's shape.

    c equal contexts count as one with weight c, its column times sqrt(c) in norms: that changes no
    value, and texts repeat supports often. So do r equal rows, such as those of the tokens that
    follow no context, where most rows have an equal one.
    """
    size, V = mask.size, len(mask)
    L, dual, mask, repeats = _merge_equal_rows(L, dual, mask)
    L, dual, mask, count = _merge_equal_contexts(L, dual, mask)
    rows = np.ones((1, 1)) if repeats is None else repeats
    root = np.sqrt(rows * count)
    # One matrix after the other, changed in place: large ones need room for few copies only.
    feasible = _project_margin(L, mask, repeats=repeats)
    violation = _weighted_distance(feasible, L, root)
    feasible -= (rows * feasible).sum(axis=0) / V  # keeps the margins, cannot raise the norm
    feasible *= root
    primal = nuclear_norm(feasible)
    del feasible, L
    cone = _project_dual(dual, mask, repeats)
    violation += _weighted_distance(cone, dual, root)
    cone *= root
    operator_norm = spectral_norm(cone)
    value = float((root * np.where(mask, cone, 0.0)).sum()) / max(1.0, operator_norm)
    value = max(value, 0.0)  # G = 0 is feasible
    if primal < 1e-12 * size**0.5:  # no margins at all: every k_j = V, or V = 1
        primal = value = 0.0
    gap = max(primal - value, 0.0)  # rounding alone can put the dual value above
    ratio = relative_gap(gap, primal)
    return MarginCertificate(primal, value, gap, ratio, operator_norm, violation)


def _weighted_distance(A: Matrix, B: Matrix, root: Matrix) -> float:
    """|root * (A - B)|_F."""
    difference = A - B
    difference *= root
    return float(np.linalg.norm(difference))


def _merge_equal_contexts(
    L: Matrix, dual: Matrix, mask: Mask
) -> tuple[Matrix, Matrix, Mask, NDArray[np.intp]]:
    """One of each group of contexts with equal support, logits and dual column; their numbers.

    All contexts, each once, unless every group of equal supports is equal in the others, too.
    """
    first, which, count = distinct_rows(mask.T)
    repeated = np.flatnonzero(count[which] > 1)
    for columns in np.array_split(repeated, max(1, len(repeated) * len(mask) // WORKING_ENTRIES)):
        like = first[which[columns]]
        same = (L[:, columns] == L[:, like]).all() and (dual[:, columns] == dual[:, like]).all()
        if not same:
            return L, dual, mask, np.ones(mask.shape[1], dtype=np.intp)
    return L[:, first], dual[:, first], mask[:, first], count


def _merge_equal_rows(
    L: Matrix, dual: Matrix, mask: Mask
) -> tuple[Matrix, Matrix, Mask, Matrix | None]:
    """One of each group of equal rows and their numbers (V, 1).

    All rows, and None, where that leaves more than half of them, or where rows of equal supports
    differ in the others.
    """
    first, which, count = distinct_rows(mask)
    if 2 * len(first) > len(mask):
        return L, dual, mask, None
    repeated = np.flatnonzero(count[which] > 1)
    parts = max(1, len(repeated) * mask.shape[1] // WORKING_ENTRIES)
    for rows in np.array_split(repeated, parts):
        like = first[which[rows]]
        if not ((L[rows] == L[like]).all() and (dual[rows] == dual[like]).all()):
            return L, dual, mask, None
    return L[first], dual[first], mask[first], count[:, None].astype(np.float64)
