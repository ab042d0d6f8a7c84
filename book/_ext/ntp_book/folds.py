"""Two speeds on one page: proofs, checks and asides are folded where they stand.

    :::{fold} Why the bound cannot be improved        folds its body
    ...
    :::

    :::{fold} The dual, step by step                  folds what follows, cells and figures too,
    :::                                               up to `{fold-end}` or the end of the section

Folded without being told: the text of every `{prf:proof}`, code cells with the tag `checks`, and
the output of code cells with the tag `answer`. Nothing folds twice: within a fold, proofs are open.

The moves are made when a page is written, after Sphinx has numbered everything: sections within a
fold keep their numbers and their places in the table of contents. (Theorems, figures and equations
get letters there: fold_numbers.py.) A fold becomes a node `fold` (title, content) in the trees of
all builders; `{minutes}` roles become numbers (reading_time.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_proof.nodes import proof_node

from .reading_time import cell_tags, fill_in, minutes_of_fold

logger = logging.getLogger(__name__)

# What the folds without a title of their own are called.
TITLES = {"proof": "Proof", "checks": "Checks", "answer": "See what happens"}


class fold(nodes.General, nodes.Element):  # noqa: N801  (docutils writes node classes so)
    """A fold: its first child is a `fold_title`, the others its content.

    Attributes: kind ("aside", "proof", "checks", "answer"); marker, true while what it folds still
    stands beside it.
    """


class fold_title(nodes.TextElement):  # noqa: N801
    """The line by which a fold is opened."""


class fold_end(nodes.Invisible, nodes.Element):  # noqa: N801
    """The place where a fold without a body ends."""


class FoldDirective(SphinxDirective):
    """`{fold} Title`, with or without a body."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the fold; without a body a marker, which `gather` fills."""
        texts, messages = self.state.inline_text(self.arguments[0], self.lineno)
        title = fold_title(self.arguments[0], "", *texts)
        node = fold("", title, kind=self.kind(), marker=not self.content)
        self.set_source_info(node)
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node, *messages]

    def kind(self) -> str:
        """Return "answer" for the fold of a Predict box, else "aside"."""
        return "answer" if self.arguments[0].strip() == "Answer" else "aside"


class FoldEndDirective(SphinxDirective):
    """`{fold-end}`: what follows is open again."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the mark."""
        node = fold_end()
        self.set_source_info(node)
        return [node]


def code_cells(tree: nodes.Element) -> Iterator[nodes.container]:
    """Yield the code cells of a tree."""
    for node in tree.findall(nodes.container):
        if node.get("nb_element") == "cell_code":
            yield node


def within(node: nodes.Node, *kinds: str) -> bool:
    """Say whether a node stands inside one of these kinds of node (names of classes)."""
    parent = node.parent
    while parent is not None:
        if type(parent).__name__ in kinds:
            return True
        parent = parent.parent
    return False


def wrap(node: nodes.Element, kind: str) -> None:
    """Put a fold around a node."""
    folded = fold("", fold_title("", TITLES[kind]), kind=kind, marker=False)
    node.replace_self(folded)
    folded += node


def ends_a_fold(node: nodes.Node) -> bool:
    """Say whether a fold without a body ends before a node."""
    return isinstance(node, fold_end) or (isinstance(node, fold) and node["marker"])


def gather(marker: fold) -> None:
    """Move into a fold what follows it, up to the end of its section or the next mark."""
    marker["marker"] = False
    parent = marker.parent
    start = parent.index(marker) + 1
    stop = start
    while stop < len(parent.children) and not ends_a_fold(parent[stop]):
        stop += 1
    if stop == start:
        logger.warning("a fold without content", location=marker, type="ntp_book")
    moved = parent.children[start:stop]
    del parent[start:stop]
    marker.extend(moved)


def open_proof(proof: nodes.Element) -> None:
    """Take the word "Proof." from a proof whose fold says it."""
    first = proof[0][0] if proof.children and proof[0].children else None
    if isinstance(first, nodes.strong) and first.astext() == "Proof.":
        proof[0].remove(first)
        if isinstance(proof[0][0], nodes.Text):
            proof[0].replace(proof[0][0], nodes.Text(proof[0][0].lstrip()))


def gather_all(doctree: nodes.document) -> None:
    """Fill the folds without a body."""
    for marker in [node for node in doctree.findall(fold) if node["marker"]]:
        if isinstance(marker.parent, fold):
            logger.warning("a fold within a fold", location=marker, type="ntp_book")
        gather(marker)
    for end in list(doctree.findall(fold_end)):
        before = end.parent.index(end) - 1
        if before < 0 or not isinstance(end.parent[before], fold):
            logger.warning("a fold-end without a fold", location=end, type="ntp_book")
        end.parent.remove(end)


def wrap_proofs(doctree: nodes.document) -> None:
    """Fold the proofs that stand in the open."""
    for node in list(doctree.findall(proof_node)):
        if not within(node, "fold", "solution_node"):
            open_proof(node[0])
            wrap(node, "proof")


def wrap_cells(doctree: nodes.document) -> None:
    """Fold checks, and what answers a prediction."""
    for cell in list(code_cells(doctree)):
        tags = cell_tags(cell)
        if "checks" in tags:
            wrap(cell, "checks")
        elif "answer" in tags:
            for part in list(cell.findall(nodes.container)):
                if part.get("nb_element") == "cell_code_output":
                    wrap(part, "answer")


def make_folds(doctree: nodes.document) -> None:
    """Make all folds of a page."""
    gather_all(doctree)
    wrap_proofs(doctree)
    wrap_cells(doctree)


def fold_away(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make the folds of a page that is about to be written, and fill in its reading times."""
    make_folds(doctree)
    fill_in(doctree)


def visit_fold(translator: Any, node: fold) -> None:
    """Begin a <details> element."""
    translator.body.append(f'<details class="ntp-fold ntp-{node["kind"]}">')


def depart_fold(translator: Any, node: fold) -> None:
    """End it."""
    translator.body.append("</div></details>\n")


def visit_fold_title(translator: Any, node: fold_title) -> None:
    """Begin the line that opens the fold."""
    translator.body.append('<summary><span class="ntp-fold-title">')


def depart_fold_title(translator: Any, node: fold_title) -> None:
    """End that line with the minutes that the fold takes."""
    minutes = minutes_of_fold(node.parent)
    said = f'<span class="ntp-fold-minutes">{minutes} min</span>' if minutes else ""
    translator.body.append(f'</span>{said}</summary>\n<div class="ntp-fold-body">\n')


def do_nothing(translator: Any, node: nodes.Element) -> None:
    """In other formats a fold is its content, below its title."""


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    other = (do_nothing, do_nothing)
    app.add_node(fold, html=(visit_fold, depart_fold), latex=other, text=other)
    app.add_node(fold_title, html=(visit_fold_title, depart_fold_title), latex=other, text=other)
    app.add_node(fold_end)
    app.add_directive("fold", FoldDirective)
    app.add_directive("fold-end", FoldEndDirective)
    app.connect("doctree-resolved", fold_away)
