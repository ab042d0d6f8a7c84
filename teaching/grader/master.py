"""Find the instructor's notebook."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from teaching.grader.errors import BadInputError, NotGradedError
from teaching.grader.notebook import Notebook, read_notebook
from teaching.grader.plan import Kind, make_plan
from teaching.grader.submissions import printable
from teaching.paths import DIST, PROBLEM_SETS, ROOT


class Choice(NamedTuple):
    """A problem set of a class; None where it is not said."""

    name: str | None
    seed: str | None


def read_chosen_master(
    path: Path | None, chosen: Choice, submissions: list[Path]
) -> tuple[Path, Notebook]:
    """Return the instructor's notebook, and where it lies.

    Where no path is given, it is that of the chosen set and seed; what is not chosen, the
    submissions are asked.
    """
    if path is None:
        name, seed = _ask_submissions(chosen, submissions)
        path = DIST / "assignments" / seed / "instructor" / f"{name}.ipynb"
        if not path.is_file():
            _release(seed)
    try:
        master = read_notebook(path)
    except NotGradedError as error:
        raise BadInputError(f"the instructor's notebook {path} cannot be used: {error}") from None
    if not any(step.kind is Kind.TEST for step in make_plan(master)):
        raise BadInputError(f"{path} has no graded test cell: it is no instructor's notebook")
    return path, master


def _ask_submissions(chosen: Choice, submissions: list[Path]) -> tuple[str, str]:
    known = sorted(path.stem for path in PROBLEM_SETS.glob("ps*.md"))
    if chosen.name and chosen.name not in known:
        number = printable(chosen.name.removeprefix("ps"))
        raise BadInputError(f"there is no problem set {number:.40}; there are {', '.join(known)}")
    found = {choice for path in submissions if (choice := _says(path)) and _fits(choice, chosen)}
    if not found:
        found = {chosen}
    if len(found) > 1:
        names = sorted(
            f"{printable(str(name))} of seed {printable(str(seed))}" for name, seed in found
        )
        which = ", ".join(names)
        raise BadInputError(f"the folder mixes assignments ({which:.200}); name SET= and SEED=")
    name, seed = found.pop()
    if name is None or seed is None:
        raise BadInputError("the notebooks do not tell their set; name SET= and SEED=")
    if name not in known or not re.fullmatch(r"\d+", seed):
        name, seed = printable(name), printable(seed)
        raise BadInputError(f"there is no problem set {name:.40} with the seed {seed:.40}")
    return name, seed


def _says(path: Path) -> Choice | None:
    """Return which problem set a submission says it is, if it says so."""
    try:
        notebook = read_notebook(path)
    except NotGradedError:
        return None
    if not notebook.assignment or not notebook.seed:
        return None
    return Choice(notebook.assignment, notebook.seed)


def _fits(choice: Choice, chosen: Choice) -> bool:
    return chosen.name in (None, choice.name) and chosen.seed in (None, choice.seed)


def _release(seed: str) -> None:
    print(f"making the problem sets of seed {seed} ...", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "teaching.release", "--seed", seed], cwd=ROOT)
