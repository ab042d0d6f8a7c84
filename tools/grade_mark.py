"""Mark one submission: the master's cells and the tests here, the student's in a sandbox.

The process that runs this never runs a line of the submission: it sends the given cells and the
student's answers to a second process (`grade_sandbox.py`), fetches the names that the master's
answer cells bind, and runs the tests on them.
"""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import grade_sandbox
import psutil
from grade_sandbox import Peer, Stopped

TITLE = re.compile(r"^##+ +(.+?) *$", re.MULTILINE)
HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", re.DOTALL)
FILE_BYTES = 20 * 2**20  # the largest notebook that is read
PLACEHOLDERS = ("", "Your derivation here.")
PROCESSES = 128  # processes and threads of one submission
# One thread a process: the submissions run side by side.
THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


class NotGradedError(Exception):
    """Why a file is no submission to this problem set."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    cell: float  # seconds
    notebook: float  # seconds
    memory: int  # MiB, all its processes together


# --- Notebooks ---


def read_notebook(path: Path) -> dict:
    """Return a notebook's cells (with joined sources) and metadata, or say what is wrong."""
    if path.is_symlink() or not path.is_file():
        raise NotGradedError("not a regular file")
    if path.stat().st_size > FILE_BYTES:
        raise NotGradedError(f"larger than {FILE_BYTES // 2**20} MiB; clear its outputs")
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise NotGradedError("not a notebook: the file is not valid JSON") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise NotGradedError("not a notebook of format 4: it has no list of cells")
    cells = []
    for cell in notebook["cells"]:
        cell = cell if isinstance(cell, dict) else {}
        source, metadata = cell.get("source", ""), cell.get("metadata")
        source = "".join(map(str, source)) if isinstance(source, list) else str(source)
        grading = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        grading = grading if isinstance(grading, dict) else {}
        cells.append({"type": cell.get("cell_type"), "source": source, "nbgrader": grading})
    metadata = notebook.get("metadata")
    ours = metadata.get("ntp_lite") if isinstance(metadata, dict) else None
    return {"cells": cells, "ntp_lite": ours if isinstance(ours, dict) else {}}


def plan(master: dict) -> list[dict]:
    """Return what to do with each of the master's cells: `given`, `answer`, `text` or `test`."""
    steps, title = [], ""
    for number, cell in enumerate(master["cells"]):
        marks = cell["nbgrader"]
        if cell["type"] == "markdown" and not marks.get("solution"):
            title = (TITLE.findall(cell["source"]) or [title])[-1]
        step = {
            "title": title,
            "id": marks.get("grade_id") or f"cell-{number}",
            "source": cell["source"],
        }
        step["points"] = marks.get("points") or 0 if marks.get("grade") else 0
        if marks.get("solution"):
            step["kind"] = "answer" if cell["type"] == "code" else "text"
        elif cell["type"] == "code":
            step["kind"] = "test" if marks.get("grade") else "given"
        else:
            continue
        steps.append(step)
    return steps


def match(master: dict, steps: list[dict], submission: dict) -> dict[str, list[str]]:
    """Return the student's sources for each answer of the master; refuse another assignment."""
    mine, theirs = master["ntp_lite"], submission["ntp_lite"]
    for key, what in (("assignment", "of"), ("seed", "with the data of cohort")):
        if key in theirs and str(theirs[key]) != str(mine.get(key)):
            raise NotGradedError(f"a notebook {what} {theirs[key]!s:.40}, not {mine.get(key)}")
    wanted = {s["id"]: "code" if s["kind"] == "answer" else "markdown" for s in steps
              if s["kind"] in ("answer", "text")}  # fmt: skip
    found: dict[str, list[str]] = {name: [] for name in wanted}
    for cell in submission["cells"]:
        name = cell["nbgrader"].get("grade_id")
        if isinstance(name, str) and wanted.get(name) == cell["type"]:
            found[name].append(cell["source"])
    if not any(found.values()):
        raise NotGradedError("has none of the cells in which this problem set's answers stand")
    return found


def stray(master: dict, steps: list[dict], submission: dict) -> list[str]:
    """Return the texts that stand in cells of the student's own, or in ones of a changed type."""
    given = [c["source"] for c in master["cells"] if not c["nbgrader"].get("solution")]
    given = {" ".join(text.split()) for text in [*given, *PLACEHOLDERS]}
    known = {c["nbgrader"].get("grade_id"): c["type"] for c in master["cells"]}
    answers = {step["id"] for step in steps if step["kind"] in ("answer", "text")}
    texts = []
    for cell in submission["cells"]:
        name = str(cell["nbgrader"].get("grade_id"))
        changed = name in answers and known[name] != cell["type"]
        own = cell["type"] != "code" and name not in known
        if (own or changed) and " ".join(cell["source"].split()) not in given:
            texts.append(cell["source"])
    return texts


def fixed_text(message: ast.expr | None) -> str:
    """Return what an assertion's message says without the values that it would fill in."""
    parts = message.values if isinstance(message, ast.JoinedStr) else [message]
    return "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in parts if p)


def bound_names(source: str) -> list[str]:
    """Return the names that a cell binds or changes at its top level, imports left out."""
    names: list[str] = []
    scopes = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Name | ast.Subscript | ast.Attribute):
            stored = isinstance(node.ctx, ast.Store)
            while isinstance(node, ast.Subscript | ast.Attribute):  # table["a"] = ... is `table`
                node = node.value
            if stored and isinstance(node, ast.Name):
                names.append(node.id)
        elif not isinstance(node, scopes):
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(ast.parse(source))
    return list(dict.fromkeys(names))


# --- The submission's process ---


class Student:
    """A submission's process, the socket to it, and the watch over its memory."""

    def __init__(self, command: list[str] | None, limits: Limits, scratch: str):
        self.command, self.limits, self.scratch, self.why = command, limits, scratch, ""
        self.process: subprocess.Popen | None = None

    def alive(self) -> bool:
        """Say whether the process can still be asked."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        ours, theirs = socket.socketpair()
        uid = others = 0
        if self.command and not os.getuid():
            uid = 61000 + os.getpid() % 4000  # the limit on processes counts this identity's only
        elif os.getuid():  # on older kernels it counts all processes of the user
            for info in (p.info for p in psutil.process_iter(["uids", "num_threads"])):
                mine = info["uids"] and info["uids"].real == os.getuid()
                others += (info["num_threads"] or 0) if mine else 0
        cpu = int(self.limits.notebook) + 60
        options = (theirs.fileno(), self.limits.memory, cpu, PROCESSES + others, uid)
        home = "/tmp" if self.command else self.scratch
        places = {"HOME": home, "IPYTHONDIR": home, "PATH": "/usr/bin:/bin"}
        script = [sys.executable, "-I", grade_sandbox.__file__, *map(str, options)]
        self.process = subprocess.Popen(
            [*(self.command or []), *script],
            pass_fds=[theirs.fileno()],
            cwd=self.scratch,
            env=THREADS | places | {"LANG": "C.UTF-8", "MPLBACKEND": "agg", "USER": "student"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        self.why = ""
        self.peer = Peer(Connection(ours.detach()), {})
        self.peer.doors["call"] = self.peer.call
        threading.Thread(target=self.watch, args=[self.process], daemon=True).start()
        try:
            self.peer.receive()
        except (EOFError, OSError, ValueError):
            said = self.process.stderr.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"the sandbox did not start: {(said or ['?'])[-1]}") from None

    def watch(self, process: subprocess.Popen) -> None:
        """End the process where all its children together use too much."""
        while process.poll() is None:
            memory, family = 0, []
            try:
                family = [psutil.Process(process.pid)]
                family += family[0].children(recursive=True)
            except psutil.Error:
                continue
            for member in family:
                try:
                    memory += member.memory_info().rss
                except psutil.Error:
                    continue
            if memory > self.limits.memory * 2**20 or len(family) > PROCESSES:
                self.why = f"used more than {self.limits.memory} MiB of memory"
                if len(family) > PROCESSES:
                    self.why = f"started more than {PROCESSES} processes"
                self.kill(process)
            time.sleep(0.1)

    def kill(self, process: subprocess.Popen | None = None) -> None:
        """End the process with its children; the whole sandbox falls with its first process."""
        process = process or self.process
        if process is not None and process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except OSError:
                process.kill()
            process.wait()


# --- One submission ---


class Marker:
    """Runs the master's cells here, the student's there, and marks the tests."""

    def __init__(self, student: Student, limits: Limits):
        self.student, self.limits = student, limits
        self.shell = grade_sandbox.new_shell()
        self.space = self.shell.user_ns
        self.shared: dict[str, object] = {}
        self.history: list[tuple[str, str, list[str]]] = []  # to repeat in a fresh process
        self.hidden: dict[str, set[int]] = {}  # the hidden lines of each test cell
        self.trees: dict[str, ast.Module] = {}
        self.start = time.monotonic()

    @contextmanager
    def clock(self, cell: bool = True):
        """Raise Stopped when the time for a cell or for the notebook is over."""
        left = self.start + self.limits.notebook - time.monotonic()
        seconds, what = left, "notebook"
        if cell and self.limits.cell < left:
            seconds, what = self.limits.cell, "cell"

        def ring(*_):
            raise Stopped(f"took longer than {getattr(self.limits, what):g} s for the {what}")

        if seconds <= 0:
            ring()
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def stopped(self, stop: Stopped) -> str:
        """End the student's process and say why it had to go."""
        self.student.kill()
        return f"Stopped: {self.student.why or stop}."

    def there(self, name: str, source: str, names: list[str]) -> str:
        """Run a cell in the student's process and fetch the names that the tests will use."""
        peer, problem = self.student.peer, ""
        peer.shared = self.shared
        with self.clock():
            try:
                peer.ask("run", name, source)
            except Exception as error:
                problem = self.explain(error)
            for wanted in names:
                self.space.pop(wanted, None)
                try:
                    self.space[wanted] = peer.ask("get", wanted)
                except NameError:
                    continue
                except Exception as error:
                    problem = problem or f"`{wanted}` cannot be read: {error}"
        return problem

    def ready(self) -> None:
        """See that there is a student's process; after an end, repeat what did not end it."""
        while not self.student.alive():
            with self.clock(cell=False):
                self.student.start()
            for item in list(self.history):
                try:
                    self.there(*item)
                except Stopped as stop:
                    self.stopped(stop)
                    self.history.remove(item)
                    break

    def run(self, step: dict, answer: str) -> str:
        """Do one step and return the message for the student, empty where all is well."""
        name, kind, source, names, problem = step["id"], step["kind"], step["source"], [], ""
        if kind == "text":
            return ""
        try:
            self.ready()
            if kind == "test":
                return self.test(name, source)
            if kind == "given":
                problem = self.given(name, source)
            else:
                names, source = bound_names(self.shell.transform_cell(source)), answer
            problem = self.there(name, source, names) or problem
            self.history.append((name, source, names))
        except Stopped as stop:
            problem = self.stopped(stop)
        return problem

    def given(self, name: str, source: str) -> str:
        """Run a given cell here, too; it may fail where it builds on a wrong answer."""
        problem = ""
        try:
            with self.clock():
                grade_sandbox.execute(self.shell, name, source)
        except (Exception, SystemExit) as error:
            problem = self.explain(error)
        both = bound_names(self.shell.transform_cell(source))
        self.shared |= {n: self.space[n] for n in both if n in self.space}
        return problem

    def test(self, name: str, source: str) -> str:
        """Run a test cell; only one that runs to its end earns its points."""
        code = self.shell.transform_cell(source)
        self.hidden[name] = set()
        for found in HIDDEN.finditer(code):
            first, last = (code.count("\n", 0, at) + 1 for at in found.span())
            self.hidden[name] |= set(range(first, last + 1))
        self.trees[name] = ast.parse(code)
        try:
            with self.clock():
                grade_sandbox.execute(self.shell, name, source)
        except (Exception, SystemExit) as error:
            return self.explain(error) or "The test failed."
        return ""

    def explain(self, error: BaseException) -> str:
        """Put an error into words that show nothing of a hidden test but what it means to say."""
        theirs = getattr(error, "submission", None)
        said, name, line, trace, hidden = str(error), "", 0, error.__traceback__, False
        while trace:
            file = trace.tb_frame.f_code.co_filename
            if file.startswith("<cell "):
                name, line = file[6:-1], trace.tb_lineno
                hidden |= line in self.hidden.get(name, ())
            trace = trace.tb_next
        if theirs:
            cell, at = theirs["place"]
            said = f"{theirs['type']}: {theirs['message']}".rstrip(": ")
            # In a hidden test the message might carry its data, so only the type is told.
            said = f"Your code raised {theirs['type'] if hidden else said}"
            said += f" (line {at} of {cell})" if at else ""
        elif hidden or isinstance(error, AssertionError):
            tests = ast.walk(self.trees.get(name, ast.Module([], [])))
            failed = [n for n in tests if isinstance(n, ast.Assert)]
            failed = [n for n in failed if n.lineno <= line <= n.end_lineno]
            if hidden:
                said = (failed and fixed_text(failed[0].msg)) or "wrong on other data"
            elif failed and not said:
                said = f"this does not hold: {ast.unparse(failed[0].test)}"
        else:
            said = f"{type(error).__name__}: {said}"
        return ("Hidden test: " if hidden else "") + said[: grade_sandbox.TEXT]


def mark(report, path: str, master: dict, command: list[str] | None, limits: Limits) -> None:
    """Grade one submission in a process of its own and send what is found, step by step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends us
    steps = plan(master)
    try:
        submission = read_notebook(Path(path))
        found = match(master, steps, submission)
    except NotGradedError as error:
        report.send({"refused": str(error)})
        return
    answers = {name: "\n\n".join(parts) for name, parts in found.items() if parts}
    report.send({"sources": answers, "stray": stray(master, steps, submission)})
    given = {cell["source"].strip() for cell in master["cells"]} | {""}
    own = [c for c in submission["cells"] if c["type"] == "code" and not c["nbgrader"]]
    if count := sum(c["source"].strip() not in given for c in own):
        note = f"Code cells of your own that were not run: {count}; only the answer cells count."
        report.send({"note": note})
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    grade_sandbox.limit("AS", (2 * limits.memory + 4096) * 2**20)  # hostile values come here
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        os.chdir(scratch)
        os.environ["IPYTHONDIR"] = scratch
        os.mkdir("work")
        student = Student(command, limits, os.path.join(scratch, "work"))
        signal.signal(signal.SIGTERM, lambda *_: (student.kill(), os._exit(1)))
        try:
            marker = Marker(student, limits)
            for step in steps:
                message = marker.run(step, answers.get(step["id"], ""))
                if (times := len(found.get(step["id"], [""]))) != 1:
                    what = f"stands {times} times in your notebook; all were taken, in order."
                    what = what if times else "was not found in your notebook."
                    message = f"{message} This cell {what}".strip()
                report.send({"id": step["id"], "message": message})
        except RuntimeError as error:
            report.send({"failed": str(error)})
        finally:
            student.kill()
