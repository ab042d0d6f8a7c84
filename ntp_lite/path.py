"""The regularisation path: certified minimisers of CE(L) + ridge |L|_*."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logsumexp, wrightomega

from ._admm import OVER_RELAXATION, Best, StoppingRule, penalty_factor
from ._threads import one_thread_if_small
from ._validate import as_number, as_ridge, as_size, as_tolerance, check_shape
from .certificate import Repeats, RidgeCertificate, certify_ridge, relative_gap, ridge_bounds
from .constraints import Matrix
from .in_support import center_on_support
from .linalg import spectral_norm, threshold_singular_values
from .soft_labels import SoftLabels, as_labels
from .status import Status

CHECK_FIRST = 5  # iterations until the first certificate
CHECK_EVERY = 10  # iterations between certificates, at most
BALANCE_EVERY = 10  # iterations between changes of the penalty
IMBALANCE = 3.0  # ratio of the residuals above which it changes
PATIENCE = 300  # iterations without a better certificate
LOOSE = 1e-2  # relative gap that is enough on the way down to a ridge
# Of Newton's method in the proximal step: its error is the square, and the next step starts there.
LAST_STEP = 1e-3
LOG_ZERO = -700.0  # stands for ln 0: its exponential is 1e-304

# At the end of float64 iterates underflow (to 0, which is right) or become NaN, which is never the
# best point: the certificate judges, not a warning.
_quiet = np.errstate(all="ignore")


class RidgeProgress(NamedTuple):
    """One check within a solve: bounds on the optimum at that ridge, and the time so far."""

    ridge: float
    n_iter: int
    primal: float
    dual: float
    relative_gap: float
    seconds: float


class SolverState(NamedTuple):
    """What the next warm start needs besides L and slope: the threshold, ridge / rho."""

    threshold: float = 1.0


@dataclass(frozen=True)
class RidgeResult:
    """Logits at one ridge with their proof of optimality.

    L : (V, m) logits. certificate : `certify_ridge(L, labels, ridge)`, from L alone.
    history : the fields of RidgeProgress at each check, as lists, over all ridges of the
        continuation; empty where L = 0 is optimal.
    status : why it ended; message : the same as a sentence with numbers.
    n_iter, seconds : of the whole call, the continuation from `ridge_max` included.
    slope : (L - L_before) / ln(ridge_before / ridge) along the path; None at its first point.
    """

    ridge: float
    L: Matrix = field(repr=False)
    certificate: RidgeCertificate
    history: dict[str, list[float]] = field(repr=False)
    status: Status
    message: str
    n_iter: int
    seconds: float
    slope: Matrix | None = field(default=None, repr=False)
    state: SolverState = field(default=SolverState(), repr=False)

    @property
    def converged(self) -> bool:
        """Is the certified relative gap at most tol?"""
        return self.status is Status.CONVERGED


def ridge_max(labels: SoftLabels) -> float:
    """The smallest ridge at which L = 0 is optimal, |(P - 1/V) diag(pi)|_op. Book: certificates."""
    return spectral_norm((as_labels(labels).P.toarray() - 1 / labels.V) * labels.pi)


def solve_ridge(
    labels: SoftLabels, ridge: float, tol: float = 1e-5,
    warm_start: RidgeResult | None = None, max_iter: int = 3000,
) -> RidgeResult:  # fmt: skip
    """Minimise CE(L) + ridge |L|_* over all logits L (V, m), to a relative duality gap <= tol.

    ADMM in the logit domain: singular-value thresholding against the proximal step of the
    cross-entropy, by Newton's method. Without a warm start the path is followed loosely from
    `ridge_max` down to `ridge`; where float64 ends on the way, the last logits are returned.

    tol : the gap is relative to primal - Hc, in nats. max_iter : iterations at each ridge on the
    way. warm_start : the result at another ridge of the same labels.

    Raises ValueError for ridge <= 0, tol <= 0, max_iter < 1 or a warm start of another shape.
    Paper: eq. (nuclear-norm form of NTP-UFM). Book: certificates, regularisation_path.
    """
    rule = _rule(tol, max_iter)
    top = ridge_max(labels)
    level = _positive_ridge(ridge, top)
    if warm_start is not None:
        check_shape(warm_start.L, labels.shape, "warm_start")
    with one_thread_if_small(labels.V * labels.m):
        return _solve(labels, level, top, rule, warm_start)


def ridge_path(
    labels: SoftLabels, ridges: Iterable[float], tol: float = 1e-5,
    callback: Callable[[RidgeResult], None] | None = None, max_iter: int = 3000,
) -> list[RidgeResult]:  # fmt: skip
    """Solve at each ridge, warm-started from the next larger one; results in the given order.

    `callback` receives each RidgeResult as it is found, so Ctrl-C loses only the one in work.
    Raises ValueError as `solve_ridge`. Paper: Theorem 1. Book: regularisation_path.
    """
    rule = _rule(tol, max_iter)
    top = ridge_max(labels)
    levels = [_positive_ridge(ridge, top) for ridge in ridges]
    found: dict[float, RidgeResult] = {}
    last = None
    with one_thread_if_small(labels.V * labels.m):
        for level in sorted(set(levels), reverse=True):
            last = found[level] = _solve(labels, level, top, rule, last)
            if callback is not None:
                callback(last)
    return [found[level] for level in levels]


def _rule(tol: float, max_iter: int) -> StoppingRule:
    return StoppingRule(as_tolerance(tol), as_size(max_iter, "max_iter"), CHECK_EVERY, PATIENCE)


def _positive_ridge(ridge: float, top: float) -> float:
    """The ridge as a float; a special word where 0 comes from `ridge_max` itself."""
    if top == 0 and as_number(ridge, "ridge") == 0:
        raise ValueError(
            "ridge is 0, and so is ridge_max(labels): all tokens follow every context equally "
            "often, so that zero logits are optimal; use any positive ridge."
        )
    return as_ridge(ridge)


class _Point(NamedTuple):
    """Logits at one ridge, and what the solver at a smaller ridge starts from."""

    L: Matrix
    ridge: float
    slope: Matrix | None
    threshold: float


@_quiet
def _solve(
    labels: SoftLabels, ridge: float, top: float, rule: StoppingRule, warm: RidgeResult | None
) -> RidgeResult:
    """`solve_ridge` for arguments that are right; `top` is ridge_max."""
    start = time.perf_counter()
    merged = MergedLabels(labels)
    seen: list[RidgeProgress] = []
    n_iter = 0
    loose = replace(rule, tol=max(rule.tol, LOOSE))
    steps = [(level, loose) for level in _levels_before(ridge, top)]
    before = None
    if warm is not None:
        slope = None if warm.slope is None else merged.reduce(warm.slope)
        before = _Point(merged.reduce(warm.L), warm.ridge, slope, warm.state.threshold)
        steps = []
    for level, goal in [*steps, (ridge, rule)]:
        point, status, done = _solve_at(merged, level, top, goal, before, seen, start)
        n_iter += done
        before = point
        if status is Status.STALLED:  # float64 ends here, and so does the way down
            break
    L = merged.expand(point.L)
    certificate = certify_ridge(L, labels, ridge)
    if certificate.relative_gap <= rule.tol:
        status = Status.CONVERGED
    slope = None if warm is None else _slope(L, ridge, warm.L, warm.ridge)
    return RidgeResult(
        ridge,
        L,
        certificate,
        {name: [getattr(now, name) for now in seen] for name in RidgeProgress._fields},
        status,
        _message(status, ridge, certificate.relative_gap, rule),
        n_iter,
        time.perf_counter() - start,
        slope,
        SolverState(point.threshold),
    )


def _message(status: Status, ridge: float, gap: float, rule: StoppingRule) -> str:
    reached = f"relative gap {gap:.2e}, tol {rule.tol:g}"
    if status is Status.ITERATION_LIMIT:
        return f"stopped after max_iter = {rule.max_iter} iterations: {reached}"
    if status is Status.STALLED:
        why = f"tol is finer than float64 resolves at ridge {ridge:g}"
        return f"no progress in {PATIENCE} iterations, probably because {why}: {reached}"
    return f"converged: {reached}"


def _levels_before(ridge: float, top: float) -> list[float]:
    """The ridges on the way from ridge_max down to `ridge`: one per decade, if any."""
    if ridge >= top / 10:
        return []
    decades = math.ceil(_log_ratio(top, ridge, math.log10))
    return (top * 0.1 ** np.arange(1.0, decades)).tolist()


def _log_ratio(large: float, small: float, log: Callable[[float], float] = math.log) -> float:
    """log(large / small), also where the ratio is no float64."""
    if small > 1e-300 * max(large, 1.0):
        return log(large / small)
    return log(large) - log(small)


def _slope(L: Matrix, ridge: float, L_before: Matrix, ridge_before: float) -> Matrix | None:
    """By how much logits grow while the ridge falls by a factor e; None for the same ridge."""
    if ridge == ridge_before:
        return None
    return (L - L_before) / _log_ratio(ridge_before, ridge)


def _solve_at(
    merged: MergedLabels,
    ridge: float,
    top: float,
    rule: StoppingRule,
    before: _Point | None,
    seen: list[RidgeProgress],
    start: float,
) -> tuple[_Point, Status, int]:
    """Solve at one ridge; checks are appended to `seen`. Returns the number of iterations, too."""
    if ridge >= top:
        L, threshold, status, n_iter = np.zeros(merged.labels.shape), 1.0, Status.CONVERGED, 0
    else:
        admm = RidgeADMM(merged, ridge, before)
        status, n_iter = _iterate(admm, rule, seen, start)
        L, threshold = admm.best.point, admm.threshold
    slope = None if before is None else _slope(L, ridge, before.L, before.ridge)
    return _Point(L, ridge, slope, threshold), status, n_iter


def _iterate(
    admm: RidgeADMM, rule: StoppingRule, seen: list[RidgeProgress], start: float
) -> tuple[Status, int]:
    """Steps and checks until the rule says why to stop."""
    earlier = seen[-1].n_iter if seen else 0
    status: Status | None = None
    n_iter = 0
    next_check = CHECK_FIRST
    first = len(seen)
    while status is None:
        n_iter += 1
        try:
            admm.step()
        except np.linalg.LinAlgError:  # numbers beyond float64 arose; the best point is finite
            return Status.STALLED, n_iter
        if n_iter in (next_check, rule.max_iter):
            bounds = admm.check(n_iter)
            now = time.perf_counter() - start
            seen.append(RidgeProgress(admm.ridge, earlier + n_iter, *bounds, now))
            status = rule.status(n_iter, admm.best.value, admm.best.n_iter)
            next_check = n_iter + rule.steps_to(seen[first:])
        if status is None and n_iter % BALANCE_EVERY == 0:
            admm.balance()
    return status, n_iter


class MergedLabels:
    """The same problem with equal rows and equal columns of counts once each.

    Exchanging two of them changes nothing and L_ridge is unique: their rows or columns are equal.
    Rows that are all zero (tokens that never follow a context) become one, last: of a vocabulary of
    50,000 a few texts use 2,000, and only those cost time. Contexts with the same counts become one
    with all of them: in texts most contexts occur once.

    With r (V, 1) and c (m,) the numbers of rows and columns that each stands for, the norm of the
    whole L is |diag(sqrt r) L_reduced diag(sqrt c)|_*.
    """

    def __init__(self, labels: SoftLabels) -> None:
        seen = np.zeros(labels.V, dtype=bool)
        seen[labels.entries[0]] = True
        self.kept = np.arange(labels.V) if (~seen).sum() < 2 else np.flatnonzero(seen)
        self.unseen = np.setdiff1d(np.arange(labels.V), self.kept)
        self.first, self.column_of, repeats = equal_columns(labels)
        counts = sparse.csc_array(labels.N[self.kept][:, self.first])
        counts.data *= np.repeat(repeats, np.diff(counts.indptr))
        row_repeats = np.ones((len(self.kept), 1))
        if len(self.unseen):
            counts.resize(len(self.kept) + 1, len(self.first))
            row_repeats = np.vstack([row_repeats, [[len(self.unseen)]]])
        self.labels = SoftLabels.from_counts(counts)
        self.repeats = Repeats(row_repeats, repeats)

    def reduce(self, L: Matrix) -> Matrix:
        """The rows and columns of the merged problem."""
        columns = L[:, self.first]
        if not len(self.unseen):
            return columns
        return np.vstack([columns[self.kept], columns[self.unseen].mean(axis=0)])

    def expand(self, L: Matrix) -> Matrix:
        """All V rows and m columns."""
        row_of = np.empty(len(self.kept) + len(self.unseen), dtype=np.intp)
        row_of[self.kept] = np.arange(len(self.kept))
        row_of[self.unseen] = len(self.kept)
        return np.take(L[row_of], self.column_of, axis=1)


def equal_columns(labels: SoftLabels) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray]:
    """First index, class (m,) and size of the groups of contexts with the same counts."""
    starts = labels.N.indptr
    tokens, counts = labels.entries[0], labels.N.data
    classes: dict[tuple[bytes, bytes], int] = {}
    first: list[int] = []
    which = np.empty(labels.m, dtype=np.intp)
    for j in range(labels.m):
        column = slice(starts[j], starts[j + 1])
        key = tokens[column].tobytes(), counts[column].tobytes()
        if key not in classes:
            classes[key] = len(first)
            first.append(j)
        which[j] = classes[key]
    return np.array(first, dtype=np.intp), which, np.bincount(which)


class RidgeADMM:
    """ADMM on  min ridge |X|_* + CE(Z)  s.t. X = Z, scaled dual U, penalty rho = ridge / threshold.

    All matrices are those of the merged labels, times sqrt(r c'). At the optimum
    rho U = -(P - softmax) diag(pi), and that matrix scales with the ridge along the path, while
    the logits move along their slope: both are predicted from the point before.
    """

    def __init__(self, merged: MergedLabels, ridge: float, before: _Point | None) -> None:
        self.labels = merged.labels
        self.repeats = merged.repeats
        self.root = merged.repeats.roots
        self.ridge = ridge
        self.prox = ProxCrossEntropy(merged.labels, merged.repeats)
        self.threshold = 1.0
        L = np.zeros(self.labels.shape)
        self.U = np.zeros(self.labels.shape)
        if before is not None:
            self.threshold = before.threshold
            gradient = self.prox.gradient(before.L)
            # Columns of the gradient hold the priors of all contexts that they stand for.
            self.U = self.root / self.repeats.columns * gradient
            self.U *= self.threshold / before.ridge
            L = before.L
            if before.slope is not None:
                L = before.L + before.slope * _log_ratio(before.ridge, ridge)
        self.prox.start(L)
        self.Z = self.root * L
        self.X = self.Z_before = self.Z
        self.best = Best(np.inf, L)  # logits with the smallest relative gap

    def step(self) -> None:
        """One round: threshold singular values, over-relax, proximal step, scaled dual."""
        self.X = threshold_singular_values(self.Z - self.U, self.threshold)
        relaxed = OVER_RELAXATION * self.X + (1 - OVER_RELAXATION) * self.Z
        self.Z_before = self.Z
        L = self.prox((relaxed + self.U) / self.root, self.ridge / self.threshold)
        self.Z = self.root * L
        self.U += relaxed - self.Z

    def check(self, n_iter: int) -> tuple[float, float, float]:
        """Judge the current logits and keep the best: primal, dual value and relative gap.

        X has the low rank and Z the right frequencies: the judge wants both.
        """
        on = self.labels.entries
        candidate = self.X / self.root
        candidate[on] -= center_on_support(((self.X - self.Z) / self.root)[on], self.labels)
        bounds = ridge_bounds(candidate, self.labels, self.ridge, self.repeats)
        gap = relative_gap(bounds.gap, bounds.primal)
        self.best.offer(gap, candidate, n_iter)
        return bounds.primal, bounds.dual, gap

    def balance(self) -> None:
        """Double or halve rho where one residual lags behind."""
        primal = np.linalg.norm(self.X - self.Z) * np.linalg.norm(self.U)
        dual = np.linalg.norm(self.Z - self.Z_before) * np.linalg.norm(self.Z)
        factor = penalty_factor(float(primal), float(dual), IMBALANCE)
        self.threshold /= factor
        self.U /= factor


class ProxCrossEntropy:
    """Column by column argmin_z pi (logsumexp(z) - <p, z>) + (rho/2) |z - y|^2.

    With c = rho / pi, s = logsumexp(z) and q = exp(z - s), stationarity reads c (z - y) = p - q.
    Off the support (p = 0) the unknown is g = ln(q/c):  g + e^g = y - s - ln c  (Wright's omega
    function). On the support it is u = ln(q/p):  c (u + s + ln p - y) + p expm1(u) = 0.
    Newton's method runs on (g, u, s) together, with the sum condition
    sum_{support} p expm1(u) + sum_{off} c e^g = 0. No two nearly equal numbers are subtracted,
    so frequencies stay exact down to ridges of 1e-12. The state is kept as the next start.
    A row that stands for r equal tokens (off every support) counts r times in every sum; a column
    that stands for several contexts has their prior, and as many times the penalty.
    """

    def __init__(self, labels: SoftLabels, repeats: Repeats) -> None:
        self.rows = repeats.rows
        self.P = labels.probabilities
        self.log_P = np.log(self.P)
        self.pi = labels.pi
        self.prior_each = labels.pi / repeats.columns
        self.on = labels.entries
        self.support_sums = labels.support_sums

    def start(self, Z: Matrix) -> None:
        """Begin the next proximal step at the logits Z."""
        self.s = logsumexp(Z + np.log(self.rows), axis=0)
        self.u = Z[self.on] - self.s[self.on[1]] - self.log_P
        self.g: Matrix | None = None

    def gradient(self, L: Matrix) -> Matrix:
        """(softmax(L) - P) diag(pi), exact also where the two nearly agree."""
        self.start(L)
        G = np.exp(L - self.s)
        G[self.on] = self.P * np.expm1(self.u)
        return G * self.pi

    def __call__(self, Y: Matrix, rho: float) -> Matrix:
        """The proximal step from Y (V, m) with penalty rho."""
        P, columns, r = self.P, self.on[1], self.rows
        c = rho / self.prior_each
        c_on = c[columns]
        shift = self.log_P - Y[self.on]
        x = Y - np.log(c)
        x[self.on] = LOG_ZERO
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
            total = self.support_sums(change - q * residual)
            total = total + c * (r * w * (1 - off_residual)).sum(axis=0)
            ds = total / (self.support_sums(q * pull) + c * (r * w * slope).sum(axis=0))
            du = np.clip(-residual - ds[columns] * pull, -5, 1)
            dg = np.minimum(-off_residual - ds * slope, 1)
            g, u, s = g + dg, u + du, s + ds
            # Newton's error is the square of its step; steps of u are below u, so that also where
            # u is tiny it keeps its leading digits.
            if max(np.abs(ds).max(), np.abs(du).max(), (np.abs(dg) * w).max()) < LAST_STEP:
                break
        self.g, self.u, self.s = g, u, s
        Z = Y - np.exp(g)
        Z[self.on] = u + s[columns] + self.log_P
        return Z
