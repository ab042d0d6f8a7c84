"""What the handle figures compute in the browser, in Python: for the first state and for the tests.

Each function takes the state of the handles and returns the values by the names that
`ntp_interactive.js` gives them. All losses are in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import entr, logsumexp, softmax


def _simplex_point(values: ArrayLike, what: str) -> NDArray[np.float64]:
    P = np.asarray(values, dtype=float)
    if P.ndim != 1 or not (P >= 0).all() or not np.isclose(P.sum(), 1):
        raise ValueError(f"{what} must be probabilities that sum to 1, not {P.tolist()}.")
    return P


def _cross_entropy(P: NDArray[np.float64], logits: NDArray[np.float64]) -> float:
    return float(logsumexp(logits) - P @ logits)


def loss(P: Sequence[float], logits: Sequence[float]) -> dict[str, Any]:
    """Loss of one context's logits, its floor H(P) and the excess KL(P || Q)."""
    target = _simplex_point(P, "P")
    given = np.asarray(logits, dtype=float)
    if given.shape != target.shape:
        raise ValueError(f"logits has {given.size} entries for {target.size} words; give one each.")
    floor, value = float(entr(target).sum()), _cross_entropy(target, given)
    return {"Q": softmax(given), "floor": floor, "loss": value, "excess": value - floor}


def simplex(P: Sequence[float], steps: float) -> dict[str, Any]:
    """Q = (1 - e) P + e / V with e = 10^-steps comes to a face: its logits grow."""
    target = _simplex_point(P, "P")
    if not steps >= 0:
        raise ValueError(f"steps is {steps}; use 0 or more: Q is 10^-steps away from P.")
    epsilon = 10.0**-steps
    Q = (1 - epsilon) * target + epsilon / len(target)
    on = target > 0
    excess = -target[on] @ np.log1p(epsilon * (1 / (len(target) * target[on]) - 1))
    logits = np.log(Q) - np.log(Q).mean()
    return {"Q": Q, "excess": float(excess), "largest": float(np.abs(logits).max())}


def column(P: Sequence[float], share: float, height: float, off: int) -> dict[str, Any]:
    """Two words of a support and `off` others: the two halves of the excess."""
    target = _simplex_point(P, "P")
    if len(target) != 2 or not 0 < share < 1:
        raise ValueError(
            f"column needs two probabilities P and 0 < share < 1, not share = {share}."
        )
    if off < 1:
        raise ValueError(f"off is {off}; use 1 or more words that never follow.")
    half = (np.log(share) - np.log1p(-share)) / 2
    up, down = height * off / (2 + off), -height * 2 / (2 + off)
    logits = np.array([half + up, -half + up, *[down] * off])
    Q = softmax(logits)
    leak = float(Q[2:].sum())
    shares = float(target @ (np.log(target) - np.log([share, 1 - share])))
    return {"logits": logits, "Q": Q, "leak": leak, "shares": shares,
            "height": float(-np.log1p(-leak)), "onSupport": float(Q[:2].sum())}  # fmt: skip


def certificate(P: Sequence[float], guess: Sequence[float], ridge: float) -> dict[str, Any]:
    """One context of three words: bounds on the ridge optimum from any guess."""
    target, given = _simplex_point(P, "P"), _simplex_point(guess, "guess")
    if len(target) != 3 or len(given) != 3 or given.min() <= 0:
        raise ValueError("certificate needs three words, and a guess that excludes none of them.")
    if not ridge > 0:
        raise ValueError(f"ridge is {ridge}; use a positive number.")
    floor = float(entr(target).sum())
    logits = np.log(given) - np.log(given).mean()
    primal = _cross_entropy(target, logits) + ridge * float(np.linalg.norm(logits)) - floor
    theta = min(1.0, ridge / max(float(np.linalg.norm(target - given)), 1e-300))
    in_disc = target + theta * (given - target)
    dual = max(0.0, float(entr(in_disc).sum()) - floor)  # P itself is dual feasible: the floor
    Q = most_undecided(target, ridge)
    least = float(entr(Q).sum()) - floor  # the minimum: by strong duality the largest entropy
    return {"primal": primal, "dual": dual, "gap": primal - dual, "least": least,
            "inDisc": in_disc, "Q": Q}  # fmt: skip


def most_undecided(P: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """The prediction of highest entropy within `radius` of P, for three words."""
    middle = np.full(3, 1 / 3)
    if np.linalg.norm(P - middle) <= radius:
        return middle
    plane = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])

    def at(angle: float) -> NDArray[np.float64]:
        return P + radius * (np.array([np.cos(angle), np.sin(angle)]) @ plane)

    def value(angle: float) -> float:
        Q = at(angle)
        return float(entr(Q).sum()) if Q.min() >= 0 else -np.inf

    grid = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    best = grid[int(np.argmax([value(angle) for angle in grid]))]
    around = (best - grid[1], best + grid[1])
    found = minimize_scalar(
        lambda angle: -value(angle), bounds=around, method="bounded", options={"xatol": 1e-12}
    )
    return at(float(found.x))


COMPUTATIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "loss": loss, "simplex": simplex, "column": column, "certificate": certificate,
}  # fmt: skip
