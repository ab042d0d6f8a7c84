"""Rosters, late submissions, tables for Canvas and Moodle, hints of copies."""

from __future__ import annotations

import csv
import gc
import os
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from teaching.grader.attempts import not_counted
from teaching.grader.bounds import OutOfTimeError, stopped_after
from teaching.grader.command_line import parse, read_roster
from teaching.grader.errors import BadInputError
from teaching.grader.hand_grades import HandGrades
from teaching.grader.helpers import find_helpers
from teaching.grader.late import LatePolicy, read_due, read_time
from teaching.grader.marking import Marker, Marking, Refused
from teaching.grader.plan import Answers, Kind, Step
from teaching.grader.processors import ProcessorTime, processor_time
from teaching.grader.records import Part, Record
from teaching.grader.results import Marked, export_to_systems, grades_table
from teaching.grader.roster import Roster
from teaching.grader.sandbox import Sandbox
from teaching.grader.similarity import find_alike
from teaching.grader.student import Limits, Student
from teaching.inside.errors import StoppedError

# The first lines of the tables that the two systems write, as their documentation shows them.
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Problem set 1 (4711),ps1 (4712),Current Score
,,,,,Manual Posting,,
    Points Possible,,,,,10,100,(read only)
"Lovelace, Ada",101,S1,ada,Group A,9,,90
"Noether, Emmy",102,S2,emmy@example.org,Group A,8,,80
"Student, Test",999,,,Group A,,,
"""
MOODLE = """\
Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be changed",\
"Last modified (submission)","Last modified (grade)","Feedback comments"
"Participant 7001","Ada Lovelace",ada@example.org,"Submitted for grading",,100.00,Yes,\
"Tuesday, 2 March 2027, 10:15 AM",-,
"Participant 7002","Emmy Noether",emmy@example.org,"No submission",,100.00,Yes,-,-,
"""
OWN = """\
name;id;email;submitted;submission
Ada Lovelace;0042;ada@example.org;2027-03-02 10:15;solution one
Emmy Noether;43;emmy@example.org;;
"""


def roster(place: Path, text: str) -> Roster:
    path = place / "roster.csv"
    path.write_text(text.replace("\\\n", ""), encoding="utf-8")
    return Roster(path)


def marked(name: str, person=None, late=None, comment: str = "", **sources: str) -> Marked:
    test = Part("q1-test", Kind.TEST, "Question 1", 60, points=50)
    proof = Part("q2-proof", Kind.DERIVATION, "Question 2", 40, source="A proof")
    answers = [Part(i, Kind.ANSWER, "", 0, source=text) for i, text in sources.items()]
    record = Record(name, "", [], [test, proof, *answers], [], 1.0)
    return Marked(record, HandGrades(points={"q2-proof": 30}, comment=comment), person, late)


STEPS = [
    Step("q1-test", Kind.TEST, "Question 1", "", 60),
    Step("q2-proof", Kind.DERIVATION, "Question 2", "", 40),
]


def exported(place: Path, text: str, names: list[str]) -> dict[str, list[list[str]]]:
    class_list = roster(place, text)
    people = class_list.assign(names)
    results = [marked(name, people.get(name), comment="Well, done") for name in names]
    paths = export_to_systems(class_list, place, "ps1", 100, results)
    return {path.name: list(csv.reader(path.open(encoding="utf-8", newline=""))) for path in paths}


def test_canvas_gets_a_table_that_its_import_reads(tmp_path):
    """Its titles, its points row with four spaces, its own column with the assignment's number."""
    names = ["lovelaceada_LATE_101_555_ps1", "emmy@example.org", "nobody"]
    tables = exported(tmp_path, CANVAS, names)
    assert list(tables) == ["canvas.csv"]
    assert tables["canvas.csv"] == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "ps1 (4712)"],
        ["    Points Possible", "", "", "", "", "100"],
        ["Lovelace, Ada", "101", "S1", "ada", "Group A", "80"],
        ["Noether, Emmy", "102", "S2", "emmy@example.org", "Group A", "80"],
    ]


def test_moodle_gets_its_worksheet_back(tmp_path):
    names = ["Ada Lovelace_7001_assignsubmission_file/ps1"]
    tables = exported(tmp_path, MOODLE, names)
    title, ada = tables["moodle.csv"]
    assert title[:3] == ["Identifier", "Full name", "Email address"] and len(title) == 10
    row = dict(zip(title, ada, strict=True))
    assert row["Identifier"] == "Participant 7001" and row["Grade"] == "80"
    assert row["Maximum Grade"] == "100.00" and row["Feedback comments"] == "Well, done"
    assert row["Last modified (submission)"] == "Tuesday, 2 March 2027, 10:15 AM"


# --- What the systems themselves ask of a file, from the sources of their importers ---


def canvas_reads(text: str, title: str) -> dict[str, str]:
    """The scores by student as Canvas would import them, after the rules of its importer.

    The first two titles name student and ID (or the first three last name, first name and ID), SIS
    numbers may follow, and Section is the last before the assignments. An assignment is found by
    the number in brackets, or by its title. A row with "Points Possible" is no student, nor is one
    without a word but "Manual Posting".
    """
    head, *rows = csv.reader(text.splitlines())
    named = 2 if head[:2] == ["LastName", "FirstName"] else 1
    assert len(head) > named + 2 and (named == 2 or "Student" in head[0]) and "ID" in head[named]
    known = ("SIS User ID", "SIS Login ID", "Integration ID", "Root Account")
    place = named + 1
    while head[place] in known:
        place += 1
    assert "Section" in head[place]
    [column] = [k for k in range(place + 1, len(head)) if head[k].partition(" (")[0] == title]
    students = [row for row in rows if "Points Possible" not in row[0] and row[named]]
    return {row[named]: row[column] for row in students}


def moodle_reads(text: str) -> dict[str, tuple[str, str]]:
    """Grade and comment by participant as Moodle would import them: by its importer's rules.

    Commas and UTF-8; the titles of the number, the grade and the time of the last grade must be
    there; the number of a participant follows the word.
    """
    head, *rows = csv.reader(text.splitlines())
    number, grade, comment = map(head.index, ("Identifier", "Grade", "Feedback comments"))
    assert "Last modified (grade)" in head and number == 0
    return {row[number].removeprefix("Participant "): (row[grade], row[comment]) for row in rows}


LAST_AND_FIRST = """\
LastName,FirstName,ID,SIS User ID,SIS Login ID,Integration ID,Section,ps1 (4712),Final Score
,,,,,,,Manual Posting,
"    Points Possible",,,,,,,100,(read only)
Lovelace,Ada,101,S1,ada,,Group A,,
"""
# As newer versions write it: another order, a mark at the beginning, American times.
NEWER_MOODLE = """\
\ufeffIdentifier,"Full name","ID number","Email address",Status,Group,Grade,"Maximum grade",\
"Marking workflow state","Grade can be changed","Last modified (submission)",\
"Last modified (grade)","Feedback comments"
"Participant 7001","Ada Lovelace",0042,ada@example.org,"Submitted for grading - Graded",A,,10.00,\
"In marking",Yes,"Tuesday, March 2, 2027, 10:15\u202fAM","Tuesday, March 2, 2027, 10:15 AM",Old
"""


@pytest.mark.parametrize("text", [CANVAS, LAST_AND_FIRST, OWN])
def test_canvas_reads_what_it_is_given(tmp_path, text):
    """A round trip: out of Canvas, through the grader, and back, with the same students."""
    names = ["lovelaceada_101_555_ps1"] if text is not OWN else ["solution one"]
    exported(tmp_path, text, names)
    written = (tmp_path / "canvas.csv").read_text(encoding="utf-8")
    if text is OWN:  # Canvas finds a student without a number of its own by the other two
        written = written.replace("Ada Lovelace,,", "Ada Lovelace,0042,")
    assert list(canvas_reads(written, "ps1").values()) == ["80"]
    assert roster(tmp_path, written).people[0].name == "Ada Lovelace" or text is CANVAS


@pytest.mark.parametrize("text", [MOODLE, NEWER_MOODLE])
def test_moodle_reads_what_it_is_given(tmp_path, text):
    exported(tmp_path, text, ["Ada Lovelace_7001_assignsubmission_file/ps1"])
    written = (tmp_path / "moodle.csv").read_text(encoding="utf-8")
    assert moodle_reads(written) == {"7001": ("80", "Well, done")}
    again = roster(tmp_path, written)
    assert again.titles == roster(tmp_path, text).titles  # nothing but grade and comment differs
    assert again.people[0].submitted == datetime(2027, 3, 2, 10, 15).astimezone()


def test_another_maximum_grade_is_told_and_left_alone(tmp_path):
    found = roster(tmp_path, NEWER_MOODLE)
    assert found.other_maximum(100) == "10.00" and found.other_maximum(10) == ""
    assert found.assign(["0042"])["0042"].name == "Ada Lovelace"
    assert roster(tmp_path, MOODLE).other_maximum(100) == ""
    exported(tmp_path, NEWER_MOODLE, ["0042"])
    assert ",10.00," in (tmp_path / "moodle.csv").read_text(encoding="utf-8")


def test_a_roster_of_ones_own_serves_both(tmp_path):
    tables = exported(tmp_path, OWN, ["solution one", "43"])
    assert tables["canvas.csv"][2] == ["Ada Lovelace", "", "0042", "ada@example.org", "", "80"]
    assert tables["moodle.csv"][2][:4] == ["43", "emmy@example.org", "Emmy Noether", "80"]


def test_a_name_that_tells_nobody_or_two_is_left_alone(tmp_path):
    class_list = roster(tmp_path, OWN)
    found = class_list.assign(["EMMY", "x/43/ps1", "0042_43", "someone", "4"])
    assert {name: person.id for name, person in found.items()} == {"EMMY": "43", "x/43/ps1": "43"}


@pytest.mark.parametrize(
    "text, says",
    [
        ("a,b\n1,2\n", "is no roster: it needs the columns name and id"),
        ("name,id\nA,1\nB,1\n", "has the student '1' twice"),
        ("name,id,submitted\nA,1,soon\n", "'soon' is no time"),
        ("name,id,submission\nA,1,x\nB,2,x.ipynb\n", "gives the submission 'x' to two students"),
        ("id;name\n5\n5\n", "'5' twice"),  # short rows
        ("", "is no roster"),
    ],
)
def test_a_broken_roster_is_one_sentence(tmp_path, text, says):
    with pytest.raises(BadInputError, match=says):
        roster(tmp_path, text)


def test_ids_stand_in_the_table_of_grades(tmp_path):
    class_list = roster(tmp_path, OWN)
    people = class_list.assign(["43", "?"])
    rows = grades_table([marked("43", people["43"]), marked("?")], STEPS).rows
    assert rows[0][:4] == ["submission", "id", "name", "status"]
    assert rows[1][:3] == ["43", "43", "Emmy Noether"] and rows[2][:3] == ["?", "", ""]
    assert rows[1][-1] == "80"


def test_each_day_that_has_begun_costs_its_share(tmp_path):
    due = read_time("2027-03-01 23:59", "")
    policy = LatePolicy(due, 10)
    days = [(-1, 0), (0, 0), (0.001, 1), (1, 1), (1.001, 2), (30, 30)]
    for later, expected in days:
        submitted = due + timedelta(days=later)
        assert policy.days_late(submitted) == expected
        assert policy.reduction(80, submitted) == min(80, 8 * expected)
    assert policy.reduction(80, None) == 0
    person = roster(tmp_path, MOODLE).people[0]  # ten hours late
    late = marked("a", person, policy)
    assert late.total == 72 and late.status == "days late: 1"
    assert grades_table([late], STEPS).rows[1][-2:] == ["-8", "72"]


# --- Rosters of which somebody wants late days ---

CANVAS_WITH_OWN = """\
Student,ID,SIS User ID,SIS Login ID,Section,Submission,ps1 (4712),Notes,Final Score,Submitted,tutor
Points Possible,,,,,,100,,(read only),,
"Lovelace, Ada",101,S1,ada,A,solution.ipynb,,,90,2027-03-02 10:15,Eve
"Noether, Emmy",102,S2,emmy,A,,,,80,,Eve
"""
DUE = read_time("2027-03-01 23:59", "")


def test_own_columns_count_in_the_table_of_a_system(tmp_path):
    """Seen to fail: they were ignored, and late days with them."""
    class_list = roster(tmp_path, CANVAS_WITH_OWN)
    found = class_list.assign(["solution", "emmy"])
    assert found["solution"].name == "Lovelace, Ada" and found["solution"].section == "A"
    late = marked("solution", found["solution"], LatePolicy(DUE, 10))
    assert late.days_late == 1 and late.total == 72
    assert class_list.unused == ["tutor"]
    moodle = MOODLE.replace("Identifier,", "login,tutor,Identifier,").replace("10:15 AM", "8:00 AM")
    moodle = moodle.replace('"Participant 700', 'a,b,"Participant 700').replace(
        "\na,b", "\nada,Eve"
    )
    assert roster(tmp_path, moodle).people[0].login == "ada"
    assert roster(tmp_path, moodle).unused == ["tutor"]
    assert roster(tmp_path, OWN.replace("email", "e-mail")).unused == ["e-mail"]


@pytest.mark.parametrize("text", [CANVAS, LAST_AND_FIRST, MOODLE, NEWER_MOODLE, OWN])
def test_no_column_of_a_system_is_called_unused(tmp_path, text):
    assert roster(tmp_path, text).unused == []


@pytest.mark.parametrize(
    "text, advice",
    [(CANVAS, "leave DUE out and let Canvas count them"), ("name,id\nA,1\n", "`submitted`")],
)
def test_late_days_without_any_time_are_refused_before_anything_is_done(tmp_path, text, advice):
    """Seen to fail: DUE was accepted, and nobody was late."""
    path = tmp_path / "roster.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match="does not say when anything was handed in") as error:
        read_roster(path, LatePolicy(DUE, 10))
    assert advice in str(error.value) and "\n" not in str(error.value)
    assert read_roster(path, None) and read_roster(None, None) is None


def test_a_submission_without_a_time_is_named(tmp_path):
    people = roster(tmp_path, OWN).assign(["solution one", "43"])
    on_time = marked("solution one", people["solution one"], LatePolicy(DUE, 10))
    unknown = marked("43", people["43"], LatePolicy(DUE, 10))
    assert on_time.status == "days late: 1" and unknown.status == "time of submission unknown"
    assert marked("43", people["43"]).status == "graded"


def test_a_day_without_a_time_is_due_at_its_end():
    due = read_due("2027-03-01", "--due")
    assert (due.hour, due.minute) == (23, 59) and read_due("2027-03-01 12:00", "").hour == 12


def test_late_per_cent_without_a_due_date_are_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["folder", "--late-percent", "5"])
    assert "--late-percent needs --due" in capsys.readouterr().err


# --- Names that tell a student, though somebody chose them to tell another ---

WORKSHEET = """\
Identifier,Full name,Email address,Status,Grade
Participant 11,Ann Lee,ann@u.edu,,
Participant 12,Bob Roe,bob@u.edu,,
Participant 13,{},{},,
"""
OF_MOODLE = "{}_{}_assignsubmission_file_/ps1"


@pytest.mark.parametrize(
    "name, address",
    [
        ("Mal", "mal@u.edu"),
        ("Mal", "file@u.edu"),  # a word of every path
        ("ps1", "mal@u.edu"),
        ("Mal", "11@u.edu"),  # the number of another
        ("Ann Lee", "mal@u.edu"),
        ("x_11_assignsubmission_file_", "mal@u.edu"),
    ],
)
def test_what_a_student_may_choose_takes_nobodys_row(tmp_path, name, address):
    """Once the others matched two people, and had no row in the table for Moodle."""
    files = {"11": "Ann Lee", "12": "Bob Roe", "13": name}
    paths = {number: OF_MOODLE.format(full, number) for number, full in files.items()}
    found = roster(tmp_path, WORKSHEET.format(name, address)).assign(list(paths.values()))
    assert {number: found[path].id for number, path in paths.items()} == {
        number: f"Participant {number}" for number in files
    }


def test_in_names_of_moodle_the_senders_own_words_do_not_count(tmp_path):
    class_list = roster(tmp_path, WORKSHEET.format("Mal", "mal@u.edu"))
    flat = "Mal_13_assignsubmission_file_x_11_assignsubmission_file_y"
    beside = "Bob Roe_12_assignsubmission_file_/11"
    found = class_list.assign([flat, beside])
    assert (found[flat].id, found[beside].id) == ("Participant 13", "Participant 12")


OWN_CLASS = (
    "name,id,email\nAnn Lee,s11,ann@u.edu\nMal,s13,mal@u.edu\nBob Roe,s12,file@u.edu\nEve,13,\n"
)


@pytest.mark.parametrize(
    "files, owners, disputed",
    [
        # The system's fields tell: another's number in a file's own name takes nothing.
        (["leeann_501_1_x", "mal_503_3_s11"], ["s11", "s13"], []),
        # So does what a sender puts into a folder of their own.
        (["mal_503_3_x/leeann_501_1_z", "ps1_2027_1_all/leeann_501_1_x"], ["s13", "s11"], []),
        # Own words yield to a file that tells its student by what the system wrote.
        (["leeann_501_1_s11", "malx_503_3_s11"], ["s11", None], []),
        # Words alone: an honest name serves, two senders for one student are not chosen among.
        (["leean_501_1_s11"], ["s11"], []),
        (["leean_501_1_s11", "leean_501_2_s11-1"], ["s11", None], []),
        (["leean_501_1_s11", "malx_503_3_s11"], [None, None], ["s11"]),
        (["leeann_501_1_a", "leeann_502_2_b"], [None, None], ["s11"]),
        # The number is another system's: where it is a number of this roster, too, nobody is told.
        (["leeann_13_1_ps1"], [None], []),
        # Names that only look like the system's, and those that a person wrote.
        (["ann_2027_1_ps1", "mal_2027_1_ps1"], ["s11", "s13"], []),
        (["s11_ps1", "file_s13", "s12_file", "Ann Lee"], ["s11", "s13", "s12", "s11"], []),
        (["a_file", "b_file", "c_file", "s11_file", "mal_file"], [*[None] * 3, "s11", "s13"], []),
        (["file_1", "s11", "s13", "mal_1", "ann_1"], ["s12", "s11", "s13", "s13", "s11"], []),
    ],
)
def test_whose_file_it_is(tmp_path, files, owners, disputed):
    class_list = roster(tmp_path, OWN_CLASS)
    found = class_list.assign(files)
    assert [found[file].id if file in found else None for file in files] == owners
    assert [person.id for person, _ in class_list.disputed] == disputed


def test_the_roster_settles_a_dispute(tmp_path):
    text = OWN_CLASS.replace("\n", ",\n").replace("email,", "email,submission")
    files = ["leean_501_1_s11", "malx_503_3_s11"]
    class_list = roster(tmp_path, text.replace("ann@u.edu,", f"ann@u.edu,{files[0]}"))
    assert {name: person.id for name, person in class_list.assign(files).items()} == {
        files[0]: "s11"
    }
    assert class_list.disputed == []


# --- Several files of one student ---


def counting(place: Path, text: str, files: dict[str, str]) -> dict[str, str]:
    """Which file does not count, and which one counts in its place, by their reasons of refusal."""
    records = [Record(name, refused, [], [], [], 1.0) for name, refused in files.items()]
    return not_counted(records, roster(place, text).assign(list(files)))


def test_of_several_files_of_a_student_the_last_by_name_counts(tmp_path):
    later = {"ada_101_5_ps1-10": "", "ada_101_5_ps1-2": "", "ada_101_5_ps1": "", "emmy": ""}
    assert counting(tmp_path, CANVAS, later) == {
        "ada_101_5_ps1-2": "ada_101_5_ps1-10",
        "ada_101_5_ps1": "ada_101_5_ps1-10",
    }
    broken = {"x/43/ps1": "", "x/43/ps2": "a notebook of ps2, not ps1", "nobody": "", "no": ""}
    assert counting(tmp_path, OWN, broken) == {"x/43/ps2": "x/43/ps1"}
    assert counting(tmp_path, OWN, {"43/a": "unreadable", "43/b": "unreadable"}) == {"43/a": "43/b"}
    assert len(counting(tmp_path, OWN, {"43_²": "", "43_2": "", "43_" + "9" * 200: ""})) == 2


def test_the_file_that_the_roster_names_counts(tmp_path):
    files = {"solution one": "", "0042_ps1": "", "0042_ps2": "broken"}
    assert set(counting(tmp_path, OWN, files).values()) == {"solution one"}


def test_other_files_are_named_in_the_status():
    one = Marked(marked("a").record, HandGrades({"q2-proof": 1}), None, None, ["b", "c\t"])
    assert one.status == "other files, not counted: b, c\\t"


def test_times_have_zones():
    assert read_time("2027-03-01T12:00+02:00", "") == read_time("2027-03-01T10:00+00:00", "")
    assert isinstance(read_time("Tuesday, 2 March 2027, 10:15 AM", ""), datetime)


LONG = """\
def budget(P, R):
    low, high = np.zeros(len(P)), np.full(len(P), R)
    for _ in range(60):
        middle = (low + high) / 2
        value = np.clip(np.log(P) + middle, 0.0, R)
        top = value.max(axis=0)
        rising = top + np.log(np.exp(value - top).sum(axis=0)) > middle
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.clip(np.log(P) + (low + high) / 2, 0.0, R)
"""
RENAMED = LONG.replace("low", "a").replace("high", "b").replace("middle", "m") + "# mine\n"
OTHER = """\
def budget(P, R):
    from scipy.optimize import brentq
    columns = []
    for p in P.T:
        def f(s):
            ell = [min(max(np.log(x) + s, 0), R) for x in p]
            return np.logaddexp.reduce(ell) - s
        root = brentq(f, 0, R + np.log(len(p)))
        columns.append([min(max(np.log(x) + root, 0), R) for x in p])
    return np.array(columns).T
"""


def test_a_renamed_copy_is_a_hint_and_another_solution_is_not():
    class_of = {"one": LONG, "two": RENAMED, "three": OTHER}
    records = [marked(name, code=text).record for name, text in class_of.items()]
    for record in records:  # proofs are short here, and no hint
        record.parts = [part for part in record.parts if part.kind is Kind.ANSWER]
    pairs = find_alike(records)
    assert [(pair.first, pair.second) for pair in pairs] == [("one", "two")]


ODD_CODE = {
    "signs": "total = " + "-" * 100_000 + "1",
    "brackets": "total = " + "(" * 5000 + "1" + ")" * 5000,
    "a long number": "total = 0x" + "f" * 10_000,
    "many numbers": "total = [" + "1, " * 10**6 + "]",
}


@pytest.mark.parametrize("source", ODD_CODE.values(), ids=list(ODD_CODE))
def test_code_that_no_parser_reads_stops_nothing(source):
    """It is looked at in the process that writes the results of the whole class.

    Mutation seen to fail: only SyntaxError, ValueError and RecursionError are expected.
    """
    assert find_alike([marked("one", code=source).record, marked("two", code="").record]) == []
    step = Step("code", Kind.ANSWER, "", "total = 1", 0)
    answers = Answers({"code": [source]}, {}, [], [])
    assert find_helpers([step], answers, str) == {"code": []}


def test_code_that_ipython_reads_for_hours_is_refused_in_time():
    """Once there was no limit on this time but that of the batch, after which nothing was known."""
    reported = []
    steps = [Step("code", Kind.ANSWER, "", "total = 1", 0)]
    answers = Answers({"code": ["%time x = 1\n" * 4000]}, {}, [], [])
    student = SimpleNamespace(limits=Limits(1, 1, 1))
    Marking(reported.append, lambda: None, steps, student).mark(answers, [])
    assert reported == [Refused("its code takes longer than 1 s to read")]

    def too_many(source: str) -> str:  # as IPython says it
        raise RuntimeError("Input transformation still changing after 500 iterations. Aborting.")

    assert find_helpers(steps, answers, too_many) == {"code": []}


def test_an_alarm_that_nobody_received_rings_again():
    """The collector of garbage drops what its callbacks raise; once the limit was gone with it."""
    dropped = []

    def swallow(phase: str, info: dict[str, int]) -> None:
        try:
            end = time.monotonic() + 0.5
            while not dropped and time.monotonic() < end:
                pass
        except StoppedError as stop:
            dropped.append(stop)

    gc.callbacks.append(swallow)
    try:
        with pytest.raises(StoppedError, match="too long"), stopped_after(0.1, "too long"):
            gc.collect()
            end = time.monotonic() + 10
            while time.monotonic() < end:
                pass
    finally:
        gc.callbacks.remove(swallow)
    assert dropped


@pytest.mark.parametrize(
    "waiting, starved",
    [
        pytest.param(0.9, True, id="others took the processor"),
        pytest.param(0.0, False, id="it sleeps or loops"),
        pytest.param(None, True, id="nobody counts waiting"),
    ],
)
def test_a_submission_from_which_others_took_the_processor_is_told_from_one_that_sleeps(
    waiting, starved
):
    """Once whatever slept tried again alone, and cost a class a minute for each."""
    start = time.monotonic()

    class Worker:
        limits = Limits(0.2, 100, 2000)

        @property
        def time(self) -> ProcessorTime:
            share = time.monotonic() - start
            return ProcessorTime(0.0, None if waiting is None else waiting * share)

    marker = Marker(Worker(), {}, {}, None, with_hidden_tests=False)
    with (
        pytest.raises(OutOfTimeError, match=r"longer than 0\.2 s for the cell"),
        marker.time_limit(),
    ):
        time.sleep(10)
    assert marker.was_starved is starved


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux counts waiting")
def test_waiting_for_a_processor_is_counted():
    """Two processes that loop on one processor wait half of the time; one that sleeps does not."""
    processor = min(os.sched_getaffinity(0))
    busy = f"import os; os.sched_setaffinity(0, [{processor}])\nprint(flush=True)\n"
    codes = [busy + "while True: pass"] * 2 + [busy + "import time; time.sleep(60)"]
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=-1) for code in codes]
    try:
        for process in started:
            process.stdout.readline()
        family = [psutil.Process(process.pid) for process in started]
        before = [processor_time([member]) for member in family]
        start = time.monotonic()
        while processor_time(family[:2]).work < sum(b.work for b in before[:2]) + 1:
            time.sleep(0.05)
        elapsed = time.monotonic() - start
        loops, _, sleeps = (
            processor_time([member]).waiting_since(earlier, elapsed) / elapsed
            for member, earlier in zip(family, before, strict=True)
        )
        assert loops > 0.25
        assert sleeps < 0.1
    finally:
        for process in started:
            process.kill()
            process.communicate()


class Groups:
    """Stands for control groups; the watch, in its own thread, comes late to leave its group."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.left: list[str] = []
        self.restarted = threading.Event()

    def enter(self, name: str, mebibytes: int) -> list[str]:
        self.entered.append(name)
        return []

    def ran_out(self, name: str) -> bool:
        if threading.current_thread() is not threading.main_thread():
            assert self.restarted.wait(20)
        return False

    def leave(self, name: str) -> None:
        self.left.append(name)


def test_the_watch_of_a_process_leaves_the_group_of_the_next_alone(tmp_path, monkeypatch):
    """Once it removed the new group, often before the new process was in it."""
    groups = Groups()
    student = Student(Sandbox((), "", groups), Limits(20, 20, 2000), str(tmp_path))
    takes = []
    monkeypatch.setattr(
        "teaching.grader.student._memory_bytes",
        lambda family: 2**40 if family and family[0].pid in takes else 0,
    )
    student.start()
    takes.append(student.process.pid)
    assert student.process.wait(20)
    student.kill()
    student.start()
    groups.restarted.set()
    try:
        end = time.monotonic() + 20
        while len(groups.left) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert groups.left == [groups.entered[0]] * 2 and len(set(groups.entered)) == 2
        assert student.is_alive()
    finally:
        student.kill()


def test_what_many_gave_and_what_is_short_is_no_hint():
    many = [marked(f"s{i}", code=LONG).record for i in range(8)]
    assert find_alike(many) == []
    short = [marked(name, code="def f(x):\n    return x + 1\n").record for name in "ab"]
    assert find_alike(short) == []
