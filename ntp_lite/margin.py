"""The max-margin component: a nuclear-norm SVM over logits, solved and certified (chapter 07)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ._validate import check_limits, torch_device
from .certificate import Certificate, certify_margin, relative
from .constraints import Support, centered_support, project_dual, project_margin, support_mask
from .linalg import singular_values, spectral_norm

OVER_RELAXATION = 1.7  # ADMM accepts (0, 2); 1.6 to 1.8 is the customary range
CHECK_EVERY = 10  # iterations; a check costs about as much as two of them


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

    L : (V, m) exactly feasible logits, centred columns.  dual : (V, m) feasible dual matrix G.
    certificate : `certify_margin` of these two arrays.  history : the fields of MarginProgress at
    each check, as lists.  converged : certificate.relative_gap <= tol, else `message` says why.
    """

    L: NDArray[np.float64] = field(repr=False)
    dual: NDArray[np.float64] = field(repr=False)
    certificate: Certificate
    history: dict[str, list[float]] = field(repr=False)
    converged: bool
    n_iter: int
    seconds: float
    message: str = ""


def solve_max_margin(
    labels: Support, tol: float = 1e-6, max_iter: int = 5000,
    device: torch.device | str | None = None,
    callback: Callable[[MarginProgress], None] | None = None,
) -> MaxMarginResult:  # fmt: skip
    """Solve the NTP-SVM over logits

        min |L|_*   s.t. for every context j:  L[z,j] = L[z',j]       for z, z' in S_j,
                                               L[z,j] - L[v,j] >= 1  for z in S_j, v not in S_j,

    and its dual  max <G, S>  s.t. |G|_op <= 1, 1'G = 0, G <= 0 off the support.

    Equal columns and equal rows of S are merged first, exactly (chapter 07), so the cost depends
    on the distinct supports, not on m. Then ADMM alternates singular-value thresholding with
    the exact projection onto the margins. Both iterates are made feasible at each check, where
    `callback` receives a MarginProgress: its bounds hold at every moment.

    labels : SoftLabels, or the 0/1 support matrix S (V, m).
    tol : stop when the relative duality gap (primal - dual) / primal <= tol.
    device : where to work ("cpu", "cuda", "auto"); results are numpy float64 on any device.

    Ctrl-C returns the best point so far, with converged=False. Raises ValueError for tol <= 0,
    max_iter < 1, an S that is not a support, or CUDA where there is none.
    Paper: eq. (NTP-SVM*). Book: chapter 07.
    """
    check_limits(tol, max_iter)
    start, S = time.perf_counter(), support_mask(labels)
    iteration = _Iteration(S, torch_device(device))
    seen: list[MarginProgress] = []
    n_iter, message = 0, f"stopped after max_iter = {max_iter} iterations"
    try:
        for n_iter in range(1, max_iter + 1):
            iteration.step()
            if n_iter % CHECK_EVERY and n_iter != max_iter:
                continue
            gap, seconds = iteration.check(), time.perf_counter() - start
            seen.append(MarginProgress(n_iter, iteration.primal, iteration.dual, gap, seconds))
            if callback is not None:
                callback(seen[-1])
            if gap <= tol:
                message = ""
                break
    except KeyboardInterrupt:
        message = "interrupted; this is the best point so far"
    # Projecting again in float64 makes both exactly feasible, also after float32 work.
    L = project_margin(iteration.expand(iteration.best_L), S)
    L -= L.mean(axis=0)
    dual = project_dual(iteration.expand(iteration.best_dual), S)
    dual /= max(1.0, spectral_norm(dual))
    certificate = certify_margin(L, dual, S)
    history = {name: [getattr(now, name) for now in seen] for name in MarginProgress._fields}
    seconds, converged = time.perf_counter() - start, certificate.relative_gap <= tol
    return MaxMarginResult(L, dual, certificate, history, converged, n_iter, seconds, message)


class ProxyBounds(NamedTuple):
    """`lower <= |S_centered|_* / |L_mm|_* - 1 <= upper`; `exact`: the proxy is known optimal."""

    lower: float
    upper: float
    exact: bool


def proxy_bounds(labels: Support, result: MaxMarginResult | None = None) -> ProxyBounds:
    """Exactness test of the proxy and two-sided bounds on how far it is from optimal.

    If U V' from the SVD U Sigma V' of S_centered is <= 0 off the support, it is a dual point with
    <U V', S> = |S_centered|_*, so the proxy is optimal. Repaired where it is not <= 0, it still
    bounds |L_mm|_* from below. `result` makes both bounds as tight as its gap. Chapter 11.
    """
    proxy = centered_support(labels)
    U, s, Vt = np.linalg.svd(proxy, full_matrices=False)
    kept = s > 1e-10 * max(proxy.shape)
    judged = certify_margin(proxy, U[:, kept] @ Vt[kept], labels)
    if judged.primal == 0:
        return ProxyBounds(0.0, 0.0, True)
    best = judged if result is None else result.certificate
    dual, primal = max(judged.dual, best.dual), min(judged.primal, best.primal)
    upper = judged.primal / dual - 1 if dual > 0 else np.inf
    return ProxyBounds(judged.primal / primal - 1, upper, judged.relative_gap < 1e-9)


def _distinct(rows: NDArray[np.bool_]) -> tuple[NDArray, NDArray, NDArray]:
    """First index, class and multiplicity of the distinct rows of a boolean matrix."""
    packed = np.ascontiguousarray(np.packbits(rows, axis=1))
    keys = packed.view(f"V{packed.shape[1]}").ravel()  # much faster than np.unique(axis=0)
    return np.unique(keys, return_index=True, return_inverse=True, return_counts=True)[1:]


class _Iteration:
    """ADMM on M = D * L: min |M|_* + (indicator of the margin constraints on M / D).

    Equal columns and equal rows of S are merged. With multiplicities r (rows) and c (columns), the
    norm of the expanded L is |D * L|_* for D = sqrt(r c'), and a dual matrix G becomes G / D
    (chapter 07). Z is always feasible and -rho U always in the dual cone, whatever the iteration
    did. All (V, m) tensors hold one context after the other in memory, and everything but one
    Gram matrix is done in blocks of contexts small enough for the processor's cache.
    """

    def __init__(self, support: NDArray[np.bool_], device: torch.device) -> None:
        columns, self.column_of, column_count = _distinct(support.T)
        rows, self.row_of, self.row_count = _distinct(support[:, columns])
        self.S = support[np.ix_(rows, columns)]
        self.D = np.sqrt(np.outer(self.row_count, column_count))
        self.best_L, self.best_dual = self.centre(self.S), np.zeros(self.S.shape)  # the proxy, 0
        self.primal, self.dual, self.gap = np.inf, 0.0, np.inf
        # Small problems fit the cache in float64; large ones begin in float32.
        self.device, self.dtype = device, torch.float32 if self.S.size > 200_000 else torch.float64
        self._to_device(self.best_L, self.best_dual)
        values = torch.linalg.eigvalsh(self._gram().double()).clamp(min=0).sqrt()
        # The threshold 1 / rho starts at about 3 mean values; they are all 0 if every k_j = V.
        self.rho = 0.3 / max(float(values.mean()), 1e-12)

    def centre(self, L: NDArray) -> NDArray[np.float64]:
        """Subtract what is the mean of each column after expansion."""
        return L - np.average(L, axis=0, weights=self.row_count)

    def expand(self, A: NDArray[np.float64]) -> NDArray[np.float64]:
        """Copy entries to every row and column that was merged into them."""
        return A[np.ix_(self.row_of, self.column_of)]

    def _to_device(self, L: NDArray[np.float64], U: NDArray[np.float64]) -> None:
        def put(array: NDArray, dtype: torch.dtype = self.dtype) -> torch.Tensor:
            return torch.tensor(np.ascontiguousarray(array.T), dtype=dtype, device=self.device).T

        self.mask, self.weights = put(self.S, torch.bool), put(self.D)
        self.row_weight = put(self.row_count[:, None])
        self.Z, self.U = put(L * self.D), put(U)
        self.a = torch.zeros_like(self.Z[0])
        entries = 2**18 if self.device.type == "cpu" else 2**26
        width = max(1, entries // len(L))
        self.blocks = [slice(j, j + width) for j in range(0, L.shape[1], width)]

    def _gram(self) -> torch.Tensor:
        """(Z - U)(Z - U)'."""
        gram = torch.zeros(len(self.Z), len(self.Z), dtype=self.dtype, device=self.device)
        for b in self.blocks:
            A = self.Z[:, b] - self.U[:, b]
            gram.addmm_(A, A.T)
        return gram

    def step(self) -> None:
        """One round: threshold singular values, over-relax, project, update the scaled dual."""
        values, vectors = torch.linalg.eigh(self._gram())
        values = values.clamp(min=0).sqrt()
        kept = values > 1 / self.rho
        vectors = vectors[:, kept]
        shrink = vectors * (1 - 1 / (self.rho * values[kept]))
        threshold = None if 2 * vectors.shape[1] < len(values) else shrink @ vectors.T
        squares = torch.zeros(4, dtype=self.dtype, device=self.device)
        for b in self.blocks:
            Z, U = self.Z[:, b], self.U[:, b]
            A = Z - U
            X = shrink @ (vectors.T @ A) if threshold is None else threshold @ A
            Y = torch.lerp(Z, X, OVER_RELAXATION).add_(U)
            new = self._project(Y, b)
            torch.sub(Y, new, out=U)
            squares += torch.stack([B.square().sum() for B in (X - new, Z - new, new, U)])
            Z.copy_(new)
        primal_residual, dual_residual, norm_Z, norm_U = squares.tolist()
        self.imbalance = (primal_residual * norm_U) / max(dual_residual * norm_Z, 1e-300)

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

    def check(self) -> float:
        """Rigorous bounds from the current Z and U; keeps the best; adapts rho and precision."""
        L = self.centre(self.Z.double().cpu().numpy() / self.D)
        U = self.U.double().cpu().numpy()
        G = -self.rho * U
        primal = float(singular_values(L * self.D).sum())
        dual = float((G * self.D)[self.S].sum()) / max(1.0, spectral_norm(G))
        if primal - max(dual, self.dual) < 1e-6 * primal:
            primal = float(np.linalg.norm(L * self.D, "nuc"))  # the above has eight digits only
        if primal < self.primal:
            self.primal, self.best_L = primal, L
        if dual > self.dual:
            self.dual, self.best_dual = dual, G / self.D
        before, self.gap = self.gap, relative(self.primal - self.dual, self.primal)
        if self.dtype == torch.float32 and self.gap > 0.7 * before:
            self.dtype = torch.float64  # float32 has given what it can
            self._to_device(L, U)
        if not 0.1 < self.imbalance < 10:
            factor = 2.0 if self.imbalance > 1 else 0.5
            self.rho *= factor
            self.U /= factor
        return self.gap
