"""Mark one submission: the master's cells and the tests here, the student's in a sandbox.

The process that runs this never runs a line of the submission: it sends the given cells and the
student's answers to a second process (teaching/inside), fetches the names that the master's answer
cells bind, and runs the tests on them.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from teaching.cells import hidden_lines, without_hidden_tests
from teaching.grader.errors import NotGradedError
from teaching.grader.explain import ALL_IS_WELL, Explainer, Explanation
from teaching.grader.helpers import Helper, find_helpers, helper_sources
from teaching.grader.notebook import Notebook, read_notebook
from teaching.grader.plan import (
    UNREADABLE_CODE,
    Answers,
    Kind,
    Step,
    find_answers,
    make_plan,
    names_in,
)
from teaching.grader.sandbox import Sandbox
from teaching.grader.student import Limits, StartError, Student
from teaching.inside.errors import StoppedError
from teaching.inside.limits import limit, silence
from teaching.inside.shell import execute, new_shell

# --- What the marking process reports ---


@dataclass(frozen=True)
class Refused:
    """The file is no submission to this problem set."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The submission could not be marked, through no fault of its author."""

    reason: str


@dataclass(frozen=True)
class Found:
    """What stands in the notebook."""

    answers: Answers
    notes: list[str]


@dataclass(frozen=True)
class Result:
    """What came of one step: an empty message where all is well."""

    step: str
    message: str


Reported = Refused | Failed | Found | Result


# --- One submission ---

_RINGS_AGAIN_SECONDS = 1.0


@contextmanager
def stopped_after(seconds: float, message: str) -> Iterator[None]:
    """Raise StoppedError with the message when so many seconds are over.

    Python drops what is raised where nobody can receive it, as in a callback of the collector of
    garbage. So the alarm rings again until it was heard.
    """

    def ring(number: int | None = None, frame: FrameType | None = None) -> None:
        raise StoppedError(message)

    if seconds <= 0:
        ring()
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, _RINGS_AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@dataclass(frozen=True)
class Executed:
    """A cell that was run in the student's process; it is repeated in a fresh one."""

    id: str
    source: str
    names: list[str]  # to fetch afterwards
    helpers: list[Helper]


class Marker:
    """Runs the master's cells here, the student's there, and marks the tests.

    A rehearsal leaves hidden tests out: what is said in it gives nothing of them away.
    """

    def __init__(
        self,
        student: Student,
        answers: dict[str, str],
        helpers: dict[str, list[Helper]],
        explainer: Explainer,
        is_rehearsal: bool = False,
    ) -> None:
        self.student = student
        self.limits = student.limits
        self.answers = answers
        self.helpers = helpers
        self.explainer = explainer
        self.is_rehearsal = is_rehearsal
        self.shell = new_shell()
        self.shell.reset(new_session=False)
        self.shell.user_ns["__name__"] = "__main__"
        self.namespace: dict[str, Any] = self.shell.user_ns
        self.shared: dict[str, Any] = {}  # what the given cells define on both sides
        self.executed: list[Executed] = []
        self.hidden_tests_ran = False
        self.start_time = time.monotonic()

    @contextmanager
    def time_limit(self, for_cell: bool = True) -> Iterator[None]:
        """Raise StoppedError when the time for a cell or for the notebook is over."""
        seconds = self.start_time + self.limits.notebook_seconds - time.monotonic()
        allowed, what = self.limits.notebook_seconds, "notebook"
        if for_cell and self.limits.cell_seconds < seconds:
            seconds = self.limits.cell_seconds
            allowed, what = self.limits.cell_seconds, "cell"

        with stopped_after(seconds, f"took longer than {allowed:g} s for the {what}"):
            yield

    def run(self, step: Step) -> Explanation:
        """Do one step and explain what went wrong."""
        if step.kind is Kind.DERIVATION:
            return ALL_IS_WELL
        try:
            self.have_student()
            if step.kind is Kind.TEST:
                return self.test(step)
            if step.kind is Kind.GIVEN:
                return self.run_given(step)
            return self.run_answer(step)
        except StoppedError as stop:
            self.student.kill()
            told = f"Stopped: {self.student.reason_to_stop or stop}."
            return Explanation(told, told)

    def have_student(self) -> None:
        """See that there is a student's process; after an end, repeat what did not end it."""
        while not self.student.is_alive():
            with self.time_limit(for_cell=False):
                self.student.start()
            for cell in list(self.executed):
                try:
                    self.run_there(cell)
                except StoppedError:
                    self.student.kill()
                    self.executed.remove(cell)
                    break

    def run_there(self, cell: Executed) -> Explanation:
        """Run a cell in the student's process and fetch the names that the tests will use."""
        channel = self.student.channel
        channel.shared = self.shared
        problem = ALL_IS_WELL
        with self.time_limit():
            for source in helper_sources(cell.helpers):
                said = self.attempt(channel.ask, "run", cell.id, source)
                problem = problem if problem.safe else said
            said = self.attempt(channel.ask, "run", cell.id, cell.source)
            problem = said if said.safe else problem
            for name in cell.names:
                self.namespace.pop(name, None)
                unreadable = self.attempt(self.fetch, name)
                if unreadable.safe and not problem.safe:
                    begin = f"`{name}` cannot be read: "
                    problem = Explanation(begin + unreadable.full, begin + unreadable.safe)
        return problem

    def attempt(self, action: Callable[..., Any], *arguments: Any) -> Explanation:
        """Do it and explain the error, if there is one."""
        try:
            action(*arguments)
        except Exception as error:
            return self.explainer.explain(error)
        return ALL_IS_WELL

    def fetch(self, name: str) -> None:
        """Fetch a value; a name that is not defined stays undefined."""
        try:
            self.namespace[name] = self.student.channel.ask("get", name)
        except NameError:
            return

    def run_given(self, step: Step) -> Explanation:
        """Run a given cell on both sides; it may fail where it builds on a wrong answer."""
        problem = ALL_IS_WELL
        with self.time_limit():
            try:
                execute(self.shell, step.id, step.source)
            except (Exception, SystemExit) as error:
                problem = self.explainer.explain(error)
        names = names_in(self.shell.transform_cell(step.source)).bound
        fetched = names if step.runs_with_answers else []
        if not step.runs_with_answers:
            self.shared |= {name: self.namespace[name] for name in names if name in self.namespace}
        cell = Executed(step.id, step.source, fetched, [])
        there = self.run_there(cell)
        self.executed.append(cell)
        return there if there.safe else problem

    def run_answer(self, step: Step) -> Explanation:
        """Run the student's answer, after the helpers that it needs."""
        names = names_in(self.shell.transform_cell(step.source)).bound
        source = self.answers.get(step.id, "")
        cell = Executed(step.id, source, names, self.helpers.get(step.id, []))
        problem = self.run_there(cell)
        self.executed.append(cell)
        return problem

    def test(self, step: Step) -> Explanation:
        """Run a test cell; only one that runs to its end earns its points."""
        source = without_hidden_tests(step.source) if self.is_rehearsal else step.source
        self.explainer.tests[step.id] = self.shell.transform_cell(source)
        try:
            with self.time_limit():
                execute(self.shell, step.id, source)
        except (Exception, SystemExit) as error:
            explained = self.explainer.explain(error)
            return explained if explained.safe else Explanation(*["The test failed."] * 2)
        finally:
            self.hidden_tests_ran |= bool(hidden_lines(source))
        return ALL_IS_WELL


class Marking:
    """One submission, from its file to the report."""

    def __init__(
        self, report: Callable[[Reported], None], steps: list[Step], student: Student
    ) -> None:
        self.report = report
        self.steps = steps
        self.student = student

    def mark(self, answers: Answers, notes: list[str]) -> None:
        """Mark all steps; then rehearse, where messages had to be withheld."""
        allowed = self.student.limits.cell_seconds
        try:
            with stopped_after(allowed, f"its code takes longer than {allowed:g} s to read"):
                helpers, left, own_names = _look_at_code(self.steps, answers)
        except StoppedError as stop:
            self.report(Refused(str(stop)))
            return
        run = {helper.source for group in helpers.values() for helper in group}
        notes = notes + _notes_on_own_cells(len(run), len(left))
        self.report(Found(answers, notes))
        sources = {name: "\n\n".join(parts) for name, parts in answers.sources.items()}
        explainer = Explainer(own_names)
        explainer.answer_lines = {name: text.count("\n") + 1 for name, text in sources.items()}
        marker = Marker(self.student, sources, helpers, explainer)
        withheld = []
        stopped = set()
        for step in self.steps:
            explanation = marker.run(step)
            message = explanation.full
            if explanation.full != explanation.safe and marker.hidden_tests_ran:
                withheld.append(step.id)
                message = explanation.safe
            if message.startswith("Stopped"):
                stopped.add(step.id)
            self.report(Result(step.id, _with_remark(message, answers, step)))
        if withheld:
            self.rehearse(sources, helpers, explainer, withheld, stopped, answers)

    def rehearse(
        self,
        sources: dict[str, str],
        helpers: dict[str, list[Helper]],
        explainer: Explainer,
        withheld: list[str],
        stopped: set[str],
        answers: Answers,
    ) -> None:
        """Run everything again in a fresh process, without hidden tests, for its messages."""
        self.student.kill()
        marker = Marker(self.student, sources, helpers, explainer, is_rehearsal=True)
        left = set(withheld)
        for step in self.steps:
            if not left:
                return
            if step.id in stopped:
                continue
            explanation = marker.run(step)
            if step.id in left and explanation.full:
                self.report(Result(step.id, _with_remark(explanation.full, answers, step)))
            left.discard(step.id)


def _look_at_code(
    steps: list[Step], answers: Answers
) -> tuple[dict[str, list[Helper]], list[str], set[str]]:
    """Return the helpers, the cells of a student's own that do not run, and the names in those.

    IPython reads a cell with many magics hundreds of times.
    """
    transform = new_shell().transform_cell
    helpers = find_helpers(steps, answers, transform)
    run = {helper.source for group in helpers.values() for helper in group}
    left = [cell.source for cell in answers.own_code if cell.source not in run]
    return helpers, left, _bound_names(left, transform)


def _bound_names(sources: list[str], transform: Callable[[str], str]) -> set[str]:
    names: set[str] = set()
    for source in sources:
        try:
            names |= set(names_in(transform(source)).bound)
        except UNREADABLE_CODE:
            continue
    return names


def _notes_on_own_cells(run: int, left: int) -> list[str]:
    notes = []
    if run:
        notes.append(f"cells of your own that your answers use, and that were run: {run}")
    if left:
        notes.append(f"code cells of your own that were not run: {left}")
    return notes


def _with_remark(message: str, answers: Answers, step: Step) -> str:
    """Add what there is to say about a cell that is not there exactly once."""
    times = len(answers.sources.get(step.id, [""]))
    if times == 1:
        return message
    remark = "This cell was not found in your notebook."
    if times:
        remark = f"This cell stands {times} times in your notebook; all were taken, in order."
    return f"{message} {remark}".strip()


def mark(pipe: Connection, path: str, master: Notebook, sandbox: Sandbox, limits: Limits) -> None:
    """Grade one submission in a process of its own and send what is found, step by step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends us
    report: Callable[[Reported], None] = pipe.send
    steps = make_plan(master)
    try:
        submission = read_notebook(Path(path))
        answers = find_answers(master, steps, submission)
    except NotGradedError as error:
        report(Refused(str(error)))
        return
    silence()
    # Hostile values come here.
    limit("AS", (2 * limits.memory_mebibytes + 4096) * 2**20)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        os.chdir(scratch)
        os.environ["IPYTHONDIR"] = scratch
        os.mkdir("work")
        student = Student(sandbox, limits, os.path.join(scratch, "work"))

        def end(number: int, frame: FrameType | None) -> None:
            student.kill()
            os._exit(1)

        signal.signal(signal.SIGTERM, end)
        try:
            Marking(report, steps, student).mark(answers, [])
        except StartError as error:
            report(Failed(str(error)))
        finally:
            student.kill()
