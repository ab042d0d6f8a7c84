"""Strict complementarity of the max-margin problem: when the bounded part of the path is bounded.

For feasible logits L (margins M[v,j] = L[z,j] - L[v,j] >= 1, z in S_j) and a feasible dual G the
weak-duality proof (Book: max_margin) is an identity,

    |L|_* - <G, S>  =  (|L|_* - <G, L>)  +  sum over v not in S_j of (-G[v,j]) (M[v,j] - 1),

in which no term is negative. So at a pair of solutions each off-support entry has margin one or
dual zero (complementarity). It may have both. If no entry does, complementarity is *strict*.

Why it matters (Book: regularisation_path). Laws 3 and 5 bound the weighted sum of (margin of
L_ridge - t), with weights -G, from both sides: where -G[v,j] > 0 the margin of L_ridge is t + O(1),
t = ln(1/ridge). Where margin one meets dual zero nothing bounds it from above, and it can run ahead
like ln t: then L_ridge - t L_mm is not bounded, and the angle between them closes more slowly than
1/t.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ._validate import as_tolerance
from .constraints import Support, support_mask
from .margin import MaxMarginResult


@dataclass(frozen=True)
class StrictComplementarity:
    """Which off-support entries are decided, to within `slack`.

    holds : every off-support entry has a margin above 1 + slack or a dual entry beyond slack.
    strength : the least, over off-support entries, of max(margin - 1, -G / its mean over all
        off-support entries); infinite without such entries (all k_j = V). About 0: fails.
    entries : (count, 2) rows (token, context) with neither, weakest first.
    margins, duals : (count,) their M - 1 and -G / mean.
    slack : what counts as 0.  gap : of the max-margin certificate, in units of the nuclear norm.
    """

    holds: bool
    strength: float
    entries: NDArray[np.int64]
    margins: NDArray[np.float64] = field(repr=False)
    duals: NDArray[np.float64] = field(repr=False)
    slack: float
    gap: float

    def __str__(self) -> str:
        if self.holds:
            return f"strict complementarity holds, with strength {self.strength:.2g}"
        token, context = self.entries[0]
        return (
            f"strict complementarity fails at {len(self.entries)} off-support entries (margin one "
            f"and dual zero within {self.slack:g}), such as token {token} of context {context}"
        )


def strict_complementarity(
    result: MaxMarginResult, S: Support, slack: float | None = None
) -> StrictComplementarity:
    """Has each off-support entry a margin above one or a dual entry below zero (never both)?

    result : of `solve_max_margin` for the same labels or support matrix S (V, m), solved well
        (tol = 1e-12, say). slack : what counts as 0; None is the square root of the relative gap,
        but at least 1e-6. By the identity above no entry has both beyond the root of the gap.

    What is certified. With gap = primal - dual value of `result`: in *every* solution the margin
    exceeds one by at most gap / (-G[v,j]), and in *every* dual solution -G[v,j] is at most
    gap / (M[v,j] - 1). So where the entry of G is clearly negative the margin is one, and where the
    margin is clearly above one the dual is zero. What is not certified: that a number below slack
    is exactly 0 (no floating-point test can), or that no other dual solution is negative there;
    the dual solution is unique, up to shares among equal columns and rows, if L_mm has the largest
    rank that its supports allow. Expect a small `strength` on real text: among tens of thousands
    of entries some come near 0 without being 0.

    Raises ValueError for slack <= 0 or an S of another shape. This book. Book: regularisation_path.
    """
    if slack is None:
        slack = max(1e-6, result.certificate.relative_gap**0.5)
    slack = as_tolerance(slack, "slack")
    support = support_mask(S)
    if support.shape != result.L.shape:
        raise ValueError(f"S has shape {support.shape}, but the result {result.L.shape}.")
    gap = result.certificate.gap
    off = ~support
    if not off.any():
        nothing = np.empty(0)
        return StrictComplementarity(
            True, float("inf"), np.empty((0, 2), np.int64), nothing, nothing, slack, gap
        )
    level = np.where(support, result.L, 0.0).sum(axis=0) / support.sum(axis=0)
    margins = (level - result.L)[off] - 1
    duals = -result.dual[off]
    duals = duals / (duals.mean() or 1.0)
    decided = np.maximum(margins, duals)
    weak = np.flatnonzero(decided <= slack)
    weak = weak[np.argsort(decided[weak], kind="stable")]
    return StrictComplementarity(
        holds=len(weak) == 0,
        strength=float(decided.min()),
        entries=np.argwhere(off)[weak],
        margins=margins[weak],
        duals=duals[weak],
        slack=slack,
        gap=gap,
    )
