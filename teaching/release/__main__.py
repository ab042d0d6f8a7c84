"""Release the problem sets of teaching/problem_sets for one class.

    python -m teaching.release --seed 2027

writes into dist/assignments/2027/, or with `--out folder` into folder/2027/

    student/psN.ipynb               what the class gets: no solutions, no hidden tests
    instructor/psN.ipynb            the master, from which submissions are graded
    instructor/psN_solutions.ipynb  the master, executed
    instructor/rubrics.html, .md    model answers and rubrics of the hand-graded questions
    instructor/expected_values.json the values of the named answers
    solutions/psN_solutions.ipynb   what the class may read afterwards: no hidden tests, no rubrics
    instructor/nbgrader/            the same sets as an nbgrader course, for trusted classes only

The seed is the number in the one cell tagged `cohort`; all data of a set derive from it. Every set
is executed, and one whose solutions do not earn full marks is not released.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from teaching.paths import DIST, PROBLEM_SETS
from teaching.release.course import release
from teaching.release.errors import AssignmentError


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m teaching.release", description="Release the problem sets for one class."
    )
    add = parser.add_argument
    add("--seed", type=int, required=True, help="the class's number, such as 2027")
    add("--out", type=Path, default=DIST / "assignments", help="writes OUT/SEED/ (%(default)s)")
    add("--source", type=Path, default=PROBLEM_SETS, help="folder of the sets (%(default)s)")
    arguments = parser.parse_args()
    if arguments.seed < 0:
        parser.error("the seed is a whole number, 0 or larger")
    target = arguments.out / str(arguments.seed)
    try:
        names = release(arguments.source, target, arguments.seed)
    except AssignmentError as error:
        print(f"assignments: {error}", file=sys.stderr)
        return 1
    print(f"{', '.join(names)}: {target}/student is for the class, {target}/instructor is not.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
