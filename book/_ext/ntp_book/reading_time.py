"""How long a page takes, computed from the page.

    **Time.** {minutes}`story` minutes for the story, {minutes}`all` with every proof and aside.

Words are read at 200 a minute, proofs at 70; a visible line of code takes 2.5 seconds, a figure 45,
a formula on a line of its own 15, a prediction 45. A formula within a line counts as a word. Not
counted: exercises, checks, answers to predictions, and code whose cell is folded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.application import Sphinx

WORDS_PER_MINUTE = 200
PROOF_WORDS_PER_MINUTE = 70
SECONDS_PER_LINE = 2.5
SECONDS_PER_FIGURE = 45
SECONDS_PER_FORMULA = 15
SECONDS_PER_PREDICTION = 45
# Calls that show an interactive figure; an export has no outputs in which to look for them.
INTERACTIVE = re.compile(r"\b(?:Frames|Handles|TextCounts)\(")
FOLDED_CODE = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
UNCOUNTED = {"checks", "answer"}


class minutes(nodes.Inline, nodes.TextElement):  # noqa: N801  (docutils writes node classes so)
    """The place of a number of minutes; attribute part: "story" or "all"."""


@dataclass
class Amount:
    """What there is to read."""

    words: int = 0
    proof_words: int = 0
    lines: int = 0
    figures: int = 0
    formulas: int = 0
    predictions: int = 0

    @property
    def minutes(self) -> float:
        """The time that it takes."""
        reading = self.words / WORDS_PER_MINUTE + self.proof_words / PROOF_WORDS_PER_MINUTE
        seconds = (
            self.lines * SECONDS_PER_LINE
            + self.figures * SECONDS_PER_FIGURE
            + self.formulas * SECONDS_PER_FORMULA
            + self.predictions * SECONDS_PER_PREDICTION
        )
        return reading + seconds / 60

    def add(self, other: Amount) -> None:
        """Add another amount to this one."""
        self.words += other.words
        self.proof_words += other.proof_words
        self.lines += other.lines
        self.figures += other.figures
        self.formulas += other.formulas
        self.predictions += other.predictions


def is_exercises(node: nodes.Node) -> bool:
    """Say whether a node is the section of exercises, or one of its boxes."""
    if isinstance(node, nodes.section):
        return node[0].astext().endswith("Exercises")
    return type(node).__name__ in ("exercise_node", "exercise_enumerable_node", "solution_node")


def amount(node: nodes.Node, folds: bool, proof: bool = False) -> Amount:
    """Count what there is to read in a node: with its folds, or without."""
    if isinstance(node, nodes.Text):
        words = len(node.astext().split())
        return Amount(proof_words=words) if proof else Amount(words=words)
    if isinstance(node, nodes.math_block):
        return Amount(formulas=1)
    if isinstance(node, nodes.math):
        return Amount(proof_words=1) if proof else Amount(words=1)
    if is_exercises(node) or isinstance(node, (nodes.literal_block, nodes.raw, nodes.Invisible)):
        return Amount()
    if node.get("nb_element") == "cell_code":
        return amount_of_cell(node)
    kind = node.get("kind") if type(node).__name__ == "fold" else None
    if kind is not None and (not folds or kind in UNCOUNTED):
        return Amount()
    total = Amount(
        figures=int(isinstance(node, nodes.figure)),
        predictions=int("predict" in node.get("classes", ())),
    )
    proof = proof or "is-proof" in node.get("classes", ())
    for child in node.children:
        total.add(amount(child, folds, proof))
    return total


def cell_tags(cell: nodes.Element) -> set[str]:
    """Return the tags of a code cell, also where an export has set them aside."""
    metadata = cell.get("cell_metadata", {})
    return {*metadata.get("tags", ()), *metadata.get("export_tags", ())}


def amount_of_cell(cell: nodes.Element) -> Amount:
    """Count the visible lines of a code cell, and the figures that it draws."""
    tags = cell_tags(cell)
    if tags & UNCOUNTED:
        return Amount()
    source = next(cell.findall(nodes.literal_block)).astext()
    total = Amount(figures=len(INTERACTIVE.findall(source)))
    if not tags & FOLDED_CODE:
        total.lines = sum(1 for line in source.splitlines() if line.strip())
    if not total.figures:  # the caption of a figure that moves stands in the output
        for figure in cell.findall(nodes.figure):
            total.figures += 1
            total.words += sum(len(c.astext().split()) for c in figure.findall(nodes.caption))
    return total


def minutes_of_fold(node: nodes.Element) -> int:
    """Return the minutes that a fold takes; 0 for checks and answers."""
    if node["kind"] in UNCOUNTED:
        return 0
    total = Amount()
    for child in node.children[1:]:
        total.add(amount(child, folds=True))
    return max(1, round(total.minutes))


def fill_in(doctree: nodes.document) -> None:
    """Replace the roles of a page by numbers."""
    for node in list(doctree.findall(minutes)):
        found = amount(doctree, folds=node["part"] == "all").minutes
        node.replace_self(nodes.Text(str(max(1, round(found)))))


def minutes_role(
    name: str,
    rawtext: str,
    text: str,
    lineno: int,
    inliner: Inliner,
    options: dict[str, Any] | None = None,
    content: Sequence[str] = (),
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Read the role `{minutes}`."""
    if text not in ("story", "all"):
        problem = inliner.reporter.error(f"minutes of {text!r}: write story or all", line=lineno)
        return [inliner.problematic(rawtext, rawtext, problem)], [problem]
    return [minutes(rawtext, "", part=text)], []


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.add_node(minutes)
    app.add_role("minutes", minutes_role)
