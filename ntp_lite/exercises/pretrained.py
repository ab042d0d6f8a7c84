"""Checkers of the exercises of "A pretrained language model"."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._common import NoAnswerError, compare, say, value_of


def solution_resampled_mean(cosines: Any, chosen: Any, times: Any) -> float:
    """A pair counts times_i times_j; a context makes no pair with its own copies."""
    weights = np.outer(times, times) * chosen
    np.fill_diagonal(weights, 0)
    return float((weights * cosines).sum() / weights.sum())


def resampled_mean(answer: Any) -> bool:
    """Accepts the mean over the pairs of a resample of contexts.

    The answer is a function of cosines (n, n), chosen (n, n) booleans and times (n,), how often
    each context was drawn.
    """
    rng = np.random.default_rng(31)
    n = 7
    raw = rng.uniform(-1, 1, size=(n, n))
    cosines = (raw + raw.T) / 2
    np.fill_diagonal(cosines, 1.0)
    groups = np.array([0, 0, 1, 1, 0, 1, 0])
    chosen = np.equal.outer(groups, groups)
    times = np.array([2, 0, 1, 1, 3, 0, 1])
    right = solution_resampled_mean(cosines, chosen, times)
    weights = np.outer(times, times) * chosen
    apart = ~np.eye(n, dtype=bool)
    sums = np.add.outer(times, times) * chosen * apart
    drawn = times > 0
    once = np.outer(drawn, drawn) * chosen * apart
    mistakes = {
        "a context makes no pair with itself or its copies: leave the diagonal out.": (
            (weights * cosines).sum() / weights.sum()
        ),
        "a pair is there times_i * times_j times, not times_i + times_j.": (
            (sums * cosines).sum() / sums.sum()
        ),
        "a context that was drawn three times counts three times.": (
            (once * cosines).sum() / once.sum()
        ),
        "this is the mean without any resampling; `times` was not used.": (
            cosines[chosen & apart].mean()
        ),
        "this is the sum; divide by the sum of the weights.": (weights * apart * cosines).sum(),
        "divide by the sum of the weights, not by the number of pairs.": (
            (weights * apart * cosines).sum() / (chosen & apart).sum()
        ),
    }
    success = "an interval over contexts is wider than one over pairs, and honest."
    arguments = (cosines.copy(), chosen.copy(), times.copy())
    return compare(answer, right, success, mistakes, arguments=arguments)


def solution_effective_support(q: Any, eps: float) -> Any:
    """Take words by falling probability until their mass is at least 1 - eps."""
    order = np.argsort(-q, kind="stable")
    before = np.cumsum(q[order]) - q[order]
    inside = np.zeros(len(q), dtype=bool)
    inside[order[before < 1 - eps]] = True
    return inside


def effective_support(answer: Any) -> bool:
    """Accepts the smallest set with mass at least 1 - eps, as booleans.

    The answer is a function of q (V,), positive probabilities, and eps.
    """
    q = np.array([0.11, 0.3, 0.05, 0.24, 0.12, 0.18])
    eps = 0.2
    right = solution_effective_support(q, eps)
    order = np.argsort(-q)
    mass = np.cumsum(q[order])
    one_few = np.zeros(6, dtype=bool)
    one_few[order[mass < 1 - eps]] = True
    rare_first = np.zeros(6, dtype=bool)
    rare_first[order[::-1][: int((np.cumsum(q[order[::-1]]) < 1 - eps).sum()) + 1]] = True
    other_mass = solution_effective_support(q, 1 - eps)
    sizes = np.where(right, q, 0.0)
    mistakes = {
        "the set just misses the mass: the word that crosses 1 - eps belongs to it.": one_few,
        "this is a threshold on single probabilities; add them up, from the largest down.": q > eps,
        "this keeps what is above eps of the largest; add probabilities up.": q >= eps * q.max(),
        "the mass should be 1 - eps, and this set has eps.": other_mass,
        "begin with the most probable word, not with the least.": rare_first,
        "return True and False, one for each word, not the probabilities.": sizes,
        "this is how many words the set has; return which.": right.sum(),
    }
    success = "unlike a support, it always depends on eps."
    return compare(answer, right, success, mistakes, arguments=(q.copy(), eps))


def solution_lead_of_support(H: Any, classes: Any, last: Any) -> float:
    """Mean cosine with equal supports minus the mean with other supports, last token shared."""
    centred = H - H.mean(axis=1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=0)
    cosines = unit.T @ unit
    pairs = np.triu(np.equal.outer(last, last), 1)
    same = np.equal.outer(classes, classes)
    return float(cosines[pairs & same].mean() - cosines[pairs & ~same].mean())


def lead_of_support(answer: Any) -> bool:
    """Accepts how much more alike contexts of one last token are if their supports are equal.

    The answer is a function of H (d, n), classes (n,) and last (n,).
    """
    rng = np.random.default_rng(8)
    H = rng.normal(size=(5, 12)) + 2.0
    classes = np.array([0, 0, 1, 1, 2, 0, 1, 2, 2, 0, 1, 2])
    last = np.array([4, 4, 4, 4, 4, 4, 7, 7, 7, 7, 7, 7])
    H[0] += classes
    right = solution_lead_of_support(H, classes, last)

    def difference(X: Any, pairs: Any) -> float:
        same = np.equal.outer(classes, classes)
        return float(X[pairs & same].mean() - X[pairs & ~same].mean())

    centred = H - H.mean(axis=1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=0)
    raw = H / np.linalg.norm(H, axis=0)
    by_column = H - H.mean(axis=0)
    by_column = by_column / np.linalg.norm(by_column, axis=0)
    same_last = np.equal.outer(last, last)
    upper = np.triu(same_last, 1)
    mistakes = {
        "subtract the mean context vector first: H - H.mean(axis=1, keepdims=True).": difference(
            raw.T @ raw, upper
        ),
        "wrong axis: the mean is over contexts, the columns.": difference(
            by_column.T @ by_column, upper
        ),
        "these are inner products; divide by the lengths for cosines.": difference(
            centred.T @ centred, upper
        ),
        "a context is no pair with itself: take pairs j < j' alone.": difference(
            unit.T @ unit, same_last
        ),
        "this compares contexts of all last tokens; keep pairs with one last token.": difference(
            unit.T @ unit, np.triu(np.ones_like(same_last), 1)
        ),
        "this compares contexts with different last tokens; keep the pairs that share it.": (
            difference(unit.T @ unit, np.triu(~same_last, 1))
        ),
        "wrong sign: equal supports first.": -right,
    }
    success = "the last token cannot explain this number: both means have it in common."
    arguments = (H.copy(), classes.copy(), last.copy())
    return compare(answer, right, success, mistakes, arguments=arguments)


TEXTS = ("the cat sat on the", "sam saw the big dog in the mud .", "the pig")


def own_model(answer: Any) -> bool:
    """Accepts a model read as words and contexts, whose product is the model's own logits.

    The answer is a function of a list of texts. It returns W (V, d), H (d, number of texts) and the
    model's logits (V, number of texts) for the token after each text. What a model does besides is
    named: a bias, a scale, a soft cap; and texts that disturb each other, as padding can.
    """
    texts = list(TEXTS)
    try:
        W, H, logits = _three(value_of(answer, texts))
        alone = _three(value_of(answer, texts[-1:]))[2]
    except NoAnswerError as reason:
        return say(False, str(reason))
    except (TypeError, ValueError):
        return say(False, "return three matrices of numbers: W, H, and the logits.")
    complaint = _shapes(W, H, logits, len(texts))
    if complaint:
        return say(False, complaint)
    L = W @ H
    if not _close(L, logits):
        return say(False, _besides(L, logits))
    if alone.shape != (len(W), 1) or not _close(alone, logits[:, -1:]):
        return say(
            False,
            "a text has other logits alone than beside longer ones: the padding is read. Take the "
            "state of the last token that is not padding, or read one text at a time.",
        )
    return say(True, f"W H are the model's logits, of rank {W.shape[1]} = d at most.")


def _three(value: Any) -> tuple[Any, Any, Any]:
    """W, H and logits in float64."""
    if not isinstance(value, tuple | list) or len(value) != 3:
        raise TypeError
    W, H, logits = (np.asarray(_plain(part), dtype=np.float64) for part in value)
    return W, H, logits


def _plain(part: Any) -> Any:
    """Tensors of every type as numpy can read them."""
    return part.detach().double().cpu().numpy() if hasattr(part, "detach") else part


def _shapes(W: Any, H: Any, logits: Any, count: int) -> str:
    """What is wrong with the shapes, or an empty text."""
    if any(x.ndim != 2 for x in (W, H, logits)):
        return "W, H and the logits are matrices: (V, d), (d, m) and (V, m)."
    if not all(np.isfinite(x).all() for x in (W, H, logits)):
        return "there are NaN or infinite entries; load the model in float32."
    if H.shape == (count, W.shape[1]) and count != W.shape[1]:
        return f"H has shape {H.shape}; contexts are columns, so transpose it."
    if H.shape != (W.shape[1], count):
        return f"W is {W.shape}, so H of {count} texts is {(W.shape[1], count)}, not {H.shape}."
    if logits.shape == (count, len(W)) and count != len(W):
        return f"the logits have shape {logits.shape}; words are rows, so transpose them."
    if logits.shape != (len(W), count):
        return f"the logits have shape {logits.shape}, and W H has {(len(W), count)}: other words?"
    return ""


def _close(L: Any, logits: Any) -> bool:
    return bool(np.abs(L - logits).max() <= 1e-3 * max(1.0, np.abs(logits).max()))


def _besides(L: Any, logits: Any) -> str:
    """What lies between W H and the logits, if it is something that models are known to do."""
    rest = logits - L
    if _close(L + rest.mean(axis=1, keepdims=True), logits):
        return "the output layer has a bias: give H a coordinate that is 1, and W the bias column."
    scale = float((L * logits).sum() / max((L * L).sum(), 1e-300))
    if _close(scale * L, logits):
        return f"the logits are {scale:.4g} times W H: this model scales them; scale W."
    cap = _cap(L, logits)
    if cap:
        return f"the logits are {cap:.3g} tanh(W H / {cap:.3g}): this model caps them; undo it."
    return (
        "W H are not the logits. Is H taken before the last norm, or at another position, or W "
        "the input matrix of a model that does not tie the two?"
    )


def _cap(L: Any, logits: Any) -> float:
    """The c of logits = c tanh(L / c), or 0."""
    for cap in (15.0, 20.0, 30.0, 50.0):
        if _close(cap * np.tanh(L / cap), logits):
            return cap
    return 0.0
