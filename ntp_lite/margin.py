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
from ._threads import Workers, workers
from ._validate import as_size, as_tolerance, torch_device
from .certificate import MarginCertificate, margin_certificate, relative_gap
from .constraints import (
    Mask,
    Matrix,
    Support,
    _centered_support,
    distinct_rows,
    support_mask,
)
from .linalg import (
    kept_directions,
    nuclear_norm,
    spectral_norm,
    svd,
    symmetric_eigen,
)
from .status import Status

CHECK_EVERY = 10  # iterations at most; a check costs about as much as two of them
# Below this many entries float32 saves less than the change to float64 costs.
FLOAT32_FROM = 20_000
FLOAT32_GAP = 1e-4  # a relative gap that float32 still reaches; float64 does the rest
# From this many times the tolerance on, the dual matrix is improved by this many projections,
# which made the gap 4 to 15 times smaller on the instances of the benchmarks.
DUAL_ROUNDS_FROM = 8.0
DUAL_ROUNDS = 3
FAR = 1e30  # takes entries on the support out of a comparison
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
    with workers() as helpers:
        return _solve(mask, rule, where, callback, helpers)


def _solve(
    mask: Mask,
    rule: StoppingRule,
    device: torch.device,
    callback: Callable[[MarginProgress], None] | None,
    helpers: Workers,
) -> MaxMarginResult:
    start = time.perf_counter()
    admm = MarginADMM(mask, device, helpers)
    seen: list[MarginProgress] = []
    status: Status | None = None
    n_iter = 0
    next_check = rule.check_every
    try:
        while status is None:
            n_iter += 1
            is_check = n_iter in (next_check, rule.max_iter)
            admm.step(measure=is_check)
            if not is_check:
                continue
            admm.check(n_iter, rule.tol)
            primal, dual, gap = admm.bounds()
            seen.append(MarginProgress(n_iter, primal, dual, gap, time.perf_counter() - start))
            if callback is not None:
                callback(seen[-1])
            status = rule.status(n_iter, gap)
            if status is None:
                admm.adapt()
                next_check = n_iter + rule.steps_to(seen)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    L, dual_matrix = (admm.expand(A) for A in admm.best_feasible())
    del admm  # its state is larger than the result, and the certificate needs room
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


class MarginADMM:
    """ADMM on M = D * L: min |M|_* + (indicator of the margin constraints on M / D).

    Equal columns and equal rows of S are merged. With multiplicities r (rows) and c (columns), the
    norm of the expanded L is |D * L|_* for D = sqrt(r c'), and a dual matrix G becomes G / D
    (chapter max_margin); all matrices here are the weighted ones. Z is always feasible and -rho U
    always in the dual cone, whatever the iteration did. All (V, m) tensors hold one context after
    the other in memory; products, projections and updates are done in blocks of contexts small
    enough for the processor's cache.
    """

    def __init__(self, support: Mask, device: torch.device, workers: Workers | None = None) -> None:
        self.workers = workers or Workers()
        columns, self.column_of, column_count = distinct_rows(support.T)
        rows, self.row_of, self.row_count = distinct_rows(support[:, columns])
        self.columns = columns
        self.row_roots, self.column_roots = np.sqrt(self.row_count), np.sqrt(column_count)
        self.S = support[np.ix_(rows, columns)]
        self.device = device
        self.dtype = torch.float32 if self.S.size > FLOAT32_FROM else torch.float64
        weighted = np.outer(self.row_roots, self.column_roots) * self.S
        # Centring over all tokens takes away what is along the roots of their multiplicities.
        direction = self.row_roots / np.linalg.norm(self.row_roots)
        proxy = weighted - np.outer(direction, direction @ weighted)
        self.gap = np.inf  # of the iterates, before the dual matrix is improved
        self._to_device(proxy, np.zeros(self.S.shape))
        self.best_L = Best(np.inf, self.Z.clone())
        self.best_dual = Best(0.0, torch.zeros_like(self.Z))  # of minus the dual value
        self._start_dual()

    def bounds(self) -> tuple[float, float, float]:
        """Primal value, dual value and relative gap of the best points so far."""
        primal, dual = self.best_L.value, -self.best_dual.value
        return primal, dual, relative_gap(primal - dual, primal)

    def best_feasible(self) -> tuple[Matrix, Matrix]:
        """Return the best L and G, for each distinct row and column one, feasible to rounding.

        Projecting again in float64 makes both exactly feasible, also after float32 work. The
        iteration ends here: its own matrices are given up, for the results need their room.
        """
        self.dtype = torch.float64
        self._to_device(self.best_L.point.cpu().numpy(), self.best_dual.point.cpu().numpy())

        def project(b: slice) -> None:
            self.Z[:, b] = self._project(self.Z[:, b], b, 1.0, self.level[b]) / self.weights[:, b]
            self.U[:, b] = self._project_cone(self.U[:, b], b)

        self.workers.map(project, self.blocks)
        L, dual = self.Z.cpu().numpy(), self.U.cpu().numpy()
        del self.Z, self.U, self.on, self.weights, self.best_L, self.best_dual
        L -= self.row_count @ L / self.row_count.sum()
        dual /= max(1.0, spectral_norm(dual))
        dual /= np.outer(self.row_roots, self.column_roots)
        return L, dual

    def expand(self, A: Matrix) -> Matrix:
        """Copy entries to every row and column that was merged into theirs."""
        columns = np.take(A, self.column_of, axis=1)
        return np.take(columns, self.row_of, axis=0)  # whole rows: memory is copied in order

    def _to_device(self, Z: Matrix, U: Matrix) -> None:
        """Put the problem and its state on the device, in the current precision."""

        def put(array: NDArray, dtype: torch.dtype = self.dtype) -> torch.Tensor:
            return torch.tensor(np.ascontiguousarray(array.T), dtype=dtype, device=self.device).T

        # Arithmetic with zeros and ones is several times faster than choosing by a mask.
        self.on = put(self.S)
        self.weights = put(np.outer(self.row_roots, self.column_roots))
        self.row_weight = put(self.row_count[:, None])[:, 0]
        self.support_weight = self.row_weight @ self.on
        self.direction = self.row_weight.sqrt() / self.row_weight.sum().sqrt()
        self.Z = put(Z)
        self.U = put(U)
        self.difference = torch.empty(0)  # the first step makes it
        self.level = torch.zeros_like(self.Z[0])
        entries = 2**18 if self.device.type == "cpu" else 2**26
        width = max(1, entries // len(Z))
        self.blocks = [slice(j, j + width) for j in range(0, Z.shape[1], width)]

    def _start_dual(self) -> None:
        """Set rho, and U to the polar factor of the proxy, projected onto the dual cone.

        Where the proxy is optimal that factor is the solution (chapter closed_forms).
        """
        squares, vectors = _eigh(self._gram(self.Z))
        values = squares.clamp(min=0).sqrt()
        # The threshold 1 / rho starts at about 3 mean values; they are all 0 if every k_j = V.
        self.rho = 0.3 / max(float(values.sum()) / len(self.Z), 1e-12)
        kept = values > 1e-3 * values[-1]
        polar = self._multiply(self.Z, vectors[:, kept], vectors[:, kept] / values[kept])
        for b in self.blocks:
            self.U[:, b] = self._project_cone(polar(b), b) / -self.rho

    def _gram(self, A: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The Gram matrix of A (V, m) on its smaller side, computed in this precision."""
        V, m = A.shape
        dtype = dtype or A.dtype
        if m < V:
            A = A.to(dtype)
            return A.T @ A

        def gram_of(blocks: list[slice]) -> torch.Tensor:
            gram = torch.zeros(V, V, dtype=dtype, device=self.device)
            for b in blocks:
                block = A[:, b].to(dtype)
                if self.device.type == "cpu":
                    # numpy sees the symmetry and does half of the products.
                    gram += torch.from_numpy(block.numpy() @ block.numpy().T)
                else:
                    gram.addmm_(block, block.T)
            return gram

        count = min(self.workers.count, len(self.blocks))
        shares = [self.blocks[k::count] for k in range(count)]
        return torch.stack(self.workers.map(gram_of, shares)).sum(dim=0)

    def _multiply(
        self, A: torch.Tensor, kept: torch.Tensor, factors: torch.Tensor
    ) -> Callable[[slice], torch.Tensor]:
        """Blocks of  factors kept' A , or of  A kept factors'  where contexts are fewer."""
        if A.shape[1] < A.shape[0]:
            scores = A @ kept
            return lambda b: scores @ factors[b].T
        if 2 * kept.shape[1] < len(kept):  # two thin products, else one with a square matrix
            return lambda b: factors @ (kept.T @ A[:, b])
        square = factors @ kept.T
        return lambda b: square @ A[:, b]

    def step(self, measure: bool = False) -> None:
        """One round: threshold singular values, over-relax, project, update the scaled dual.

        measure : the residuals of this round, too.
        """
        if self.difference.shape != self.Z.shape:
            self.difference = torch.empty_like(self.Z)
        A = torch.sub(self.Z, self.U, out=self.difference)
        kept, shrunk = kept_directions(*_eigh(self._gram(A)), 1 / self.rho)
        thresholded = self._multiply(A, kept, shrunk)

        def advance(b: slice) -> torch.Tensor:
            X = thresholded(b)
            Y = torch.lerp(self.Z[:, b], X, OVER_RELAXATION).add_(self.U[:, b])
            new = self._project(Y, b, 1.0, self.level[b])
            torch.sub(Y, new, out=self.U[:, b])
            changes = (X - new, self.Z[:, b] - new, new, self.U[:, b]) if measure else ()
            squares = [B.square().sum() for B in changes]
            self.Z[:, b] = new
            return torch.stack(squares) if measure else torch.empty(0)

        residuals = torch.stack(self.workers.map(advance, self.blocks))
        if measure:
            primal_residual, dual_residual, norm_Z, norm_U = residuals.sum(dim=0).tolist()
            self.residuals = primal_residual * norm_U, dual_residual * norm_Z

    def _project(
        self, Y: torch.Tensor, b: slice, margin: float, level: torch.Tensor
    ) -> torch.Tensor:
        """Exact weighted projection of a block onto the constraints with this margin.

        In each column the level a solves
            f(a) = sum_S r (x - a) + sum_off r max(0, x + margin - a) = 0,
        and f is convex, decreasing and piecewise linear: Newton's method from any start is monotone
        after one step and ends exactly after finitely many; from the last a, after two or three.

        level : (columns of the block,) the start of a, overwritten by the solution.
        """
        x = Y / self.weights[:, b]
        on, r, total = self.on[:, b], self.row_weight, self.support_weight[b]
        raised = torch.add(x + margin, on, alpha=-FAR)
        on_support = r @ (x * on)
        slack = 4 * torch.finfo(x.dtype).eps
        a = level
        for n in range(len(x) + 2):
            excess = (raised - a).clamp_(min=0)
            step = on_support - total * a + r @ excess
            step /= total + r @ excess.sign_()
            a = a + step
            if n and bool((step <= slack * (1 + a.abs())).all()):
                break
        level.copy_(a)
        below = a - margin
        lowered = torch.minimum(x.add_(on, alpha=FAR), below)
        return lowered.add_(on, alpha=margin).mul_(self.weights[:, b])

    def _project_cone(self, G: torch.Tensor, b: slice) -> torch.Tensor:
        """Projection of a block onto the dual cone (Moreau: see `constraints.project_dual`)."""
        return G + self._project(-G, b, 0.0, torch.zeros_like(G[0]))

    def check(self, n_iter: int, tol: float) -> None:
        """Rigorous bounds from the current Z and U; the best of each are kept.

        The dual matrix lags behind the logits. Where the gap is near the tolerance, or where the
        logits have settled, so that it is the dual matrix that lags, it is improved first.
        """
        M = self.Z - torch.outer(self.direction, self.direction @ self.Z)
        primal = float(self._singular_values(M).sum())
        G = -self.rho * self.U
        dual = self._offer_dual(G, n_iter)
        self.gap = relative_gap(primal - dual, primal)
        has_settled = abs(self.best_L.value - primal) <= tol * primal
        if self.gap > tol and (has_settled or self.gap <= DUAL_ROUNDS_FROM * tol):
            self._improve(G)
            dual = self._offer_dual(G, n_iter)
        if primal - dual < 1e-6 * primal:
            primal = nuclear_norm(_as_float64(M))  # the above has eight digits only
        self.best_L.offer(primal, M, n_iter)

    def _singular_values(self, A: torch.Tensor) -> torch.Tensor:
        """Ascending, in float64 whatever the precision of A."""
        gram = self._gram(A, torch.float64)
        try:
            squares = torch.linalg.eigvalsh(gram)
        except torch.linalg.LinAlgError:
            squares = _eigh(gram)[0]
        return squares.clamp(min=0).sqrt()

    def _offer_dual(self, G: torch.Tensor, n_iter: int) -> float:
        """The best dual value, that of G scaled into the unit ball included."""

        def on_support(b: slice) -> torch.Tensor:
            return (G[:, b].double() * self.on[:, b] * self.weights[:, b]).sum()

        norm = float(self._singular_values(G)[-1])
        total = torch.stack(self.workers.map(on_support, self.blocks)).sum()
        value = float(total) / max(1.0, norm)
        if -value < self.best_dual.value:  # G itself may be improved in place later
            self.best_dual.offer(-value, G.clone(), n_iter)
        return -self.best_dual.value

    def _improve(self, G: torch.Tensor) -> None:
        """Bring G (in the cone, in place) nearer to the ball |G|_op <= 1, and keep it in the cone.

        Scaling by 1 / |G|_op costs all of G what a few singular values exceed. Projections onto the
        ball and the cone in turn, over-relaxed, cost less.
        """
        for _ in range(DUAL_ROUNDS):
            self._round_of_projections(G)
        self.workers.map(lambda b: G[:, b].copy_(self._project_cone(G[:, b], b)), self.blocks)

    def _round_of_projections(self, G: torch.Tensor) -> None:
        """Onto ball and cone, in place: beside its factors each block needs only itself."""
        excess = self._multiply(G, *kept_directions(*_eigh(self._gram(G)), 1.0))

        def advance(b: slice) -> None:
            projected = self._project_cone(G[:, b] - excess(b), b)
            G[:, b] = torch.lerp(G[:, b], projected, OVER_RELAXATION)

        self.workers.map(advance, self.blocks)

    def adapt(self) -> None:
        """After a check: go on in float64 once float32 has given what it can; balance rho."""
        if self.dtype == torch.float32 and self.gap < FLOAT32_GAP:
            state = _as_float64(self.Z), _as_float64(self.U)
            self.dtype = torch.float64
            self._to_device(*state)
        factor = penalty_factor(*self.residuals, IMBALANCE)
        self.rho *= factor
        self.U /= factor


def _as_float64(A: torch.Tensor) -> Matrix:
    """In numpy."""
    return A.double().cpu().numpy()


def _eigh(gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ascending eigenvalues and eigenvectors; another LAPACK driver where torch's fails."""
    try:
        values, vectors = torch.linalg.eigh(gram)
    except torch.linalg.LinAlgError:
        found = symmetric_eigen(gram.double().cpu().numpy())
        values, vectors = (torch.as_tensor(x, dtype=gram.dtype, device=gram.device) for x in found)
    return values, vectors
