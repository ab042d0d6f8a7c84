"""A folder of submissions: time, interruption, bad files, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import nbformat
import psutil
import pytest
from tiny_set import (
    MAPPED,
    NO_BWRAP,
    OPTIONS,
    ROOT,
    SQUARE,
    WRONG,
    command,
    make_folder,
    results,
    run,
    submission,
    table,
)

from teaching.grader import command_line, master, notebook, sandbox
from teaching.grader.errors import BadInputError, NotGradedError
from teaching.grader.memory import MemoryGroup, remove_left_over_groups
from teaching.grader.notebook import read_notebook
from teaching.grader.student import Limits
from teaching.grader.submissions import in_table

FULL = (10, 20, 5)


def test_the_time_for_the_whole_notebook_ends_it(tmp_path):
    endless = "def mean_square(v):\n    while True:\n        pass\n"
    folder = make_folder(tmp_path, {"a": submission(q1=endless)})
    limits = ["--cell-seconds", "900", "--notebook-seconds", "6", *OPTIONS]
    done = run(folder, tmp_path / "out", *limits)
    found = results(tmp_path / "out")["a"]
    assert done.returncode == 0 and found["marks"] == (0, 0, 0)
    for name in ("q1-test", "q2-test", "q4-test"):
        assert found["said"][name] == "Stopped: took longer than 6 s for the notebook."


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(tmp_path, end):
    """Interrupted as by Ctrl-C, which goes to the whole group, or killed with `kill -9`."""
    waits = "import time\ntime.sleep(10**6)"
    notebooks = {"a": submission(), "b": submission(q1=WRONG), "c": submission(q1=waits)}
    folder, out = make_folder(tmp_path, notebooks), tmp_path / "out"
    limits = ["--jobs", "1", "--cell-seconds", "900", "--notebook-seconds", "900"]
    words = command(folder, out, *limits, *OPTIONS)
    # A script that runs in the background has SIGINT ignored, and its children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
    )
    signal.signal(signal.SIGINT, before)
    until = time.monotonic() + 120
    while len(list(out.glob("records/*.json"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    if end == signal.SIGINT:
        os.killpg(running.pid, end)
        said = running.communicate(timeout=120)[1]
        assert running.returncode == 130 and "2 of 3 submissions are graded and kept" in said, said
    else:
        family = psutil.Process(running.pid).children(recursive=True)
        running.kill()
        running.wait()
        assert not psutil.wait_procs(family, timeout=30)[1], "a process outlives the grader"
        running.stderr.close()
    assert not (out / "grades.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("records/*.json")}
    assert set(results(out)) == {"a", "b"}
    (folder / "c.ipynb").write_text(json.dumps(submission()))
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "3 of 3 submissions graded (2 of them in an" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    marks = {name: record["marks"] for name, record in results(out).items()}
    assert marks == {"a": FULL, "b": (0, 20, 5), "c": FULL}
    if (lent := MemoryGroup.find()) and lent.folder:
        assert not list(lent.folder.glob(f"ntp-grader-{running.pid}-*"))


def test_groups_of_killed_graders_are_removed_and_no_others(tmp_path):
    """Mutation seen to fail: groups are left where they are."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = [f"ntp-grader-{dead.pid}-1", f"ntp-grader-trial-{dead.pid}"]
    kept = {f"ntp-grader-{os.getpid()}-1", "another-1", f"ntp-grader-{dead.pid}-2"}
    for name in (*names, *kept):
        (tmp_path / name).mkdir()
    (tmp_path / f"ntp-grader-{dead.pid}-2" / "in use").write_text("")  # cannot be removed
    remove_left_over_groups(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_record_holds_only_for_the_same_submission_master_and_limits(tmp_path):
    folder = make_folder(tmp_path, {"a": submission()})
    file, instructor = folder / "a.ipynb", tmp_path / "master.ipynb"
    limits, longer = Limits(60, 300, 2048), Limits(61, 300, 2048)
    arguments = [
        ("a", limits, True),
        ("a", longer, True),
        ("b", limits, True),
        ("a", limits, False),
    ]

    def key(name, limits, is_closed):
        return command_line.record_key(name, file, instructor, limits, is_closed)

    keys = [key(*each) for each in arguments]
    for path in (file, instructor):
        path.write_text(path.read_text() + " ")
        keys.append(key("a", limits, True))
    assert len(set(keys)) == len(keys)
    assert key("a", limits, True) == keys[-1]


@pytest.mark.parametrize(
    "case, says",
    [
        ("no folder", "there is no folder"),
        ("nothing", "name the folder with the notebooks"),
        ("no notebooks", "holds no notebooks"),
        ("no master", "cannot be used: cannot be read: No such file"),
        ("no instructor's", "no graded test cell"),
        ("mixed", "mixes assignments (ps8 of seed 2027, ps9 of seed 2027)"),
        ("unmarked", "do not tell their set"),
        ("odd set", "no problem set ../../x with the seed 2027"),
        ("no such set", "no problem set 9; there are ps1, ps2, ps3, ps4, ps5"),
    ],
)
def test_bad_input_is_one_clear_sentence(tmp_path, case, says, monkeypatch):
    monkeypatch.setattr(master.subprocess, "run", None)  # no release is made
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
    with pytest.raises(BadInputError) as error:
        command_line.main([named, "--out", str(tmp_path / "out"), *options])
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_sandbox_that_does_not_work_is_an_error_and_says_how_to_mend_it(tmp_path, monkeypatch):
    folder = make_folder(tmp_path, {"a": submission()})
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho setting up uid map: denied >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(BadInputError, match="does not work here") as error:
        command_line.main([str(folder), "--master", str(tmp_path / "master.ipynb")])
    for words in ("uid map: denied", "AppArmor", "sysctl", "SANDBOX=no", "--no-sandbox"):
        assert words in str(error.value)


def test_the_command_ends_with_status_2_on_bad_input(tmp_path):
    done = run(tmp_path / "nowhere", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.startswith("grade: there is no folder")
    assert done.stderr.count("\n") == 1


WAITS_ONCE = """\
import os
place = PLACE
if not os.path.exists(place + "/began"):
    open(place + "/began", "w").close()
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    os.fork()
    os.fork()
    while True:
        pass
if not os.path.exists(place + "/again"):
    open(place + "/again", "w").close()
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux counts waiting")
def test_one_that_lacked_the_processor_tries_again_alone(tmp_path):
    """Once a neighbour that keeps the processor busy could cost a victim its time, and so points.

    One whose four processes share one processor stands for the victim: they waited for it, too. The
    other is still being marked when the time of the first is over.
    """
    waits = WAITS_ONCE.replace("PLACE", repr(str(tmp_path)))
    ends = f"open({str(tmp_path)!r} + '/other', 'w').close()\n"
    slow = "import time\ntime.sleep(5)\n"
    other = submission(q1=slow + SQUARE, q4=slow + ends + MAPPED)
    folder = make_folder(tmp_path, {"a": submission(q1=waits + SQUARE), "b": other})
    options = ["--no-sandbox", "--cell-seconds", "9", "--jobs", "2"]
    done = run(folder, tmp_path / "out", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(tmp_path / "out")
    assert found["a"]["marks"] == found["b"]["marks"] == FULL, found["a"]["said"]
    again, finished = (tmp_path / name for name in ("again", "other"))
    assert again.stat().st_mtime > finished.stat().st_mtime


# --- Bad files and odd names ---


def test_a_file_called_by_a_blank_stops_no_later_run(tmp_path):
    """Once the row of such a file was a row without a name, and every later run stopped."""
    notebooks = {name: submission() for name in (" ", "  ", "a", "a ", "\u00a0", "x" * 249)}
    folder, out = make_folder(tmp_path, notebooks), tmp_path / "out"
    for _ in range(2):
        done = run(folder, out, *OPTIONS)
        assert done.returncode == 0, done.stderr
    rows = table(out / "hand_grades.csv")
    shown = ["\\x20", "\\x20\\x20", "a", "a\\x20", "\\xa0", "x" * 249]
    assert sorted(rows) == sorted(shown) == sorted(table(out / "grades.csv"))


def test_rows_that_tell_nobodys_marks_are_named_and_stop_nothing(tmp_path):
    proof = {"q3-proof": "My own"}
    folder = make_folder(tmp_path, {name: submission(**proof) for name in "abc"})
    out = tmp_path / "out"
    text = "submission,q3-proof\n  ,7\na,1\na,2\nb,3\nb,\n,\n c ,4\n"
    out.mkdir()
    (out / "hand_grades.csv").write_text(text)
    done = run(folder, out, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "row 2 of hand_grades.csv has no name, and counts for nobody: enter" in done.stdout
    assert "rows 3 and 4 of hand_grades.csv are both called a and differ" in done.stdout
    assert (out / "hand_grades.csv").read_text() == text
    marks = {name: row["q3-proof (by hand, max 15)"] for name, row in
             table(out / "grades.csv").items()}  # fmt: skip
    assert marks == {"a": "", "b": "3", "c": "4"}


@pytest.mark.parametrize(
    "content, says",
    [
        ({"cells": [0] * 5001}, "has 5,001 cells, more than 5,000"),
        ({"cells": [{}] * 10**6}, "has 1,000,000 cells, more than 5,000"),
    ],
)
def test_cells_are_counted_before_they_are_built(tmp_path, monkeypatch, content, says):
    """Once a file of 20 MB took 3 GiB and two minutes, before any limit was set."""
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(content))
    monkeypatch.setattr(notebook, "Cell", None)  # building one fails
    with pytest.raises(NotGradedError, match=says):
        read_notebook(path)


@pytest.mark.parametrize(
    "bound, says",
    [
        ("_READING_MEBIBYTES = 16", "needs more than 16 MiB of memory to read"),
        ("_READING_SECONDS = 0.01", "takes longer than 0.01 s to read"),
    ],
)
def test_reading_is_bounded_in_time_and_memory(tmp_path, bound, says):
    """In a process of its own: one that has much memory to reuse asks for none."""
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [], "metadata": {"x": [[]] * 10**6}}))
    code = (
        "import pathlib, resource; from teaching.grader import notebook\n"
        "before = resource.getrlimit(resource.RLIMIT_AS)\n"
        f"notebook.{bound}\n"
        "try:\n"
        "    notebook.read_notebook(pathlib.Path('a.ipynb'))\n"
        "except notebook.NotGradedError as error:\n"
        "    print(error)\n"
        "assert resource.getrlimit(resource.RLIMIT_AS) == before\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout == says + "\n", done.stderr


def test_one_bad_file_never_stops_a_batch_nor_drops_a_student(tmp_path):
    good = json.dumps(submission())
    folder, out = make_folder(tmp_path, {"good": submission()}), tmp_path / "out"
    for name in (
        "a/b__c",
        "a__b/c",
        "a__b__c",
        "tab\tname",
        "line\rname",
        "\x1b[2J",
        "=1+1",
        "'=1+1",
    ):
        path = folder / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(good)
    (folder / "upper.IPYNB").write_text(good)
    with open(folder / "sparse.ipynb", "wb") as sparse:
        sparse.truncate(900 * 10**9)
    (folder / "folder.ipynb").mkdir()
    (folder / "broken link.ipynb").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.ipynb")
    (folder / ".hidden.ipynb").write_text(good)
    (folder / "secret.ipynb").write_text(good)
    (folder / "secret.ipynb").chmod(0)
    done = run(folder, out, *OPTIONS)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    rows = table(out / "grades.csv")
    shown = ["a/b__c", "a__b/c", "a__b__c", "tab\\tname", "line\\rname", "\\x1b[2J", "'=1+1"]
    for name in [*shown, "''=1+1", "good", "upper.IPYNB"]:
        assert rows[name]["autograded (max 35)"] == "35", name
    reasons = {
        "sparse": "larger than 20 MiB",
        "folder": "not a regular file",
        "broken link": "not a regular file",
        "pipe": "not a regular file",
    }
    if os.getuid():  # root reads everything
        reasons["secret"] = "cannot be read: Permission denied"
    for name, reason in reasons.items():
        assert reason in rows[name]["status"]
    assert len(rows) == 15 and f"skipped: {folder / '.hidden.ipynb'}" in done.stdout
    assert "\x1b" not in done.stdout + (out / "grades.csv").read_text() and "\t" not in done.stdout
    assert run(folder, out, *OPTIONS).returncode == 1  # its own table is no bad input


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """As for an ordinary user; root, which these tests may be, reads everything."""
    file = make_folder(tmp_path, {"a": submission()}) / "a.ipynb"

    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(NotGradedError, match="cannot be read: Permission denied"):
        read_notebook(file)
    limits = Limits(60, 300, 2048)
    assert command_line.record_key("a", file, file, limits, True)


@pytest.mark.parametrize(
    "names", [("a\tb", "a\\tb"), ("=1", "'=1"), ("a\n", "a\\n"), ("é", "e\u0301")]
)
def test_different_names_stay_different(names):
    first, second = map(in_table, names)
    assert first != second and (first + second).isprintable()
    assert not first.startswith(("=", "+", "-", "@", "\t", "\r"))


# --- The grader checks itself ---


def test_nothing_is_graded_where_the_model_solution_loses_points(tmp_path):
    folder, out = make_folder(tmp_path, {"a": submission()}), tmp_path / "out"
    instructor = nbformat.read(tmp_path / "master.ipynb", 4)
    instructor.cells[2].source = WRONG
    nbformat.write(instructor, tmp_path / "master.ipynb")
    done = run(folder, out, *OPTIONS)
    assert done.returncode == 2 and "the model solution earns 25 of 35 points" in done.stderr
    assert "q1-test: mean_square(x) is not the mean of squares." in done.stderr
    assert not (out / "grades.csv").exists()


def test_nothing_is_graded_where_empty_answers_earn_points(tmp_path):
    folder, out = make_folder(tmp_path, {"a": submission()}), tmp_path / "out"
    instructor = nbformat.read(tmp_path / "master.ipynb", 4)
    instructor.cells[3].source = "assert np.allclose(mean_square(x), np.mean(x * x))"
    nbformat.write(instructor, tmp_path / "master.ipynb")
    done = run(folder, out, *OPTIONS)
    assert done.returncode == 2
    assert (
        "empty answers earns 10 of 35 points" in done.stderr and "q1-test gives 10" in done.stderr
    )


def test_the_package_of_another_folder_is_refused(tmp_path, monkeypatch):
    """As in a copied clone, whose environment still belongs to the original."""
    other = tmp_path / "ntp_lite"
    other.mkdir()
    (other / "__init__.py").write_text("")
    monkeypatch.setattr(
        sandbox.importlib.util,
        "find_spec",
        lambda name: types.SimpleNamespace(origin=str(other / "__init__.py")),
    )
    with pytest.raises(BadInputError, match="not of its own folder"):
        sandbox.open_sandbox([], [], wanted=False)


def test_a_library_that_is_missing_in_the_sandbox_is_told():
    with pytest.raises(BadInputError, match="No module named 'no_such_library'"):
        sandbox.open_sandbox([], ["no_such_library"], wanted=not NO_BWRAP)
