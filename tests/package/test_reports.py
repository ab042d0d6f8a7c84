"""The report: what is on the page, on how much it rests, and pages with little to say."""

from __future__ import annotations

import html.parser
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import ntp_lite as ntp
from ntp_lite import reports


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def labels_of(text, context_length=1, max_vocab=None):
    Path("text.txt").write_text(text, "utf-8")
    ids, vocab = ntp.load_corpus("text.txt", max_vocab=max_vocab)
    return ntp.SoftLabels.from_tokens(ids, context_length, len(vocab)), vocab


def rows(page, heading):
    """The cells of the table under a heading."""
    part = page.split(f"<h2>{heading}")[1].split("<h2>")[0]
    found = re.findall(r"<tr>(.*?)</tr>", part, flags=re.DOTALL)
    return [re.findall(r"<td>(.*?)</td>", row) for row in found][1:]


STORY = "a <b> & $c$ d . " * 3 + "a <b> ! $ $ <b> d . a c"


def test_the_page_is_self_contained_and_escaped():
    labels, vocab = labels_of(STORY)
    made = ntp.report(labels, "page.html", vocab, title="my <b>.txt")
    page = Path("page.html").read_text("utf-8")
    assert page == made.html

    class Reader(html.parser.HTMLParser):
        seen: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag, attributes):
            self.seen.append(tag)
            for name, value in attributes:
                assert name not in ("src", "href") or value.startswith("data:image/png;base64,")

    Reader().feed(page)
    assert Reader.seen.count("img") == 4
    assert Reader.seen.count("table") == 6
    assert "script" not in Reader.seen
    assert "b" not in Reader.seen  # neither the text's own "<b>" nor the title's
    assert made._repr_html_().startswith("<iframe")


def test_numbers_and_certificates_are_those_of_the_library():
    labels, vocab = labels_of(STORY)
    made = ntp.report(labels, tokens=vocab, tol=1e-6)
    margin = ntp.solve_max_margin(labels, tol=1e-6)
    assert made.certificates["max-margin"] == margin.certificate
    ridges = [ntp.ridge_max(labels) / 10**k for k in range(1, 6)]
    names = [f"ridge {ridge:.3g}" for ridge in ridges]
    assert list(made.certificates) == ["max-margin", *names]
    path = ntp.ridge_path(labels, ridges, tol=1e-4)
    for name, result in zip(names, path, strict=True):
        np.testing.assert_allclose(made.certificates[name].primal, result.certificate.primal)
    assert made.status is ntp.Status.CONVERGED
    assert made.numbers["tokens V"] == labels.V
    assert made.numbers["rank of L_mm"] == np.linalg.matrix_rank(margin.L, tol=1e-5)
    assert made.numbers["effective rank of L_mm"] == ntp.effective_rank(margin.L)
    cosine = ntp.cosine_similarity(
        ntp.centered_support(labels).reshape(-1, 1), margin.L.reshape(-1, 1)
    )
    np.testing.assert_allclose(made.numbers["cosine of L_mm and the proxy"], cosine[0, 0])
    collapse = ntp.support_collapse(path[-1].L, labels)
    np.testing.assert_allclose(
        made.numbers["within over total, one next token"], collapse.one_token, atol=1e-6
    )


def test_it_says_which_problem_missed_its_tolerance(monkeypatch):
    labels, _ = labels_of(STORY)
    loose = ntp.solve_max_margin(labels, max_iter=10)
    monkeypatch.setattr(reports, "solve_max_margin", lambda *_, **__: loose)
    made = ntp.report(labels)
    verdicts = {row[0]: (row[5], row[6]) for row in rows(made.html, "Certificates")}
    assert verdicts.pop("max-margin") == ("no", "n/a")
    assert set(verdicts.values()) == {("yes", "yes")}
    assert made.status is ntp.Status.ITERATION_LIMIT


def test_alignment_is_a_yes_or_a_no():
    labels, _ = labels_of(STORY)
    random = np.random.default_rng(0).normal(size=labels.shape)
    assert reports._verdict(ntp.certify_ridge(random, labels, 1e-3), 1e-5) == ("no", "no")
    solved = ntp.solve_ridge(labels, 1e-3, tol=1e-6)
    assert reports._verdict(solved.certificate, 1e-5) == ("yes", "yes")


def test_it_says_on_how_much_it_rests():
    text = "a b c . a d c . a b e .\n\nb a c . b a f ."
    labels, vocab = labels_of(text, 2, max_vocab=6)
    made = ntp.report(labels, tokens=vocab, contexts=5)
    kept = labels.select(np.sort(np.argsort(-labels.pi, kind="stable")[:5]))
    following = kept.N.toarray().sum(axis=1)
    unknown, separator = vocab.index["<unk>"], vocab.index["<sep>"]
    with_unknown = sum(
        count
        for context, count in zip(kept.contexts, kept.N.toarray().sum(axis=0), strict=True)
        if unknown in context
    )
    expected = {
        "contexts kept, the commonest": (5, labels.m),
        "positions that they cover": (kept.n, labels.n),
        "next tokens that are &lt;unk&gt;": (following[unknown], kept.n),
        "next tokens that are &lt;sep&gt;": (following[separator], kept.n),
        "positions with &lt;unk&gt; in the context": (with_unknown, kept.n),
    }
    found = {row[0]: (int(row[1]), int(row[2])) for row in rows(made.html, "How much")}
    assert found == expected
    share = {row[0]: row[3] for row in rows(made.html, "How much")}
    assert share["contexts kept, the commonest"] == f"{5 / labels.m:.1%}"


def test_it_says_how_many_contexts_and_classes_are_behind_each_collapse():
    # Supports {0}, {0}, {1}, {1, 2}, {1, 2}, {1, 2}: one class of two and one of three count.
    counts = [[1, 2, 0, 0, 0, 0], [0, 0, 5, 1, 2, 1], [0, 0, 0, 1, 1, 3]]
    made = ntp.report(ntp.SoftLabels.from_counts(counts))
    one, several = rows(made.html, "Collapse")
    assert one[:3] == ["one next token", "2", "1"]
    assert several[:3] == ["several", "3", "1"]
    assert "context 4" not in made.html  # counts have no context names, and pictures hold the ticks


def test_counts_without_contexts_and_tokens_have_names():
    labels = ntp.random_soft_labels(5, 7, 2)
    assert reports._context_names(labels, [], np.array([2, 4])) == ["context 2", "context 4"]
    made = ntp.report(labels)
    assert "What follows each window" not in made.html
    with pytest.raises(ValueError, match="tokens has 2 names for V = 5"):
        ntp.report(labels, tokens=["a", "b"])


@pytest.mark.parametrize("counts", [[[3]], [[2, 1], [2, 1]]], ids=["one word", "uniform"])
def test_where_there_is_nothing_to_find_a_sentence_says_so(counts):
    made = ntp.report(ntp.SoftLabels.from_counts(counts))
    assert list(made.certificates) == ["max-margin"]
    assert "zero logits are optimal at every ridge" in made.html
    assert "L_mm is zero" in made.html
    assert made.status is ntp.Status.CONVERGED
    assert np.isnan(made.numbers["cosine of L_mm and the proxy"])
    assert "nan" not in made.html


def test_what_the_plots_warn_of_is_on_the_page(monkeypatch):
    def warn(ax, *_, **__):
        warnings.warn("no such letters", stacklevel=1)

    monkeypatch.setattr(reports.plots, "heat_map", warn)
    labels, _ = labels_of(STORY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = ntp.report(labels)
    assert made.html.count("no such letters") == 1


def test_scripts_without_spaces_are_spoken_of():
    labels, vocab = labels_of("私は猫が好きです。猫は私が好きです。")
    made = ntp.report(labels, tokens=vocab)
    assert "cut into single characters" in made.html
    row = next(row for row in rows(made.html, "How much") if "without spaces" in row[0])
    assert int(row[1]) == labels.n - 2  # all but the full stops
    plain, names = labels_of(STORY)
    assert "single characters" not in ntp.report(plain, tokens=names).html


def test_an_existing_page_is_replaced_only_by_force():
    labels, _ = labels_of(STORY)
    Path("page.html").write_text("precious")
    with pytest.raises(FileExistsError, match="exists"):
        ntp.report(labels, "page.html")
    assert Path("page.html").read_text() == "precious"
    ntp.report(labels, "page.html", force=True)
    assert Path("page.html").read_text("utf-8").startswith("<!doctype html>")
    assert sorted(os.listdir()) == ["page.html", "text.txt"]


def test_all_contexts_are_kept_without_a_number():
    labels, _ = labels_of(STORY)
    assert reports.commonest(labels, None) is labels
    assert reports.commonest(labels, labels.m) is labels
    chosen = reports.commonest(labels, np.uint8(2))
    assert chosen.m == 2
    assert chosen.pi.min() * chosen.n >= np.sort(labels.pi * labels.n)[-2] - 1e-9
    with pytest.raises(ValueError, match="contexts is 0"):
        reports.commonest(labels, 0)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_signal_ends_the_problem_in_work(monkeypatch, after):
    """`progress` stands in for the moment of Ctrl-C: line 1 is the max-margin problem's."""
    import signal

    labels, _ = labels_of(STORY)
    lines = []

    def progress(line):
        lines.append(line)
        if len(lines) == after:
            signal.raise_signal(signal.SIGINT)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        made = ntp.report(labels, progress=progress)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert made.status is ntp.Status.INTERRUPTED
    assert len(made.certificates) == after  # the max-margin problem, then one ridge a line
    assert "The work was interrupted" in made.html


def test_long_problems_say_how_far_they_are(monkeypatch):
    monkeypatch.setattr(reports, "QUIET", -1.0)
    labels, _ = labels_of(STORY)
    lines = []
    ntp.report(labels, progress=lines.append)
    assert any(re.match(r"max-margin problem: \d+ iterations, relative gap", x) for x in lines)
    assert sum(line.startswith("ridge") for line in lines) == 5
    assert lines[-1] == "figures"


def test_a_further_quantity_is_one_line(monkeypatch):
    extra = reports.Quantity("largest logit", "Closed forms", "L_mm", lambda a: a.margin.L.max())
    monkeypatch.setattr(reports, "QUANTITIES", (*reports.QUANTITIES, extra))
    labels, _ = labels_of(STORY)
    made = ntp.report(labels)
    largest = ntp.solve_max_margin(labels, tol=1e-5).L.max()
    np.testing.assert_allclose(made.numbers["largest logit"], largest)
    assert rows(made.html, "Further")[-1] == [
        "largest logit", f"{largest:.4g}", "L_mm", "[Closed forms]"
    ]  # fmt: skip


def test_further_quantities_are_those_of_the_library():
    """Mutations seen to fail: classes swapped; no groups in the last-word baseline."""
    # Three next words in two sets, after three last words.
    followers = {"a x": "pq", "b x": "pr", "c x": "pq", "d y": "pq", "e y": "pr", "f z": "pq"}
    sentences = [f"{pair} {z} ." for pair, words in followers.items() for z in words]
    labels, vocab = labels_of(" ".join(sentences), context_length=2)
    found = ntp.report(labels, tokens=vocab).numbers
    top = ntp.ridge_max(labels)
    last = ntp.ridge_path(labels, [top * 0.1**k for k in range(1, 6)], tol=1e-4)[-1].L
    W, H, _ = ntp.word_context_factors(last)
    for classes in ("support", "next token"):
        measured = ntp.neural_collapse(W, H, labels, classes)
        for name, shown in reports.FIELD.items():
            value = getattr(measured, name)
            if np.isfinite(value):
                np.testing.assert_allclose(found[f"{shown}; class: {classes}"], value, rtol=1e-9)
            else:
                assert np.isnan(found[f"{shown}; class: {classes}"])
    test = ntp.collapse_test(H, labels, groups=labels.contexts[:, -1], shuffles=199)
    assert 0 < test.movable < test.contexts
    assert found["contexts that can change class so"] == test.movable
    shuffled = found["the same, classes dealt among contexts with the same last token"]
    np.testing.assert_allclose(shuffled, test.permuted)
    np.testing.assert_allclose(found["share of such shuffles that collapse as much"], test.p_value)
    spread = ntp.effective_rank(last - last.mean(axis=0))
    np.testing.assert_allclose(found["effective rank of the logits"], spread)
    slope = ntp.spectral_exponent(last - last.mean(axis=0))
    assert slope.last >= 3
    np.testing.assert_allclose(found["exponent of their singular values"], slope.exponent)
    assert found["how many these are"] == slope.last
    np.testing.assert_allclose(found["farthest of them from that line, in ln"], slope.residual)


def test_efficiencies_in_the_report():
    """The path's end wastes nothing; the closed form at the same depth does.

    Mutation seen to fail: the proxy without L_in.
    """
    labels = ntp.random_soft_labels(8, 12, 3, seed=0)
    found = ntp.report(labels, tol=1e-6).numbers
    assert 0.99 < found["norm efficiency, at least"] <= 1
    depth = -np.log(ntp.ridge_max(labels) / 1e5)
    closed = ntp.in_support_logits(labels).toarray() + depth * ntp.centered_support(labels)
    paid = ntp.norm_efficiency(closed, labels, tol=1e-3)
    said = found["norm efficiency of L_in + ln(1/ridge) proxy, at least"]
    assert said == pytest.approx(paid.lower, rel=0.02)
    assert paid.upper < 0.98
    assert np.isnan(found["contexts that can change class so"])  # counts have no last tokens


def test_chapters_in_the_report_are_chapters_of_the_book():
    """By title; the page names the same in its sentences, in brackets."""
    book = Path(ntp.__file__).parents[1] / "book"
    titles = {
        re.search(r"^# (.+)$", page.read_text("utf-8"), re.MULTILINE)[1]
        for page in book.glob("*.md")
    }
    assert {quantity.chapter for quantity in reports.QUANTITIES} <= titles
    page = ntp.report(ntp.random_soft_labels(5, 7, 2)).html
    named = [part.split("; ") for part in re.findall(r" \[([A-Z][^\]]+)\]", page)]
    assert {title for titles_of in named for title in titles_of} <= titles
    assert len(named) > 5
