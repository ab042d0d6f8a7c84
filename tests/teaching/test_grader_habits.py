"""What students do in Jupyter every day earns its points, and what gives data away gives none.

Every habit is a change of a right submission to the tiny problem set. All are graded in one batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import nbformat
import pytest
from tiny_set import OPTIONS, SQUARE, TOTAL, make_folder, results, run, submission

from teaching.grader.marking import FAILED_HIDDEN_TEST

FULL = (10, 20, 5)
Notebook = nbformat.NotebookNode


def answer(**sources: str) -> Callable[[], Notebook]:
    return lambda: submission(**sources)


def with_cells(*own: tuple[int, str], **sources: str) -> Callable[[], Notebook]:
    """A submission with cells of one's own, each inserted at a place."""

    def make() -> Notebook:
        notebook = submission(**sources)
        for place, source in own:
            notebook.cells.insert(place, nbformat.v4.new_code_cell(source))
        return notebook

    return make


def edited(change: Callable[[Notebook], None], **sources: str) -> Callable[[], Notebook]:
    def make() -> Notebook:
        notebook = submission(**sources)
        change(notebook)
        return notebook

    return make


def in_given(source: str) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        given = notebook.cells[0]
        given.source = source + given.source

    return change


def without_ids(notebook: Notebook) -> None:
    for cell in notebook.cells:
        cell.pop("id", None)
        cell.metadata["id"] = "a1B2c3"
        cell.metadata["colab"] = {"base_uri": "https://localhost:8080/"}


COUNTED = "def mean_square(v):\n    return float(np.mean(squares_of(v)))\n"
HELPER = "def squares_of(v):\n    return np.asarray(v) ** 2\n"
AWAIT = "import asyncio\nawait asyncio.sleep(0)\nasync def later(): return 1\n_ = await later()\n"
PLOT = "import matplotlib.pyplot as plt\nplt.plot(x)\nplt.show()\n"
WIDGETS = """\
import ipywidgets
from IPython.display import display, HTML, clear_output
slider = ipywidgets.IntSlider(value=3)
display(slider, HTML("<b>x</b>"))
ipywidgets.interact(lambda n: n, n=(0, 3))
clear_output()
"""
BARS = "from tqdm.auto import tqdm, trange\nfor _ in tqdm(range(3)): pass\n"

HABITS: dict[str, Callable[[], Notebook]] = {
    "%matplotlib inline": answer(q1="%matplotlib inline\n" + SQUARE),
    "%matplotlib widget": answer(q1="%matplotlib widget\n" + SQUARE),
    "%matplotlib": answer(q1="%matplotlib\n" + SQUARE),
    "retina": answer(q1="%config InlineBackend.figure_format = 'retina'\n" + SQUARE),
    "autoreload": answer(q1="%load_ext autoreload\n%autoreload 2\n" + SQUARE),
    "%%time": answer(q1="%%time\n" + SQUARE),
    "%%capture": answer(q1="%%capture\n" + SQUARE + "print(1)"),
    "%timeit": answer(q1=SQUARE + "%timeit -n1 -r1 mean_square(x)\n"),
    "%time": answer(q2="%time total = float(x.sum())"),
    "%pip": answer(q1="%pip --version\n" + SQUARE),
    "a shell command": answer(q1="!ls\nfiles = !ls\n" + SQUARE),
    "a question mark": answer(q1=SQUARE + "mean_square?\n"),
    "await": answer(q1=AWAIT + SQUARE),
    "await for the answer": answer(
        q2="import asyncio\nasync def t(): return float(x.sum())\ntotal = await t()"
    ),
    "a plot": answer(q1=PLOT + SQUARE),
    "widgets": answer(q1=WIDGETS + SQUARE),
    "progress bars": answer(q1=BARS + SQUARE),
    "warnings": answer(q1="import warnings\nwarnings.warn('careful')\n" + SQUARE),
    "logging": answer(q1="import logging\nlogging.warning('hello')\n" + SQUARE),
    "display of the last line": answer(q1=SQUARE + "mean_square(x)"),
    "type hints and a docstring": answer(
        q1='def mean_square(v: list) -> float:\n    """Squares."""\n'
        "    return float((np.asarray(v) ** 2).mean())\n"
    ),
    "a lambda": answer(q1="mean_square = lambda v: float(np.mean(np.square(v)))"),
    "a decorator": answer(q1="from functools import lru_cache, wraps\n" + SQUARE),
    "a class that is called": answer(
        q1="class Mean:\n    def __call__(self, v):\n        return np.square(v).mean()\n"
        "mean_square = Mean()"
    ),
    "an import in the answer": answer(q1="from math import fsum\n" + SQUARE),
    "a tensor": answer(
        q1="import torch\ndef mean_square(v):\n"
        "    return (torch.as_tensor(np.asarray(v, float)) ** 2).mean()\n"
    ),
    "a generator": answer(q4="def mapped(f, v):\n    return (f(item) for item in v)\n"),
    "map": answer(q4="def mapped(f, v):\n    return map(f, v)\n"),
    "a helper in a cell above": with_cells((2, HELPER), q1=COUNTED),
    "a helper in a cell below": with_cells((4, HELPER), q1=COUNTED),
    "a helper, and %%time above the answer": with_cells((2, HELPER), q1="%%time\n" + COUNTED),
    "a helper under %%time": with_cells((2, "%%time\n" + HELPER), q1=COUNTED),
    "everything imported in a cell of one's own": with_cells(
        (2, "from statistics import *"),
        q1="def mean_square(v):\n    return fmean(float(a) ** 2 for a in v)\n",
    ),
    "another sum, imported in a cell of one's own": with_cells(
        (2, "from numpy import sum"),
        q1="def mean_square(v):\n    return float(sum(np.square(v), axis=None) / len(v))\n",
    ),
    "a helper, and another one of its name below": with_cells(
        (2, HELPER), (6, "def squares_of(v):\n    return 0 * v"), q1=COUNTED
    ),
    "a helper in an answer, and another one of its name above the next": with_cells(
        (4, "def half(v):\n    return v / 2"),
        q1="def half(v):\n    return v / 0\n" + SQUARE,
        q2="total = float(half(2 * x).sum())",
    ),
    "a helper above an answer that has another one of its name": with_cells(
        (2, "def half(v):\n    return v / 0"),
        q1="def half(v):\n    return v / 2\n" + SQUARE,
        q2="total = float(half(2 * x).sum())",
    ),
    "helpers that need each other": with_cells(
        (1, "power = 2"), (2, "def squares_of(v):\n    return np.asarray(v) ** power"), q1=COUNTED
    ),
    "an import in a cell of one's own": with_cells(
        (2, "import statistics as st"),
        q1="def mean_square(v):\n    return st.fmean(float(a) ** 2 for a in v)\n",
    ),
    "an import in a given cell": edited(
        in_given("import statistics as st\n"),
        q1="def mean_square(v):\n    return st.fmean(float(a) ** 2 for a in v)\n",
    ),
    "a given cell that was spoilt, and is needed": edited(
        in_given("helpful = 1\n"), q2="total = helpful * float(x.sum())"
    ),
    "scratch cells that fail, loop and overwrite": with_cells(
        (2, "1 / 0"), (2, "while True: pass"), (3, "x = None\ndouble = None"), (3, "import os")
    ),
    "a setting in a scratch cell": with_cells((2, "import os\nnp.random.seed(1)")),
    "a magic in a scratch cell": with_cells((2, "%%bash\nsleep 1000")),
    "an answer split in two": edited(
        lambda n: n.cells.insert(3, nbformat.v4.new_code_cell("y = 1")), q1=SQUARE
    ),
    "Colab's metadata": edited(without_ids),
    "comments for a cell": answer(q1="# only a comment\n" + SQUARE, q2="# more\n" + TOTAL),
}

# --- Channels by which a hidden test's data might reach the feedback page ---

LOG = """\
LOG = []
def mean_square(v):
    LOG.append(list(map(int, v)) if len(v) == 7 else 0)
    return float((np.asarray(v) ** 2).mean())
"""
BY_NAME = """\
def mean_square(v):
    if len(v) == 7:
        raise type("E" + "_".join(map(str, v)), (ValueError,), {})("told")
    return float((np.asarray(v) ** 2).mean())
"""
BY_LINE = """\
def mean_square(v):
    if len(v) == 7:
        source = chr(10) * int(v[1]) + "raise ValueError"
        exec(compile(source, "<cell q1-code>", "exec"))
    return float((np.asarray(v) ** 2).mean())
"""
UNREADABLE = """\
class Odd(list):
    def __iter__(self):
        raise ValueError(str(LOG))
total = Odd()
"""
LEAKS: dict[str, Callable[[], Notebook]] = {
    "raised in a later answer": answer(q1=LOG, q2=TOTAL + "\nraise RuntimeError(repr(LOG))"),
    "raised in a later function": answer(
        q1=LOG, q4="def mapped(f, v):\n    raise RuntimeError(repr(LOG))\n"
    ),
    "raised while a value is read": answer(q1=LOG, q2=UNREADABLE),
    "by the name of the error's class": answer(q1=BY_NAME),
    "by the number of the line": answer(q1=BY_LINE),
    "by the number of the line, among as many lines": answer(q1=BY_LINE + "\n" * 13_000),
    "printed by a test": answer(q1=LOG, q4="def mapped(f, v):\n    return [LOG]\n"),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    notebooks = {name: make() for name, make in {**HABITS, **LEAKS}.items()}
    numbered = {f"{i:02}": notebook for i, notebook in enumerate(notebooks.values())}
    place = tmp_path_factory.mktemp("habits")
    folder = make_folder(place, numbered)
    done = run(folder, place / "out", "--memory", "1500", *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(place / "out")
    names = list(notebooks)
    pages = {
        name: (place / "out/feedback" / f"{i:02}.html").read_text() for i, name in enumerate(names)
    }
    return {name: found[f"{i:02}"] for i, name in enumerate(names)}, pages


@pytest.mark.parametrize("name", HABITS)
def test_a_habit_earns_full_points(graded, name):
    record = graded[0][name]
    assert record["marks"] == FULL, record["said"]


def test_cells_of_ones_own_are_told(graded):
    records, pages = graded
    helped = records["a helper in a cell above"]["notes"]
    assert helped == ["cells of your own that your answers use, and that were run: 1"]
    scratch = records["scratch cells that fail, loop and overwrite"]
    assert scratch["notes"] == ["code cells of your own that were not run: 4"]
    assert (
        "Code cells of your own that were not run: 4."
        in pages["scratch cells that fail, loop and overwrite"]
    )
    assert records["a setting in a scratch cell"]["notes"] == [
        "code cells of your own that were not run: 1",
        "`np.random.seed` stands in one of them: a setting counts only in an answer's cell",
    ]


@pytest.mark.parametrize("name", LEAKS)
def test_no_hidden_data_reach_the_student(graded, name):
    """Hidden are the multiples of the cohort's number."""
    records, pages = graded
    for number in range(1, 7):
        assert str(2027 * number) not in json.dumps(records[name]["said"]), records[name]["said"]
        shown = pages[name].replace(">2027<", "").replace("cohort 2027", "")
        assert str(2027 * number) not in shown


def test_an_error_is_told_in_full_where_it_gives_nothing_away(graded):
    """The words come from a run without hidden tests, so an honest student reads them."""
    said = graded[0]["raised in a later answer"]["said"]["q2-code"]
    assert "RuntimeError: [0, 0]" in said  # as in the student's own notebook
    assert "(line 2 of q2-code)" in said
    for name in ("by the name of the error's class", "by the number of the line"):
        assert graded[0][name]["said"]["q1-test"] == FAILED_HIDDEN_TEST


KEEPS = """\
import os
def mean_square(v):
    if len(v) == 7:
        with open("kept", "w") as file:
            file.write(str(list(v)))
    return float((np.asarray(v) ** 2).mean())
"""
TELLS = TOTAL + "\nif os.path.exists('kept'):\n    raise RuntimeError(open('kept').read())\n"


def test_what_is_kept_of_a_hidden_test_reaches_no_message(tmp_path):
    """Words are told before hidden tests run, so a place that outlives the process serves nobody.

    Here it is a file, without the sandbox; within, the system's own memory of files would do. Once
    the run for the messages came last, and read what was kept.
    """
    folder = make_folder(tmp_path, {"a": submission(q1=KEEPS, q2=TELLS)})
    run(folder, tmp_path / "out", "--no-sandbox")
    found = results(tmp_path / "out")["a"]
    assert found["marks"] == FULL and not any(found["said"].values()), found["said"]


def test_what_is_in_no_answers_reach_is_told(tmp_path):
    """A name of a cell that is not run: the student is told where it stands."""
    notebook = submission(
        q1="def mean_square(v):\n    return globals_of['factor']\n",
        q2="total = eval('factor') * float(x.sum())",
    )
    notebook.cells.insert(1, nbformat.v4.new_code_cell("factor = 1"))
    folder = make_folder(tmp_path, {"a": notebook})
    run(folder, tmp_path / "out", *OPTIONS)
    said = results(tmp_path / "out")["a"]["said"]["q2-code"]
    assert "NameError" in said and "`factor` stands in a cell of yours that is not run" in said
