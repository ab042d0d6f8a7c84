"""No submission harms the grader, its marks or others; and honest work in between earns its marks.

The hostile submissions are graded in one batch; what a submission can see is reported by the
submission itself, through its feedback.
"""

from __future__ import annotations

import base64
import copy
import csv
import json
import os
import socket
from pathlib import Path

import nbformat
import psutil
import pytest
from tiny_set import (
    NO_BWRAP,
    OPTIONS,
    ROOT,
    SQUARE,
    WRONG,
    make_folder,
    needs_bwrap,
    results,
    run,
    submission,
)

from teaching.grader.marking import FAILED_HIDDEN_TEST
from teaching.grader.memory import MemoryGroup

HAS_MEMORY_GROUP = MemoryGroup.find() is not None
SLEEP = f"98{os.getpid():07}"  # a duration that finds a left-over process again
SEES = "def mean_square(v):\n    raise ValueError('saw ' + repr(sorted(set(map(str, found)))))\n"
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
HIDDEN_MEMORY = """\
import os
for number in range(6):
    file = os.memfd_create(str(number))
    for _ in range(20):
        os.write(file, b"x" * 10**7)
"""
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
def change_kernel():  # opened, not changed
    for place, _, files in os.walk("/proc"):
        for file in files if not any(map(str.isdigit, place)) and "self" not in place else ():
            try:
                return os.open(os.path.join(place, file), os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                pass
attempt("change the kernel", change_kernel)
import ctypes, platform
KEYS = {"x86_64": [248, 249, 250, 250 | 2**30], "aarch64": [217, 218, 219]}
def call_kernel(*arguments):
    return ctypes.CDLL(None).syscall(*arguments) > 0
for call in KEYS.get(platform.machine(), []):
    attempt(f"keys, new: {call}", lambda: call_kernel(call, b"user", b"note", b"left", 4, -3))
    attempt(f"keys, own: {call}", lambda: call_kernel(call, 0, -3, 1))  # the login's keyring
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
        "hides memory in files": {"q1": HIDDEN_MEMORY + SQUARE},
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
        "proves with surrogates": {"q3-proof": "half a letter: \ud800"},
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
           "no metadata", "prints 200 MB", "proves with surrogates"],
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
# Memory that belongs to no process is seen where a control group limits it, and only there.
GROUPS[(0, 20, 5) if HAS_MEMORY_GROUP else FULL].append("hides memory in files")
EXPECTED = {name: marks for marks, names in GROUPS.items() for name in names}


def thief(place: Path, port: int) -> nbformat.NotebookNode:
    """A submission that tries what it must not do and says what worked."""
    places = [str(place), str(place / "master.ipynb"), str(place / "submissions")]
    places += [
        str(ROOT / name)
        for name in (
            "teaching/grader/marking.py",
            "teaching/problem_sets",
            "tests",
            "book",
            "Makefile",
        )
    ]
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
    done = run(folder, place / "out", *limits, *OPTIONS)
    server.close()
    assert "Traceback" not in done.stderr, done.stderr
    return place, done, results(place / "out")


def test_honest_work_gets_full_marks_in_the_middle_of_it_all(batch):
    found = batch[2]["Zoë Łukasz 山田"]
    assert (found["marks"], found["other_text"], found["notes"]) == (FULL, [], [])
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


def test_a_failed_hidden_test_tells_nothing_but_that_it_failed(batch):
    """Once its own words, the kind of the submission's error and its line were told."""
    for name in ("wrong on other data", "tells the data"):
        assert batch[2][name]["said"]["q1-test"] == FAILED_HIDDEN_TEST


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
    files = [p for p in (batch[0] / "out").rglob("*") if p.is_file() and "mathjax" not in p.parts]
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
    assert list(rows[0])[-2:] == ["late", "total (max 50)"]
    names = {row["submission"]: row for row in rows}
    assert names["'=1+1"]["autograded (max 35)"] == "25"
    assert names["'=1+1"]["total (max 50)"] == "25"  # its proof was left blank, and counts 0
    assert names["writes markup"]["total (max 50)"] == ""  # its proof waits for a person
    for name in ("another set", "empty"):  # blanks, not 0
        assert names[name].pop("status").startswith("not graded") and names[name].pop("submission")
        assert not any(names[name].values())
    summary = (place / "out/summary.html").read_text(encoding="utf-8")
    graded = [record for record in found.values() if not record["refused"]]
    assert f"{len(graded)} of {len(found)} submissions graded" in summary
    solved = sum(record["marks"][1] == 20 for record in graded)
    assert f"{solved} of {len(graded)}" in summary and "<svg" in summary


def test_without_bubblewrap_the_limits_hold_and_the_command_says_so(tmp_path):
    change = {"loops": "while True:\n    pass", "exits": "import os\nos._exit(0)", "wrong": WRONG}
    change["takes"] = "a = []\nwhile True:\n    a.append(np.ones(2**22))\n"
    notebooks = {name: submission(q1=q1) for name, q1 in change.items()}
    server = socket.create_server(("127.0.0.1", 0))
    notebooks["steals"] = thief(tmp_path, server.getsockname()[1])
    folder = make_folder(tmp_path, notebooks | {"honest": submission()})
    limits = ["--cell-seconds", "8", "--memory", "400"]
    done = run(folder, tmp_path / "out", *limits, path=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WITHOUT a sandbox (bubblewrap (bwrap) is not installed)" in done.stderr
    server.close()
    found = {name: record["marks"] for name, record in results(tmp_path / "out").items()}
    stolen = results(tmp_path / "out")["steals"]["said"]["q1-test"]
    assert "master.ipynb" in stolen and "network" in stolen  # the probe does find what is in reach
    assert found.pop("steals") == (0, 20, 5)
    assert found == dict.fromkeys(change, (0, 20, 5)) | {"honest": FULL}
    assert "WITHOUT a sandbox" in (tmp_path / "out/summary.html").read_text()
