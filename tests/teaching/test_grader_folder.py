"""What lies in the folder of results after several runs, with a roster and without."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_set import OPTIONS, make_folder, run, submission, table

from teaching.grader.errors import NotGradedError
from teaching.grader.left_over import LeftOver, clear_left_over
from teaching.grader.notebook import Notebook
from teaching.grader.plan import find_answers
from teaching.grader.submissions import find_submissions, in_table, page_name


def put(out: Path, *names: str, text: str = "text") -> list[Path]:
    """Write files as a run of the grader does."""
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    return [out / name for name in names]


def test_what_an_earlier_run_wrote_is_removed_and_nothing_else(tmp_path):
    """Seen to fail: all of it stayed."""
    pages = ("feedback/a.html", "feedback/b/c/d.html", "feedback/e.html")
    first = put(tmp_path, *pages, "canvas.csv", "grades.csv", "marking.html")
    put(tmp_path, "hand_grades.csv", "notes.txt")
    assert clear_left_over(tmp_path, first) == LeftOver()
    put(tmp_path, "feedback/own.html")
    put(tmp_path, "feedback/e.html", text="changed by hand")
    second = put(tmp_path, "feedback/a.html", "grades.csv")
    found = clear_left_over(tmp_path, second)
    assert found.removed == ["canvas.csv", "feedback/b/c/d.html", "marking.html"]
    assert found.kept == ["feedback/e.html", "feedback/own.html"]
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    own = {"hand_grades.csv", "notes.txt", "feedback/own.html", "feedback/e.html"}
    assert left == own | {"feedback/a.html", "grades.csv", "records/written"}
    assert not (tmp_path / "feedback/b").exists()
    assert clear_left_over(tmp_path, second).kept == found.kept  # and is said again


@pytest.mark.parametrize("content", ["", "[1]", '{"../outside": "x", "/etc/x": "y"}'])
def test_a_list_that_is_no_list_harms_nothing(tmp_path, content):
    out = tmp_path / "out"
    put(out, "records/written", text=content)
    put(tmp_path, "outside")
    put(out, "moodle.csv")
    assert clear_left_over(out, put(out, "grades.csv")).kept == ["moodle.csv"]
    assert (tmp_path / "outside").exists()


def test_the_pages_of_odd_names_are_different_files():
    """Seen to fail: the page of `a` was a file where that of `a.html/b` wanted a folder."""
    names = ["a", "a.html/b", "a.HTML/b", "x" * 250, "x" * 250 + "/y", "/".join(["deep"] * 400)]
    pages = [page_name(name) for name in names]
    assert len(set(pages)) == len(pages) and pages[0] == "a.html"
    for page in pages:
        assert len(page) < 1100 and max(map(len, page.split("/"))) < 250
        assert not any(folder.lower().endswith(".html") for folder in page.split("/")[:-1])


def test_every_file_is_a_submission_of_its_own(tmp_path):
    """Seen to fail: `ada.IPYNB.ipynb` replaced `ada.IPYNB`, and Ada got nothing."""
    names = ["ada.IPYNB", "ada.IPYNB.ipynb", "ada.IPYNB.ipynb.ipynb", "ada.ipynb", "b/c.ipynb"]
    for name in names:
        put(tmp_path, name)
    found = find_submissions(str(tmp_path)).notebooks
    assert sorted(path.relative_to(tmp_path).as_posix() for path in found.values()) == names
    assert found["ada.IPYNB"].name == "ada.IPYNB" and found["ada"].name == "ada.ipynb"


def test_no_name_makes_a_formula_where_lists_are_divided_by_semicolons():
    """Seen to fail: the second cell was `=1+1`. Names stay different."""
    names = ["ada;=1+1;", "a;\t@b", "\\x3b=1+1", ";=1+1", "a;b", "=1"]
    shown = [in_table(name) for name in names]
    assert len(set(shown)) == len(names) and "a;b" in shown
    for name in shown:
        assert not any(cell.strip().startswith(("=", "+", "-", "@")) for cell in name.split(";"))


@pytest.mark.parametrize("key", ["assignment", "seed"])
def test_what_a_notebook_says_it_is_reaches_no_terminal_and_no_table(key):
    """Once it cleared the screen, and broke its row of the table in two."""
    master = Notebook([], "ps9", "2027")
    odd = replace(master, **{key: "\x1b[2J\x1b]0;x\x07\n=1+1\ud800"})
    with pytest.raises(NotGradedError) as error:
        find_answers(master, [], odd)
    assert str(error.value).isprintable() and "\\x1b[2J" in str(error.value)


ROSTER = "name,id,submitted\n{}Emmy Noether,43,\nNobody There,44,\n"


def test_two_files_of_a_student_give_one_row_and_those_who_left_leave_nothing(tmp_path):
    notebooks = {"42_ps1-1": submission(), "42_ps1-2": submission(q1="0"), "43": submission()}
    folder, out = make_folder(tmp_path, notebooks), tmp_path / "out"
    (folder / "a.html").mkdir()
    (folder / "a.html/43_b.ipynb").write_text("no notebook")
    list_of_class = tmp_path / "roster.csv"
    list_of_class.write_text(ROSTER.format("Ada <i>Lovelace</i>,42,2027-03-03\n"))
    options = ["--roster", str(list_of_class), "--due", "2027-03-01", *OPTIONS]
    done = run(folder, out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert "not counted: 42_ps1-1, because 42_ps1-2 counts" in said
    assert "not counted: a.html/43_b, because 43 counts" in said
    assert "no late days counted, because no time is known: 43" in said
    rows = table(out / "grades.csv")
    assert set(rows) == {"42_ps1-2", "43"} == set(table(out / "hand_grades.csv"))
    status = rows["42_ps1-2"]["status"]
    assert status == "days late: 2; other files, not counted: 42_ps1-1"
    page = (out / "feedback/42_ps1-2.html").read_text()
    assert "<h1>Ada &lt;i&gt;Lovelace&lt;/i&gt;</h1>" in page and "file 42_ps1-2" in page
    assert "Not counted: 42_ps1-1." in page and "42_ps1-1" not in (out / "canvas.csv").read_text()
    pages = {path.name for path in (out / "feedback").rglob("*.html")}
    assert pages == {"42_ps1-2.html", "43.html"}
    # Ada leaves the class, and the table for the systems is no longer wanted.
    for path in folder.glob("42*"):
        path.unlink()
    done = run(folder, out, *OPTIONS)
    removed = "removed, because an earlier run wrote it: canvas.csv, feedback/42_ps1-2.html"
    assert removed in done.stdout and "moodle.csv" in done.stdout
    pages = {path.relative_to(out).as_posix() for path in (out / "feedback").rglob("*.html")}
    assert len(pages) == 2 and "feedback/43.html" in pages  # and that of the broken file
    assert "in hand_grades.csv, but no submission: 42_ps1-2" in done.stdout
    assert json.loads((out / "records/written").read_text()).keys() >= pages


def test_files_of_different_senders_for_one_student_are_named_with_the_remedy(tmp_path):
    names = ("adalo_501_1_42", "mal_502_2_42")
    folder = make_folder(tmp_path, {name: submission() for name in names})
    list_of_class = tmp_path / "roster.csv"
    list_of_class.write_text(ROSTER.format("Ada Lovelace,42,\n"))
    done = run(folder, tmp_path / "out", "--roster", str(list_of_class), *OPTIONS)
    said = done.stdout
    assert "files of different senders for Ada Lovelace, none counts: adalo_501_1_42, mal" in said
    assert "name the right one in the column `submission` of roster.csv" in said
    assert "handed in nothing: Emmy Noether, Nobody There\n" in said
    assert "Ada" not in (tmp_path / "out/canvas.csv").read_text()
