"""What can be measured of a model, by name or one at a time.

`standard_metrics` hands `fit` functions of (L, W, H) by name. The rest are the measures of the
neural-collapse literature, for both notions of class that next-token prediction has: the next
token, and the set of next tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.linalg import norm
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial.distance import cdist, pdist
from scipy.special import gammaln, softmax

from ._validate import as_array, as_matrix, as_size, check_logits
from .certificate import certify_ridge
from .constraints import centered_support
from .efficiency import NormEfficiency, norm_efficiency
from .geometry import support_collapse, word_context_factors
from .in_support import in_support_logits, split_logits
from .linalg import effective_rank, singular_values, svd_values
from .soft_labels import SoftLabels, as_labels

Array: TypeAlias = NDArray[np.float64]
Metrics: TypeAlias = dict[str, Callable[[Array, Array, Array], Any]]  # of L, W, H; numbers
NotionOfClass: TypeAlias = Literal["next token", "support"]

# Cheap, and all that the theory itself asks for: what `standard_metrics` gives without names.
DEFAULT_METRICS = (
    "norm_W", "norm_H", "in_support_error", "collapse", "operator_norm", "alignment",
    "cosine_proxy", "relative_gap", "cosine_mm", "gram_words", "gram_contexts",
)  # fmt: skip
NULL_EIGENVALUE = 1e-10  # of a covariance, relative to its largest: taken as 0 in its inverse
SHARE_OF_SQUARES = 0.99  # held by the singular values to which a slope is fitted
FEWEST = 3  # singular values for a slope: two always lie on a line


# ---------------------------------------------------------------- neural collapse


@dataclass(frozen=True)
class NeuralCollapse:
    """The published measures of neural collapse, for classes c = 1 ... C of contexts.

    With class means mu_c, their mean mu_G (every class counts once), unit vectors u_c along
    mu_c - mu_G, class vectors w_c (see `neural_collapse`), pairs c < c':

    nc1 : tr(Sigma_W pinv(Sigma_B)) / C, within- against between-class covariance; 0 = collapsed.
        The inverse weighs directions in which the means hardly differ most: read cdnv beside it.
    cdnv : mean over pairs of (var_c + var_c') / (2 |mu_c - mu_c'|^2), the class-distance
        normalised variance; 0 = collapsed, infinite if two means coincide.
    equinorm_means, equinorm_words : standard deviation over mean of |mu_c - mu_G|, of |w_c|; 0 if
        all lengths are equal (NC2).
    equiangular : standard deviation of <u_c, u_c'> over the pairs; 0 if all angles are equal (NC2).
    maximal_angle : mean over pairs of |<u_c, u_c'> + 1/(C-1)|; 0 for a simplex (NC2).
    uniformity : mean over pairs of -ln |u_c - u_c'|, least where points spread evenly over the
        sphere (GNC2). uniformity_variation : standard deviation over |mean| of the same.
    self_duality : |w/|w| - (mu - mu_G)/|mu - mu_G||^2 for the matrices of all classes, 0 to 4; 0 if
        they are proportional (NC3). duality_cosine, duality_spread : mean and standard deviation
        over classes of cos(w_c, mu_c - mu_G); the spread is what "uniform duality" (UNC3) asks of.
    agreement : share of positions where classifier and nearest class mean decide alike (NC4).
    classes : C. contexts : how many enter. Where C < 2, measures are NaN.

    Sources: Papyan, Han and Donoho 2020 (NC1 to NC4); Galanti, Gyorgy and Hutter 2022 (CDNV); Liu
    et al. 2023 (uniformity); Wu and Papyan 2024 (language models, UNC3).
    """

    nc1: float
    cdnv: float
    equinorm_means: float
    equinorm_words: float
    equiangular: float
    maximal_angle: float
    uniformity: float
    uniformity_variation: float
    self_duality: float
    duality_cosine: float
    duality_spread: float
    agreement: float
    classes: int
    contexts: int


def neural_collapse(
    W: ArrayLike, H: ArrayLike, labels: SoftLabels, classes: NotionOfClass = "next token"
) -> NeuralCollapse:
    """NC1 to NC4 and their relatives for words W (V, d) and contexts H (d, m).

    Two notions of class, both over the n training positions, as in the literature. With
    classes = "next token" position i has the vector of its context and the class of its token: a
    context with several next tokens stands in several classes, so unless all k_j = 1 no model that
    learns the frequencies can reach 0. The class vector w_c is the token's row of W. With
    classes = "support" the class is the set S_j of next tokens, and w_c is the sum of the vectors
    of its words; classifier and nearest mean agree where the words of the nearest mean's set have
    larger logits than all others.

    Rows of W are centred first (no probability notices). Only classes with at least two contexts
    enter: others cannot vary. Raises ValueError for shapes that do not fit, NaN or infinity, or
    another `classes`.
    """
    words, contexts = _check_factors(W, H, labels)
    if classes == "next token":
        members = sparse.csr_array(labels.N)
        owners = np.arange(labels.V)
    elif classes == "support":
        class_of = labels.support_classes
        first, class_of = np.unique(class_of, return_index=True, return_inverse=True)[1:]
        positions = np.rint(labels.pi * labels.n)
        members = sparse.csr_array((positions, (class_of, np.arange(labels.m))))
        owners = first  # a context of each class: its support is the set
    else:
        raise ValueError(f"classes is {classes!r}; use 'next token' or 'support'.")
    chosen = np.diff(members.indptr) >= 2
    members, owners = sparse.coo_array(members[chosen]), owners[chosen]
    sets = _sets_of_words(labels, classes, owners)
    return _measure(words, contexts, members, sets)


def _sets_of_words(labels: SoftLabels, classes: NotionOfClass, owners: NDArray) -> NDArray:
    """(V, C) booleans: which words make up each class vector."""
    if classes == "next token":
        return np.equal.outer(np.arange(labels.V), owners)
    return labels.S[:, owners].toarray() > 0


def _measure(
    words: Array, contexts: Array, members: sparse.coo_array, sets: NDArray[np.bool_]
) -> NeuralCollapse:
    """All measures; members[c, j] positions of context j belong to class c."""
    count, columns = members.shape[0], members.col
    entered = np.unique(columns)
    if count < 2:
        missing = dict.fromkeys(NeuralCollapse.__annotations__, float("nan"))
        return NeuralCollapse(**missing | {"classes": count, "contexts": len(entered)})
    size = members.sum(axis=1)
    means = (members @ contexts.T) / size[:, None]
    deviations = contexts.T[columns] - means[members.row]
    squares = members.data * np.square(deviations).sum(axis=1)
    variances = np.bincount(members.row, squares, count) / size
    within = deviations.T @ (deviations * (members.data / size.sum())[:, None])
    centred = means - means.mean(axis=0)
    between = centred.T @ centred / count
    inverse = np.linalg.pinv(between, rcond=NULL_EIGENVALUE, hermitian=True)
    first, second = np.triu_indices(count, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (variances[first] + variances[second]) / (2 * pdist(means, "sqeuclidean"))
        energies = -np.log(pdist(_unit_rows(centred)))
    directions = _unit_rows(centred)
    cosines = (directions @ directions.T)[first, second]
    class_vectors = sets.T.astype(np.float64) @ words
    duality = (_unit_rows(class_vectors) * directions).sum(axis=1)
    weight = members.sum(axis=0)[entered]
    agree = _decide_alike(words, contexts[:, entered], means, sets)
    return NeuralCollapse(
        nc1=float((within * inverse).sum() / count),
        cdnv=float(np.where(np.isnan(ratios), np.inf, ratios).mean()),
        equinorm_means=_variation(norm(centred, axis=1)),
        equinorm_words=_variation(norm(class_vectors, axis=1)),
        equiangular=float(cosines.std()),
        maximal_angle=float(np.abs(cosines + 1 / (count - 1)).mean()),
        uniformity=float(energies.mean()),
        uniformity_variation=_variation(energies),
        self_duality=float(np.square(_unit(class_vectors) - _unit(centred)).sum()),
        duality_cosine=float(duality.mean()),
        duality_spread=float(duality.std()),
        agreement=float(weight[agree].sum() / weight.sum()),
        classes=count,
        contexts=len(entered),
    )


def _decide_alike(words: Array, contexts: Array, means: Array, sets: NDArray) -> NDArray[np.bool_]:
    """Per context: does the classifier put the set of the nearest class mean above all others?

    Only words of some class compete, so that one-word classes are compared among themselves.
    """
    nearest = cdist(contexts.T, means, "sqeuclidean").argmin(axis=1)
    logits = words @ contexts
    mine = sets[:, nearest]
    competing = np.asarray(sets.any(axis=1))
    others = ~mine & competing[:, None]
    least = np.where(mine, logits, np.inf).min(axis=0)
    return least > np.where(others, logits, -np.inf).max(axis=0)


def soft_self_duality(W: ArrayLike, H: ArrayLike, labels: SoftLabels) -> Array:
    """(m,) cosines between h_j and the sum of the vectors of its support's words.

    Self-duality for soft labels: with one next token per context it is the cosine of NC3. Rows
    of W are centred, so the sum over all words is 0: a context that allows every word has no
    direction to follow and gets NaN, as does a context vector that is 0. At a minimiser with ridge
    on balanced factors h_j = W' G_j / ridge exactly: a weighted sum of the support's words, minus
    one of the others. Shapes W (V, d), H (d, m). Raises ValueError if they do not fit.
    """
    words, contexts = _check_factors(W, H, labels)
    sums = labels.S.T @ words
    sums[labels.support_sizes == labels.V] = 0.0
    lengths = norm(sums, axis=1) * norm(contexts, axis=0)
    inner = (sums * contexts.T).sum(axis=1)
    return np.divide(inner, lengths, out=np.full(labels.m, np.nan), where=lengths > 0)


# ---------------------------------------------------------------- permutation test


@dataclass(frozen=True)
class CollapseTest:
    """Is within / total variability smaller than with support classes dealt out at random?

    value : observed, 0 = collapsed. permuted : its mean over the shuffles.
    p_value : share of the shuffles, the observed order included, with a value at most as large.
    contexts : how many the value rests on. movable : how many of them a shuffle can give another
        class. arrangements : how many different shuffles there are, as a float.
    exact : all arrangements were listed; otherwise shuffles were drawn at random.
    smallest_p : the least p value that any X could have. Where it is large, or few contexts can
        move, the test has no power: a large p value says nothing.
    """

    value: float
    permuted: float
    p_value: float
    contexts: int
    movable: int
    arrangements: float
    exact: bool
    smallest_p: float

    def __str__(self) -> str:
        values = f"within / total {self.value:.4g}, shuffled {self.permuted:.4g}"
        power = f"{self.movable} of {self.contexts} contexts can move"
        return f"{values}, p = {self.p_value:.3g} (at least {self.smallest_p:.2g}; {power})"


def collapse_test(
    X: ArrayLike, labels: SoftLabels, groups: ArrayLike | None = None,
    several_tokens: bool = True, shuffles: int = 999, seed: int = 0,
) -> CollapseTest:  # fmt: skip
    """Permutation test of `support_collapse` for X (d, m), within groups of contexts.

    groups : (m,) labels; classes are dealt among the contexts of one group only, which keeps
        whatever the group explains. With the last token of each context as group, the baseline is
        what a model gets that looks at the last token alone. None: one group.
    several_tokens : contexts with k_j >= 2; False: with k_j = 1. Of these, the ones whose support
        class has at least two members enter, as in `support_collapse`.

    The number of arrangements is the product over groups of (size)! / product over classes of
    (members in the group)!. Values are NaN, and smallest_p is 1, where no context enters. Raises
    ValueError for other shapes, or shuffles < 1. Book: transformers.
    """
    as_labels(labels)
    columns = as_matrix(X, "X").T
    if len(columns) != labels.m:
        raise ValueError(f"X has shape {columns.T.shape}; give (d, m), m = {labels.m} columns.")
    given = np.zeros(labels.m) if groups is None else as_array(groups, "groups", dtype=None)
    if given.shape != (labels.m,):
        raise ValueError(f"groups has shape {given.shape}, not (m,) = ({labels.m},).")
    shuffles = as_size(shuffles, "shuffles")
    shared = np.bincount(labels.support_classes)[labels.support_classes] > 1
    chosen = shared & ((labels.support_sizes > 1) == several_tokens)
    rows = columns[chosen] - columns[chosen].mean(axis=0) if chosen.any() else columns[:0]
    classes = np.unique(labels.support_classes[chosen], return_inverse=True)[1]
    places = [np.flatnonzero(given[chosen] == group) for group in np.unique(given[chosen])]
    movable, log_arrangements = _mobility(classes, places)
    with np.errstate(over="ignore"):
        arrangements = float(np.exp(log_arrangements))
    exact = arrangements <= shuffles + 0.5  # a whole number, but for roundings
    value = _within_share(rows, classes)
    if exact:
        orders = _all_orders(classes, places)
        smallest = 1 / arrangements
    else:
        rng = np.random.default_rng(as_size(seed, "seed", minimum=0))
        orders = _random_orders(classes, places, shuffles, rng)
        smallest = 1 / (1 + shuffles)
    permuted = np.array([_within_share(rows, order) for order in orders])
    as_small = permuted <= value * (1 + 1e-12)  # ties are ties, whatever the rounding
    return CollapseTest(
        value=value,
        permuted=float(permuted.mean()),
        p_value=float("nan") if np.isnan(value) else float(as_small.mean()),
        contexts=len(rows),
        movable=movable,
        arrangements=arrangements,
        exact=exact,
        smallest_p=smallest,
    )


def _random_orders(
    classes: NDArray, places: list[NDArray], shuffles: int, rng: np.random.Generator
) -> Iterator[NDArray]:
    """The observed order, then classes dealt out at random within each group."""
    yield classes
    for _ in range(shuffles):
        dealt = classes.copy()
        for place in places:
            dealt[place] = rng.permutation(dealt[place])
        yield dealt


def _all_orders(classes: NDArray, places: list[NDArray]) -> Iterator[NDArray]:
    """Every way to deal the classes out within each group."""
    choices = [list(_distinct_orders(tuple(sorted(classes[place])))) for place in places]
    for chosen in product(*choices):
        dealt = classes.copy()
        for place, order in zip(places, chosen, strict=True):
            dealt[place] = order
        yield dealt


def _distinct_orders(members: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The different orders of a sorted tuple with repetitions."""
    if not members:
        yield ()
    for position, first in enumerate(members):
        if position and members[position - 1] == first:
            continue
        rest = members[:position] + members[position + 1 :]
        for order in _distinct_orders(rest):
            yield (first, *order)


def _mobility(classes: NDArray, places: list[NDArray]) -> tuple[int, float]:
    """Contexts in a group with two or more classes; ln of the number of arrangements."""
    movable, log_arrangements = 0, 0.0
    for place in places:
        counts = np.unique(classes[place], return_counts=True)[1]
        if len(counts) > 1:
            movable += len(place)
            log_arrangements += gammaln(len(place) + 1) - gammaln(counts + 1).sum()
    return movable, log_arrangements


def _within_share(rows: Array, classes: NDArray) -> float:
    """Within-class over total variability of rows with mean 0."""
    if len(rows) == 0:
        return float("nan")
    size = np.bincount(classes)
    sums = np.zeros((len(size), rows.shape[1]))
    np.add.at(sums, classes, rows)
    total = np.square(rows).sum()
    within = np.square(rows - (sums / size[:, None])[classes]).sum()
    return float(within / total) if total > 0 else 0.0


# ---------------------------------------------------------------- ranks and the gradient


def stable_rank(A: ArrayLike) -> float:
    """|A|_F^2 / |A|_op^2, from 1 to rank(A): how many singular values count; 0 for A = 0."""
    values = singular_values(as_matrix(A, "A"))
    shares = values / (values.max() or 1.0)  # first, so that the squares cannot overflow
    return float(np.square(shares).sum())


@dataclass(frozen=True)
class SpectralExponent:
    """The least-squares line ln sigma_i = c - exponent ln i for i = first ... last.

    residual : the largest |ln sigma_i - line| in this range. Every singular value there is within
    a factor exp(residual) of c' i^-exponent. exponent and residual are NaN where the range holds
    fewer than three positive singular values.

    A slope seen in this range, and no law: a spectrum that bends has another one in another range.
    Where the residual is no small number, or two halves of the range disagree, do not speak of a
    power law.
    """

    exponent: float
    first: int
    last: int
    residual: float


def spectral_exponent(A: ArrayLike, first: int = 1, last: int | None = None) -> SpectralExponent:
    """How fast the singular values of A fall: as i^-exponent, fitted from `first` to `last`.

    first, last : places in the order from large to small, counted from 1. last = None: as many as
    hold 99% of the squares. Every place counts alike, so most of what is fitted are small singular
    values. With an exponent above 1/2 the squares of a power law have a finite sum: a rank that
    holds a given share of them exists however large the matrix; at most 1/2 it grows with it.
    Centre logits first, as a constant per column is no property of the model. Scale changes
    nothing.

    Raises ValueError unless 1 <= first <= last <= min(V, m), for A of shape (V, m). Source:
    Golowich, Liu and Shetty, arXiv 2510.24966. Book: pretrained, transformers.
    """
    matrix = as_matrix(A, "A")
    values = svd_values(matrix)
    values = values / (values[0] or 1.0)  # first, so that the squares cannot overflow
    first = as_size(first, "first", maximum=len(values))
    if last is None:
        squares = np.cumsum(np.square(values))
        enough = int(np.searchsorted(squares, SHARE_OF_SQUARES * squares[-1])) + 1
        last = max(first, enough)
    last = as_size(last, "last", minimum=first, maximum=len(values))
    chosen = values[first - 1 : last]
    if len(chosen) < FEWEST or chosen[-1] == 0:
        return SpectralExponent(float("nan"), first, last, float("nan"))
    places = np.log(np.arange(first, last + 1))
    heights = np.log(chosen)
    slope, constant = np.polyfit(places, heights, deg=1)
    residual = np.abs(heights - (constant + slope * places)).max()
    return SpectralExponent(float(-slope), first, last, float(residual))


def gradient_bottleneck(W: ArrayLike, L: ArrayLike, labels: SoftLabels) -> float:
    """1 - |P_W G|^2 / |G|^2: the share of the logits' gradient that W does not pass on.

    G = (P - softmax(L)) diag(pi), (V, m), and P_W the projection onto the column space of
    W (V, d). Everything below the last layer learns from W'G alone, so what is orthogonal to the
    columns of W is lost to it: nothing if d >= V and W has full rank, and about 1 - d/V of a
    gradient without structure. 0 where G = 0. Raises ValueError for shapes that do not fit.
    Source: Godey and Artzi, arXiv 2603.10145. Book: few_dimensions.
    """
    logits = check_logits(L, as_labels(labels).shape)
    words = as_matrix(W, "W")
    if len(words) != labels.V:
        raise ValueError(f"W has shape {words.shape}, not (V, d) with V = {labels.V}.")
    G = (labels.P.toarray() - softmax(logits, axis=0)) * labels.pi
    U, values, _ = np.linalg.svd(words, full_matrices=False)
    kept = U[:, values > 1e-10 * values.max(initial=0.0)]
    total = np.square(G).sum()
    lost = np.square(G - kept @ (kept.T @ G)).sum()
    return float(lost / total) if total > 0 else 0.0


# ---------------------------------------------------------------- by name


def standard_metrics(
    labels: SoftLabels, *names: str, L_mm: ArrayLike | None = None, ridge: float | None = None
) -> Metrics:
    """Metrics for `fit` by name; only those named are computed.

    Without names: `DEFAULT_METRICS`, as far as L_mm and ridge are given; what costs more, or is
    the literature's and not the theory's, has to be asked for.

    Default: "norm_W", "norm_H"; "in_support_error" |P_F(L) - L_in|; "cosine_proxy" and, given
    `L_mm`, "cosine_mm" (of L with centred columns); "gram_words", "gram_contexts" (Frobenius
    distance of the normalised W W' and H'H from those of L_mm); "collapse", within / total over
    support classes with k >= 2, of L - P_F(L); "operator_norm" |G|_op, "alignment"; "relative_gap"
    at `ridge`.

    By name only: "norm_efficiency_lower", "norm_efficiency_upper" (path points are kept from one
    evaluation to the next, so the first costs most); "effective_rank", "stable_rank" (of L with
    centred columns) and both with "_W" or "_H"; "spectral_exponent" and "spectral_residual" (of L
    with centred columns, over 99% of the squares); "collapse_directions", of H with columns of
    length one; "soft_self_duality", the mean over contexts; "gradient_bottleneck"; the fields of
    `NeuralCollapse`, of the next token ("nc1", "cdnv", "equiangular", ...) and of the support
    ("support_nc1", ...).

    Raises ValueError for a name that is not known or needs L_mm or ridge. Book: gradient_descent,
    transformers.
    """
    as_labels(labels)
    found = _theory_metrics(labels) | _field_metrics(labels)
    if ridge is not None:
        found["relative_gap"] = lambda L, W, H: certify_ridge(L, labels, ridge=ridge).relative_gap
    if L_mm is not None:
        found |= _metrics_of_max_margin(L_mm)
    unknown = set(names) - set(found)
    if unknown:
        raise ValueError(f"No metric {sorted(unknown)} (without L_mm, ridge?); have {list(found)}.")
    return {name: found[name] for name in names or DEFAULT_METRICS if name in found}


def _theory_metrics(labels: SoftLabels) -> Metrics:
    split, certify = partial(split_logits, labels=labels), _Latest(_certified(labels))
    L_in, proxy = in_support_logits(labels), _unit(centered_support(labels))
    return {
        "norm_W": lambda L, W, H: norm(W),
        "norm_H": lambda L, W, H: norm(H),
        "in_support_error": lambda L, W, H: norm((split(L).in_support - L_in).data),
        "collapse": lambda L, W, H: support_collapse(split(L).orthogonal, labels).several_tokens,
        "operator_norm": lambda L, W, H: certify(L).operator_norm,
        "alignment": lambda L, W, H: certify(L).alignment,
        "cosine_proxy": lambda L, W, H: np.vdot(_unit(L - L.mean(axis=0)), proxy),
    }


def _metrics_of_max_margin(L_mm: ArrayLike) -> Metrics:
    limit = as_matrix(L_mm, "L_mm")
    target = _unit(limit)
    factors = word_context_factors(limit)
    words, contexts = _unit(factors.W @ factors.W.T), _unit(factors.H.T @ factors.H)
    return {
        "cosine_mm": lambda L, W, H: np.vdot(_unit(L - L.mean(axis=0)), target),
        "gram_words": lambda L, W, H: norm(_unit(W @ W.T) - words),
        "gram_contexts": lambda L, W, H: norm(_unit(H.T @ H) - contexts),
    }


def _field_metrics(labels: SoftLabels) -> Metrics:
    efficiency = _Latest(_efficiency_along_a_run(labels))
    slope = _Latest(lambda L: spectral_exponent(L - L.mean(axis=0)))
    found: Metrics = {
        "norm_efficiency_lower": lambda L, W, H: efficiency(L).lower,
        "norm_efficiency_upper": lambda L, W, H: efficiency(L).upper,
        "effective_rank": lambda L, W, H: effective_rank(L - L.mean(axis=0)),
        "effective_rank_W": lambda L, W, H: effective_rank(W),
        "effective_rank_H": lambda L, W, H: effective_rank(H),
        "stable_rank": lambda L, W, H: stable_rank(L - L.mean(axis=0)),
        "stable_rank_W": lambda L, W, H: stable_rank(W),
        "stable_rank_H": lambda L, W, H: stable_rank(H),
        "spectral_exponent": lambda L, W, H: slope(L).exponent,
        "spectral_residual": lambda L, W, H: slope(L).residual,
        "collapse_directions": lambda L, W, H: (
            support_collapse(_unit_rows(H.T).T, labels).several_tokens
        ),
        "soft_self_duality": lambda L, W, H: np.nanmean(soft_self_duality(W, H, labels)),
        "gradient_bottleneck": lambda L, W, H: gradient_bottleneck(W, L, labels),
    }
    notions: dict[str, NotionOfClass] = {"": "next token", "support_": "support"}
    for prefix, classes in notions.items():
        measured = _Latest(partial(neural_collapse, labels=labels, classes=classes))
        for field in NeuralCollapse.__annotations__:
            found[prefix + field] = partial(_field_of, measured, field)
    return found


def _field_of(measured: Callable[..., Any], field: str, L: Array, W: Array, H: Array) -> float:
    return getattr(measured(W, H), field)


def _certified(labels: SoftLabels) -> Callable[[Array], Any]:
    return lambda L: certify_ridge(L, labels)


def _efficiency_along_a_run(labels: SoftLabels) -> Callable[[Array], NormEfficiency]:
    path: list[Any] = []

    def measure(L: Array) -> NormEfficiency:
        found = norm_efficiency(L, labels, path)
        path[:] = found.path
        return found

    return measure


class _Latest:
    """A function that remembers its last arguments, by content, and their result.

    Metrics that share one expensive result compute it once per evaluation.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.arguments: tuple[Array, ...] = ()
        self.result: Any = None

    def __call__(self, *arrays: Array) -> Any:
        same = len(arrays) == len(self.arguments) and all(
            map(np.array_equal, arrays, self.arguments)
        )
        if not same:
            self.result = self.function(*arrays)
            self.arguments = tuple(array.copy() for array in arrays)
        return self.result


def _check_factors(W: ArrayLike, H: ArrayLike, labels: SoftLabels) -> tuple[Array, Array]:
    """W with centred rows and H, in float64."""
    as_labels(labels)
    words, contexts = as_matrix(W, "W"), as_matrix(H, "H")
    if contexts.shape != (words.shape[1], labels.m) or len(words) != labels.V:
        raise ValueError(
            f"W {words.shape} and H {contexts.shape} do not fit V = {labels.V}, m = {labels.m}; "
            "give W (V, d) and H (d, m)."
        )
    return words - words.mean(axis=0), contexts


def _variation(values: Array) -> float:
    """Standard deviation over |mean|; NaN for infinite values, and for a mean of 0."""
    mean = abs(values.mean())
    return float(values.std() / mean) if 0 < mean < np.inf else float("nan")


def _unit(A: Array) -> Array:
    return A / (norm(A) or 1.0)


def _unit_rows(A: Array) -> Array:
    lengths = norm(A, axis=1, keepdims=True)
    return A / np.where(lengths > 0, lengths, 1.0)
