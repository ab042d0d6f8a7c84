"""Answers that are alike: hints for a person to look, and never a judgement.

Code is compared as a tree without names, comments and texts, so that a renamed copy stays a copy.
Two answers are alike if they share nearly all of their pieces. Short answers are alike by nature,
and one that many gave is a common answer: neither is a hint.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from itertools import combinations

from teaching.grader.plan import UNREADABLE_CODE, Kind
from teaching.grader.records import Record

_PIECE = 6  # nodes of the tree, or words of a text
_FEWEST_PIECES = 30
_ALIKE = 0.85
_LONGEST = 100_000  # letters; what is longer is nobody's own work, and would take minutes
_COMMON = 5  # pieces that so many submissions have are the question's, not somebody's


@dataclass(frozen=True)
class Alike:
    """Two submissions whose answers to one question are alike."""

    question: str
    first: str
    second: str
    share: float  # of the pieces of both that both have


def find_alike(records: list[Record]) -> list[Alike]:
    """Return the pairs that are alike, most alike first."""
    answers: dict[str, dict[str, set[str]]] = {}
    for record in records:
        for part in record.parts:
            if part.kind in (Kind.ANSWER, Kind.DERIVATION) and not part.is_blank:
                pieces = _pieces(part.source, part.kind)
                answers.setdefault(part.id, {})[record.name] = pieces
    found = []
    for question, pieces_of in answers.items():
        spread = Counter(piece for pieces in pieces_of.values() for piece in pieces)
        own = {
            name: {piece for piece in pieces if spread[piece] <= _COMMON}
            for name, pieces in pieces_of.items()
        }
        for first, second in combinations(own, 2):
            share = _share(own[first], own[second])
            if share >= _ALIKE:
                found.append(Alike(question, first, second, share))
    return sorted(found, key=lambda pair: -pair.share)


def _share(first: set[str], second: set[str]) -> float:
    both, either = len(first & second), len(first | second)
    return both / either if both >= _FEWEST_PIECES else 0.0


def _pieces(source: str, kind: Kind) -> set[str]:
    source = source[:_LONGEST]
    words = _tree_words(source) if kind is Kind.ANSWER else source.split()
    return {" ".join(words[i : i + _PIECE]) for i in range(len(words) - _PIECE + 1)}


def _tree_words(source: str) -> list[str]:
    try:
        return [_word(node) for node in ast.walk(ast.parse(source))]
    except UNREADABLE_CODE:
        return source.split()


def _word(node: ast.AST) -> str:
    word = type(node).__name__
    if isinstance(node, ast.Attribute):  # np.where stays, whatever the arrays are called
        word += node.attr
    elif isinstance(node, ast.Constant) and not isinstance(node.value, str):
        word += repr(node.value)
    return word
