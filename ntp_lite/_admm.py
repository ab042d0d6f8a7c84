"""What the two solvers by alternating directions share: relaxation, balance, and when to stop.

ADMM splits  min f(X) + g(Z)  subject to X = Z  into a step on f, a step on g, and an update of the
scaled dual variable U. `margin` and `path` differ in f and g alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .status import Status

# How far past X the next step looks, X -> a X + (1 - a) Z. ADMM accepts (0, 2); 1.6 to 1.8 is the
# customary range.
OVER_RELAXATION = 1.7


def penalty_factor(primal: float, dual: float, imbalance: float) -> float:
    """2, 1/2 or 1: by how much to change the penalty rho (and to divide the scaled dual U).

    primal, dual : the sizes of the two residuals, |X - Z| and |Z - Z_before|, each beside the
    variable that it moves. Left alone while their ratio is below `imbalance`; a larger rho makes
    the primal residual smaller.
    """
    if dual <= primal * imbalance and primal <= dual * imbalance:
        return 1.0
    return 2.0 if primal > dual else 0.5


@dataclass
class Best:
    """The best of the points that were offered: the smallest value."""

    value: float
    point: Any
    n_iter: int = 0

    def offer(self, value: float, point: Any, n_iter: int) -> None:
        """Keep the point if its value is smaller; NaN never is."""
        if value < self.value:
            self.value, self.point, self.n_iter = value, point, n_iter


@dataclass(frozen=True)
class StoppingRule:
    """Check every `check_every` iterations; stop at a gap of `tol`, at a limit, or when stalled.

    patience : stop after this many iterations without a better gap; None never does.
    """

    tol: float
    max_iter: int
    check_every: int
    patience: int | None = None

    def is_check(self, n_iter: int) -> bool:
        """Is the gap measured after this iteration? (After the last one always.)"""
        return n_iter % self.check_every == 0 or n_iter == self.max_iter

    def status(self, n_iter: int, gap: float, best_at: int = 0) -> Status | None:
        """Why to stop now, or None; `best_at` is the iteration of the best gap so far."""
        if gap <= self.tol:
            return Status.CONVERGED
        if self.patience is not None and n_iter - best_at > self.patience:
            return Status.STALLED
        if n_iter == self.max_iter:
            return Status.ITERATION_LIMIT
        return None
