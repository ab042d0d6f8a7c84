"""The regularisation path: certified minimisers of CE(L) + ridge |L|_* (chapters 05 and 08)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, wrightomega

from ._validate import check_limits, check_shape
from .certificate import Certificate, certify_ridge
from .in_support import split_logits
from .linalg import spectral_norm, threshold_singular_values
from .soft_labels import SoftLabels

OVER_RELAXATION = 1.7
EMPTY = -700.0  # stands for ln 0


@dataclass(frozen=True)
class RidgeResult:
    """Logits at one ridge with their proof of optimality.

    L : (V, m) logits.  certificate : `certify_ridge(L, labels, ridge)`, from L alone.
    converged : certificate.relative_gap <= tol; otherwise `message` says why.
    slope : (L - L_before) / ln(ridge_before / ridge) along the path; None at its first point.
    """

    ridge: float
    L: NDArray[np.float64] = field(repr=False)
    certificate: Certificate
    n_iter: int
    seconds: float
    converged: bool
    message: str = ""
    slope: NDArray[np.float64] | None = field(default=None, repr=False)
    threshold: float = field(default=1.0, repr=False)  # the solver's, for the next warm start


def ridge_max(labels: SoftLabels) -> float:
    """The smallest ridge at which L = 0 is optimal, |(P - 1/V) diag(pi)|_op (chapter 05)."""
    return spectral_norm((labels.P.toarray() - 1 / labels.V) * labels.pi)


def solve_ridge(
    labels: SoftLabels, ridge: float, tol: float = 1e-5,
    warm_start: RidgeResult | None = None, max_iter: int = 3000,
) -> RidgeResult:  # fmt: skip
    """Minimise CE(L) + ridge |L|_* over all logits L (V, m), to a relative duality gap <= tol.

    ADMM in the logit domain: singular-value thresholding against the proximal step of the
    cross-entropy, which is solved exactly. Without a warm start the path is followed loosely from
    `ridge_max` down to `ridge`. The gap is relative to primal - Hc, in nats. Raises ValueError for
    ridge <= 0, tol <= 0, max_iter < 1 or a warm start of another shape.
    Paper: eq. (nuclear-norm form of NTP-UFM). Book: chapters 05 and 08.
    """
    check_limits(tol, max_iter, ridge)
    if warm_start is not None:
        check_shape(warm_start.L, labels.N.shape, "warm_start")
    start, before, top = time.perf_counter(), warm_start, ridge_max(labels)
    if before is None and ridge < top / 10:
        for stop in top * 0.1 ** np.arange(1, np.ceil(np.log10(top / ridge))):
            before = solve_ridge(labels, stop, max(tol, 1e-2), before, max_iter)
    L, threshold, n_iter, message = np.zeros(labels.N.shape), 1.0, 0, ""
    if ridge < top:
        L, threshold, n_iter, message = _admm(labels, ridge, tol, before, max_iter)
    certificate, slope = certify_ridge(L, labels, ridge), None
    if warm_start is not None and warm_start.ridge != ridge:
        slope = (L - warm_start.L) / np.log(warm_start.ridge / ridge)
    seconds, converged = time.perf_counter() - start, certificate.relative_gap <= tol
    return RidgeResult(ridge, L, certificate, n_iter, seconds, converged, message, slope, threshold)


def ridge_path(
    labels: SoftLabels, ridges: Sequence[float] | NDArray[np.float64], tol: float = 1e-5,
    callback: Callable[[RidgeResult], None] | None = None, max_iter: int = 3000,
) -> list[RidgeResult]:  # fmt: skip
    """Solve at each ridge, warm-started from the next larger one; results in the given order.

    `callback` receives each RidgeResult as it is found, so Ctrl-C loses only the one in work.
    Raises ValueError as `solve_ridge`. Paper: Theorem 1. Book: chapter 08.
    """
    for ridge in ridges:
        check_limits(tol, max_iter, ridge)
    found: dict[float, RidgeResult] = {}
    last = None
    for ridge in sorted({float(r) for r in ridges}, reverse=True):
        last = found[ridge] = solve_ridge(labels, ridge, tol, last, max_iter)
        if callback is not None:
            callback(last)
    return [found[float(ridge)] for ridge in ridges]


def _admm(
    labels: SoftLabels, ridge: float, tol: float, warm: RidgeResult | None, max_iter: int
) -> tuple[NDArray[np.float64], float, int, str]:
    """ADMM on  min ridge |X|_* + CE(Z)  s.t. X = Z, scaled dual U, penalty rho = ridge / threshold.

    At the optimum rho U = -(P - softmax) diag(pi), and that matrix scales with the ridge along
    the path, while the logits move along their slope: both are predicted from the warm start.
    """
    prox = _ProxCrossEntropy(labels)
    Z, U, threshold = np.zeros(labels.N.shape), np.zeros(labels.N.shape), 1.0
    if warm is not None:
        threshold = warm.threshold
        U = prox.gradient(warm.L) * (threshold / warm.ridge)
        Z = warm.L if warm.slope is None else warm.L + warm.slope * np.log(warm.ridge / ridge)
    prox.start(Z)
    best, best_gap, checked = Z, np.inf, 0
    for n_iter in range(1, max_iter + 1):
        X = threshold_singular_values(Z - U, threshold)
        relaxed = OVER_RELAXATION * X + (1 - OVER_RELAXATION) * Z
        old, Z = Z, prox(relaxed + U, ridge / threshold)
        U += relaxed - Z
        if n_iter % 5:
            continue
        # X has the low rank and Z the right frequencies: the judge wants both.
        candidate = X - split_logits(X - Z, labels).in_support.toarray()
        gap = certify_ridge(candidate, labels, ridge).relative_gap
        if gap < best_gap:
            best, best_gap, checked = candidate, gap, n_iter
        if gap <= tol:
            return best, threshold, n_iter, ""
        if n_iter - checked > 300:
            why = f"no progress in 300 iterations: ridge {ridge:g} is near the end of float64"
            return best, threshold, n_iter, why
        primal = np.linalg.norm(X - Z) * np.linalg.norm(U)
        dual = np.linalg.norm(Z - old) * np.linalg.norm(Z)
        if n_iter % 10 == 0 and not dual / 3 <= primal <= dual * 3:
            factor = 0.5 if primal > dual else 2.0  # rho = ridge / threshold doubles or halves
            threshold *= factor
            U *= factor
    return best, threshold, max_iter, f"stopped after max_iter = {max_iter} iterations"


class _ProxCrossEntropy:
    """Column by column argmin_z pi (logsumexp(z) - <p, z>) + (rho/2) |z - y|^2, exactly.

    With c = rho / pi, s = logsumexp(z) and q = exp(z - s), stationarity reads c (z - y) = p - q.
    Off the support (p = 0) the unknown is g = ln(q/c):  g + e^g = y - s - ln c  (Wright's omega
    function). On the support it is u = ln(q/p):  c (u + s + ln p - y) + p expm1(u) = 0.
    Newton's method runs on (g, u, s) together, with the sum condition
    sum_{support} p expm1(u) + sum_{off} c e^g = 0. No two nearly equal numbers are subtracted,
    so frequencies stay exact down to ridges of 1e-12. The state is kept as the next start.
    """

    def __init__(self, labels: SoftLabels) -> None:
        self.P, self.pi, self.on = labels.P.data, labels.pi, labels.entries
        self.sum = labels.support_sums

    def start(self, Z: NDArray[np.float64]) -> None:
        self.s = logsumexp(Z, axis=0)
        self.u = Z[self.on] - self.s[self.on[1]] - np.log(self.P)
        self.g: NDArray[np.float64] | None = None

    def gradient(self, L: NDArray[np.float64]) -> NDArray[np.float64]:
        """(softmax(L) - P) diag(pi), exact also where the two nearly agree."""
        self.start(L)
        G = np.exp(L - self.s)
        G[self.on] = self.P * np.expm1(self.u)
        return G * self.pi

    def __call__(self, Y: NDArray[np.float64], rho: float) -> NDArray[np.float64]:
        c, P, columns = rho / self.pi, self.P, self.on[1]
        c_on, shift = c[columns], np.log(P) - Y[self.on]
        x = Y - np.log(c)
        x[self.on] = EMPTY
        if self.g is None:
            self.g = np.log(np.maximum(wrightomega(x - self.s), 1e-300))
        g, u, s = self.g, self.u, self.s
        for _ in range(60):
            w = np.exp(g)
            slope = 1 / (1 + w)
            off_residual = (g + w - x + s) * slope
            change = P * np.expm1(u)
            q = P + change
            pull = c_on / (c_on + q)
            residual = (u + s[columns] + shift) * pull + change / (c_on + q)
            total = self.sum(change - q * residual) + c * (w * (1 - off_residual)).sum(axis=0)
            ds = total / (self.sum(q * pull) + c * (w * slope).sum(axis=0))
            du = np.clip(-residual - ds[columns] * pull, -5, 1)
            dg = np.minimum(-off_residual - ds * slope, 1)
            g, u, s = g + dg, u + du, s + ds
            if max(np.abs(ds).max(), np.abs(du).max(), (np.abs(dg) * w).max()) < 1e-12:
                break
        self.g, self.u, self.s = g, u, s
        Z = Y - np.exp(g)
        Z[self.on] = u + s[columns] + np.log(P)
        return Z
