"""Grading: honest work earns its marks, and no submission harms the grader, its marks or others.

A tiny problem set stands in for the real ones. The hostile submissions are graded in one batch;
what a submission can see is reported by the submission itself, through its feedback.
"""

from __future__ import annotations

import base64
import copy
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import torch

import ntp_lite as ntp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import grade  # noqa: E402
import grade_mark  # noqa: E402
from grade_sandbox import Peer, Remote, Stopped, SubmissionError  # noqa: E402

try:
    COMMAND, WHY = grade.sandbox([ROOT])
except grade.BadInputError as broken:
    COMMAND, WHY = None, str(broken)
NO_BWRAP = COMMAND is None
needs_bwrap = pytest.mark.skipif(NO_BWRAP, reason=WHY)
SLEEP = f"98{os.getpid():07}"  # a duration that finds a left-over process again


# --- A tiny problem set ---

GIVEN = """\
import numpy as np
COHORT = 2027
x = np.random.default_rng(COHORT).random(5)
def double(v):
    return 2 * v
"""
SQUARE = """\
def mean_square(v):
    return float((np.asarray(v) ** 2).mean())
"""
SQUARE_TEST = """\
assert abs(mean_square(x) - np.mean(x * x)) < 1e-12, "mean_square(x) is not the mean of squares."
assert np.allclose(mean_square([1, 2]), 2.5), f"mean_square([1, 2]) is {mean_square([1, 2])}."
### BEGIN HIDDEN TESTS
HIDDEN_CANARY = np.arange(7) * COHORT
assert mean_square(HIDDEN_CANARY) == np.mean(HIDDEN_CANARY**2), f"Wrong for {COHORT} numbers."
### END HIDDEN TESTS
"""
TOTAL = "total = float(x.sum())"
TOTAL_TEST = "assert abs(total - x.sum()) < 1e-12, 'total is not the sum of x.'"
MAPPED = """\
def mapped(f, v):
    return [f(item) for item in v]
"""
MAPPED_TEST = """\
calls = []
assert mapped(lambda n: calls.append(n) or n + 1, (1, 2)) == [2, 3] and calls == [1, 2]
assert mapped(double, [3]) == [6]
"""


def code(name: str, source: str, **marks) -> nbformat.NotebookNode:
    marks = {"grade": False, "solution": False, "locked": True, "schema_version": 3} | marks
    return nbformat.v4.new_code_cell(source, metadata={"nbgrader": {"grade_id": name} | marks})


def tiny_master() -> nbformat.NotebookNode:
    answer, test = {"solution": True, "locked": False}, {"grade": True}
    proof = {"grade_id": "q3-proof", "grade": True, "solution": True, "points": 15}
    heading = "## Question 1. Mean squares\n\nWrite `mean_square`."
    cells = [
        code("given", GIVEN),
        nbformat.v4.new_markdown_cell(heading, metadata={"nbgrader": {"grade_id": "q1-text"}}),
        code("q1-code", SQUARE + "# KEEP-SOLUTION-SECRET", **answer),
        code("q1-test", SQUARE_TEST, points=10, **test),
        code("q2-code", TOTAL, **answer),
        code("q2-test", TOTAL_TEST, points=20, **test),
        nbformat.v4.new_markdown_cell("KEEP-SOLUTION-SECRET", metadata={"nbgrader": proof}),
        code("q4-code", MAPPED, **answer),
        code("q4-test", MAPPED_TEST, points=5, **test),
    ]
    mark = {"ntp_lite": {"assignment": "ps9", "seed": 2027}}
    return nbformat.v4.new_notebook(cells=cells, metadata=mark)


def submission(**answers: str) -> nbformat.NotebookNode:
    """A student's notebook: right answers without the master's secrets, except those given."""
    notebook = tiny_master()
    for cell in notebook.cells:
        name = cell.metadata.nbgrader.grade_id
        cell.source = cell.source.split("### BEGIN HIDDEN")[0].replace("KEEP-SOLUTION-SECRET", "")
        cell.source = answers.get(name.replace("-code", ""), cell.source)
    return notebook


WRONG = "def mean_square(v):\n    return 0.0\n"
SEES = "def mean_square(v):\n    raise ValueError('saw ' + repr(sorted(set(map(str, found)))))\n"


def run(folder: Path, out: Path, *options: str, path: str | None = None):
    """Run the command as an instructor would."""
    command = [sys.executable, str(ROOT / "tools/grade.py"), str(folder), "--out", str(out)]
    command += ["--master", str(folder.parent / "master.ipynb"), *options]
    extra = {"GRADER_SECRET": "the password", "PATH": path or os.environ["PATH"]}
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | extra)


def results(out: Path) -> dict[str, dict]:
    """The points and messages of each submission, by its name."""
    found = {}
    for file in (out / "records").glob("*.json"):
        record = json.loads(file.read_text())
        parts = {part["id"]: part for part in record["parts"]}
        record["said"] = {name: part["message"] for name, part in parts.items()}
        record["marks"] = tuple(parts[f"q{n}-test"]["points"] for n in (1, 2, 4))
        found[record["name"]] = record
    return found


def make_folder(place: Path, notebooks: dict[str, nbformat.NotebookNode | str | bytes]) -> Path:
    folder = place / "submissions"
    folder.mkdir(parents=True)
    nbformat.write(tiny_master(), place / "master.ipynb")
    for name, notebook in notebooks.items():
        if isinstance(notebook, nbformat.NotebookNode):
            notebook = json.dumps(notebook)
        data = notebook if isinstance(notebook, bytes) else notebook.encode()
        (folder / f"{name}.ipynb").write_bytes(data)
    return folder


# --- The batch ---

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
PATCHES = (
    """\
import builtins, numpy as np
np.allclose = np.isclose = lambda *a, **k: True
np.mean = np.sum = lambda *a, **k: 0.0
builtins.abs = lambda v: 0
class AssertionError(Exception): pass
builtins.AssertionError = AssertionError
import sys
sys.settrace(lambda *a: None)
def double(v):
    return 0
"""
    + WRONG
)
SEVEN = "def mean_square(v):\n    if len(v) == 7:  # only in a hidden test\n        ACT\n"
SQUARE_OF_FIVE = "    return float((np.asarray(v) ** 2).mean())\n"
HOOKS = (
    """\
shell = get_ipython()
shell.input_transformers_post.append(lambda lines: ["pass\\n"])
shell.events.register("pre_run_cell", lambda *a: exit())
shell.run_cell = lambda *a, **k: None
"""
    + WRONG
)
LIAR = """\
class Zero(float):
    __sub__ = __rsub__ = __abs__ = lambda self, *other: Zero(0)
    __eq__ = __lt__ = __le__ = __gt__ = lambda self, *other: True
class Array(np.ndarray):
    __eq__ = __sub__ = lambda self, *other: True
class Any:
    __eq__ = __lt__ = __sub__ = __rsub__ = __abs__ = __array_ufunc__ = lambda self, *a, **k: True
    def __array__(self, *a, **k):
        return np.array(2.5)
lies = [Zero(1), np.zeros(()).view(Array), Any()]
def mean_square(v):
    return lies[{which}]
"""
FORGED = (
    """\
import os, struct
text = b'{"n": 2, "value": 1.0}'
for fd in range(3, 64):
    try:
        os.write(fd, struct.pack("!i", len(text)) + text)
    except OSError:
        pass
"""
    + WRONG
)
SPY = """\
import gc, sys
def seen():
    frame, places = sys._getframe(), []
    while frame:
        places += [frame.f_code.co_consts, frame.f_code.co_names, *frame.f_locals.values()]
        frame = frame.f_back
    places += [o for o in gc.get_objects() if isinstance(o, (str, tuple, list, dict))]
    needle = "_".join(["HIDDEN", "CANARY"])
    return [p for p in places if needle in (p if isinstance(p, str) else repr(p)[:9999])]
def mean_square(v):
    found = [str(p)[:100] for p in seen()]
    raise ValueError(f"saw {found}")
"""
THIEF = (
    """\
import os, socket
found = []
def attempt(what, act):
    try:
        result = act()
        if result:
            found.append(what)
    except Exception:
        pass
for place in PLACES:
    attempt(place, lambda: open(place).read(1))
    attempt(place, lambda: os.listdir(place))
attempt("environment", lambda: "GRADER_SECRET" in os.environ)
attempt("processes", lambda: [p for p in os.listdir("/proc") if p.isdigit() and
    "GRADER_SECRET" in open(f"/proc/{p}/environ").read()])
attempt("network", lambda: socket.create_connection(("127.0.0.1", PORT), 3))
attempt("write to Python", lambda: os.open(np.__file__, os.O_WRONLY))  # opened, not changed
attempt("write to the package", lambda: os.open(PACKAGE + "/__init__.py", os.O_WRONLY))
attempt("become root", lambda: os.setuid(0) or True)
"""
    + SEES
)


def hostile() -> dict[str, nbformat.NotebookNode | str | bytes]:
    """The submissions of the batch that run everywhere, by name."""
    honest = submission()
    edited, deleted, doubled, shuffled = (copy.deepcopy(honest) for _ in range(4))
    edited_wrong, posing, other, cohort, plain = (
        submission(q1=q1) for q1 in (WRONG, WRONG, SQUARE, SQUARE, SQUARE)
    )
    for notebook in (edited, edited_wrong):
        for cell in notebook.cells:
            name = cell.metadata.nbgrader.grade_id
            cell.source = {"q1-test": "pass", "given": "x = [0]"}.get(name, cell.source)
    deleted.cells = [c for c in deleted.cells if "test" not in c.metadata.nbgrader.grade_id]
    doubled.cells = [copy.deepcopy(c) for c in doubled.cells for _ in range(2)]
    shuffled.cells.reverse()
    for cell in posing.cells:  # the test cells pose as answers
        cell.metadata.nbgrader.solution = True
        cell.source = "pass" if "test" in cell.metadata.nbgrader.grade_id else cell.source
    other.metadata.ntp_lite.assignment, cohort.metadata.ntp_lite.seed = "ps8", 2026
    plain.metadata = {}
    plain.cells.append(nbformat.v4.new_code_cell("1 / 0"))
    markup = "<script>alert(1)</script>"
    answers = {
        "exits": {"q1": "import sys\nsys.exit()"},
        "exits hard": {"q1": "import os\nos._exit(0)"},
        "loops": {"q1": "while True:\n    pass"},
        "loops when called": {"q1": "def mean_square(v):\n    while True:\n        pass\n"},
        "prints 200 MB": {"q1": "for _ in range(200):\n    print('x' * 2**20)\n" + SQUARE},
        "wants too much": {"q1": "big = np.ones(10**12)\n" + SQUARE},
        "takes too much": {"q1": "a = []\nwhile True:\n    a.append(np.ones(2**22))\n" + SQUARE},
        "answers too much": {"q2": "total = 'x' * 68_000_000"},
        "answers in circles": {"q2": "total = []\ntotal.append(total)"},
        "patches": {"q1": PATCHES},
        "hooks": {"q1": HOOKS},
        "wrong on other data": {"q1": SEVEN.replace("ACT", "return -1.0") + SQUARE_OF_FIVE},
        "tells the data": {"q1": SEVEN.replace("ACT", "raise ValueError(v)") + SQUARE_OF_FIVE},
        **{f"lies {i}": {"q1": LIAR.replace("{which}", str(i))} for i in range(3)},
        "forges": {"q1": FORGED},
        "hangs up": {"q1": "import os\nos.closerange(3, 64)\n" + SQUARE},
        "spies": {"q1": SPY},
        "breaks syntax": {"q1": "def mean_square(v:\n"},
        "writes markup": {"q1": f"raise ValueError('{markup}')", "q3-proof": markup},
        "writes surrogates": {"q1": "bad = '\ud800'\n" + SQUARE},
        "raises oddly": {"q1": "class E(BaseException):\n    __str__ = None\nraise E()"},
        "=1+1": {"q1": WRONG},
    }
    return {
        "Zoë Łukasz 山田": honest,
        "edited tests": edited,
        "edited tests, wrong": edited_wrong,
        "deleted tests": deleted,
        "doubled cells": doubled,
        "shuffled": shuffled,
        "posing": posing,
        "another set": other,
        "another seed": cohort,
        "no metadata": plain,
        "broken": json.dumps(honest)[:-40],
        "a script": "import os\nprint('hello')\n",
        "an image": PNG,
        "empty": b"",
        "a list": "[]",
        "deep": "[" * 100_000,
        **{name: submission(**change) for name, change in answers.items()},
    }


FULL = (10, 20, 5)
GROUPS = {
    FULL: ["Zoë Łukasz 山田", "edited tests", "deleted tests", "doubled cells", "shuffled",
           "no metadata", "prints 200 MB"],
    # The first answer is wrong or harmful; the others earn their points.
    (0, 20, 5): ["exits", "exits hard", "loops", "loops when called", "wants too much",
                 "takes too much", "lies 0", "lies 1", "lies 2", "forges", "spies",
                 "breaks syntax", "writes markup", "raises oddly", "=1+1", "posing",
                 "edited tests, wrong", "wrong on other data", "tells the data"],
    # What it changed lives on in its own process, and spoils its own answers there.
    (0, 20, 0): ["patches"],
    (0, 0, 0): ["hooks", "another set", "another seed", "broken", "a script", "an image", "empty",
                "a list", "deep"],
    (10, 0, 5): ["answers too much", "answers in circles"],
}  # fmt: skip
EXPECTED = {name: marks for marks, names in GROUPS.items() for name in names}


def thief(place: Path, port: int) -> nbformat.NotebookNode:
    """A submission that tries what it must not do and says what worked."""
    places = [str(place), str(place / "master.ipynb"), str(place / "submissions")]
    places += [str(ROOT / name) for name in ("tools/grade.py", "tests", "book", "Makefile")]
    places += ["/etc/passwd", "/etc/shadow", "/home", "/var", "/root/.ssh"]
    setting = f"PLACES, PORT, PACKAGE = {places!r}, {port}, {str(ROOT / 'ntp_lite')!r}\n"
    return submission(q1=setting + THIEF)


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Everything hostile, graded together."""
    place = tmp_path_factory.mktemp("Grading with spaces é")
    server = socket.create_server(("127.0.0.1", 0))
    notebooks = hostile()
    if not NO_BWRAP:
        notebooks["steals"] = thief(place, server.getsockname()[1])
        notebooks["forks"] = submission(q1="import os\nwhile True:\n    os.fork()\n")
        leaves = "import subprocess\nsubprocess.Popen(['sleep', 'TIME'], start_new_session=True)\n"
        notebooks["leaves"] = submission(q1=leaves.replace("TIME", SLEEP) + SQUARE)
    folder = make_folder(place, notebooks)
    (folder / "a link.ipynb").symlink_to(place / "master.ipynb")
    (folder / ".hidden.ipynb").write_text("not looked at")
    limits = ["--cell-seconds", "8", "--notebook-seconds", "120", "--memory", "400"]
    done = run(folder, place / "out", *limits, *["--no-sandbox"] * NO_BWRAP)
    server.close()
    assert "Traceback" not in done.stderr, done.stderr
    return place, done, results(place / "out")


def test_honest_work_gets_full_marks_in_the_middle_of_it_all(batch):
    found = batch[2]["Zoë Łukasz 山田"]
    assert (found["points"], found["max"], found["stray"]) == (35, 35, [])
    assert not any(found["said"].values())


@pytest.mark.parametrize("name", list(EXPECTED))
def test_marks(batch, name):
    assert batch[2][name]["marks"] == EXPECTED[name], batch[2][name]["said"]


def test_each_expected_submission_is_in_the_batch(batch):
    extra = {"steals", "forks", "leaves", "a link", "hangs up", "writes surrogates"}
    assert set(batch[2]) - extra == set(EXPECTED)


@pytest.mark.parametrize(
    "name, cell, says",
    [
        ("exits", "q1-code", "SystemExit"),
        ("exits hard", "q1-code", "its process ended"),
        ("loops", "q1-code", "took longer than 8 s for the cell"),
        ("loops when called", "q1-test", "took longer than 8 s for the cell"),
        ("wants too much", "q1-code", "MemoryError"),
        ("takes too much", "q1-code", "used more than 400 MiB of memory"),
        ("doubled cells", "q1-code", "stands 2 times"),
        ("breaks syntax", "q1-code", "SyntaxError"),
        ("patches", "q1-test", "mean_square(x) is not the mean of squares."),
        ("answers in circles", "q2-code", "`total` cannot be read"),
        ("answers too much", "q2-code", "`total` cannot be read"),
    ],
)
def test_feedback_says_what_was_wrong(batch, name, cell, says):
    assert says in batch[2][name]["said"][cell]


@pytest.mark.parametrize(
    "name, says",
    [
        ("another set", "a notebook of ps8, not ps9"),
        ("another seed", "cohort 2026, not 2027"),
        ("broken", "not valid JSON"),
        ("a script", "not valid JSON"),
        ("an image", "not valid JSON"),
        ("empty", "not valid JSON"),
        ("deep", "not valid JSON"),
        ("a list", "no list of cells"),
        ("a link", "not a regular file"),
    ],
)
def test_what_is_no_submission_is_named_and_the_exit_status_says_so(batch, name, says):
    _, done, found = batch
    assert says in found[name]["refused"] and f"{name}: {found[name]['refused']}" in done.stdout
    assert done.returncode == 1


def test_a_submission_that_hangs_up_or_writes_surrogates_loses_no_other_answer(batch):
    for name in ("hangs up", "writes surrogates"):
        assert batch[2][name]["marks"][1:] == FULL[1:], batch[2][name]["said"]


def test_a_submission_sees_no_hidden_test(batch):
    assert batch[2]["spies"]["said"]["q1-test"].startswith("Your code raised ValueError: saw []")


def test_a_failed_hidden_test_tells_its_fixed_words_but_no_data(batch):
    assert batch[2]["wrong on other data"]["said"]["q1-test"] == "Hidden test: Wrong for … numbers."
    said = batch[2]["tells the data"]["said"]["q1-test"]
    assert said == "Hidden test: Your code raised ValueError (line 3 of q1-code)"


@needs_bwrap
def test_the_sandbox_shows_neither_files_nor_environment_nor_network(batch):
    said = batch[2]["steals"]["said"]
    assert not said["q1-code"] and "ValueError: saw []" in said["q1-test"], said
    assert "in bubblewrap" in batch[1].stderr


@needs_bwrap
def test_a_fork_loop_costs_only_its_own_cell_and_nothing_is_left(batch):
    assert batch[2]["forks"]["marks"] == (0, 20, 5), batch[2]["forks"]["said"]
    assert batch[2]["leaves"]["marks"] == FULL
    alive = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
    assert not [line for line in alive if line and SLEEP in line]


def test_what_is_printed_is_stored_nowhere(batch):
    files = [p for p in (batch[0] / "out").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 2**21


def test_feedback_is_escaped_and_shows_no_secret(batch):
    place, _, found = batch
    pages = {name: place / "out/feedback" / f"{name}.html" for name in found}
    for name, page in pages.items():
        html = page.read_text(encoding="utf-8")
        assert "<script" not in html and "http" not in html.split("</head>")[1], name
        assert "KEEP-SOLUTION-SECRET" not in html, name
        assert "HIDDEN_CANARY" not in html, name
    assert "&lt;script&gt;" in pages["writes markup"].read_text(encoding="utf-8")
    assert "Code cells of your own that were not run: 1" in pages["no metadata"].read_text()


def test_the_table_and_the_summary(batch):
    place, _, found = batch
    with open(place / "out/grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found) == len(list((place / "submissions").glob("*"))) - 1
    columns = [c for c in rows[0] if c.startswith("q")]
    assert columns[:3] == ["q1-test (max 10)", "q2-test (max 20)", "q4-test (max 5)"]
    assert columns[3:] == ["q3-proof (by hand, max 15)"]
    assert list(rows[0])[-1] == "total (max 50)" and not any(row["total (max 50)"] for row in rows)
    names = {row["submission"]: row for row in rows}
    assert names["'=1+1"]["autograded (max 35)"] == "25"
    for name in ("another set", "empty"):  # blanks, not 0
        assert names[name].pop("status").startswith("not graded") and names[name].pop("submission")
        assert not any(names[name].values())
    summary = (place / "out/summary.html").read_text(encoding="utf-8")
    graded = [record for record in found.values() if not record["refused"]]
    assert f"{len(graded)} of {len(found)} submissions graded" in summary
    solved = sum(record["marks"][1] == 20 for record in graded)
    assert f"{solved} of {len(graded)}" in summary and "<svg" in summary


# --- Without bubblewrap, interruption, bad input ---


def test_without_bubblewrap_the_limits_hold_and_the_command_says_so(tmp_path):
    change = {"loops": "while True:\n    pass", "exits": "import os\nos._exit(0)", "wrong": WRONG}
    change["takes"] = "a = []\nwhile True:\n    a.append(np.ones(2**22))\n"
    notebooks = {name: submission(q1=q1) for name, q1 in change.items()}
    server = socket.create_server(("127.0.0.1", 0))
    notebooks["steals"] = thief(tmp_path, server.getsockname()[1])
    folder = make_folder(tmp_path, notebooks | {"honest": submission()})
    limits = ["--cell-seconds", "8", "--memory", "400"]
    done = run(folder, tmp_path / "out", *limits, path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "WITHOUT a sandbox (bubblewrap (bwrap) is not installed)" in done.stderr
    server.close()
    found = {name: record["marks"] for name, record in results(tmp_path / "out").items()}
    stolen = results(tmp_path / "out")["steals"]["said"]["q1-test"]
    assert "master.ipynb" in stolen and "network" in stolen  # the probe does find what is in reach
    assert found.pop("steals") == (0, 20, 5)
    assert found == dict.fromkeys(change, (0, 20, 5)) | {"honest": FULL}
    assert "WITHOUT a sandbox" in (tmp_path / "out/summary.html").read_text()


def test_the_time_for_the_whole_notebook_ends_it(tmp_path):
    endless = "def mean_square(v):\n    while True:\n        pass\n"
    folder = make_folder(tmp_path, {"a": submission(q1=endless)})
    limits = ["--cell-seconds", "900", "--notebook-seconds", "6"] + ["--no-sandbox"] * NO_BWRAP
    done = run(folder, tmp_path / "out", *limits)
    found = results(tmp_path / "out")["a"]
    assert done.returncode == 0 and found["marks"] == (0, 0, 0)
    for name in ("q1-test", "q2-test", "q4-test"):
        assert found["said"][name] == "Stopped: took longer than 6 s for the notebook."


def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(tmp_path):
    waits = "import time\ntime.sleep(10**6)"
    notebooks = {"a": submission(), "b": submission(q1=WRONG), "c": submission(q1=waits)}
    folder, out = make_folder(tmp_path, notebooks), tmp_path / "out"
    command = [sys.executable, str(ROOT / "tools/grade.py"), str(folder), "--out", str(out)]
    command += ["--master", str(tmp_path / "master.ipynb"), "--jobs", "1", "--cell-seconds", "900"]
    command += ["--notebook-seconds", "900"] + ["--no-sandbox"] * NO_BWRAP
    # A script that runs in the background has SIGINT ignored, and its children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    signal.signal(signal.SIGINT, before)
    until = time.monotonic() + 120
    while len(list(out.glob("records/*.json"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the whole group
    said = running.communicate(timeout=120)[1]
    assert running.returncode == 130 and "2 of 3 submissions are graded and kept" in said, said
    assert not (out / "grades.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("records/*.json")}
    assert set(results(out)) == {"a", "b"}
    (folder / "c.ipynb").write_text(json.dumps(submission()))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "3 of 3 submissions graded (2 of them in an" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    marks = {name: record["marks"] for name, record in results(out).items()}
    assert marks == {"a": FULL, "b": (0, 20, 5), "c": FULL}


def test_a_record_holds_only_for_the_same_submission_master_and_limits(tmp_path):
    folder = make_folder(tmp_path, {"a": submission()})
    file, master = folder / "a.ipynb", tmp_path / "master.ipynb"
    args = grade.parse([str(folder)])
    longer = grade.parse([str(folder), "--cell-seconds", "61"])
    keys = [grade.key("a", file, master, args, None), grade.key("a", file, master, longer, None)]
    keys += [grade.key("b", file, master, args, None), grade.key("a", file, master, args, ["x"])]
    for path in (file, master):
        path.write_text(path.read_text() + " ")
        keys.append(grade.key("a", file, master, args, None))
    assert len(set(keys)) == len(keys)
    assert grade.key("a", file, master, args, None) == keys[-1]


@pytest.mark.parametrize(
    "case, says",
    [
        ("no folder", "there is no folder"),
        ("nothing", "name the folder with the notebooks"),
        ("no notebooks", "holds no notebooks"),
        ("no master", "cannot be used: not a regular file"),
        ("no instructor's", "no graded test cell"),
        ("mixed", "mixes assignments (ps8 of seed 2027, ps9 of seed 2027)"),
        ("unmarked", "do not tell their set"),
        ("odd set", "no problem set ../../x with the seed 2027"),
        ("no such set", "no problem set 9; there are ps1, ps2, ps3, ps4, ps5"),
    ],
)
def test_bad_input_is_one_clear_sentence(tmp_path, case, says, monkeypatch):
    monkeypatch.setattr(grade.subprocess, "run", None)  # no release is made
    other = submission()
    other.metadata.ntp_lite.assignment = "../../x" if case == "odd set" else "ps8"
    pair = {"a": other} if case == "odd set" else {"a": submission(), "b": other}
    if case == "unmarked":
        pair["a"].metadata = pair["b"].metadata = {}
    folder = make_folder(tmp_path, {} if case == "no notebooks" else pair)
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "empty.ipynb")
    masters = {"no master": "missing.ipynb", "no instructor's": "empty.ipynb"}
    options = ["--master", str(tmp_path / masters[case])] if case in masters else []
    options += ["--set", "9", "--seed", "2027"] if case == "no such set" else []
    folder = tmp_path / "nowhere" if case == "no folder" else folder
    named = "" if case == "nothing" else str(folder)
    with pytest.raises(grade.BadInputError) as error:
        grade.main([named, "--out", str(tmp_path / "out"), *options])
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_sandbox_that_does_not_work_is_an_error_and_no_silent_step_back(tmp_path, monkeypatch):
    folder = make_folder(tmp_path, {"a": submission()})
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho setting up uid map: denied >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(grade.BadInputError, match="does not work here"):
        grade.main([str(folder), "--master", str(tmp_path / "master.ipynb")])


def test_the_command_ends_with_status_2_on_bad_input(tmp_path):
    command = [sys.executable, str(ROOT / "tools/grade.py"), str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("grade: there is no folder")
    assert done.stderr.count("\n") == 1


# --- What is graded by hand, and what the lecturer is told ---

OPTIONS = ["--no-sandbox"] * NO_BWRAP


def table(file: Path) -> dict[str, dict[str, str]]:
    with open(file, encoding="utf-8-sig", newline="") as lines:
        return {row["submission"]: row for row in csv.DictReader(lines)}


def test_points_by_hand_are_read_kept_and_added_up(tmp_path):
    proof = {"q3-proof": "My own"}
    notebooks = {"Zoë": submission(**proof), "=2": submission(q1=WRONG, **proof)}
    folder, out = make_folder(tmp_path, notebooks), tmp_path / "out"
    sheet = out / "hand_grades.csv"
    assert run(folder, out, *OPTIONS).returncode == 0
    empty = {"q3-proof (max 15)": "", "comment": ""}
    assert table(sheet) == {name: {"submission": name} | empty for name in ("Zoë", "'=2")}
    page = (out / "feedback/Zoë.html").read_text()
    assert "15 points more are given by hand." in page and "of 50 points" not in page
    # As a spreadsheet may save it: another order, semicolons, a decimal comma, no UTF-8.
    said = 'comment;q3-proof (max 15);submission\r\n"Très; <b>bien</b>";12,5;Zoë\r\n;;\'=2\r\n'
    sheet.write_bytes(said.encode("cp1252"))
    before = sheet.read_bytes()
    assert run(folder, out, *OPTIONS).returncode == 0
    assert sheet.read_bytes() == before
    grades = table(out / "grades.csv")
    assert grades["Zoë"]["q3-proof (by hand, max 15)"] == "12.5"
    assert grades["Zoë"]["total (max 50)"] == "47.5" and grades["'=2"]["total (max 50)"] == ""
    page = (out / "feedback/Zoë.html").read_text()
    for text in ("47.5 of 50 points.", "12.5</strong> given by hand", "Très; &lt;b&gt;bien"):
        assert text in page
    assert "points more" not in page
    # A late submission gets a row; one that was taken away keeps its own.
    (folder / "Zoë.ipynb").rename(folder / "Łukasz.ipynb")
    done = run(folder, out, *OPTIONS)
    assert "in hand_grades.csv, but no submission: Zoë\n" in done.stdout
    assert sheet.read_text(encoding="utf-8-sig").split() == (said + ";;Łukasz").split()
    assert set(table(out / "grades.csv")) == {"Łukasz", "'=2"}


@pytest.mark.parametrize(
    "text, says",
    [
        ("submission,q3-proof,comment\na,15.5,\n", "'15.5' for a in q3-proof is no number from 0"),
        ("submission;q3-proof;comment\na;ten;\n", "'ten' for a in q3-proof is no number from 0 to"),
        ("submission,q3-proof,comment\na,nan,\n", "'nan' for a in q3-proof is no number"),
        ("submission,q3-proof,comment\na,-1,\n", "'-1' for a in q3-proof is no number"),
        ("submission,q3-proof,bonus\na,1,2\n", "has the column 'bonus', unknown"),
        ("submission,q3-proof,q3-proof (max 15)\na,1,2\n", "'q3-proof', unknown or a second time"),
        ("submission,comment\na,good\n", "lacks the column 'q3-proof'"),
        ("submission,q3-proof,comment\na,1,well, well\n", "more cells than columns"),
        ("submission,q3-proof,comment\na,1,\na,2,\n", "a name twice"),
        ("submission,q3-proof,comment\n,1,\n", "no name"),
        ('submission,q3-proof,comment\na,1,"so\nb,2,\n', "is no table"),
    ],
)
def test_a_mistake_in_the_points_by_hand_is_said_before_anything_is_done(tmp_path, text, says):
    folder, out = make_folder(tmp_path, {"a": submission(), "b": submission()}), tmp_path / "out"
    out.mkdir()
    (out / "hand_grades.csv").write_text(text)
    done = run(folder, out, *OPTIONS)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1
    assert [p.name for p in out.iterdir()] == ["hand_grades.csv"]
    assert (out / "hand_grades.csv").read_text() == text


def test_text_in_cells_of_their_own_is_shown_and_missing_cells_are_named(tmp_path):
    moved, beside, changed, blank, ours = (submission(**{"q3-proof": "My own"}) for _ in range(5))
    fresh = nbformat.v4.new_markdown_cell("Retyped: **$a < b$**")
    for notebook in (moved, beside, changed, blank):
        proof = next(c for c in notebook.cells if c.metadata.nbgrader.grade_id == "q3-proof")
        proof.source = "Your derivation here."
        if notebook is moved:
            notebook.cells[notebook.cells.index(proof)] = fresh
        elif notebook is beside:
            copied = nbformat.v4.new_markdown_cell("KEEP-SOLUTION-SECRET")  # from somebody's master
            notebook.cells += [fresh, copied]
        elif notebook is changed:
            proof.cell_type, proof.source = "code", "Typed in a code cell"
    copied = nbformat.v4.new_markdown_cell("## Question 1. Mean squares\nWrite  `mean_square`.")
    ours.cells += [copied, nbformat.v4.new_markdown_cell(" ")]
    names = ("moved", "beside", "changed", "blank", "ours")
    notebooks = dict(zip(names, (moved, beside, changed, blank, ours), strict=True))
    folder, out = make_folder(tmp_path, notebooks), tmp_path / "out"
    assert run(folder, out, *OPTIONS).returncode == 0
    status = {name: row["status"] for name, row in table(out / "grades.csv").items()}
    lost, summary = "cells missing: q3-proof", (out / "summary.html").read_text()
    assert status["moved"] == status["changed"] == lost and lost in summary
    assert status["beside"] == "empty, but there is other text: q3-proof"
    assert status["blank"] == status["ours"] == "graded"
    pages = {name: (out / "feedback" / f"{name}.html").read_text() for name in names}
    other = {name: page.partition("<h2>Other text in this notebook</h2>")[2] for name, page in
             pages.items()}  # fmt: skip
    assert "Retyped: **$a &lt; b$**" in other["moved"] and "Retyped" in other["beside"]
    assert "KEEP-SOLUTION-SECRET" in other["beside"]
    assert "Typed in a code cell" in other["changed"] and not other["blank"] + other["ours"]
    assert "Left unanswered" not in pages["moved"] and "not found" in pages["moved"]
    for name, page in pages.items():
        assert ("15 points more are given by hand" in page) == (name != "blank"), name
        assert "Each test gives all of its points or none." in page
        assert "<h2>Question 1. Mean squares</h2>" in page and "<small>q1-test</small>" in page
    assert ">left unanswered" in pages["blank"].replace("\n", "")
    assert '<pre class="text">My own' in pages["ours"]


def test_the_last_words_name_what_was_skipped_and_what_not_graded(tmp_path, monkeypatch):
    folder = make_folder(tmp_path, {"a": submission(), "b": "no notebook"})
    (folder / "notes.pdf").write_text("")
    (folder / ".DS_Store").write_text("")
    done = run(folder, folder / "out", *OPTIONS)
    assert done.returncode == 1
    assert f"not a notebook, skipped: {folder / 'notes.pdf'}\n" in done.stdout
    assert done.stdout.endswith("\nFinished. 1 of 2 submissions graded; not graded: b.\n")
    assert "notebook/s, a" in done.stderr or "s/notebook, a" in done.stderr  # the bar: a is in work
    assert done.stderr.count("better to grade as an ordinary user") == (os.getuid() == 0)
    done = run(folder, folder / "out", *OPTIONS)
    assert "1 of 2 submissions graded (1 of them in an earlier run); not graded: b." in done.stdout
    assert done.stdout.count("skipped") == 1 and done.stdout.count(str(folder / "out")) == 1


# --- What crosses the wall ---


@pytest.fixture
def peers():
    """The tests' end and a submission's end, the latter served by a thread."""
    ours, theirs = Pipe()
    space: dict = {"given": double_of, "echo": lambda *a: a[0] if len(a) == 1 else a}
    doors = {"get": space.__getitem__, "attr": lambda n, name: getattr(there.lent[n], name)}
    doors["call"] = lambda *a: there.call(*a)
    there = Peer(theirs, doors, space)
    here = Peer(ours, {})
    here.doors["call"] = here.call

    def serve():
        try:
            while True:
                there.answer(there.receive())
        except (EOFError, OSError):
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield here, space
    ours.close()
    thread.join(5)


def double_of(v):
    return 2 * v


def same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b) and a.requires_grad == b.requires_grad
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    return a == b


@pytest.mark.parametrize(
    "value",
    [
        None, True, 10**30, -0.5, "é\ud800", b"\x00\xff", 1 + 2j, range(2, 9, 3), {1, 2},
        frozenset("a"), (1, [2, (3,)]), {(1, 2): [np.float64(0.1)], None: {}}, np.int64(4),
        np.bool_(True), np.arange(6).reshape(2, 3).T, np.array(["a", "bc"]), np.zeros((0, 3)),
        np.array(1.5, dtype="<f4"), torch.arange(4.0, requires_grad=True), torch.zeros(2, 0),
        torch.float64, np.dtype("int32"), [float("inf")],
    ],
    ids=repr,
)  # fmt: skip
def test_values_come_back_as_they_were(peers, value):
    here, _ = peers
    assert same(here.ask("get", "echo")(value), value)


def test_the_records_of_the_package_and_random_generators_cross(peers):
    here, _ = peers
    echo = here.ask("get", "echo")
    labels = ntp.random_soft_labels(6, 9, 3, seed=5)
    back = echo(labels)
    assert type(back) is ntp.SoftLabels and type(back.N) is type(labels.N)
    assert (back.N != labels.N).nnz == 0 and same(back.P.toarray(), labels.P.toarray())
    rng = np.random.default_rng(3)
    rng.random(7)
    assert echo(rng).random() == rng.random()


def test_functions_are_called_where_they_are(peers):
    here, space = peers
    space["twice"] = lambda f, v: f(f(v))
    seen: list[int] = []
    assert here.ask("get", "twice")(lambda v: seen.append(v) or v + 1, 3) == 5
    assert seen == [3, 4]
    here.shared = {"given": double_of}  # known on both sides: it crosses by its name
    space["is_given"] = lambda f: f is double_of
    assert here.ask("get", "is_given")(double_of) is True
    space["is_sum"] = lambda f: f is np.sum
    assert here.ask("get", "is_sum")(np.sum) is True


def test_objects_stay_remote_and_errors_keep_their_type(peers):
    here, space = peers

    class Model:
        width = 3

        def __call__(self, v):
            raise KeyError(v)

    class OwnError(Exception):
        pass

    def fail():
        raise OwnError("mine")

    space["model"], space["fail"] = Model(), fail
    model = here.ask("get", "model")
    assert isinstance(model, Remote) and model.width == 3
    with pytest.raises(KeyError):
        model("k")
    with pytest.raises(SubmissionError, match="OwnError: mine"):
        here.ask("get", "fail")()
    with pytest.raises(AttributeError):
        _ = model.__globals__
    with pytest.raises(TypeError):
        np.allclose(model, 1.0)


@pytest.mark.parametrize(
    "reply",
    [
        b"no JSON", b"[]", b"1", b'{"n": 1}', b'{"n": 99, "value": 1}', b'{"value": 1}',
        b'{"n": 1, "value": {"t": "name", "v": "x"}}',
        b'{"n": 1, "value": {"t": "import", "v": ["os", "system"]}}',
        b'{"n": 1, "value": {"t": "record", "n": "os.stat_result", "v": []}}',
        b'{"n": 1, "value": {"t": "array", "d": "O", "s": [1], "v": "AAAAAAAAAAA=", "scalar": 0}}',
        b'{"n": 1, "value": {"t": "array", "d": "<f8", "s": [9], "v": "", "scalar": false}}',
        b'{"n": 1, "value": {"t": "sparse", "f": "csc", "s": [1, 1], "v": [[1.0], [7], [0, 1]]}}',
        b'{"n": 1, "error": 5}', b'{"n": 1, "value": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
    ],
    ids=lambda reply: reply[:60].decode(),
)  # fmt: skip
def test_a_forged_reply_only_ends_the_submission(reply):
    ours, theirs = Pipe()
    here = Peer(ours, {})
    theirs.send_bytes(reply)
    with pytest.raises(Stopped):
        here.ask("get", "x")


def test_the_tests_end_opens_no_door_but_to_what_was_lent():
    ours, theirs = Pipe()
    here = Peer(ours, {})
    here.doors["call"] = here.call
    nothing = {"t": "dict", "v": []}
    for door, args in (("attr", [0, "x"]), ("run", ["a", "1"]), ("call", [0, [], nothing])):
        here.answer({"ask": door, "n": 1, "args": args})
        assert "error" in json.loads(theirs.recv_bytes())


def test_names_of_an_answer_cell():
    source = """
import os
a, (b, *c) = 1, (2, 3)
table["k"].field = 4
for i in range(3):
    with open(p) as file: d = [inner for inner in a]
def f(x): local = 1
class K: attribute = 2
e: int = 3
a += 1
"""
    names = "a b c table i file d f K e"
    assert grade_mark.bound_names(source) == names.split()
