"""What a person marks, and what students and systems are told."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from datetime import datetime, timedelta

import nbformat
import pytest
from bs4 import BeautifulSoup
from tiny_set import OPTIONS, WRONG, make_folder, run, submission, table

from teaching.cells import TEXT_STUB as STUB
from teaching.grader import command_line
from teaching.grader.errors import BadInputError, NotGradedError
from teaching.grader.hand_grades import HandGrades, Sheet, version
from teaching.grader.late import LatePolicy
from teaching.grader.notebook import read_notebook
from teaching.grader.pages import Pages
from teaching.grader.plan import Kind, Step
from teaching.grader.records import Part, Record
from teaching.grader.results import Marked
from teaching.grader.roster import Person
from teaching.markup import markdown_to_html


def test_points_by_hand_are_read_kept_and_added_up(tmp_path):
    proof = {"q3-proof": "My own"}
    notebooks = {"Zoë": submission(**proof), "=2": submission(q1=WRONG, **proof)}
    folder, out = make_folder(tmp_path, notebooks), tmp_path / "out"
    sheet = out / "hand_grades.csv"
    assert run(folder, out, *OPTIONS).returncode == 0
    rows = table(sheet)
    assert set(rows) == {"Zoë", "'=2"}
    titles = ["submission", "q3-proof (max 15)", "q3-proof comment", "q3-proof version", "comment"]
    assert list(rows["Zoë"]) == titles and len(rows["Zoë"]["q3-proof version"]) == 9
    assert not any(value for title, value in rows["Zoë"].items() if title not in titles[::3])
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
    assert float(grades["Zoë"]["autograded (max 35)"]) == 35
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
        ("submission,q3-proof,comment\na,1,well, well\n", "row 2 of"),
        ('submission,q3-proof,comment\na,1,"so\nb,2,\n', "is no table"),
    ],
)
def test_a_mistake_in_the_points_by_hand_is_said_before_anything_is_done(tmp_path, text, says):
    folder, out = make_folder(tmp_path, {"a": submission(), "b": submission()}), tmp_path / "out"
    out.mkdir()
    (out / "hand_grades.csv").write_text(text)
    words = [str(folder), "--master", str(tmp_path / "master.ipynb"), "--out", str(out)]
    with pytest.raises(BadInputError) as error:
        command_line.main(words)
    assert says in str(error.value) and "\n" not in str(error.value)
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
    assert "Retyped: <strong><span" in other["moved"] and "Retyped" in other["beside"]
    assert "KEEP-SOLUTION-SECRET" in other["beside"]
    assert "Typed in a code cell" in other["changed"] and not other["blank"] + other["ours"]
    assert "Left unanswered" not in pages["moved"] and "not found" in pages["moved"]
    for name, page in pages.items():
        assert ("15 points more are given by hand" in page) == (name != "blank"), name
        assert "Each test gives all of its points or none." in page
        assert "<h2>Question 1. Mean squares</h2>" in page and "<small>q1-test</small>" in page
    assert ">left unanswered" in pages["blank"].replace("\n", "")
    assert '<div class="proof"><p>My own' in pages["ours"]


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


# --- The marking page ---

MATHS = """\
Let $a<b$ and $$\\int_a^b f \\leq \\max f (b - a).$$
<script>alert(1)</script> <img src=x onerror=alert(1)> [k](javascript:alert(1)) ![](http://x/y.png)
"""


SLOW = {"stars": "*a " * 200_000, "signs": "_a__" * 100_000, "brackets": "[" * 200_000}


@pytest.mark.parametrize("text", SLOW.values(), ids=list(SLOW))
def test_a_long_proof_takes_no_time_of_the_class(text):
    """Mutation seen to fail: Markdown reads it all, for many minutes."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("still reading after a minute"))
    signal.alarm(60)
    try:
        page = markdown_to_html(text)
    finally:
        signal.alarm(0)
    assert page.startswith('<pre class="text">') and page.count(text[:3]) == text.count(text[:3])


@pytest.mark.parametrize(
    "text",
    [
        "$$a$$ (data)",  # as an id it would stand before the page's own, and be read instead
        "$$\n{}\n$$ (save)",
        '$\\mmlToken{mi}[href="javascript:alert(1)"]{x}$',
        '$$\\def\\x{\\mmlToken{mtext}[style="position:fixed;inset:0"]{15 points}}\\x$$',
    ],
)
def test_a_formula_reaches_nothing_but_itself(text):
    page = markdown_to_html(text)
    found = BeautifulSoup(page, "html.parser").find_all(True)
    assert not [e for e in found if e.attrs.keys() & {"id", "href", "style"}]
    assert not any(
        "mmlToken" in str(formula.contents) for formula in found if formula.name == "math"
    )


def test_a_proof_of_ordinary_length_is_typeset():
    page = markdown_to_html("Let $a<b$.\n\n" + "Then $$a^2 < b^2$$ follows. " * 400)
    drawn = [formula["alttext"] for formula in BeautifulSoup(page, "html.parser").find_all("math")]
    assert drawn == ["a<b"] + ["a^2 < b^2"] * 400


def proof_cell(notebook):
    return next(c for c in notebook.cells if c.metadata.nbgrader.grade_id == "q3-proof")


def test_the_marking_page_sets_formulas_and_runs_nothing_of_a_submission(tmp_path):
    wrote, blank = submission(**{"q3-proof": MATHS}), submission(**{"q3-proof": STUB})
    picture = {"image/png": "iVBORw0KGgo=", "image/svg+xml": "PHN2Zz4="}
    proof_cell(wrote)["attachments"] = {"scan.png": picture}
    folder, out = make_folder(tmp_path, {"wrote": wrote, "blank": blank}), tmp_path / "out"
    assert run(folder, out, *OPTIONS).returncode == 0
    page = (out / "marking.html").read_text()
    assert 'alttext="a&lt;b"' in page and 'alttext="\\int_a^b' in page
    body = page.partition("</head>")[2].partition('<script type="application/json"')[0]
    assert "<script" not in body and "<img src=x" not in body and "href=" not in body
    assert "http" not in body.replace("![](http://x/y.png)", "")
    assert "data:image/png" in body and "svg" not in body
    assert "default-src 'none'" in page and "KEEP-SOLUTION-SECRET" in page  # the model answer
    assert table(out / "grades.csv")["blank"]["total (max 50)"] == "35"  # a blank counts 0
    assert table(out / "grades.csv")["wrote"]["total (max 50)"] == ""
    feedback = (out / "feedback/wrote.html").read_text()
    assert "data:image/png" in feedback and "<script" not in feedback


def test_a_proof_that_changed_since_it_was_marked_is_told(tmp_path):
    folder = make_folder(tmp_path, {"a": submission(**{"q3-proof": "First"})})
    out = tmp_path / "out"
    sheet = out / "hand_grades.csv"
    run(folder, out, *OPTIONS)
    row = table(sheet)["a"]
    first = row["q3-proof version"]
    rows = [list(row), ["a", "10", "Good, but short", first, ""]]
    sheet.write_text("\n".join(",".join(f'"{c}"' for c in line) for line in rows))
    assert "changed since" not in run(folder, out, *OPTIONS).stdout
    assert "Good, but short" in (out / "feedback/a.html").read_text()
    (folder / "a.ipynb").write_text(json.dumps(submission(**{"q3-proof": "Second"})))
    done = run(folder, out, *OPTIONS)
    assert "changed since it was marked by hand: a" in done.stdout
    assert table(out / "grades.csv")["a"]["status"] == "changed since it was marked: q3-proof"
    page = (out / "marking.html").read_text()
    assert "The proof changed since it was marked." in page
    assert table(sheet)["a"]["q3-proof version"] == first  # what was marked stays on record


def test_the_version_of_a_proof_without_points_follows_the_proof(tmp_path):
    folder, out = (
        make_folder(tmp_path, {"a": submission(**{"q3-proof": "First"})}),
        tmp_path / "out",
    )
    run(folder, out, *OPTIONS)
    first = table(out / "hand_grades.csv")["a"]["q3-proof version"]
    (folder / "a.ipynb").write_text(json.dumps(submission(**{"q3-proof": "Second"})))
    run(folder, out, *OPTIONS)
    assert table(out / "hand_grades.csv")["a"]["q3-proof version"] not in ("", first)


def type_points(sheet, **points):
    """Enter points in a spreadsheet's way, beside whatever stands there."""
    rows = list(table(sheet).values())
    for row in rows:
        row["q3-proof (max 15)"] = points.get(row["submission"], "")
    with open(sheet, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_points_for_no_proof_do_not_outlive_the_next_submission_unsaid(tmp_path):
    blank = submission(**{"q3-proof": STUB})
    folder = make_folder(tmp_path, {"blank": blank, "broken": "no notebook", "same": blank})
    out, sheet = tmp_path / "out", tmp_path / "out/hand_grades.csv"
    assert run(folder, out, *OPTIONS).returncode == 1
    assert {row["q3-proof version"] for row in table(sheet).values()} == {"none"}
    type_points(sheet, blank="3", broken="0", same="2")
    assert "changed since" not in run(folder, out, *OPTIONS).stdout
    for name in ("blank", "broken"):
        (folder / f"{name}.ipynb").write_text(json.dumps(submission(**{"q3-proof": "My own"})))
    done = run(folder, out, *OPTIONS)
    assert "changed since it was marked by hand: blank, broken\n" in done.stdout
    told = {name: row["status"] for name, row in table(out / "grades.csv").items()}
    changed = "changed since it was marked: q3-proof"
    assert told == {"blank": changed, "broken": changed, "same": "graded"}
    assert (out / "marking.html").read_text().count("The proof changed since it was marked.") == 2


def entered(place, versions: dict[str, str], **proofs: str) -> list[str]:
    """The versions in a sheet of marked proofs after the grader has seen the proofs of now."""
    steps = [Step(name, Kind.DERIVATION, "", "", 15) for name in versions]
    parts = [Part(name, Kind.DERIVATION, "", 15, source=proofs[name]) for name in versions]
    path = place / "hand_grades.csv"
    titles = [title for name in versions for title in (name, f"{name} version")]
    cells = [cell for version in versions.values() for cell in ("10", version)]
    path.write_text(",".join(["submission", *titles]) + "\n" + ",".join(["a", *cells]) + "\n")
    Sheet(path, steps).update([Record("a", "", [], parts, [], 1.0)])
    row = table(path)["a"]
    return [row[f"{name} version"] for name in versions]


def test_points_beside_an_empty_version_are_for_the_proof_of_now(tmp_path):
    now = version(Part("p", Kind.DERIVATION, "", 15, source="Second"))
    proofs = {name: "Second" for name in ("confirmed", "old")}
    found = entered(tmp_path, {"confirmed": "", "old": "v01234567"}, **proofs)
    assert found == [now, "v01234567"]


def test_a_spreadsheet_takes_no_version_for_a_number():
    """Some of the hashes alone would be one: they have digits only, or one e between digits."""
    parts = [Part("p", Kind.DERIVATION, "", 15, source=f"Proof {k}") for k in range(300)]
    versions = [version(part) for part in parts]
    assert sum(bool(re.fullmatch(r"\d+(e\d+)?", one[-8:])) for one in versions) > 5
    assert all(re.fullmatch("v[0-9a-f]{8}", one) for one in versions)


def test_versions_of_earlier_sheets_raise_no_alarm(tmp_path):
    proof, other = (Part("p", Kind.DERIVATION, "", 15, source=text) for text in ("One", "Two"))
    earlier = {"p": version(proof).removeprefix("v")}
    marked = HandGrades(points={"p": 10}, versions=earlier)
    assert not marked.has_changed(proof) and marked.has_changed(other)
    assert entered(tmp_path, earlier, p="One") == [version(proof)]
    assert entered(tmp_path, earlier, p="Two") == [earlier["p"]]
    missing = Part("p", Kind.DERIVATION, "", 15, is_missing=True)
    assert not HandGrades({"p": 1}, versions={"p": "e3b0c442"}).has_changed(missing)


def feedback(place, m: Marked) -> str:
    """The feedback page of one submission, as a person reads it."""
    steps = [Step(part.id, part.kind, part.title, "", part.most) for part in m.record.parts]
    Pages(place, "ps1", steps).write_feedback([m])
    page = (place / "feedback" / f"{m.record.name}.html").read_text()
    main = BeautifulSoup(page, "html.parser").find("main")
    return " ".join(main.get_text().split())


@pytest.mark.parametrize("is_blank", [True, False])
@pytest.mark.parametrize("points", [{}, {"q2-proof": 30}])
def test_a_space_stands_between_the_sentences_of_a_feedback_page(tmp_path, is_blank, points):
    parts = [
        Part("q1-test", Kind.TEST, "Question 1", 60, points=50),
        Part("q2-proof", Kind.DERIVATION, "Question 2", 20, source="A proof"),
        Part("q3-proof", Kind.DERIVATION, "Question 3, by pencil", 20, is_blank=is_blank),
    ]
    due = datetime(2027, 3, 1).astimezone()
    person = Person("Ada", "1", submitted=due + timedelta(days=1))
    record = Record("a", "", [], parts, [], 1.0)
    said = feedback(tmp_path, Marked(record, HandGrades(points), person, LatePolicy(due, 10)))
    sentences = said.partition("Points Question")[0]
    assert "Handed in late" in sentences and "Each test gives" in sentences
    assert not re.search(r"\.[A-Z]|\.\d+ points more", sentences), sentences


@pytest.mark.parametrize("content", ["<html>", '{"cells": 1}'])
def test_a_student_whose_file_is_no_notebook_is_told_what_to_do(tmp_path, content):
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    with pytest.raises(NotGradedError) as error:
        read_notebook(path)
    for refused, is_told in ((str(error.value), True), ("larger than 20 MiB", False)):
        said = feedback(
            tmp_path, Marked(Record("a", refused, [], [], [], 1.0), HandGrades(), None, None)
        )
        assert f"Not graded: {refused}." in said
        assert ("Download it again as a notebook (.ipynb)" in said) == is_told
