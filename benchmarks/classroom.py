"""The grader on a class of forty: right marks for everybody, the same twice, and how long it takes.

    make assignments SEED=2027
    PYTHONPATH=book/_ext .venv/bin/python -m benchmarks.classroom --set 1 --seed 2027

The submissions are made from the set's own solutions: honest ones as ten editors and habits leave
them, lazy ones, ones with the mistakes that the set lists, hostile ones, files that are no
notebooks, and names that collide. What each must earn is known when it is made. The script fails
where a mark is another, or where a second run gives other results.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teaching.cells import CODE_STUB, is_answer, is_by_hand, is_test, without_hidden_tests
from teaching.paths import DIST, PROBLEM_SETS, ROOT

Json = dict[str, Any]
_PR_SET_CHILD_SUBREAPER = 36  # as Linux numbers it


@dataclass(frozen=True)
class Submission:
    """A file, and what it must earn: points for each test, or None where the file is no notebook.

    A test that is not in `points` may give what it will: a submission may spoil its own answers.
    """

    name: str
    content: bytes
    points: dict[str, float] | None


class ProblemSet:
    """A master as a class works on it: what a right submission looks like, and what it earns."""

    def __init__(self, master: Json) -> None:
        self.master = master
        self.owner: dict[str, str] = {}  # the answer that each test belongs to
        self.most: dict[str, float] = {}
        answer = ""
        for cell in master["cells"]:
            grading = cell["metadata"].get("nbgrader", {})
            if is_test(grading):
                self.owner[grading["grade_id"]] = answer
                self.most[grading["grade_id"]] = grading["points"]
            elif is_answer(grading) and not is_by_hand(grading):
                answer = grading["grade_id"]
        self.answers = list(dict.fromkeys(self.owner.values()))

    def solved(self, change: Callable[[str, str], str] = lambda name, source: source) -> Json:
        """Return a right submission, each answer changed by `change(its id, its source)`."""
        notebook = copy.deepcopy(self.master)
        for cell in notebook["cells"]:
            grading = cell["metadata"].get("nbgrader", {})
            source = without_hidden_tests("".join(cell["source"]))
            if is_by_hand(grading):
                source = "My proof: $a < b$."
            elif is_answer(grading):
                source = change(grading["grade_id"], source)
            cell["source"] = source
            cell["outputs"] = []
        return notebook

    def earned(self, lost: set[str] = frozenset()) -> dict[str, float]:  # type: ignore[assignment]
        """Return what is earned where the tests of some answers are lost."""
        return {test: 0.0 if self.owner[test] in lost else self.most[test] for test in self.most}

    def undecided(self, lost: str) -> dict[str, float]:
        """Return what is earned where one answer is lost, and perhaps others with it."""
        return {test: 0.0 for test in self.most if self.owner[test] == lost}


def encoded(notebook: Json) -> bytes:
    """Return a notebook as a file."""
    return json.dumps(notebook).encode()


# --- Honest submissions, as editors and habits leave them ---


def for_each_cell(change: Callable[[Json], None]) -> Callable[[Json], None]:
    """Return a change of a notebook that changes each of its cells."""

    def change_all(notebook: Json) -> None:
        for cell in notebook["cells"]:
            change(cell)

    return change_all


def in_colab(cell: Json) -> None:
    """Drop the cell's id, as Colab does, and add what Colab adds."""
    cell.pop("id", None)
    cell["metadata"] |= {"id": "x7Yz", "colab": {"base_uri": "https://localhost:8080/"}}


def with_output(cell: Json) -> None:
    """Keep a long output, as nobody clears it."""
    if cell["cell_type"] == "code":
        text = {"output_type": "stream", "name": "stdout", "text": "0.123 " * 10_000}
        cell |= {"outputs": [text], "execution_count": 7}


def in_lines(cell: Json) -> None:
    """Store the source as lines, as Jupyter does."""
    cell["source"] = cell["source"].splitlines(keepends=True)


def with_line_ends_of_windows(cell: Json) -> None:
    """End the lines as an editor on Windows does."""
    cell["source"] = cell["source"].replace("\n", "\r\n")


def in_old_format(notebook: Json) -> None:
    """Save as format 4.2, which has no ids of cells."""
    notebook["nbformat_minor"] = 2
    for cell in notebook["cells"]:
        cell.pop("id", None)


def with_scratch_cells(notebook: Json) -> None:
    """Add cells of one's own that fail, overwrite and loop."""
    for source in ("1 / 0", "np = None", "while True: pass"):
        cell: Json = {"cell_type": "code", "source": source, "metadata": {}, "outputs": []}
        notebook["cells"].insert(1, cell | {"execution_count": None})


def twice(notebook: Json) -> None:
    """Paste every cell a second time."""
    notebook["cells"] = [copy.deepcopy(cell) for cell in notebook["cells"] for _ in range(2)]


def with_spoilt_tests(cell: Json) -> None:
    """Empty the test cells, which are restored."""
    if is_test(cell["metadata"].get("nbgrader", {})):
        cell["source"] = "pass"


STYLES: dict[str, Callable[[Json], None]] = {
    "as released": lambda notebook: None,
    "Colab": for_each_cell(in_colab),
    "with outputs": for_each_cell(with_output),
    "lines": for_each_cell(in_lines),
    "Windows": for_each_cell(with_line_ends_of_windows),
    "format 4.2": in_old_format,
    "scratch cells": with_scratch_cells,
    "pasted twice": twice,
    "spoilt tests": for_each_cell(with_spoilt_tests),
}
MAGICS = "%matplotlib inline\n%config InlineBackend.figure_format = 'retina'\nimport asyncio\n"
MAGICS += "await asyncio.sleep(0)\n"


def honest(exercise: ProblemSet) -> Iterator[Submission]:
    """Yield right answers, which earn everything; three of them under names that collide."""
    for name, change in STYLES.items():
        notebook = exercise.solved()
        change(notebook)
        yield Submission(name, encoded(notebook), exercise.earned())
    magics = exercise.solved(lambda name, source: MAGICS + source)
    yield Submission("magics", encoded(magics), exercise.earned())
    for name in ("a/b__c", "a__b/c", "=1+1"):
        yield Submission(name, encoded(exercise.solved()), exercise.earned())


# --- Lazy and mistaken submissions ---


def lazy(exercise: ProblemSet) -> Iterator[Submission]:
    """Yield submissions with nothing, with empty answers, and with the first answer only."""
    everything = set(exercise.answers)
    nothing = exercise.earned(everything)
    yield Submission("untouched", encoded(exercise.solved(lambda name, source: CODE_STUB)), nothing)
    yield Submission("pass", encoded(exercise.solved(lambda name, source: "pass")), nothing)
    first = exercise.answers[0]
    started = exercise.solved(lambda name, source: source if name == first else CODE_STUB)
    yield Submission("one answer", encoded(started), exercise.earned(everything - {first}))


def mistaken(exercise: ProblemSet, most: int = 3) -> Iterator[Submission]:
    """Yield submissions with the k-th mistake that the set lists for each answer.

    A mistake need not fail every test of its answer, but it fails one: no full marks.
    """
    listed = {
        cell["metadata"]["nbgrader"]["grade_id"]: cell["metadata"]["ntp_lite"]["mistakes"]
        for cell in exercise.master["cells"]
        if "mistakes" in cell["metadata"].get("ntp_lite", {})
    }
    for k in range(most):
        made = {name: mistakes[k] for name, mistakes in listed.items() if k < len(mistakes)}

        def change(name: str, source: str, made: dict[str, list[str]] = made) -> str:
            old, new = made.get(name, ["", ""])[:2]
            return source.replace(old, new) if old else source

        right = {test: exercise.most[test] for test, o in exercise.owner.items() if o not in made}
        if made:
            yield Submission(f"mistake {k}", encoded(exercise.solved(change)), right)


# --- Hostile submissions: what stands in the first answer ---

LOSES_ONE = {  # the first answer is lost, and nothing else
    "exits": "import sys\nsys.exit()",
    "exits hard": "import os\nos._exit(0)",
    "loops": "while True:\n    pass",
    "raises oddly": "class E(BaseException):\n    __str__ = None\nraise E()",
    "breaks syntax": "def f(:\n",
    "wants too much": "import numpy\nnumpy.ones(10**12)",
    "takes too much": "a = []\nwhile True:\n    a.append(b'x' * 2**24)",
    "recurses": "def f(n):\n    return f(n + 1)\nf(0)",
    "signals itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "sleeps": "import time\ntime.sleep(10**6)",
    "stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
}
LOSES_NOTHING = {  # they stand before a right answer
    "prints much": "for _ in range(100):\n    print('x' * 2**20)",
    "starts threads": "import threading, time\nfor _ in range(9):\n"
    "    threading.Thread(target=time.sleep, args=[10**6], daemon=True).start()",
    "fills its folder": "try:\n    with open('x', 'wb') as file:\n"
    "        for _ in range(600):\n            file.write(bytes(2**20))\nexcept OSError:\n    pass",
    "traces": "import sys\nsys.settrace(lambda *a: None)",
    "hides warnings": "import warnings\nwarnings.simplefilter('error')\n",
    "leaves at exit": "import atexit, time\natexit.register(time.sleep, 10**6)",
}
MAY_LOSE_MORE = {  # what these change lives on in their own process; they gain nothing by it
    "forges": "import os\nfor fd in range(3, 64):\n    try:\n"
    '        os.write(fd, b\'{"n": 2, "value": 1.0}\')\n    except OSError:\n        pass\n1 / 0',
    "hooks": "shell = get_ipython()\nshell.run_cell = lambda *a, **k: None\n"
    "shell.input_transformers_post.append(lambda lines: ['pass\\n'])\n1 / 0",
    "patches": "import builtins, numpy\nnumpy.allclose = lambda *a, **k: True\n"
    "builtins.AssertionError = KeyError\n1 / 0",
}


def hostile(exercise: ProblemSet) -> Iterator[Submission]:
    """Yield twenty submissions that attack from their first answer."""
    first = exercise.answers[0]

    def with_attack(attack: str, before_answer: bool) -> bytes:
        def change(name: str, source: str) -> str:
            if name != first:
                return source
            return f"{attack}\n{source}" if before_answer else attack

        return encoded(exercise.solved(change))

    for name, attack in LOSES_ONE.items():
        yield Submission(name, with_attack(attack, False), exercise.earned({first}))
    for name, attack in LOSES_NOTHING.items():
        yield Submission(name, with_attack(attack, True), exercise.earned())
    for name, attack in MAY_LOSE_MORE.items():
        yield Submission(name, with_attack(attack, False), exercise.undecided(first))


def broken(exercise: ProblemSet) -> Iterator[Submission]:
    """Yield files that are no notebooks."""
    good = encoded(exercise.solved())
    files = {"cut": good[:-40], "empty": b"", "picture": b"\x89PNG\r\n\x1a\n" + bytes(99)}
    for name, content in (files | {"list": b"[]", "deep": b"[" * 100_000}).items():
        yield Submission(name, content, None)


def make_class(master: Json) -> list[Submission]:
    """Return the whole class."""
    exercise = ProblemSet(master)
    kinds = (honest, lazy, mistaken, hostile, broken)
    return [submission for kind in kinds for submission in kind(exercise)]


# --- Grading it ---


def write_class(folder: Path, submissions: list[Submission]) -> None:
    """Write the files of a class."""
    for submission in submissions:
        path = folder / f"{submission.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(submission.content)


def results(out: Path) -> dict[str, dict[str, float] | None]:
    """Return the points of each test by submission; None for a file that was not graded."""
    found = {}
    for path in (out / "records").glob("*.json"):
        record = json.loads(path.read_text())
        points = {p["id"]: p["points"] for p in record["parts"] if p["kind"] == "test"}
        found[record["name"]] = None if record["refused"] else points
    return found


def wrong_marks(
    submissions: list[Submission], found: dict[str, dict[str, float] | None], most: float
) -> list[str]:
    """Return a line for each submission whose marks are not those that it must have."""
    lines = []
    for submission in submissions:
        marks, expected = found.get(submission.name, {}), submission.points
        if marks is None or expected is None:
            right = marks is None and expected is None
        else:
            right = all(marks.get(test) == points for test, points in expected.items())
            right = right and (len(expected) == len(marks) or sum(marks.values()) < most)
        if not right:
            lines.append(f"{submission.name}: {marks}, not {expected}")
    return lines


def adopt_orphans() -> None:
    """Make processes whose parent ends this one's, so that their computing is counted, too.

    The grader's workers are children of a server that nobody waits for.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def computing_seconds() -> float:
    """Return the seconds of computing of all processes so far that have ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def grade(folder: Path, master: Path, out: Path, *options: str) -> float:
    """Grade a folder; return the seconds that it took."""
    start = time.perf_counter()
    words = [sys.executable, "-m", "teaching.grader", folder, "--master", master, "--out", out]
    done = subprocess.run([*map(str, words), *options], cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return time.perf_counter() - start


def main() -> int:
    """Make the class, grade it twice, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--set", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2027)
    parser.add_argument("--once", action="store_true", help="one run only")
    options = parser.parse_args()
    master = DIST / "assignments" / str(options.seed) / "instructor" / f"ps{options.set}.ipynb"
    if not master.is_file():
        print(f"Run make assignments SEED={options.seed} first.", file=sys.stderr)
        return 2
    with_mistakes = _with_mistakes(json.loads(master.read_text()), options.set, options.seed)
    submissions = make_class(with_mistakes)
    most = sum(ProblemSet(with_mistakes).most.values())
    runs = []
    adopt_orphans()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "submissions"
        write_class(folder, submissions)
        for k in range(1 if options.once else 2):
            out = Path(scratch) / f"out{k}"
            seconds = grade(folder, master, out)
            computing = computing_seconds()
            print(f"run {k}: {len(submissions)} files, {seconds:.0f} s", end="; ")
            print(f"{computing:.0f} s of computing in all runs so far")
            runs.append(results(out))
            with open(out / "grades.csv", encoding="utf-8-sig", newline="") as lines:
                assert len(list(csv.reader(lines))) == len(submissions) + 1, "a row is missing"
    wrong = wrong_marks(submissions, runs[0], most)
    wrong += [] if runs[0] == runs[-1] else ["two runs differ"]
    print("\n".join(wrong) or "All marks are right, and the same each time.")
    return 1 if wrong else 0


def _with_mistakes(master: Json, number: int, seed: int) -> Json:
    """Return the released master with the lists of mistakes that its source holds."""
    from teaching.release.master import read_master

    source = read_master(PROBLEM_SETS / f"ps{number}.md", seed)
    listed = {
        cell.metadata["nbgrader"]["grade_id"]: cell.metadata["ntp_lite"]
        for cell in source.cells
        if "mistakes" in cell.metadata.get("ntp_lite", {})
    }
    for cell in master["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if name in listed:
            cell["metadata"]["ntp_lite"] = dict(listed[name])
    return master


if __name__ == "__main__":
    sys.exit(main())
