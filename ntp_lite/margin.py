"""The max-margin component: a nuclear-norm SVM over logits, solved and certified."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ._admm import OVER_RELAXATION, Best, StoppingRule, penalty_factor
from ._threads import one_thread_if_small
from ._validate import as_size, as_tolerance, torch_device
from .certificate import MarginCertificate, margin_certificate, relative_gap
from .constraints import (
    Mask,
    Matrix,
    Support,
    _centered_support,
    _project_dual,
    _project_margin,
    support_mask,
)
from .linalg import (
    kept_directions,
    nuclear_norm,
    singular_values,
    spectral_norm,
    svd,
    symmetric_eigen,
)
from .status import Status

CHECK_EVERY = 10  # iterations; a check costs about as much as two of them
# Below this many entries everything fits the processor's cache in float64, above it float32 is
# faster by more than its repetition in float64 costs.
FLOAT32_FROM = 200_000
# Residuals are balanced in squares: penalty and dual variable move at a ratio of sqrt(10).
IMBALANCE = 10.0


class MarginProgress(NamedTuple):
    """What `callback` receives at each check: bounds on the optimum and the time so far."""

    n_iter: int
    primal: float
    dual: float
    relative_gap: float
    seconds: float


@dataclass(frozen=True)
class MaxMarginResult:
    """L_mm with its proof of optimality.

    L : (V, m) exactly feasible logits, centred columns. dual : (V, m) feasible dual matrix G.
    certificate : `certify_margin` of these two arrays. history : the fields of MarginProgress at
    each check, as lists. status : why it ended; message : the same as a sentence with numbers.
    n_iter, seconds : of the whole call.
    """

    L: Matrix = field(repr=False)
    dual: Matrix = field(repr=False)
    certificate: MarginCertificate
    history: dict[str, list[float]] = field(repr=False)
    status: Status
    message: str
    n_iter: int
    seconds: float

    @property
    def converged(self) -> bool:
        """Is the certified relative gap at most tol?"""
        return self.status is Status.CONVERGED


def solve_max_margin(
    labels: Support, tol: float = 1e-6, max_iter: int = 5000,
    device: torch.device | str | None = None,
    callback: Callable[[MarginProgress], None] | None = None,
) -> MaxMarginResult:  # fmt: skip
    """Solve the NTP-SVM over logits

        min |L|_*   s.t. for every context j:  L[z,j] = L[z',j]       for z, z' in S_j,
                                               L[z,j] - L[v,j] >= 1  for z in S_j, v not in S_j,

    and its dual  max <G, S>  s.t. |G|_op <= 1, 1'G = 0, G <= 0 off the support.

    Equal columns and equal rows of S are merged first, exactly (chapter max_margin), so the cost
    depends on the distinct supports, not on m, and grows linearly with the larger of the two
    numbers of distinct rows and columns. Then ADMM alternates singular-value thresholding with the
    exact projection onto the margins. Both iterates are made feasible at each check, where
    `callback` receives a MarginProgress: its bounds hold at every moment.

    labels : SoftLabels, or the 0/1 support matrix S (V, m).
    tol : stop when the relative duality gap (primal - dual) / primal <= tol.
    device : where to work ("cpu", "cuda", "auto"); results are numpy float64 on any device.

    Ctrl-C returns the best point so far, with status INTERRUPTED. Raises ValueError for tol <= 0,
    max_iter < 1, an S that is not a support, or CUDA where there is none.
    Paper: eq. (NTP-SVM*). Book: max_margin.
    """
    rule = StoppingRule(as_tolerance(tol), as_size(max_iter, "max_iter"), CHECK_EVERY)
    where = torch_device(device)
    mask = support_mask(labels)
    with one_thread_if_small(mask.size):
        return _solve(mask, rule, where, callback)


def _solve(
    mask: Mask,
    rule: StoppingRule,
    device: torch.device,
    callback: Callable[[MarginProgress], None] | None,
) -> MaxMarginResult:
    start = time.perf_counter()
    admm = MarginADMM(mask, device)
    seen: list[MarginProgress] = []
    status: Status | None = None
    n_iter = 0
    try:
        while status is None:
            n_iter += 1
            admm.step()
            if not rule.is_check(n_iter):
                continue
            admm.check(n_iter)
            primal, dual, gap = admm.bounds()
            seen.append(MarginProgress(n_iter, primal, dual, gap, time.perf_counter() - start))
            if callback is not None:
                callback(seen[-1])
            status = rule.status(n_iter, gap)
            if status is None:
                admm.adapt()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    # Projecting again in float64 makes both exactly feasible, also after float32 work.
    L = _project_margin(admm.expand(admm.best_L.point), mask)
    L -= L.mean(axis=0)
    dual_matrix = _project_dual(admm.expand(admm.best_dual.point), mask)
    dual_matrix /= max(1.0, spectral_norm(dual_matrix))
    certificate = margin_certificate(L, dual_matrix, mask)
    if certificate.relative_gap <= rule.tol:
        status = Status.CONVERGED
    elif status is Status.CONVERGED:  # the last digits of the judge are others than the solver's
        status = Status.STALLED
    history = {name: [getattr(now, name) for now in seen] for name in MarginProgress._fields}
    message = _message(status, certificate.relative_gap, rule)
    seconds = time.perf_counter() - start
    return MaxMarginResult(L, dual_matrix, certificate, history, status, message, n_iter, seconds)


def _message(status: Status, gap: float, rule: StoppingRule) -> str:
    reached = f"relative gap {gap:.2e}, tol {rule.tol:g}"
    if status is Status.ITERATION_LIMIT:
        return f"stopped after max_iter = {rule.max_iter} iterations: {reached}"
    if status is Status.INTERRUPTED:
        return f"interrupted; this is the best point so far: {reached}"
    if status is Status.STALLED:
        return f"tol is finer than float64 resolves here: {reached}"
    return f"converged: {reached}"


class ProxyBounds(NamedTuple):
    """`lower <= |S_centered|_* / |L_mm|_* - 1 <= upper`; `exact`: the proxy is known optimal."""

    lower: float
    upper: float
    exact: bool


def proxy_bounds(labels: Support, result: MaxMarginResult | None = None) -> ProxyBounds:
    """Exactness test of the proxy and two-sided bounds on how far it is from optimal.

    If U V' from the SVD U Sigma V' of S_centered is <= 0 off the support, it is a dual point with
    <U V', S> = |S_centered|_*, so the proxy is optimal. Repaired where it is not <= 0, it still
    bounds |L_mm|_* from below.

    result : of `solve_max_margin` for the same labels; makes both bounds as tight as its gap.

    Raises ValueError for an S that is not a support, or a result of another one. Book:
    closed_forms.
    """
    mask = support_mask(labels)
    proxy = _centered_support(mask)
    U, values, Vt = svd(proxy)
    kept = values > 1e-10 * max(proxy.shape)
    own = margin_certificate(proxy, U[:, kept] @ Vt[kept], mask)
    best = own if result is None else _certificate_for(result, mask)
    if own.primal == 0:
        return ProxyBounds(0.0, 0.0, True)
    dual, primal = max(own.dual, best.dual), min(own.primal, best.primal)
    upper = max(own.primal / dual - 1, 0.0) if dual > 0 else np.inf
    return ProxyBounds(own.primal / primal - 1, upper, own.relative_gap < 1e-9)


def _certificate_for(result: MaxMarginResult, mask: Mask) -> MarginCertificate:
    """The result's bounds for this support, judged anew; ValueError if it solves another one."""
    if result.L.shape != mask.shape:
        raise ValueError(
            f"result has logits of shape {result.L.shape}, not {mask.shape}; solve these labels."
        )
    certificate = margin_certificate(result.L, result.dual, mask)
    if certificate.violation > 1e-6 * max(1.0, certificate.primal):
        raise ValueError("result belongs to another support; solve_max_margin of these labels.")
    return certificate


# ---------------------------------------------------------------- the iteration


def _distinct(rows: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """First index, class and multiplicity of the distinct rows of a boolean matrix."""
    packed = np.ascontiguousarray(np.packbits(rows, axis=1))
    keys = packed.view(f"V{packed.shape[1]}").ravel()  # much faster than np.unique(axis=0)
    _, first, which, count = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    return first, which, count


class MarginADMM:
    """ADMM on M = D * L: min |M|_* + (indicator of the margin constraints on M / D).

    Equal columns and equal rows of S are merged. With multiplicities r (rows) and c (columns), the
    norm of the expanded L is |D * L|_* for D = sqrt(r c'), and a dual matrix G becomes G / D
    (chapter max_margin). Z is always feasible and -rho U always in the dual cone, whatever the
    iteration did. All (V, m) tensors hold one context after the other in memory, and everything
    but one Gram matrix (of the smaller side) is done in blocks of contexts small enough for the
    processor's cache.
    """

    def __init__(self, support: Mask, device: torch.device) -> None:
        columns, self.column_of, column_count = _distinct(support.T)
        rows, self.row_of, self.row_count = _distinct(support[:, columns])
        self.S = support[np.ix_(rows, columns)]
        self.D = np.sqrt(np.outer(self.row_count, column_count))
        proxy = self.centre(self.S)
        self.best_L = Best(np.inf, proxy)
        self.best_dual = Best(0.0, np.zeros(self.S.shape))  # of minus the dual value
        self.gap_before = np.inf
        self.device = device
        self.dtype = torch.float32 if self.S.size > FLOAT32_FROM else torch.float64
        self._to_device(proxy, np.zeros(self.S.shape))
        squares = torch.linalg.eigvalsh(self._gram(self._difference()).double())
        mean = float(squares.clamp(min=0).sqrt().sum()) / len(self.Z)
        # The threshold 1 / rho starts at about 3 mean values; they are all 0 if every k_j = V.
        self.rho = 0.3 / max(mean, 1e-12)

    def centre(self, L: NDArray) -> Matrix:
        """Subtract what is the mean of each column after expansion."""
        return L - np.average(L, axis=0, weights=self.row_count)

    def expand(self, A: Matrix) -> Matrix:
        """Copy entries to every row and column that was merged into them."""
        return A[np.ix_(self.row_of, self.column_of)]

    def bounds(self) -> tuple[float, float, float]:
        """Primal value, dual value and relative gap of the best points so far."""
        primal, dual = self.best_L.value, -self.best_dual.value
        return primal, dual, relative_gap(primal - dual, primal)

    def _to_device(self, L: Matrix, U: Matrix) -> None:
        """Put the problem and its state on the device, in the current precision."""

        def put(array: NDArray, dtype: torch.dtype = self.dtype) -> torch.Tensor:
            return torch.tensor(np.ascontiguousarray(array.T), dtype=dtype, device=self.device).T

        self.mask = put(self.S, torch.bool)
        self.weights = put(self.D)
        self.row_weight = put(self.row_count[:, None])
        self.Z = put(L * self.D)
        self.U = put(U)
        self.a = torch.zeros_like(self.Z[0])
        entries = 2**18 if self.device.type == "cpu" else 2**26
        width = max(1, entries // len(L))
        self.blocks = [slice(j, j + width) for j in range(0, L.shape[1], width)]

    def _difference(self) -> torch.Tensor | None:
        """Z - U where contexts are the smaller side; None where it is formed block by block."""
        V, m = self.Z.shape
        return None if m >= V else self.Z - self.U

    def _gram(self, difference: torch.Tensor | None) -> torch.Tensor:
        """The Gram matrix of Z - U on its smaller side."""
        if difference is not None:
            return difference.T @ difference
        gram = torch.zeros(len(self.Z), len(self.Z), dtype=self.dtype, device=self.device)
        for b in self.blocks:
            A = self.Z[:, b] - self.U[:, b]
            gram.addmm_(A, A.T)
        return gram

    def step(self) -> None:
        """One round: threshold singular values, over-relax, project, update the scaled dual."""
        difference = self._difference()
        squares, vectors = _eigh(self._gram(difference))
        kept, shrunk = kept_directions(squares, vectors, 1 / self.rho)
        # Two thin products where the rank is low, else one with the square matrix.
        square = None if 2 * kept.shape[1] < len(squares) else shrunk @ kept.T
        scores = None if difference is None else difference @ kept
        residuals = torch.zeros(4, dtype=self.dtype, device=self.device)
        for b in self.blocks:
            Z, U = self.Z[:, b], self.U[:, b]
            if scores is not None:
                X = scores @ shrunk[b].T
            elif square is None:
                X = shrunk @ (kept.T @ (Z - U))
            else:
                X = square @ (Z - U)
            Y = torch.lerp(Z, X, OVER_RELAXATION).add_(U)
            new = self._project(Y, b)
            torch.sub(Y, new, out=U)
            residuals += torch.stack([B.square().sum() for B in (X - new, Z - new, new, U)])
            Z.copy_(new)
        primal_residual, dual_residual, norm_Z, norm_U = residuals.tolist()
        self.residuals = primal_residual * norm_U, dual_residual * norm_Z

    def _project(self, Y: torch.Tensor, b: slice) -> torch.Tensor:
        """Exact weighted projection of a block onto the margin constraints.

        In each column a solves f(a) = sum_S r (x - a) + sum_off r max(0, x + 1 - a) = 0, and f is
        convex, decreasing and piecewise linear: Newton's method from any start is monotone
        after one step and ends exactly after finitely many; from the last a, after two or three.
        """
        D, mask, r, a = self.weights[:, b], self.mask[:, b], self.row_weight, self.a[b]
        x = Y / D
        raised = torch.where(mask, -torch.inf, x + 1)
        on_support = torch.where(mask, x * r, 0).sum(dim=0)
        total = torch.where(mask, r, 0).sum(dim=0)
        slack = 4 * torch.finfo(x.dtype).eps
        for n in range(len(x) + 2):
            excess = raised - a
            active = torch.where(excess > 0, r, 0)
            step = on_support - total * a + (active * excess.clamp_(min=0)).sum(dim=0)
            step /= total + active.sum(dim=0)
            a = a + step
            if n and bool((step <= slack * (1 + a.abs())).all()):
                break
        self.a[b] = a
        return torch.where(mask, a, torch.minimum(x, a - 1)).mul_(D)

    def check(self, n_iter: int) -> None:
        """Rigorous bounds from the current Z and U; the best of each are kept."""
        L, U = self._on_cpu()
        G = -self.rho * U
        primal = float(singular_values(L * self.D).sum())
        dual = float((G * self.D)[self.S].sum()) / max(1.0, spectral_norm(G))
        if primal - max(dual, -self.best_dual.value) < 1e-6 * primal:
            primal = nuclear_norm(L * self.D)  # the above has eight digits only
        self.best_L.offer(primal, L, n_iter)
        self.best_dual.offer(-dual, G / self.D, n_iter)

    def adapt(self) -> None:
        """After a check: go on in float64 once float32 has given what it can; balance rho."""
        gap = self.bounds()[2]
        if self.dtype == torch.float32 and gap > 0.7 * self.gap_before:
            L, U = self._on_cpu()
            self.dtype = torch.float64
            self._to_device(L, U)
        self.gap_before = gap
        factor = penalty_factor(*self.residuals, IMBALANCE)
        self.rho *= factor
        self.U /= factor

    def _on_cpu(self) -> tuple[Matrix, Matrix]:
        """Centred logits and the scaled dual, in numpy."""
        L = self.centre(self.Z.double().cpu().numpy() / self.D)
        return L, self.U.double().cpu().numpy()


def _eigh(gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ascending eigenvalues and eigenvectors; another LAPACK driver where torch's fails."""
    try:
        values, vectors = torch.linalg.eigh(gram)
    except torch.linalg.LinAlgError:
        found = symmetric_eigen(gram.double().cpu().numpy())
        values, vectors = (torch.as_tensor(x, dtype=gram.dtype, device=gram.device) for x in found)
    return values, vectors
