"""Mark one submission: the master's cells and the tests here, the student's in a sandbox.

The process that runs this never runs a line of the submission: it sends the given cells and the
student's answers to a second process (teaching/inside), fetches the names that the master's answer
cells bind, and runs the tests on them.

A submission is run twice. The first time hidden tests are left out, and whatever goes wrong is told
in full: nothing hidden is there to be told. Then, where a test with hidden lines has passed so far,
all is run again with them in a fresh process, and of this run nothing but "passed" or "failed" is
told. So no word of a feedback page can depend on hidden data, whatever the submission keeps
and wherever it keeps it: the words are there before the data are.
"""

from __future__ import annotations

import os
import re
import shutil
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

import psutil

from teaching.cells import hidden_lines, without_hidden_tests
from teaching.grader.bounds import OutOfTimeError, stopped_after
from teaching.grader.errors import NotGradedError
from teaching.grader.explain import Explainer
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
from teaching.grader.processors import ProcessorTime, processor_time
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


@dataclass(frozen=True)
class WantsToBeAlone:
    """Others took the processor: it waits for a word, and then tries once more."""


Reported = Refused | Failed | Found | Result | WantsToBeAlone


# --- One submission ---

FAILED_HIDDEN_TEST = (
    "Passes the public tests, but not the hidden ones: on other data your answer is wrong, raises "
    "an error, or takes too much time or memory."
)
# Such as torch.set_default_dtype(torch.float64): it binds no name, so no answer asks for its cell.
_SETTING = re.compile(
    r"^(?P<name>(?:\w{1,40}\.){1,5}(?:seed|manual_seed|set_\w{1,40}|seterr))\(", re.MULTILINE
)
# A submission that waited for a processor for more than this share of its time tries again.
_MOST_WAITING = 0.25


@dataclass(frozen=True)
class Executed:
    """A cell that was run in the student's process; it is repeated in a fresh one."""

    id: str
    source: str
    names: list[str]  # to fetch afterwards
    helpers: list[Helper]


class Marker:
    """Runs the master's cells here, the student's there, and marks the tests."""

    def __init__(
        self,
        student: Student,
        answers: dict[str, str],
        helpers: dict[str, list[Helper]],
        explainer: Explainer,
        with_hidden_tests: bool,
    ) -> None:
        self.student = student
        self.limits = student.limits
        self.answers = answers
        self.helpers = helpers
        self.explainer = explainer
        self.with_hidden_tests = with_hidden_tests
        self.shell = new_shell()
        self.shell.reset(new_session=False)
        self.shell.user_ns["__name__"] = "__main__"
        self.namespace: dict[str, Any] = self.shell.user_ns
        self.shared: dict[str, Any] = {}  # what the given cells define on both sides
        self.executed: list[Executed] = []
        self.stopped: set[str] = set()  # the steps that had to be stopped
        self.was_starved = False  # of processor time, when its time on the wall was over
        self.start_time = time.monotonic()
        self.start_processor_time = self.processor_time()

    def processor_time(self) -> ProcessorTime:
        """Return what this submission has had of processors, and waited for them, on both sides."""
        return processor_time([psutil.Process()]) + self.student.time

    @contextmanager
    def time_limit(self, for_cell: bool = True) -> Iterator[None]:
        """Raise OutOfTimeError when the time for a cell or for the notebook is over."""
        start_time = self.start_time
        start_processor_time = self.start_processor_time
        allowed = self.limits.notebook_seconds
        what = "notebook"
        seconds = start_time + allowed - time.monotonic()
        if for_cell and self.limits.cell_seconds < seconds:
            start_time = time.monotonic()
            start_processor_time = self.processor_time()
            allowed = self.limits.cell_seconds
            what = "cell"
            seconds = allowed
        try:
            with stopped_after(seconds, f"took longer than {allowed:g} s for the {what}"):
                yield
        except OutOfTimeError:
            elapsed = time.monotonic() - start_time
            waiting = self.processor_time().waiting_since(start_processor_time, elapsed)
            self.was_starved |= waiting > _MOST_WAITING * elapsed
            raise

    def run(self, step: Step) -> str:
        """Do one step and say what went wrong; "" where all is well."""
        if step.kind is Kind.DERIVATION:
            return ""
        try:
            self.have_student()
            if step.kind is Kind.TEST:
                return self.test(step)
            if step.kind is Kind.GIVEN:
                return self.run_given(step)
            return self.run_answer(step)
        except StoppedError as stop:
            self.student.kill()
            self.stopped.add(step.id)
            return f"Stopped: {self.student.reason_to_stop or stop}."

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

    def run_there(self, cell: Executed) -> str:
        """Run a cell in the student's process and fetch the names that the tests will use."""
        channel = self.student.channel
        channel.shared = self.shared
        problem = ""
        with self.time_limit():
            for source in helper_sources(cell.helpers):
                said = self.attempt(channel.ask, "run", cell.id, source)
                problem = problem or said
            problem = self.attempt(channel.ask, "run", cell.id, cell.source) or problem
            for name in cell.names:
                self.namespace.pop(name, None)
                unreadable = self.attempt(self.fetch, name)
                if unreadable and not problem:
                    problem = f"`{name}` cannot be read: {unreadable}"
        return problem

    def attempt(self, action: Callable[..., Any], *arguments: Any) -> str:
        """Do it and explain the error, if there is one."""
        try:
            action(*arguments)
        except Exception as error:
            return self.explainer.explain(error)
        return ""

    def fetch(self, name: str) -> None:
        """Fetch a value; a name that is not defined stays undefined."""
        try:
            self.namespace[name] = self.student.channel.ask("get", name)
        except NameError:
            return

    def run_given(self, step: Step) -> str:
        """Run a given cell on both sides; it may fail where it builds on a wrong answer."""
        problem = ""
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
        return there or problem

    def run_answer(self, step: Step) -> str:
        """Run the student's answer, after the helpers that it needs."""
        names = names_in(self.shell.transform_cell(step.source)).bound
        source = self.answers.get(step.id, "")
        cell = Executed(step.id, source, names, self.helpers.get(step.id, []))
        problem = self.run_there(cell)
        self.executed.append(cell)
        return problem

    def test(self, step: Step) -> str:
        """Run a test cell; only one that runs to its end earns its points."""
        source = step.source if self.with_hidden_tests else without_hidden_tests(step.source)
        self.explainer.tests[step.id] = self.shell.transform_cell(source)
        try:
            with self.time_limit():
                execute(self.shell, step.id, source)
        except (Exception, SystemExit) as error:
            return self.explainer.explain(error) or "The test failed."
        return ""


class Marking:
    """One submission, from its file to the report."""

    def __init__(
        self,
        report: Callable[[Reported], None],
        wait_to_be_alone: Callable[[], None],
        steps: list[Step],
        student: Student,
    ) -> None:
        self.report = report
        self.wait_to_be_alone = wait_to_be_alone
        self.steps = steps
        self.student = student

    def mark(self, answers: Answers, notes: list[str]) -> None:
        """Mark all steps: first what a student may read about, then the hidden tests."""
        allowed = self.student.limits.cell_seconds
        took_long = f"its code takes longer than {allowed:g} s to read"
        try:
            with stopped_after(allowed, took_long, own_time=True):
                helpers, left, own_names = _look_at_code(self.steps, answers)
        except StoppedError as stop:
            self.report(Refused(str(stop)))
            return
        run = {helper.source for group in helpers.values() for helper in group}
        notes = notes + _notes_on_own_cells(len(run), left)
        self.report(Found(answers, notes))
        sources = {name: "\n\n".join(parts) for name, parts in answers.sources.items()}
        explainer = Explainer(own_names)
        explainer.answer_lines = {name: text.count("\n") + 1 for name, text in sources.items()}

        def marker(with_hidden_tests: bool) -> Marker:
            self.student.kill()
            return Marker(self.student, sources, helpers, explainer, with_hidden_tests)

        waiting, stopped = self.run_public_tests(marker, answers)
        if waiting:
            last = max(number for number, step in enumerate(self.steps) if step.id in waiting)
            steps = [step for step in self.steps[: last + 1] if step.id not in stopped]
            self.run_hidden_tests(marker, steps, waiting)

    def run_public_tests(
        self, marker: Callable[[bool], Marker], answers: Answers
    ) -> tuple[set[str], set[str]]:
        """Run all but hidden tests, and report everything that goes wrong in full.

        Returns the tests that wait for their hidden lines, and the steps that were stopped. Until
        the hidden lines have run, their tests count as failed.
        """
        waiting: set[str] = set()

        def tell(step: Step, message: str) -> None:
            waiting.discard(step.id)  # from a first try
            if not message and step.kind is Kind.TEST and hidden_lines(step.source):
                waiting.add(step.id)
                message = FAILED_HIDDEN_TEST
            self.report(Result(step.id, _with_remark(message, answers, step)))

        stopped = self.run_steps(lambda: marker(False), self.steps, tell)
        return waiting, stopped

    def run_hidden_tests(
        self, marker: Callable[[bool], Marker], steps: list[Step], waiting: set[str]
    ) -> None:
        """Run all again with hidden tests, and report those that pass; nothing else."""

        def tell(step: Step, message: str) -> None:
            if step.id in waiting and not message:
                self.report(Result(step.id, ""))

        self.run_steps(lambda: marker(True), steps, tell)

    def run_steps(
        self, marker: Callable[[], Marker], steps: list[Step], tell: Callable[[Step, str], None]
    ) -> set[str]:
        """Run the steps in a fresh process; return those that were stopped.

        Where time ran out because others took the processor, all is run once more, alone.
        """
        for is_alone in (False, True):
            if is_alone:
                self.student.kill()
                self.wait_to_be_alone()
            running = marker()
            for step in steps:
                message = running.run(step)
                if running.was_starved and not is_alone:
                    break
                tell(step, message)
            else:
                break
        return running.stopped


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


def _notes_on_own_cells(run: int, left: list[str]) -> list[str]:
    notes = []
    if run:
        notes.append(f"cells of your own that your answers use, and that were run: {run}")
    if left:
        notes.append(f"code cells of your own that were not run: {len(left)}")
        setting = _SETTING.search("\n".join(left))
        if setting:
            where = "stands in one of them: a setting counts only in an answer's cell"
            notes.append(f"`{setting['name']}` {where}")
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
    silence()
    # Hostile files are read and hostile values come here.
    limit("AS", (2 * limits.memory_mebibytes + 4096) * 2**20)
    report: Callable[[Reported], None] = pipe.send

    def wait_to_be_alone() -> None:
        report(WantsToBeAlone())
        pipe.recv()

    steps = make_plan(master)
    try:
        submission = read_notebook(Path(path))
        answers = find_answers(master, steps, submission)
    except NotGradedError as error:
        report(Refused(str(error)))
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        os.chdir(scratch)
        os.environ["IPYTHONDIR"] = scratch
        os.mkdir("work")
        student = Student(sandbox, limits, os.path.join(scratch, "work"))

        def end(number: int, frame: FrameType | None) -> None:
            student.kill()
            shutil.rmtree(scratch, ignore_errors=True)
            os._exit(1)

        signal.signal(signal.SIGTERM, end)
        try:
            Marking(report, wait_to_be_alone, steps, student).mark(answers, [])
        except StartError as error:
            report(Failed(str(error)))
        finally:
            student.kill()
