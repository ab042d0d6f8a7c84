"""The options of the grader, and what happens in which order."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from teaching.grader.attempts import not_counted
from teaching.grader.batch import Batch
from teaching.grader.errors import BadInputError
from teaching.grader.hand_grades import Sheet
from teaching.grader.late import LatePolicy, read_due
from teaching.grader.left_over import LeftOver, clear_left_over
from teaching.grader.master import Choice, read_chosen_master
from teaching.grader.notebook import LARGEST_FILE_BYTES
from teaching.grader.pages import Pages
from teaching.grader.plan import libraries_of, make_plan
from teaching.grader.records import Record, write
from teaching.grader.results import Marked, export_to_systems, write_grades
from teaching.grader.roster import Form, Roster
from teaching.grader.sandbox import Sandbox, open_sandbox
from teaching.grader.self_check import require_right_marks, write_self_checks
from teaching.grader.similarity import find_alike
from teaching.grader.student import Limits
from teaching.grader.submissions import Folder, find_submissions, in_table, printable
from teaching.paths import DIST, ROOT

FINISHED = 0
SOME_NOT_GRADED = 1
BAD_INPUT = 2
INTERRUPTED = 130

LATE_PERCENT = 10.0

EPILOG = """\
Points for derivations are read from OUT/hand_grades.csv, to which this command only adds rows and
the versions of proofs; all else in OUT is written anew.

Exit status: 0 all graded; 1 finished, but some files could not be graded; 2 nothing to grade, no
master, a broken environment, or a mistake in a table; 130 interrupted (the same command goes on).
"""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    submissions: str
    chosen: Choice
    master: Path | None
    out: Path | None
    jobs: int
    limits: Limits
    sandbox: bool
    roster: Path | None
    late: LatePolicy | None


def parse(arguments: list[str] | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m teaching.grader",
        description="Grade a folder of notebooks, one per student.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("submissions", help="folder with one notebook per student")
    add("--set", help="number of the problem set (else asked of the notebooks)")
    add("--seed", type=int, help="the cohort's seed (else asked of the notebooks)")
    add("--master", type=Path, help="an instructor's notebook, instead of both")
    add("--out", type=Path, help="folder for the results (dist/grades/SEED/psN)")
    add("--roster", type=Path, help="table of names and numbers: your own, Canvas's or Moodle's")
    add("--due", help="when the set was due, such as '2027-03-01 23:59'; needs --roster")
    add("--late-percent", type=float, help=f"cost of a day that has begun ({LATE_PERCENT})")
    add("--jobs", type=int, default=_cores(), help="at a time (%(default)s)")
    add("--cell-seconds", type=float, default=60, help="(%(default)s)")
    add("--notebook-seconds", type=float, default=300, help="(%(default)s)")
    add("--memory", type=int, default=2048, help="MiB a submission (%(default)s)")
    add("--no-sandbox", action="store_true", help="limits alone, no bubblewrap")
    options = parser.parse_args(arguments)
    limits = Limits(options.cell_seconds, options.notebook_seconds, options.memory)
    if min(options.jobs, *asdict(limits).values()) <= 0:
        parser.error("jobs, seconds and memory must be positive")
    late = _late_policy(parser, options)
    name = f"ps{options.set.removeprefix('ps')}" if options.set else None
    seed = None if options.seed is None else str(options.seed)
    return Options(
        submissions=options.submissions,
        chosen=Choice(name, seed),
        master=options.master,
        out=options.out,
        jobs=options.jobs,
        limits=limits,
        sandbox=not options.no_sandbox,
        roster=options.roster,
        late=late,
    )


def _late_policy(parser: argparse.ArgumentParser, options: argparse.Namespace) -> LatePolicy | None:
    if options.late_percent is not None and not options.due:
        parser.error("--late-percent needs --due: when was the set due?")
    if not options.due:
        return None
    if not options.roster:
        parser.error("--due needs --roster: it says when a submission was handed in")
    percent = LATE_PERCENT if options.late_percent is None else options.late_percent
    if not 0 <= percent <= 100:
        parser.error("--late-percent is a number from 0 to 100")
    return LatePolicy(read_due(options.due, "--due"), percent)


def read_roster(path: Path | None, late: LatePolicy | None) -> Roster | None:
    """Read the roster; BadInputError where late days are to be counted and it has no times."""
    if path is None:
        return None
    roster = Roster(path)
    if late is not None and not roster.has_times:
        elsewhere = (
            ""
            if roster.form is Form.OWN
            else f", or leave DUE out and let {roster.form.value} count them"
        )
        raise BadInputError(
            f"{path} does not say when anything was handed in, so no late days can be counted: add "
            f"a column `submitted` with times such as 2027-03-01 23:59{elsewhere}"
        )
    return roster


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def record_key(name: str, path: Path, master: Path, limits: Limits, is_closed: bool) -> str:
    """Return what a record depends on, as one hash: a change in any of it means grading anew."""
    code = [*ROOT.glob("ntp_lite/**/*.py"), *ROOT.glob("teaching/**/*.py")]
    parts = [name.encode(errors="surrogateescape"), repr(limits).encode(), repr(is_closed).encode()]
    parts += [_content(file) for file in (path, master, *sorted(code))]
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(digests).hexdigest()[:32]


def _content(path: Path) -> bytes:
    """Return a file's content; for one that is not graded anyway, a word in its place."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE_BYTES:
            return b"no file, or too large"
        return path.read_bytes()
    except OSError as error:
        return repr(error.errno).encode()


class Run:
    """One run of the grader over a folder."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.folder: Folder = find_submissions(options.submissions)
        paths = list(self.folder.notebooks.values())
        self.master_path, self.master = read_chosen_master(options.master, options.chosen, paths)
        self.assignment = self.master.assignment or self.master_path.stem
        seed = self.master.seed or "unknown"
        self.title = f"{self.assignment}, cohort {seed}"
        self.out = options.out or DIST / "grades" / seed / self.assignment
        self.roster = read_roster(options.roster, options.late)
        # A mistake in it is said before anything is done.
        self.sheet = Sheet(self.out / "hand_grades.csv", make_plan(self.master))
        self.sandbox: Sandbox = open_sandbox(
            self._secret_folders(), libraries_of(self.master), options.sandbox
        )
        self.batch = Batch(self.master, self.sandbox, options.limits, options.jobs)
        self.done: dict[str, Record] = {}
        self.not_counted: dict[str, str] = {}  # files of students who handed in another one
        self.left_over = LeftOver()

    def _secret_folders(self) -> list[Path]:
        places = [ROOT, self.master_path.parent, Path(self.options.submissions), self.out]
        return [place.resolve() for place in places]

    def _record_path(self, name: str, path: Path) -> Path:
        limits, is_closed = self.options.limits, self.sandbox.is_closed
        key = record_key(name, path, self.master_path, limits, is_closed)
        return self.out / "records" / f"{key}.json"

    def check_itself(self) -> None:
        """Grade the master, an untouched and an empty notebook; stop where a mark is wrong."""
        with tempfile.TemporaryDirectory() as scratch:
            paths = write_self_checks(self.master, Path(scratch))
            done = self.out / "records" / "self-check"
            key = self._record_path("self-check", self.master_path).stem
            if done.is_file() and done.read_text() == key:
                return
            records: list[Record] = []
            self.batch.mark_all(paths, 0, records.append, "checking the grader itself")
            require_right_marks(records)
            write(done, key)

    def grade(self) -> set[str]:
        """Grade what is not graded yet; return the names of those graded in an earlier run."""
        notebooks = self.folder.notebooks
        places = {name: self._record_path(name, path) for name, path in notebooks.items()}
        self.done = {
            name: Record.from_json(place.read_text())
            for name, place in places.items()
            if place.is_file()
        }
        resumed = {name for name, record in self.done.items() if not record.refused}
        todo = {name: path for name, path in notebooks.items() if name not in self.done}

        def keep(record: Record) -> None:
            self.done[record.name] = record
            write(places[record.name], record.to_json())

        self.batch.mark_all(todo, len(self.done), keep, "grading")
        return resumed

    def write_results(self) -> list[Marked]:
        """Write all tables and pages."""
        everything = [self.done[name] for name in self.folder.notebooks]
        people = self.roster.assign(list(self.folder.notebooks)) if self.roster else {}
        self.not_counted = not_counted(everything, people)
        records = [record for record in everything if record.name not in self.not_counted]
        marked = [
            Marked(
                r,
                self.sheet.grades_of(r.name),
                people.get(r.name),
                self.options.late,
                [other for other, counts in self.not_counted.items() if counts == r.name],
            )
            for r in records
        ]
        self.sheet.update(records)
        written = [write_grades(self.out, marked, self.batch.steps)]
        if self.roster:
            most = sum(step.points for step in self.batch.steps)
            written += export_to_systems(self.roster, self.out, self.assignment, most, marked)
        pages = Pages(self.out, self.title, self.batch.steps)
        pages.write_feedback(marked)
        pages.write_marking(marked, self.sheet)
        pages.write_summary(marked, find_alike(records), self.sandbox.description)
        self.left_over = clear_left_over(self.out, written + pages.written)
        return marked

    def last_words(self, marked: list[Marked], resumed: set[str]) -> list[str]:
        """Return what to say at the end."""
        refused = [m for m in marked if m.record.refused]
        said = [f"  not graded: {m.name}: {m.record.refused}" for m in refused]
        out = self.out.resolve()
        skipped = [p for p in self.folder.skipped if not p.resolve().is_relative_to(out)]
        if skipped:
            names = ", ".join(printable(str(path)) for path in skipped)
            said.append(f"not a notebook, skipped: {names}")
        if lost := self.sheet.grades.keys() - {in_table(m.record.name) for m in marked}:
            what = "no submission that counts" if self.not_counted else "no submission"
            said.append(f"in {self.sheet.path.name}, but {what}: {', '.join(sorted(lost))}")
        if changed := [m.name for m in marked if m.changed]:
            said.append(f"changed since it was marked by hand: {', '.join(changed)}")
        said += self.sheet.problems
        said += self._about_roster(marked)
        said += self._about_left_over()
        said.append(
            f"Results: {self.out}/grades.csv, summary.html, marking.html and feedback/; enter what "
            f"you grade by hand in marking.html or {self.sheet.path.name} and run this again."
        )
        again = len(resumed & {m.record.name for m in marked})
        before = f" ({again} of them in an earlier run)" if again else ""
        names = "; not graded: " + ", ".join(m.name for m in refused) if refused else ""
        graded = len(marked) - len(refused)
        said.append(f"Finished. {graded} of {len(marked)} submissions graded{before}{names}.")
        return said

    def _about_roster(self, marked: list[Marked]) -> list[str]:
        if self.roster is None:
            return []
        said = []
        most = sum(step.points for step in self.batch.steps)
        if other := self.roster.other_maximum(most):
            said.append(
                f"the maximum grade of {self.roster.path.name} is {other}, this set has {most:g} "
                "points: make them equal in Moodle before you upload moodle.csv"
            )
        if unused := self.roster.unused:
            said.append(f"columns of {self.roster.path.name} that are not used: {_listed(unused)}")
        if lost := set(self.roster.named_files) - set(self.folder.notebooks):
            names = _listed(sorted(lost))
            said.append(f"named in {self.roster.path.name}, but no submission: {names}")
        if unknown := [m.name for m in marked if m.has_no_time]:
            said.append(f"no late days counted, because no time is known: {', '.join(unknown)}")
        if nobody := [m.name for m in marked if m.person is None]:
            said.append(f"in no row of {self.roster.path.name}: {', '.join(nobody)}")
        for person, files in self.roster.disputed:
            said.append(
                f"files of different senders for {printable(person.name or person.id)}, none "
                f"counts: {_listed(files)}; name the right one in the column `submission` of "
                f"{self.roster.path.name}"
            )
        handed_in = {m.person.id for m in marked if m.person}
        handed_in |= {person.id for person, _ in self.roster.disputed}
        if absent := [p.name for p in self.roster.people if p.id not in handed_in]:
            said.append(f"handed in nothing: {', '.join(map(printable, absent))}")
        for other, counts in self.not_counted.items():
            said.append(f"not counted: {printable(other)}, because {printable(counts)} counts")
        return said

    def _about_left_over(self) -> list[str]:
        said = []
        if removed := self.left_over.removed:
            said.append(f"removed, because an earlier run wrote it: {_listed(removed)}")
        if kept := self.left_over.kept:
            said.append(f"not written by this run, look before you send it: {_listed(kept)}")
        return said


def _listed(names: list[str]) -> str:
    return ", ".join(map(printable, names))


def main(arguments: list[str] | None = None) -> int:
    """Grade and return the exit status."""
    run = Run(parse(arguments))
    print(f"Submissions run {run.sandbox.description}", file=sys.stderr)
    if not os.getuid():
        print("You are root: it is better to grade as an ordinary user.", file=sys.stderr)
    try:
        run.check_itself()
        resumed = run.grade()
    except KeyboardInterrupt:
        print(
            f"\nInterrupted: {len(run.done)} of {len(run.folder.notebooks)} submissions are graded "
            "and kept; the same command goes on from here.",
            file=sys.stderr,
        )
        return INTERRUPTED
    marked = run.write_results()
    words = run.last_words(marked, resumed)
    print("\n".join(words).encode(errors="replace").decode())
    return SOME_NOT_GRADED if any(m.record.refused for m in marked) else FINISHED
