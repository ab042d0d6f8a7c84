"""One page about a text: numbers, what each rests on, certificates and figures."""

from __future__ import annotations

import base64
import io
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import plots
from ._interrupts import Interrupts
from ._output import prepare, replace_file
from ._validate import as_size, as_tolerance
from .certificate import Certificate, RidgeCertificate
from .constraints import centered_support
from .corpus import SEPARATOR, UNKNOWN, Vocabulary, stands_alone
from .efficiency import norm_efficiency
from .geometry import (
    CollapseResult,
    Factors,
    cosine_similarity,
    seriation,
    support_collapse,
    word_context_factors,
)
from .in_support import in_support_logits
from .linalg import effective_rank
from .margin import MarginProgress, MaxMarginResult, solve_max_margin
from .metrics import (
    CollapseTest,
    NeuralCollapse,
    NotionOfClass,
    SpectralExponent,
    collapse_test,
    neural_collapse,
    soft_self_duality,
    spectral_exponent,
    stable_rank,
)
from .path import RidgeResult, ridge_max, ridge_path
from .soft_labels import SoftLabels
from .status import Status

TEMPLATE = Path(__file__).parent / "data" / "report.html"
MANY = 30  # tokens and contexts in a heat map, whose names are still legible
DECADES = 5  # ridges in the path: ridge_max / 10, ..., ridge_max / 10^5
ALIGNED = 0.99  # of the largest inner product that G and L of their norms can have
PATH_TOL = 1e-4  # the path's tolerance is not below this: it is drawn, not differentiated
SHUFFLES = 199  # of the last-word baseline
FEW = 5  # path points that an efficiency may add to those of the report
QUIET = 5.0  # seconds between two lines about the same problem
Progress = Callable[[str], None]


# ---------------------------------------------------------------- what a report is made of


@dataclass(frozen=True)
class Analysis:
    """What was solved for a report, as `Quantity.value` receives it.

    labels : of the contexts kept. margin : the max-margin solution. path : the ridges that were
    solved, from large to small; empty if zero logits are optimal at every ridge. factors :
    `word_context_factors` of L_mm. L_in, proxy : (V, m). tol : for the relative gaps.
    is_interrupted : did Ctrl-C or SIGTERM end it?
    """

    labels: SoftLabels
    margin: MaxMarginResult
    path: list[RidgeResult]
    factors: Factors
    L_in: NDArray[np.float64]
    proxy: NDArray[np.float64]
    tol: float
    is_interrupted: bool

    @property
    def status(self) -> Status:
        """Of all problems together."""
        if self.is_interrupted:
            return Status.INTERRUPTED
        results: list[MaxMarginResult | RidgeResult] = [self.margin, *self.path]
        for result in results:
            if not result.converged:
                return result.status
        return Status.CONVERGED

    @cached_property
    def trained(self) -> NDArray[np.float64]:
        """(V, m) the logits that a model would come to: at the smallest ridge, else L_mm."""
        return self.path[-1].L if self.path else self.margin.L

    @cached_property
    def trained_factors(self) -> Factors:
        """`word_context_factors` of `trained`: the vectors of a balanced model without waste.

        Of width one where all of them are zero.
        """
        found = word_context_factors(self.trained)
        if len(found.singular_values):
            return found
        return Factors(np.zeros((self.labels.V, 1)), np.zeros((1, self.labels.m)), np.zeros(1))

    @cached_property
    def slope(self) -> SpectralExponent:
        """`spectral_exponent` of `trained`, with centred columns."""
        return spectral_exponent(self.trained - self.trained.mean(axis=0))

    @cached_property
    def collapse_of(self) -> dict[NotionOfClass, NeuralCollapse]:
        """`neural_collapse` of `trained_factors` for both notions of class."""
        W, H, _ = self.trained_factors
        notions: tuple[NotionOfClass, NotionOfClass] = ("support", "next token")
        return {classes: neural_collapse(W, H, self.labels, classes) for classes in notions}

    @cached_property
    def last_word_test(self) -> CollapseTest | None:
        """`collapse_test` of the context vectors, classes dealt within equal last words.

        None for labels without contexts.
        """
        if self.labels.contexts is None:
            return None
        H = self.trained_factors.H
        return collapse_test(H, self.labels, groups=self.labels.contexts[:, -1], shuffles=SHUFFLES)


@dataclass(frozen=True)
class Quantity:
    """One row of the table "Further quantities".

    name : as the page shows it. chapter : of the book, by its title. rests_on : what it is made
    from, in words. value : function of the Analysis; NaN shows as a dash.
    """

    name: str
    chapter: str
    rests_on: str
    value: Callable[[Analysis], float]


def _cosine_of_proxy(analysis: Analysis) -> float:
    sizes = np.linalg.norm(analysis.proxy) * np.linalg.norm(analysis.margin.L)
    return float(np.vdot(analysis.proxy, analysis.margin.L) / sizes) if sizes > 0 else np.nan


def _norm_ratio_of_proxy(analysis: Analysis) -> float:
    primal = analysis.margin.certificate.primal
    return float(np.linalg.norm(analysis.proxy, "nuc") / primal) if primal > 0 else np.nan


def _efficiency_of_proxy(analysis: Analysis) -> float:
    """What the closed form with the frequencies put in has for its loss, at the path's end."""
    if not analysis.path or analysis.is_interrupted:
        return np.nan
    depth = np.log(1 / analysis.path[-1].ridge)
    logits = analysis.L_in + depth * analysis.proxy
    return norm_efficiency(logits, analysis.labels, analysis.path, max_solves=FEW).lower


def _efficiency_of_path(analysis: Analysis) -> float:
    """Of `trained`: its own gradient is the certificate, so nothing has to be solved."""
    if not analysis.path:
        return np.nan
    return norm_efficiency(analysis.trained, analysis.labels, max_solves=0).lower


def _soft_duality(analysis: Analysis) -> float:
    """Mean cosine of a context and the sum of its words, over the contexts that have one."""
    W, H, _ = analysis.trained_factors
    cosines = soft_self_duality(W, H, analysis.labels)
    known = cosines[~np.isnan(cosines)]
    return float(known.mean()) if len(known) else np.nan


def _of_last_word(name: str, analysis: Analysis) -> float:
    test = analysis.last_word_test
    return np.nan if test is None else float(getattr(test, name))


def _of_collapse(classes: NotionOfClass, name: str, analysis: Analysis) -> float:
    value = float(getattr(analysis.collapse_of[classes], name))
    return value if np.isfinite(value) else np.nan


# Chapters of the book, by title.
MAX_MARGIN = "The max-margin component"
CLOSED_FORMS = "Closed forms"
CERTIFICATES = "How do we know it is optimal?"
COLLAPSE = "Subspace collapse"
TRANSFORMERS = "Transformers"
PRETRAINED = "A pretrained language model"
ENDS = "the vectors at the smallest ridge"

# What `NeuralCollapse` calls it -> how the page does.
FIELD = {
    "nc1": "NC1, within over between classes",
    "cdnv": "CDNV, the same by distances",
    "equinorm_means": "NC2, unevenness of the means' lengths",
    "maximal_angle": "NC2, distance of their angles from a simplex",
    "uniformity": "hyperspherical uniformity of the means",
    "self_duality": "NC3, self-duality, 0 to 4",
    "agreement": "NC4, agreement with the nearest mean",
}

# A further quantity is one more line here.
QUANTITIES = (
    Quantity("rank of L_mm", MAX_MARGIN, "L_mm", lambda a: float(len(a.factors.singular_values))),
    Quantity("effective rank of L_mm", MAX_MARGIN, "L_mm", lambda a: effective_rank(a.margin.L)),
    Quantity("stable rank of L_mm", MAX_MARGIN, "L_mm", lambda a: stable_rank(a.margin.L)),
    Quantity(
        "effective rank of the logits", MAX_MARGIN, "the logits at the smallest ridge",
        lambda a: effective_rank(a.trained - a.trained.mean(axis=0)),
    ),
    Quantity(
        "exponent of their singular values", PRETRAINED, "those that hold 99% of the squares",
        lambda a: a.slope.exponent,
    ),
    Quantity(
        "how many these are", PRETRAINED, "the same", lambda a: float(a.slope.last),
    ),
    Quantity(
        "farthest of them from that line, in ln", PRETRAINED, "the same",
        lambda a: a.slope.residual,
    ),
    Quantity("cosine of L_mm and the proxy", CLOSED_FORMS, "all supports", _cosine_of_proxy),
    Quantity(
        "nuclear norm of the proxy over L_mm's", CLOSED_FORMS, "the same", _norm_ratio_of_proxy
    ),
    Quantity(
        "norm efficiency, at least", CERTIFICATES, "the logits at the smallest ridge",
        _efficiency_of_path,
    ),
    Quantity(
        "norm efficiency of L_in + ln(1/ridge) proxy, at least", CERTIFICATES,
        "the smallest ridge", _efficiency_of_proxy,
    ),
    Quantity("mean cosine of a context with the sum of its words", COLLAPSE, ENDS, _soft_duality),
    *(
        Quantity(f"{shown}; class: {classes}", TRANSFORMERS, ENDS,
                 partial(_of_collapse, classes, name))
        for classes in ("support", "next token")
        for name, shown in FIELD.items()
    ),
    Quantity(
        "within over total, several next tokens, of vectors", TRANSFORMERS, ENDS,
        partial(_of_last_word, "value"),
    ),
    Quantity(
        "the same, classes dealt among contexts with the same last token", TRANSFORMERS,
        "the same", partial(_of_last_word, "permuted"),
    ),
    Quantity(
        "contexts that can change class so", TRANSFORMERS, "their last tokens",
        partial(_of_last_word, "movable"),
    ),
    Quantity(
        "share of such shuffles that collapse as much", TRANSFORMERS, f"{SHUFFLES} shuffles",
        partial(_of_last_word, "p_value"),
    ),
)  # fmt: skip


class Coverage(NamedTuple):
    """How much of a whole something is: `number` of `whole`."""

    what: str
    number: int
    whole: int

    @property
    def share(self) -> str:
        """In per cent."""
        return f"{self.number / self.whole:.1%}"


class CollapseRow(NamedTuple):
    """What `support_collapse` says of one kind of contexts, and on how many it rests."""

    contexts_with: str
    contexts: int
    classes: int
    value: float
    permuted: float


@dataclass(frozen=True)
class Report:
    """What `report` found; `html` is the page.

    numbers : name -> number, all that the page's tables say. certificates : problem -> its
    certificate. status : of all problems together; INTERRUPTED if Ctrl-C left some undone.
    """

    html: str = field(repr=False)
    numbers: dict[str, float] = field(repr=False)
    certificates: dict[str, Certificate]
    status: Status

    def _repr_html_(self) -> str:
        """The page inside a notebook, apart from the notebook's own style."""
        packed = base64.b64encode(self.html.encode()).decode()
        return (
            '<iframe title="report" style="width: 100%; height: 40em; border: 0" '
            f'src="data:text/html;base64,{packed}"></iframe>'
        )


def report(
    labels: SoftLabels,
    out: str | Path | None = None,
    tokens: Vocabulary | Sequence[str] | None = None,
    tol: float = 1e-5,
    contexts: int | None = 1000,
    title: str = "soft labels",
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Solve the max-margin problem and five points of the ridge path; put all on one HTML page.

    The page needs no other file. It says for each number on how many contexts it rests, and for
    each problem whether its certified relative gap is at most `tol` (for the path, max(tol, 1e-4)).

    labels : from any tokenizer. out : where the page is written; None: nowhere. An existing file is
    replaced only with force=True. tokens : the name of each of the V tokens; None: its id.
    contexts : keep so many, the commonest; None: all. progress : called with a line of text for
    each problem.

    Ctrl-C and SIGTERM end the problem in work; the page holds what there is by then. Raises
    ValueError for sizes that do not fit, and OSError where nothing can be written, before work
    begins. Book: your_text_and_scale.
    """
    tol = as_tolerance(tol)
    names = _names_of(tokens, labels.V)
    path = None if out is None else prepare(out, force)
    kept = commonest(labels, contexts)
    analysis = analyse(kept, tol, progress or _nothing)
    made = _make(analysis, labels, names, title)
    if path is not None:
        page = made.html.encode("utf-8", "replace")
        replace_file(path, lambda file: file.write(page))
    return made


def commonest(labels: SoftLabels, contexts: int | None) -> SoftLabels:
    """The labels of so many contexts, the commonest, in their order; None: all of them."""
    if contexts is None or as_size(contexts, "contexts") >= labels.m:
        return labels
    chosen = np.argsort(-labels.pi, kind="stable")[: int(contexts)]
    return labels.select(np.sort(chosen))


def coverage(kept: SoftLabels, labels: SoftLabels) -> tuple[Coverage, Coverage]:
    """How many of all contexts were kept, and how many of all positions they cover."""
    return (
        Coverage("contexts kept, the commonest", kept.m, labels.m),
        Coverage("positions that they cover", kept.n, labels.n),
    )


def statistics(labels: SoftLabels) -> dict[str, Any]:
    """The sizes of soft labels, by name."""
    k = labels.support_sizes
    return {
        "tokens V": labels.V,
        "distinct contexts m": labels.m,
        "positions n": labels.n,
        "entropy floor Hc, nats": f"{labels.entropy:.6f}",
        "support size, mean": f"{k.mean():.3f}",
        "support size, largest": int(k.max()),
        "contexts with one next token": int((k == 1).sum()),
        "distinct supports": int(labels.support_classes.max()) + 1,
    }


# ---------------------------------------------------------------- solving


def solve_margin(
    labels: SoftLabels, tol: float, progress: Progress, interrupts: Interrupts
) -> MaxMarginResult:
    """`solve_max_margin`, with lines about how far it is, until a signal is received."""
    said = time.monotonic()

    def watch(now: MarginProgress) -> None:
        nonlocal said
        if interrupts.received:
            raise KeyboardInterrupt
        if time.monotonic() - said > QUIET:
            said = time.monotonic()
            progress(
                f"max-margin problem: {now.n_iter} iterations, relative gap "
                f"{now.relative_gap:.1e}, {now.seconds:.0f} s"
            )

    progress(f"max-margin problem: V = {labels.V}, m = {labels.m}, to a relative gap of {tol:g}")
    return solve_max_margin(labels, tol=tol, callback=watch)


def _solve_path(
    labels: SoftLabels, ridges: Sequence[float], tol: float, progress: Progress, stop: Interrupts
) -> list[RidgeResult]:
    """The points of the path that were found before a signal was received."""
    found: list[RidgeResult] = []

    def keep(result: RidgeResult) -> None:
        found.append(result)
        progress(f"ridge {result.ridge:.3g}: relative gap {result.certificate.relative_gap:.1e}")
        if stop.received:
            raise KeyboardInterrupt

    try:
        ridge_path(labels, ridges, tol=tol, callback=keep)
    except KeyboardInterrupt:
        stop.received = True
    return found


def analyse(labels: SoftLabels, tol: float, progress: Progress) -> Analysis:
    """Solve everything a report needs, or what there is time for before Ctrl-C."""
    top = ridge_max(labels)
    is_uniform = top < 1e-14  # P = 1/V everywhere, up to rounding
    ridges = [] if is_uniform else [top * 0.1**k for k in range(1, DECADES + 1)]
    path: list[RidgeResult] = []
    with Interrupts() as interrupts:
        margin = solve_margin(labels, tol, progress, interrupts)
        if not interrupts.received:
            path = _solve_path(labels, ridges, max(tol, PATH_TOL), progress, interrupts)
        is_interrupted = interrupts.received
    progress("figures")
    return Analysis(
        labels=labels,
        margin=margin,
        path=path,
        factors=word_context_factors(margin.L),
        L_in=in_support_logits(labels).toarray(),
        proxy=centered_support(labels),
        tol=tol,
        is_interrupted=is_interrupted,
    )


# ---------------------------------------------------------------- numbers


def _names_of(tokens: Vocabulary | Sequence[str] | None, V: int) -> list[str]:
    if tokens is None:
        return [str(i) for i in range(V)]
    names = list(tokens.tokens if isinstance(tokens, Vocabulary) else tokens)
    if len(names) != V:
        raise ValueError(f"tokens has {len(names)} names for V = {V} tokens; give one for each.")
    return [str(name) for name in names]


def _special_tokens(labels: SoftLabels, names: Sequence[str]) -> list[Coverage]:
    """How much of what is predicted is `<unk>`, a separator, or one character without spaces."""
    following = np.asarray(labels.N.sum(axis=1)).ravel()
    rows = []
    for special in (UNKNOWN, SEPARATOR):
        if special in names:
            number = int(following[names.index(special)])
            rows.append(Coverage(f"next tokens that are {special}", number, labels.n))
    if UNKNOWN in names and labels.contexts is not None:
        has_unknown = (labels.contexts == names.index(UNKNOWN)).any(axis=1)
        number = round(labels.pi[has_unknown].sum() * labels.n)
        rows.append(Coverage(f"positions with {UNKNOWN} in the context", number, labels.n))
    alone = np.array([stands_alone(name) for name in names])
    if alone.any():
        what = "next tokens of scripts without spaces"
        rows.append(Coverage(what, int(following[alone].sum()), labels.n))
    return rows


def _collapse_rows(labels: SoftLabels, collapse: CollapseResult) -> list[CollapseRow]:
    """Both kinds of contexts, with the numbers of contexts and classes that count."""
    sizes = np.bincount(labels.support_classes)
    has_company = sizes[labels.support_classes] > 1
    rows = []
    for what, several, value, permuted in (
        ("one next token", False, collapse.one_token, collapse.permuted_one_token),
        ("several", True, collapse.several_tokens, collapse.permuted_several_tokens),
    ):
        counted = has_company & ((labels.support_sizes > 1) == several)
        classes = len(np.unique(labels.support_classes[counted]))
        rows.append(CollapseRow(what, int(counted.sum()), classes, value, permuted))
    return rows


def _verdict(certificate: Certificate, tol: float) -> tuple[str, str]:
    """Is the relative gap within the tolerance, and are gradient and logits aligned?"""
    within = "yes" if certificate.relative_gap <= tol else "no"
    if not isinstance(certificate, RidgeCertificate):
        return within, "n/a"
    return within, "yes" if certificate.alignment >= ALIGNED else "no"


def _problem_rows(analysis: Analysis) -> list[tuple[str, Certificate, str, str]]:
    """(problem, certificate, within its tolerance?, aligned?) for each problem solved."""
    margin = analysis.margin.certificate
    rows: list[tuple[str, Certificate, str, str]] = [
        ("max-margin", margin, *_verdict(margin, analysis.tol))
    ]
    for result in analysis.path:
        verdict = _verdict(result.certificate, max(analysis.tol, PATH_TOL))
        rows.append((f"ridge {result.ridge:.3g}", result.certificate, *verdict))
    return rows


def _concepts(factors: Factors, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(singular value, words at one end, words at the other) of the leading concepts."""
    rows = []
    for value, vector in zip(factors.singular_values[:5], factors.W.T, strict=False):
        largest, smallest = (np.argsort(order)[:6] for order in (-vector, vector))
        one_end = ", ".join(names[i] for i in largest)
        rows.append((f"{value:.4g}", one_end, ", ".join(names[i] for i in smallest)))
    return rows


def _notes(analysis: Analysis, special: Sequence[Coverage]) -> list[str]:
    """Sentences about what is missing on the page, and why."""
    notes = []
    if analysis.is_interrupted:
        notes.append("The work was interrupted: problems that are not listed were not solved.")
    elif not analysis.path:
        notes.append(
            "Every token follows every context equally often, so zero logits are optimal at every "
            "ridge: there is no regularisation path. Give a text with more than one word, or one "
            "in which what follows depends on the context."
        )
    if len(analysis.factors.singular_values) == 0:
        notes.append("L_mm is zero, as no context excludes a token: there are no concepts.")
    if any("without spaces" in row.what for row in special):
        notes.append(
            "Scripts that write no space between words (Chinese, Japanese, Thai, Lao, Khmer, "
            "Burmese) were cut into single characters, katakana into runs. For words, cut the text "
            "with a tokenizer for the language and give its ids (--ids, from_tokens)."
        )
    return notes


# ---------------------------------------------------------------- figures


def _png(draw: Callable[..., Any], *data: Any, **more: Any) -> str:
    """What `draw` makes of an Axes, in base64."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever pyplot would open on this machine
    draw(figure.subplots(), *data, **more)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return base64.b64encode(buffer.getvalue()).decode()


def _without_mathematics(names: Sequence[str]) -> list[str]:
    """Matplotlib would read a pair of dollar signs as mathematics."""
    return [name.replace("$", r"\$") for name in names]


def _context_names(labels: SoftLabels, names: Sequence[str], chosen: NDArray) -> list[str]:
    if labels.contexts is None:
        return [f"context {j}" for j in chosen]
    return [" ".join(names[i] for i in labels.contexts[j]) for j in chosen]


def _figures_and_warnings(
    analysis: Analysis, names: Sequence[str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """The figures, and each thing that the plots warned of once, for the page to say."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figures = _figures(analysis, names)
    return figures, sorted({str(warning.message) for warning in caught})


def _figures(analysis: Analysis, names: Sequence[str]) -> list[tuple[str, str]]:
    """(caption, PNG in base64) of each figure that there is something to show in."""
    logits = {"L_mm": analysis.margin.L, "proxy": analysis.proxy, "L_in": analysis.L_in}
    figures = [("Singular values", _png(plots.spectrum, logits))]
    if len(analysis.factors.singular_values):
        figures += _cosine_figures(analysis, names)
    if analysis.path:
        ridges = [result.ridge for result in analysis.path]
        objectives = {"primal value": [result.certificate.primal for result in analysis.path]}
        png = _png(plots.curves, ridges, objectives, xlabel="ridge", ylabel="nats")
        figures.append(("Excess loss plus penalty along the regularisation path", png))
    return figures


def _cosine_figures(analysis: Analysis, names: Sequence[str]) -> list[tuple[str, str]]:
    labels = analysis.labels
    W, H, _ = analysis.factors
    words, contexts = (np.argsort(-labels.N.sum(axis), kind="stable")[:MANY] for axis in (1, 0))
    words = words[seriation(W[words].T)]
    contexts = contexts[seriation(H[:, contexts])]
    figures = []
    for caption, vectors, called in (
        ("Cosines of the commonest words in W_mm", W[words].T, [names[i] for i in words]),
        (
            "Cosines of the commonest contexts in H_mm",
            H[:, contexts],
            _context_names(labels, names, contexts),
        ),
    ):
        ticks = _without_mathematics(called)
        cosines = cosine_similarity(vectors)
        figures.append((caption, _png(plots.heat_map, cosines, ticks, ticks, limit=1)))
    return figures


# ---------------------------------------------------------------- the page


def _make(analysis: Analysis, labels: SoftLabels, names: Sequence[str], title: str) -> Report:
    from jinja2 import Template  # here: `import ntp_lite` need not wait for it

    kept = analysis.labels
    special = _special_tokens(kept, names)
    covered = [*coverage(kept, labels), *special]
    problems = _problem_rows(analysis)
    collapse = _collapse_rows(kept, support_collapse(analysis.trained, kept))
    further = [(quantity, quantity.value(analysis)) for quantity in QUANTITIES]
    figures, complaints = _figures_and_warnings(analysis, names)
    html = Template(TEMPLATE.read_text("utf-8"), autoescape=True).render(
        title=os.fsencode(title).decode("utf-8", "replace"),
        context_length=None if kept.contexts is None else kept.contexts.shape[1],
        statistics=statistics(kept),
        covered=covered,
        problems=problems,
        tol=analysis.tol,
        least_alignment=ALIGNED,
        path_tol=max(analysis.tol, PATH_TOL),
        concepts=_concepts(analysis.factors, names),
        collapse=collapse,
        collapse_of="at the smallest ridge" if analysis.path else "of the max-margin component",
        further=further,
        notes=[*_notes(analysis, special), *complaints],
        figures=figures,
    )
    numbers = {name: float(value) for name, value in statistics(kept).items()}
    numbers |= {row.what: float(row.number) for row in covered}
    for row in collapse:
        numbers[f"within over total, {row.contexts_with}"] = row.value
        numbers[f"permuted, {row.contexts_with}"] = row.permuted
    numbers |= {quantity.name: value for quantity, value in further}
    certificates = {name: certificate for name, certificate, *_ in problems}
    return Report(html, numbers, certificates, analysis.status)


def _nothing(line: str) -> None:
    """Progress that nobody watches."""
