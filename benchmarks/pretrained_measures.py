"""What is measured of a pretrained model before any further training, with its baselines.

Each function takes context vectors or logits as arrays; pretrained.py says of which model, text and
context length. Pairs are those of contexts with several next tokens. Vectors are centred.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pretrained_model import contexts_of
from pretrained_training import cosines_of_pairs, kinds_of_pairs
from scipy import sparse
from scipy.special import softmax

import ntp_lite as ntp

Array = NDArray[np.float64]
RESAMPLES = 400
SHUFFLES = 199
EPSILONS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001)


def centred(H: Array) -> Array:
    """Columns minus their mean."""
    return H - H.mean(axis=1, keepdims=True)


def square(pairs: NDArray[Any], count: int) -> Array:
    """Values of the pairs j < j' as a symmetric matrix with zeros on the diagonal."""
    full = np.zeros((count, count))
    full[np.triu_indices(count, 1)] = pairs
    return full + full.T


def interval(values: NDArray[Any]) -> list[float]:
    """The middle 95 per cent."""
    return [float(np.nanquantile(values, q)) for q in (0.025, 0.975)]


def by_kind(H: Array, labels: ntp.SoftLabels, seed: int = 0) -> dict[str, Any]:
    """Mean cosine of each kind of pair, with a bootstrap over contexts.

    A resample draws contexts with replacement: context j counts w_j times, a pair w_i w_j times.
    """
    several, kinds = kinds_of_pairs(labels)
    cosines = cosines_of_pairs(H, several)
    count = len(several)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)
    full = square(cosines, count)
    resampled: dict[str, Array] = {}
    found: dict[str, Any] = {}
    for kind, chosen in kinds.items():
        mask = square(chosen, count)
        sums = ((weights @ (mask * full)) * weights).sum(axis=1)
        sizes = ((weights @ mask) * weights).sum(axis=1)
        resampled[kind] = sums / np.maximum(sizes, 1)
        members = mask.any(axis=0).sum()
        found[kind] = {
            "mean": float(cosines[chosen].mean()) if chosen.any() else None,
            "interval": interval(resampled[kind]),
            "pairs": int(chosen.sum()),
            "contexts": int(members),
        }
    lead = resampled["same support, other last"] - resampled["other support, other last"]
    found["lead of the support, other last"] = {
        "mean": found["same support, other last"]["mean"]
        - found["other support, other last"]["mean"],
        "interval": interval(lead),
    }
    return found


def mean_by_kind(H: Array, labels: ntp.SoftLabels) -> dict[str, float]:
    """The means alone."""
    several, kinds = kinds_of_pairs(labels)
    cosines = cosines_of_pairs(H, several)
    return {kind: float(cosines[chosen].mean()) for kind, chosen in kinds.items() if chosen.any()}


def overlaps(labels: ntp.SoftLabels, several: NDArray[np.intp]) -> Array:
    """Jaccard overlap of the supports of contexts, (n, n): shared next tokens over all of both."""
    S = labels.S[:, several].toarray()
    common = S.T @ S
    return common / (S.sum(axis=0)[:, None] + S.sum(axis=0) - common)


def shuffled(
    H: Array, labels: ntp.SoftLabels, within_last: bool, shuffles: int = SHUFFLES, seed: int = 0
) -> dict[str, Any]:
    """Supports dealt out anew, among all contexts or among those with the same last token.

    Four statistics. Of equal supports: the mean cosine of pairs with other last tokens; and among
    pairs with the same last token, the mean with equal minus the mean with other supports. Of all
    supports: the correlation of the cosine with the overlap of the supports, among pairs with
    other last tokens and among pairs with the same. Dealing within a last token keeps how many
    pairs are of either kind, and whatever the last tokens explain.
    """
    several = np.flatnonzero(labels.support_sizes >= 2)
    full = square(cosines_of_pairs(H, several), len(several))
    classes, last = labels.support_classes[several], contexts_of(labels)[several, -1]
    groups = last if within_last else np.zeros(len(several), dtype=int)
    places = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    movable = sum(len(place) for place in places if len(np.unique(classes[place])) > 1)
    rng = np.random.default_rng(seed)
    upper = np.triu_indices(len(several), 1)
    same_last = np.equal.outer(last, last)[upper]
    cosines, overlap = full[upper], overlaps(labels, several)

    def statistics(order: NDArray[np.intp]) -> list[float]:
        same = np.equal.outer(classes[order], classes[order])[upper]
        shared = overlap[np.ix_(order, order)][upper]
        return [
            float(cosines[same & ~same_last].mean()),
            lead(cosines[same & same_last], cosines[~same & same_last]),
            correlation(cosines[~same_last], shared[~same_last]),
            correlation(cosines[same_last], shared[same_last]),
        ]

    in_order = np.arange(len(several))
    observed = statistics(in_order)
    dealt_values = []
    for _ in range(shuffles):
        order = in_order.copy()
        for place in places:
            order[place] = rng.permutation(place)
        dealt_values.append(statistics(order))
    table = np.array(dealt_values)
    as_large = (table >= np.array(observed) - 1e-12).sum(axis=0)
    names = (
        "equal supports, other last",
        "lead of equal supports, same last",
        "overlap, other last",
        "overlap, same last",
    )
    return {
        "contexts": len(several),
        "movable": int(movable),
        **{
            name: {
                "observed": observed[i],
                "dealt": float(np.nanmean(table[:, i])),
                "dealt, interval": interval(table[:, i]),
                "dealt, largest": float(np.nanmax(table[:, i])),
                "p_value": float((1 + as_large[i]) / (1 + shuffles)),
            }
            for i, name in enumerate(names)
        },
    }


def lead(first: Array, second: Array) -> float:
    """Difference of the means; NaN where a deal leaves no pair of the first kind."""
    return float(first.mean() - second.mean()) if len(first) else float("nan")


def correlation(x: Array, y: Array) -> float:
    """Pearson's; 0 where nothing varies, as among equal vectors."""
    if x.std() < 1e-9 or y.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def otherwise_centred(H: Array) -> dict[str, Array]:
    """The same vectors, made comparable in other ways."""
    deviations = H.std(axis=1, keepdims=True)
    U = np.linalg.svd(centred(H), full_matrices=False)[0][:, :3]
    return {
        "coordinates standardised": centred(H) / np.where(deviations > 0, deviations, 1.0),
        "three leading directions removed": centred(H) - U @ (U.T @ centred(H)),
    }


def not_centred(H: Array, labels: ntp.SoftLabels) -> dict[str, float]:
    """Mean cosines by kind of the vectors as they are."""
    several, kinds = kinds_of_pairs(labels)
    cosines = ntp.cosine_similarity(H[:, several])[np.triu_indices(len(several), 1)]
    return {kind: float(cosines[chosen].mean()) for kind, chosen in kinds.items()}


# ---------------------------------------------------------------- what could explain it instead


def ppmi(numbers: NDArray[np.int64], V: int, window: int = 2) -> Array:
    """Positive pointwise mutual information of tokens within so many places, (V, V)."""
    counts = sparse.csr_array((V, V), dtype=float)
    for gap in range(1, window + 1):
        pairs = (np.ones(len(numbers) - gap), (numbers[:-gap], numbers[gap:]))
        together = sparse.coo_array(pairs, shape=(V, V)).tocsr()
        counts = counts + together + together.T
    totals = np.asarray(counts.sum(axis=1)).ravel()
    dense = counts.toarray() * totals.sum() / np.outer(totals, totals)
    return np.log(np.maximum(dense, 1.0))


def explanations(
    labels: ntp.SoftLabels, numbers: NDArray[np.int64], word_vectors: Array
) -> dict[str, Array]:
    """For each pair of contexts, what else could make them alike, as numbers."""
    several = np.flatnonzero(labels.support_sizes >= 2)
    pairs = np.triu_indices(len(several), 1)
    contexts = contexts_of(labels)[several]
    words = ppmi(numbers, labels.V)
    size = np.log(labels.support_sizes[several])
    often = np.log(labels.pi[several] * labels.n)

    def cosines(vectors: Array) -> Array:
        return ntp.cosine_similarity(centred(vectors))[pairs]

    found = {
        "input vectors of the last tokens": cosines(word_vectors[contexts[:, -1]].T),
        "input vectors of the whole windows": cosines(word_vectors[contexts].mean(axis=1).T),
        "PPMI of the last tokens": cosines(words[contexts[:, -1]].T),
        "PPMI of the whole windows": cosines(words[contexts].mean(axis=1).T),
        "other frequency": np.abs(np.subtract.outer(often, often))[pairs],
        "frequency": np.add.outer(often, often)[pairs],
        "other number of next tokens": np.abs(np.subtract.outer(size, size))[pairs],
        "number of next tokens": np.add.outer(size, size)[pairs],
    }
    for place in range(contexts.shape[1] - 1):
        tokens = contexts[:, place]
        found[f"same token at place {place + 1}"] = np.equal.outer(tokens, tokens)[pairs] * 1.0
    return found


def explained(
    H: Array, labels: ntp.SoftLabels, others: dict[str, Array], resamples: int = 40, seed: int = 0
) -> dict[str, Any]:
    """What shared next tokens add to the cosine, beside everything in `others`.

    Least squares of the cosine on the overlap of the supports, from 0 to 1, alone and beside all
    others; among pairs with other last tokens and among pairs with the same one, where each last
    token has a level of its own. Intervals by a bootstrap over contexts.
    """
    several = np.flatnonzero(labels.support_sizes >= 2)
    count = len(several)
    pairs = np.triu_indices(count, 1)
    last = contexts_of(labels)[several, -1]
    same_last = np.equal.outer(last, last)[pairs]
    cosines, overlap = cosines_of_pairs(H, several), overlaps(labels, several)[pairs]
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    found: dict[str, Any] = {}
    for name, chosen in (("other last", ~same_last), ("same last", same_last)):
        i, j = pairs[0][chosen], pairs[1][chosen]
        controls = standardised(np.stack([value[chosen] for value in others.values()], axis=1))
        y, target = cosines[chosen], overlap[chosen]
        if name == "same last":
            y, target, controls = (within_groups(x, last[i]) for x in (y, target, controls))
        for label, columns in (
            ("alone", target[:, None]),
            ("beside all others", np.column_stack([target, controls])),
        ):
            columns = np.column_stack([columns, np.ones(len(y))])
            values = [_first_coefficient(columns, y, np.ones(len(y)))]
            for draw in draws:
                weight = (draw[i] * draw[j]).astype(float)
                values.append(_first_coefficient(columns, y, weight))
            found[f"{name}, {label}"] = {
                "mean": values[0],
                "interval": interval(np.array(values[1:])),
            }
        found[f"{name}, pairs"] = int(chosen.sum())
        found[f"{name}, correlations"] = {
            other: correlation(value[chosen], cosines[chosen]) for other, value in others.items()
        } | {"overlap of supports": correlation(overlap[chosen], cosines[chosen])}
    return found


def standardised(columns: Array) -> Array:
    """Mean 0 and deviation 1 in each column that varies."""
    deviation = columns.std(axis=0)
    return (columns - columns.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


def within_groups(values: Array, groups: NDArray[Any]) -> Array:
    """Values minus the mean of their group."""
    _, index, size = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(size), *values.shape[1:]))
    np.add.at(sums, index, values)
    size = size.reshape(-1, *[1] * (values.ndim - 1))
    return values - (sums / size)[index]


def _first_coefficient(columns: Array, y: Array, weight: Array) -> float:
    weighted = columns * weight[:, None]
    solution = np.linalg.lstsq(weighted.T @ columns, weighted.T @ y, rcond=None)[0]
    return float(solution[0])


def nothing_shared(H: Array, labels: ntp.SoftLabels) -> dict[str, Any]:
    """Pairs with no token in common, in any place, and equally many next tokens."""
    several, kinds = kinds_of_pairs(labels)
    pairs = np.triu_indices(len(several), 1)
    bags = np.zeros((len(several), labels.V))
    bags[np.arange(len(several))[:, None], contexts_of(labels)[several]] = 1.0
    size = labels.support_sizes[several]
    strict = (bags @ bags.T == 0)[pairs] & np.equal.outer(size, size)[pairs]
    cosines = cosines_of_pairs(H, several)
    found = {}
    for kind in ("same support, other last", "other support, other last"):
        chosen = kinds[kind] & strict
        mean = float(cosines[chosen].mean()) if chosen.any() else None
        found[kind] = {"mean": mean, "pairs": int(chosen.sum())}
    return found


# ---------------------------------------------------------------- logits


def effective_supports(L: Array, labels: ntp.SoftLabels, seed: int = 0) -> list[dict[str, float]]:
    """The smallest sets with mass 1 - eps, beside the supports that the text has.

    Overlap (Jaccard) of the effective support of context j with S_j; with S_i of another context
    with the same last token; with S_i of any other context.
    """
    Q = softmax(L, axis=0)
    order = np.argsort(-Q, axis=0)
    mass = np.cumsum(np.take_along_axis(Q, order, axis=0), axis=0)
    several = np.flatnonzero(labels.support_sizes >= 2)
    last = contexts_of(labels)[:, -1]
    rng = np.random.default_rng(seed)
    any_other = rng.permutation(several)
    alike = []
    for j in several:
        others = several[(last[several] == last[j]) & (several != j)]
        alike.append(rng.choice(others) if len(others) else -1)
    alike_of = np.array(alike)
    S = labels.S.toarray().astype(bool)
    rows = []
    for eps in EPSILONS:
        size = (mass < 1 - eps).sum(axis=0) + 1
        ranks = np.argsort(order, axis=0)
        effective = ranks < size

        def overlap(owners: NDArray[Any], targets: NDArray[Any], E: Any = effective) -> float:
            both = (E[:, owners] & S[:, targets]).sum(axis=0)
            either = (E[:, owners] | S[:, targets]).sum(axis=0)
            return float((both / either).mean())

        paired = alike_of >= 0
        covered = (effective & S).sum(axis=0)[several] / S.sum(axis=0)[several]
        rows.append(
            {
                "eps": eps,
                "mean size": float(size[several].mean()),
                "share of the support covered": float(covered.mean()),
                "overlap": overlap(several, several),
                "overlap, same last": overlap(several[paired], alike_of[paired]),
                "overlap, any": overlap(several, any_other),
            }
        )
    return rows


def first_of(values: NDArray[Any], count: int = 1100) -> list[float]:
    """Singular values, rounded."""
    return [float(f"{value:.4g}") for value in values[:count]]


def rank_for(values: NDArray[Any], share: float) -> int:
    """How many singular values hold this share of the squares."""
    energy = np.cumsum(np.square(values)) / np.square(values).sum()
    return int((energy < share).sum() + 1)
