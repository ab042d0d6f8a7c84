"""Bibliography entries carry the label by which the text cites them: Zhao et al., 2024."""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_lowercase
from typing import Any

from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx


class AuthorYearLabels(BaseLabelStyle):
    """Label entries with their authors and year."""

    def format_labels(self, sorted_entries: list[Any]) -> Iterator[str]:
        """Yield one label per entry, with a letter where two would coincide."""
        labels = [author_year(entry) for entry in sorted_entries]
        for i, label in enumerate(labels):
            twins = [j for j, other in enumerate(labels) if other == label]
            yield label + (ascii_lowercase[twins.index(i)] if len(twins) > 1 else "")


def author_year(entry: Any) -> str:
    """Return `Zhao et al., 2024` for an entry of the bibliography."""
    # The file of references writes accents as TeX does.
    people = [
        str(Text.from_latex(" ".join(person.last_names)))
        for person in entry.persons.get("author", [])
    ]
    names = " and ".join(people) if len(people) < 3 else f"{people[0]} et al."
    return f"{names}, {entry.fields.get('year', 'n.d.')}"


class AuthorYearStyle(PlainStyle):
    """The plain style with author-year labels."""

    default_label_style = AuthorYearLabels


def setup(app: Sphinx) -> None:
    """Register the style with pybtex, under the name that _config.yml uses."""
    register_plugin("pybtex.style.formatting", "ntp_author_year", AuthorYearStyle)
