"""What the two solvers by alternating directions share: relaxation, balance, and when to stop.

ADMM splits  min f(X) + g(Z)  subject to X = Z  into a step on f, a step on g, and an update of the
scaled dual variable U. `margin` and `path` differ in f and g alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """Stop at a gap of `tol`, at a limit, or when stalled; look at least every `check_every`.

    patience : stop after this many iterations without a better gap; None never does.
    """

    tol: float
    max_iter: int
    check_every: int
    patience: int | None = None

    def steps_to(self, seen: Sequence[Any]) -> int:
        """After how many more iterations to look again: from 2 to `check_every`.

        That is when the relative gap meets `tol`, if it falls on as it did between the last two of
        the checks `seen` (with fields n_iter and relative_gap).
        """
        if len(seen) < 2 or not 0 < seen[-1].relative_gap < seen[-2].relative_gap < math.inf:
            return self.check_every
        before, last = seen[-2:]
        rate = math.log(before.relative_gap / last.relative_gap) / (last.n_iter - before.n_iter)
        needed = math.ceil(math.log(last.relative_gap / self.tol) / rate)
        return min(max(needed, 2), self.check_every)

    def status(self, n_iter: int, gap: float, best_at: int = 0) -> Status | None:
        """Why to stop now, or None; `best_at` is the iteration of the best gap so far."""
        if gap <= self.tol:
            return Status.CONVERGED
        if self.patience is not None and n_iter - best_at > self.patience:
            return Status.STALLED
        if n_iter == self.max_iter:
            return Status.ITERATION_LIMIT
        return None
