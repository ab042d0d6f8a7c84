"""How much of its nuclear norm does a model need for its loss? Certified bounds.

Let nu(c) = min { |L'|_* : CE(L') - Hc <= c } be the least norm with which an excess loss of c nats
can be had. For any logits L with centred columns and excess c, the *norm efficiency* is

    nu(c) / |L|_*,  between 0 and 1, and 1 exactly when no smaller logits are as good.

Centring comes first: it changes no probability and can only lower the norm. The function nu is
convex (the mean of two logits has at most the mean excess and at most the mean norm) and falls
from nu(excess of L = 0) = 0. A convex curve lies below its chords and above its tangents, and
the regularisation path hands out both:

* Tangents. Let D be a dual value of the ridge problem minus the floor, so that excess(L') + ridge
  |L'|_* >= D for *every* L'. Then every L' with excess(L') <= c has

      |L'|_* >= (D - c) / ridge,   hence   nu(c) >= (D - c) / ridge.

  Any ridge and any certificate will do. On the path D = excess(L_ridge) + ridge |L_ridge|_*:
  the line touches nu at the excess of L_ridge, with slope -1/ridge. So the best ridge is the one
  with excess(L_ridge) = c, and there the bound is |L_ridge|_* itself: nothing is lost.
* Chords. Logits with (excess, norm) = (e, n) and (e', n'), e <= c <= e', give
  nu(c) <= (1 - s) n + s n' with (1 - s) e + s e' = c; alone, the first gives nu(c) <= n.

Both hold for whatever was found, converged or not. The model's own gradient is a certificate, too:
with ridge := |G|_op its tangent gives the alignment <G, L> / (|G|_op |L|_*) of `certify_ridge`, so
efficiency >= alignment. The alignment says whether a model is on the path; scaled by 1.001 it has
lost the path's tiny residual and its alignment drops, while the efficiency hardly moves: by at most
r / (ridge |L|_*) if the excess rises by r nats, says the tangent, beside the change of the norm.
So half precision costs less than 1e-4 where the ridge is not small, and more where it is.

Below the smallest ridge that float64 resolves the path is continued in closed form: its last
certificate, scaled down, stays a certificate (`certify_ridge` at a smaller ridge), and from its
last logits, with exact frequencies put in, one walks along the max-margin component.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar

from ._validate import as_size, as_tolerance, check_logits
from .certificate import certify_ridge
from .in_support import in_support_logits, split_logits
from .linalg import Matrix, nuclear_norm
from .loss import excess_loss
from .margin import solve_max_margin
from .path import RidgeResult, ridge_max, solve_ridge
from .soft_labels import SoftLabels, as_labels

DEEPEST = 1e-12  # times ridge_max: below it float64 no longer resolves the path
LOOSE = 1e-2  # relative gap of path points on the way; they only serve as warm starts
FINEST = 1e-10  # smallest relative gap that is asked of a path point


@dataclass(frozen=True)
class NormEfficiency:
    """Certified bounds on (least nuclear norm at the loss of L) / |L|_*.

    lower, upper : 0 <= lower <= efficiency <= upper <= 1.
    excess_loss : c = CE(L) - Hc in nats.  nuclear_norm : |L|_* after centring the columns of L.
    ridge : whose tangent gives `lower`; near it the path has the loss of L.
    converged : upper - lower <= tol * upper.  solves : how many path points were computed.
    path : the path points that were given and those that were found, by decreasing ridge; hand
        them to the next call with the same labels.
    """

    lower: float
    upper: float
    excess_loss: float
    nuclear_norm: float
    ridge: float
    converged: bool
    solves: int
    seconds: float
    path: tuple[RidgeResult, ...] = field(repr=False)

    @property
    def least_norm(self) -> tuple[float, float]:
        """Bounds on the least nuclear norm that reaches the loss of L."""
        return self.lower * self.nuclear_norm, self.upper * self.nuclear_norm

    def __str__(self) -> str:
        bounds = f"norm efficiency {self.lower:.4f} to {self.upper:.4f}"
        return f"{bounds} at an excess loss of {self.excess_loss:.3g} nats"


def norm_efficiency(
    L: ArrayLike, labels: SoftLabels, path: Iterable[RidgeResult] | None = None,
    tol: float = 1e-2, max_solves: int = 30,
) -> NormEfficiency:  # fmt: skip
    """Bounds on  min { |L'|_* : CE(L') <= CE(L) } / |L|_*  for any logits L (V, m).

    L may be numpy or torch, of any type and on any device. Its columns are centred first, because a
    constant per context changes no probability. Every model has logits, so every model has an
    efficiency: 1 on the regularisation path, 0.5 for twice the norm that its loss costs. Read it
    beside the loss: rounding or scaling that costs little norm may cost a deep model its loss.

    path : results of `ridge_path` or of an earlier call (its `.path`) to start from. Their logits
        are judged again, so that points of other labels can only make the bounds worse.
    tol : path points are added, where the bounds meet, until upper - lower <= tol * upper,
        or until `max_solves` of them were computed. The bounds hold at any moment.

    Degenerate cases. An excess loss of at least that of L = 0 needs no norm: efficiency 0; but
    centred logits that are 0 need none and have none: efficiency 1. If every k_j = V, the least
    norm stays finite as the excess goes to 0, and nothing is special. An excess far below the end
    of the path (1e-300, say) still has bounds, from the scaled certificate and the max-margin
    component; one that underflows to 0 while some k_j < V has the lower bound of 1e-300, and
    upper = 1.

    Raises ValueError for a wrong shape, NaN or infinity, tol <= 0, max_solves < 0, and path points
    of another shape. This book. Book: certificates.
    """
    tol = as_tolerance(tol)
    max_solves = as_size(max_solves, "max_solves", minimum=0)
    as_labels(labels)
    start = time.perf_counter()
    logits = _centred(check_logits(L, labels.shape))
    excess = float(excess_loss(logits, labels))
    norm = nuclear_norm(logits)
    curve = _LeastNorm(labels, path or ())
    if norm == 0:
        lower, upper, ridge, solves = 1.0, 1.0, curve.ridge_max, 0
    elif excess >= curve.excess_at_zero:
        lower, upper, ridge, solves = 0.0, 0.0, curve.ridge_max, 0
    else:
        curve.add_logits(logits)
        solves = curve.refine(excess, tol, max_solves)
        tangent = curve.tangent(excess)
        ridge = tangent.ridge
        upper = min(1.0, curve.chord(excess) / norm)
        lower = min(upper, tangent.height(excess) / norm)  # roundings of 1e-16 on the path
    return NormEfficiency(
        lower=lower,
        upper=upper,
        excess_loss=excess,
        nuclear_norm=norm,
        ridge=ridge,
        converged=upper - lower <= tol * upper,
        solves=solves,
        seconds=time.perf_counter() - start,
        path=tuple(curve.path),
    )


class _Tangent(NamedTuple):
    """The line (dual - c) / ridge, nowhere above the least norm nu(c)."""

    ridge: float
    dual: float

    def height(self, excess: float) -> float:
        return (self.dual - excess) / self.ridge


class _Point(NamedTuple):
    """Excess loss and nuclear norm of some logits: a point on or above the curve nu."""

    excess: float
    norm: float


class _LeastNorm:
    """What is known of the curve nu: points above it, tangents below it."""

    def __init__(self, labels: SoftLabels, path: Iterable[RidgeResult]) -> None:
        self.labels = labels
        self.ridge_max = ridge_max(labels)
        self.excess_at_zero = float(excess_loss(np.zeros(labels.shape), labels))
        self.points = [_Point(self.excess_at_zero, 0.0)]
        self.tangents: list[_Tangent] = []
        if self.ridge_max > 0:
            self.tangents.append(_Tangent(self.ridge_max, self.excess_at_zero))
        self.path: list[RidgeResult] = []
        # (excess, ridge) of path points, where the next ridge is read off.
        self.ladder = [(self.excess_at_zero, self.ridge_max)]
        for result in path:
            self.add_result(result)

    def add_result(self, result: RidgeResult) -> None:
        """A path point: its logits are above the curve, its certificate below."""
        logits = _centred(check_logits(result.L, self.labels.shape, "a path point"))
        point = self._add_point(logits)
        self._add_tangent(logits, result.ridge)
        self.ladder.append((point.excess, result.ridge))
        self.path.append(result)
        self.path.sort(key=lambda known: -known.ridge)

    def add_logits(self, logits: Matrix) -> None:
        """Any logits, with the certificate of their own gradient (ridge := |G|_op)."""
        self._add_point(logits)
        self._add_tangent(logits, None)

    def tangent(self, excess: float) -> _Tangent:
        """The tangent that is highest at this excess."""
        return max(self.tangents, key=lambda tangent: tangent.height(excess))

    def chord(self, excess: float) -> float:
        """The lowest point or chord at this excess."""
        good = [point for point in self.points if point.excess <= excess]
        worse = [point for point in self.points if point.excess > excess]
        heights = [point.norm for point in good]
        for left in good:
            for right in worse:
                share = (excess - left.excess) / (right.excess - left.excess)
                heights.append((1 - share) * left.norm + share * right.norm)
        return min(heights)

    def refine(self, excess: float, tol: float, max_solves: int) -> int:
        """Add path points near this excess until the bounds meet; how many were computed."""
        for solves in range(max_solves):
            if self._is_closed(excess, tol):
                return solves
            ridge, is_aimed = self._next_ridge(excess)
            if ridge < DEEPEST * self.ridge_max:
                self._continue_path(excess)
                return solves
            larger = [known for known in self.path if known.ridge > ridge]
            start = larger[-1] if larger else None
            accuracy = min(LOOSE, tol / 10) if is_aimed else LOOSE
            accuracy = max(FINEST, accuracy * self._scale(excess))
            self.add_result(solve_ridge(self.labels, ridge, accuracy, start))
        return max_solves

    def _is_closed(self, excess: float, tol: float) -> bool:
        upper = self.chord(excess)
        return upper - self.tangent(excess).height(excess) <= tol * upper

    def _scale(self, excess: float) -> float:
        """How much finer path points have to be near the loss of L = 0, where L = 0 nearly is one.

        Their gaps are relative to a loss of about that of L = 0. What counts is by how much the
        loss has fallen below it, since the least norm is about that fall over the ridge.
        """
        fall = (self.excess_at_zero - excess) / self.excess_at_zero
        return min(1.0, 2 * fall)

    def _next_ridge(self, excess: float) -> tuple[float, bool]:
        """Where the path should have this excess; False if that is still more than a step away.

        The excess is about proportional to the ridge, so ln(excess) is interpolated in ln(ridge).
        """
        above = min(step for step in self.ladder if step[0] > excess)
        below = [step for step in self.ladder if step[0] <= excess and 0 < step[1] < above[1]]
        if not below:
            # Aim a little below, so that the next interpolation has points on both sides.
            ratio = 0.9 * excess / above[0]
            return above[1] * max(ratio, 0.1), ratio >= 0.1
        left = max(below)
        width = float(np.log(above[0] / max(left[0], 1e-300)))
        share = float(np.log(above[0] / max(excess, 1e-300)) / width)
        # Keep away from the ends, which are known already.
        share = min(max(share, 0.05), 0.95)
        return float(above[1] * (left[1] / above[1]) ** share), True

    def _continue_path(self, excess: float) -> None:
        """Beyond the smallest ridge: a scaled certificate, and steps along L_mm."""
        last = _centred(self.path[-1].L)

        def loss_of_height(log_ridge: float) -> float:
            ridge = float(np.exp(log_ridge))
            return -_Tangent(ridge, certify_ridge(last, self.labels, ridge).dual).height(excess)

        smallest = max(excess / (10 * nuclear_norm(last)), 1e-300)
        limits = (np.log(smallest), np.log(self.path[-1].ridge))
        best = minimize_scalar(loss_of_height, bounds=limits, options={"xatol": 1e-2})
        self._add_tangent(last, float(np.exp(best.x)))

        exact = split_logits(last, self.labels).orthogonal + in_support_logits(self.labels)
        direction = solve_max_margin(self.labels, tol=1e-3).L
        if float(excess_loss(exact, self.labels)) <= excess:
            self._add_point(exact)
            return
        if excess == 0:
            return

        def log_ratio(length: float) -> float:
            reached = float(excess_loss(exact + length * direction, self.labels))
            return float(np.log(max(reached, 1e-320) / excess))

        longest = 1.0
        while log_ratio(longest) > 0:
            longest *= 2
        length = brentq(log_ratio, 0.0, longest, xtol=1e-9)
        self._add_point(exact + (length + 1e-6) * direction)

    def _add_point(self, logits: Matrix) -> _Point:
        excess = float(excess_loss(logits, self.labels))
        point = _Point(excess, nuclear_norm(_centred(logits)))
        self.points.append(point)
        return point

    def _add_tangent(self, logits: Matrix, ridge: float | None) -> None:
        certificate = certify_ridge(logits, self.labels, ridge)
        if certificate.ridge:  # 0 where the gradient vanishes: no line
            self.tangents.append(_Tangent(certificate.ridge, certificate.dual))


def _centred(logits: Matrix) -> Matrix:
    return logits - logits.mean(axis=0)
