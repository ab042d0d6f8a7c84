"""Checkers of the exercises of "Closed forms"."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._common import NoAnswerError, compare, say, value_of

Array = NDArray[np.float64]


def _subsets(V: int, *sizes: int) -> Array:
    chosen = [subset for k in sizes for subset in combinations(range(V), k)]
    S = np.zeros((V, len(chosen)))
    for j, subset in enumerate(chosen):
        S[list(subset), j] = 1
    return S


def _test(S: Array, centred: bool = True, every_vector: bool = False, room: float = 1e-12) -> bool:
    U, s, Rt = np.linalg.svd(S - S.mean(axis=0) * centred, full_matrices=False)
    kept = (s > 1e-10) | every_vector
    return bool(((U[:, kept] @ Rt[kept])[S == 0] <= room).all())


def _supports() -> list[Array]:
    """Two that pass with room, three that fail, a tie, full and repeated columns, low rank."""
    nested = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=float)
    full = np.column_stack([nested, np.ones(4)])
    found = [_subsets(5, 2), _subsets(4, 1), nested, full, np.repeat(nested, [9, 1, 1], axis=1)]
    # Disjoint classes of twin words: low rank, and arbitrary null vectors show themselves.
    found.append(np.repeat(np.repeat(np.eye(3), 3, axis=0), 3, axis=1))
    # The proxy is optimal and the test says no; an entry that is zero; nothing off the support.
    optimal = np.array(
        [[1, 1, 1, 1, 0, 1], [0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0]]
    )
    return [*found, optimal.T.astype(float), np.repeat(nested, [4, 1, 1], axis=1), np.ones((3, 2))]


def proxy_is_certified(answer: Any) -> bool:
    """Accepts the truth of the sufficient test, as a function of S."""
    supports = _supports()
    try:
        got = [bool(value_of(answer, S.copy())) for S in supports]
    except NoAnswerError as reason:
        return say(False, str(reason))
    except (TypeError, ValueError):
        return say(False, "return one truth value for the whole matrix S.")
    wanted = [_test(S) for S in supports]
    if got == wanted:
        return say(True, "and where it says True, U R' is the proof.")
    if got == [_test(S, every_vector=True) for S in supports]:
        return say(False, "leave out singular vectors of zero singular values: they are arbitrary.")
    if got == [not w for w in wanted]:
        return say(False, "this is the opposite; True means no positive entry off the support.")
    if got == [_test(S, room=-1e-12) for S in supports]:
        return say(False, "an entry that is zero up to rounding passes; allow for about 1e-12.")
    if got == [_test(S, centred=False) for S in supports]:
        return say(False, "take the singular vectors of the centred support, not of S.")
    wrong = next(i for i, pair in enumerate(zip(got, wanted, strict=True)) if pair[0] != pair[1])
    return say(False, f"wrong for S =\n{supports[wrong].astype(int)}\nwhere it is {wanted[wrong]}.")


def context_cosines(answer: Any) -> bool:
    """Accepts the cosines of the columns of the centred support, as a function of S."""
    S = _subsets(5, 2, 4)  # sizes k and V - k would have equal lengths

    def cosines(gram: Array) -> Array:
        lengths = np.sqrt(np.diag(gram))
        return gram / np.outer(lengths, lengths)

    k = S.sum(axis=0)
    centred = S - S.mean(axis=0)
    gram = centred.T @ centred
    across = S - S.mean(axis=1, keepdims=True)
    mistakes = {
        "these are inner products; divide by the lengths of both contexts.": gram,
        "these are the overlaps of the supports; subtract what chance gives, k_i k_j / V.": cosines(
            S.T @ S
        ),
        "you centred the rows; centre each context over the tokens.": cosines(across.T @ across),
        "the lengths differ from context to context; do not use one k for all.": gram
        / (k[0] - k[0] ** 2 / 5),
        "the formula for one size does not fit two; use k_i and k_j.": (S.T @ S - k[0] ** 2 / 5)
        / (k[0] - k[0] ** 2 / 5),
        "these are the sizes of the overlaps; subtract k_i k_j / V, then normalise.": S.T @ S,
        "divide by the roots of the diagonal entries.": gram
        / np.outer(np.diag(gram), np.diag(gram)),
        "these are cosines between words; contexts are columns.": cosines(centred @ centred.T),
    }
    success = "overlap minus chance, divided by both lengths."
    return compare(answer, cosines(gram), success, mistakes, arguments=(S.copy(),))


def orthogonal_at(answer: Any) -> bool:
    """Accepts (V^3 / V_1^2 - V_1) / V_2, as a function of (V_1, V_2)."""
    V_1, V_2 = 3, 8
    V = V_1 + V_2
    mistakes = {
        "V_1 and V_2 are exchanged; V_1 counts the common words.": (V**3 / V_2**2 - V_2) / V_1,
        "the root of mu is V / V_1; square it.": (V**2 / V_1 - V_1) / V_2,
        "this is mu; solve mu = (r V_2 + V_1) / V for r.": V**2 / V_1**2,
        "mu has a V in the denominator; multiply by it.": (V**2 / V_1**2 - V_1) / V_2,
    }
    success = "at this imbalance rare words stand at a right angle."
    return compare(answer, (V**3 / V_1**2 - V_1) / V_2, success, mistakes, arguments=(V_1, V_2))


def _not_a_design(S: Array, V: int, k: int) -> str:
    """What keeps S from being such a support, in words; empty where nothing does."""
    case = f"for V = {V} and k = {k}: "
    if S.shape != (V, V):
        return f"{case}the shape is {S.shape}; V words by V contexts are asked for."
    if not np.isin(S, (0, 1)).all():
        return f"{case}there are other entries than 0 and 1."
    wrong_size = np.flatnonzero(S.sum(axis=0) != k)
    if len(wrong_size):
        j = int(wrong_size[0])
        return f"{case}context {j} allows {int(S[:, j].sum())} words."
    together = S @ S.T
    wrong_pair = np.argwhere(np.triu(together != 1, 1))
    if len(wrong_pair):
        z, v = (int(i) for i in wrong_pair[0])
        return f"{case}words {z} and {v} meet {int(together[z, v])} times; once is asked for."
    return ""


def design(answer: Any) -> bool:
    """Accepts supports of V contexts with k of V words, every two words in one, for (V, k)."""
    for k in (3, 4, 5):
        V = k * k - k + 1
        try:
            S = np.asarray(value_of(answer, V, k), dtype=np.float64)
        except NoAnswerError as reason:
            return say(False, str(reason))
        except (TypeError, ValueError):
            return say(False, "return a matrix of zeros and ones.")
        problem = _not_a_design(S, V, k)
        if problem:
            return say(False, problem)
    return say(True, "pair-balanced with c = k - 1: words and contexts are both simplices.")
