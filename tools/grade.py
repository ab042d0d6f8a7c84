"""Grade a folder of notebooks, one per student: `make grade SUBMISSIONS=folder SET=1 SEED=2027`.

The master is the instructor's notebook. From a submission come only the cells that the master
marks `solution: true`, found by their grade_id; all else is the master's, in its order. Each
submission has two processes: one runs the master's cells and the tests and is out of its reach,
the other, in a bubblewrap sandbox where there is one, runs the master's given cells and the
student's. `grade_sandbox.py` says what crosses between them.

What this does not protect against: answers that are copied, looked up in the package or fitted to
the public tests; a submission that reads the inputs with which its functions are called; an
attack on the kernel; memory that belongs to no process (files in memory). As root, processes and
files are shielded as well, but user namespaces stay open inside: grade as an ordinary user.
Without bubblewrap a submission runs with the rights of whoever grades.

What a person grades is read from OUT/hand_grades.csv, which this command only ever adds rows to;
all else in OUT is written anew.

Exit status: 0 all graded; 1 finished, but some files could not be graded; 2 nothing to grade, no
master, or a mistake in hand_grades.csv; 130 interrupted (the same command goes on from there).
"""

import argparse
import csv
import hashlib
import io
import json
import math
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from itertools import zip_longest
from multiprocessing.connection import wait
from pathlib import Path

from grade_mark import PLACEHOLDERS, THREADS, Limits, NotGradedError, mark, plan, read_notebook

ROOT = Path(__file__).resolve().parent.parent
HELPERS = [Path(__file__).with_name(f"grade_{part}.py").resolve() for part in ("mark", "sandbox")]


class BadInputError(Exception):
    """What the person who called the command should hear, in one sentence."""


def sandbox(hidden: list[Path]) -> tuple[list[str] | None, str]:
    """Return the bubblewrap command and what to tell the instructor about it."""
    bwrap = shutil.which("bwrap")
    if not bwrap:
        return None, "bubblewrap (bwrap) is not installed"
    known = subprocess.run([bwrap, "--help"], capture_output=True, text=True).stdout
    command = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--new-session"]
    if os.getuid():  # root needs no user namespace, and gives up its rights inside
        command += ["--unshare-user"] + ["--disable-userns"] * ("--disable-userns" in known)
    # First the empty places, so that a repository that lies in /tmp is seen all the same.
    command += ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/dev/shm", "/tmp"):
        size = ["--size", str(256 * 2**20)] if "--size" in known else []
        command += ["--perms", "1777", *size, "--tmpfs", path]
    system = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/nix/store"]
    system += ["/etc/alternatives", "/etc/fonts", "/etc/localtime", "/sys/devices/system/cpu"]
    python = Path(sys.executable).resolve().parent.parent
    places = dict.fromkeys([*system, sys.base_prefix, str(python)])
    binds = [Path(place) for place in places if os.path.exists(place)]

    def bind(path: Path) -> list[str]:
        if path.is_symlink() and not os.readlink(path).startswith("/"):
            return ["--symlink", os.readlink(path), str(path)]
        way = [str(parent) for parent in reversed(path.parents)][1:]  # open to any identity
        return [word for p in way for word in ("--perms", "0755", "--dir", p)] + [
            "--ro-bind", str(path), str(path)]  # fmt: skip

    for path in binds:
        command += bind(path)
    for path in hidden:  # where the repository or the class's files lie inside one of those
        if any(path.is_relative_to(bound) for bound in binds) and path.is_dir():
            command += ["--tmpfs", str(path)]
    for path in (Path(sys.prefix), ROOT / "ntp_lite", HELPERS[1]):
        command += bind(path)
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    look = f"import IPython; open({str(HELPERS[1])!r})"
    trial = [*command, sys.executable, "-I", "-c", look]
    trial = subprocess.run(trial, capture_output=True, text=True)
    if trial.returncode:  # whoever installed it counts on it: no silent step back
        why = (trial.stderr.strip() or "no message").splitlines()[-1]
        raise BadInputError(f"bubblewrap is installed but does not work here ({why[:200]}); mend "
                            "that, or grade without a sandbox (--no-sandbox)")  # fmt: skip
    return command, "in bubblewrap: no network, no files but Python and ntp_lite"


# --- All submissions ---


def record(name: str, steps: list[dict], messages: list[dict], seconds: float) -> dict:
    """Put together what is kept of one submission."""
    said = {m["id"]: m["message"] for m in messages if "id" in m}
    single = {key: value for m in messages if "id" not in m for key, value in m.items()}
    sources, refused = single.get("sources", {}), single.get("refused") or single.get("failed", "")
    parts = []
    for step in steps:
        message = said.get(step["id"], refused or "Stopped before this cell.")
        part = {key: step[key] for key in ("id", "kind", "title")}
        part |= {"message": message, "max": step["points"]}
        if step["kind"] == "test":
            part["points"] = 0 if message else step["points"]
        elif step["kind"] != "given":
            part["source"] = sources.get(step["id"], "")
            part["blank"] = part["source"].strip() in PLACEHOLDERS
            part["missing"] = not refused and step["id"] not in sources
        elif not message or refused:
            continue
        parts.append(part)
    tests = [part for part in parts if part["kind"] == "test"]
    return {
        "name": name, "refused": refused, "note": single.get("note", ""), "parts": parts,
        "stray": single.get("stray", []), "points": sum(part["points"] for part in tests),
        "max": sum(part["max"] for part in tests), "seconds": round(seconds, 1),
    }  # fmt: skip


def grade_all(todo: dict[str, Path], done: int, master: dict, args, command, keep) -> None:
    """Grade what is left to do, `args.jobs` at a time, and keep each record when it is there."""
    from tqdm import tqdm

    os.environ.update(THREADS, MPLBACKEND="agg")  # before the fork server loads numpy
    context = multiprocessing.get_context("forkserver")
    source = "\n".join(c["source"] for c in master["cells"] if c["type"] == "code")
    used = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE))
    context.set_forkserver_preload(["numpy", "IPython", "psutil", *sorted(used)])
    steps, limits, queue, active = plan(master), args.limits, list(todo), {}
    bar = tqdm(total=len(todo) + done, initial=done, unit="notebook", desc="grading")

    def in_work():
        bar.set_postfix_str(", ".join(name for name, *_ in active.values()))

    with bar:
        try:
            while queue or active:
                while queue and len(active) < args.jobs:
                    name = queue.pop(0)
                    ours, theirs = context.Pipe(duplex=False)
                    task = (theirs, str(todo[name]), master, command, limits)
                    process = context.Process(target=mark, args=task)
                    process.start()
                    theirs.close()
                    active[ours] = (name, process, time.monotonic(), [])
                    in_work()
                ready = wait(list(active), timeout=1)
                for pipe in list(active):
                    name, process, since, messages = active[pipe]
                    seconds, over = time.monotonic() - since, False
                    try:
                        if pipe in ready:
                            messages.append(pipe.recv())
                    except EOFError:
                        over = True
                    if not over and seconds < limits.notebook + 30:
                        continue
                    stop(process)  # where it has not ended: held in code that no alarm can leave
                    del active[pipe]
                    if process.exitcode != 0 and over:
                        messages.append({"failed": "the grader's own process ended early"})
                    keep(name, record(name, steps, messages, seconds))
                    bar.update()
                    in_work()
        finally:
            for _, process, _, _ in active.values():
                stop(process)


def stop(process) -> None:
    """End a worker: first gently, so that it takes its student's process along."""
    process.join(0.5)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(2)


def find_submissions(place: str) -> tuple[dict[str, Path], list[Path]]:
    """Return the notebooks of a folder and its sub-folders by their names, and other files."""
    folder = Path(place)
    if not place:  # what `make grade` hands on when it is given none; not this folder
        raise BadInputError("name the folder with the notebooks (SUBMISSIONS=folder)")
    if not folder.is_dir():
        raise BadInputError(f"there is no folder {folder}: name the folder with the notebooks")
    found, others = {}, []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_dir() or any(part.startswith(".") for part in inside.parts):
            continue
        if path.suffix.lower() != ".ipynb":
            others.append(path)
        else:
            name = "__".join(inside.with_suffix("").parts)
            if len(os.fsencode(name)) > 200:  # its feedback must be a file, too
                name = f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
            found[name if name not in found else f"{name}{path.suffix}"] = path
    if not found:
        raise BadInputError(f"the folder {folder} holds no notebooks (*.ipynb)")
    return found, others


def find_master(args, files: dict[str, Path]) -> tuple[Path, dict]:
    """Return the instructor's notebook; where it is not named, ask the submissions which one."""
    path = args.master
    if path is None:
        known = sorted(p.stem for p in ROOT.glob("book/assignments/ps*.md"))
        wanted = (args.set and f"ps{args.set.removeprefix('ps')}", args.seed and str(args.seed))
        if args.set and wanted[0] not in known:
            raise BadInputError(
                f"there is no problem set {args.set:.40}; there are {', '.join(known)}"
            )
        marks = set()
        for file in files.values():
            try:
                theirs = read_notebook(file)["ntp_lite"]
            except NotGradedError:
                continue
            mark = [str(theirs.get("assignment", "")), str(theirs.get("seed", ""))]
            if all(w in (None, m) for w, m in zip(wanted, mark, strict=True)):
                marks.add(tuple(mark))
        marks = {mark for mark in marks if all(mark)} or {wanted}
        if len(marks) > 1:
            which = ", ".join(sorted(f"{name} of seed {seed}" for name, seed in marks))
            raise BadInputError(f"the folder mixes assignments ({which:.200}); name SET= and SEED=")
        if None in next(iter(marks)):
            raise BadInputError("the notebooks do not tell their set; name SET= and SEED=")
        name, seed = marks.pop()
        if name not in known or not re.fullmatch(r"\d+", seed):
            raise BadInputError(f"there is no problem set {name:.40} with the seed {seed:.40}")
        path = ROOT / "dist" / "assignments" / seed / "instructor" / f"{name}.ipynb"
        if not path.is_file():
            print(f"making the problem sets of seed {seed} ...", file=sys.stderr)
            subprocess.run([sys.executable, ROOT / "tools/assignments.py", "--seed", seed])
    try:
        master = read_notebook(path)
    except NotGradedError as error:
        raise BadInputError(f"the instructor's notebook {path} cannot be used: {error}") from None
    if not any(step["kind"] == "test" for step in plan(master)):
        raise BadInputError(f"{path} has no graded test cell: it is no instructor's notebook")
    return path, master


def key(name: str, path: Path, master: Path, args, command) -> str:
    """Return what a record depends on, as one hash: a change in any of it means grading anew."""
    code = [Path(__file__), *HELPERS, *sorted(ROOT.glob("ntp_lite/**/*.py"))]
    parts = [name, repr(asdict(args.limits)), str(command is not None)]
    data = [part.encode(errors="surrogateescape") for part in parts]
    data += [p.read_bytes() if p.is_file() else b"" for p in (path, master, *code)]
    return hashlib.sha256(b"".join(hashlib.sha256(d).digest() for d in data)).hexdigest()[:32]


def write(path: Path, text: str) -> None:
    """Write a file in one piece, so that an interruption leaves no half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:40]}.part")
    part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    part.replace(path)


def shown(name: str) -> str:
    """Return a submission's name as it stands in the tables: valid text, no formula."""
    name = name.encode(errors="backslashreplace").decode()
    return f"'{name}" if name[0] in "=+-@" else name


def write_table(path: Path, rows: list[list], delimiter: str = ",") -> None:
    """Write a CSV file for spreadsheets: the mark at its beginning tells Excel that it is UTF-8."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    write(path, "\ufeff" + text.getvalue())


def hand_grades(path: Path, steps: list[dict], names: list[str]) -> dict[str, dict]:
    """Return the points and comments entered by hand; add rows for new submissions, no more."""
    most = {s["id"]: s["points"] for s in steps if s["kind"] != "test" and s["points"]}
    rows = [["submission", *(f"{name} (max {most[name]:g})" for name in most), "comment"]]
    found, delimiter = {}, ","
    if path.is_file():
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")  # what Excel calls plain CSV
        delimiter = max(",;\t", key=(text.splitlines() or [""])[0].count)
        lines = io.StringIO(text, newline="")
        try:
            rows = list(csv.reader(lines, delimiter=delimiter, strict=True)) or rows
        except csv.Error as error:
            raise BadInputError(f"{path} is no table: {error}") from None
    columns = [title.split(" (max")[0].strip() for title in rows[0]]
    for name in columns:
        if name and (name not in ("submission", "comment", *most) or columns.count(name) > 1):
            raise BadInputError(f"{path} has the column {name!r}, unknown or a second time")
    if lost := [name for name in ("submission", *most) if name not in columns]:
        raise BadInputError(f"{path} lacks the column {lost[0]!r}")
    for row in rows[1:]:
        cells = [(c, v) for c, v in zip_longest(columns, row, fillvalue="") if v.strip()]
        entry = dict(cells)
        name = entry.pop("submission", "")
        if cells and (not name or name in found or "" in entry):
            problem = "more cells than columns" if "" in entry else "no name or a name twice"
            raise BadInputError(f"{path} has a row with {problem}: {', '.join(row):.80}")
        for column in entry.keys() & most.keys():
            value = entry[column]
            try:
                entry[column] = float(value.replace(",", "."))
            except ValueError:
                entry[column] = math.nan
            if not 0 <= entry[column] <= most[column]:
                raise BadInputError(f"{path}: {value!r} for {name} in {column} is no number from "
                                    f"0 to {most[column]:g}")  # fmt: skip
        found |= {name: entry} if cells else {}
    new = [name for name in map(shown, names) if name not in found]
    if new:
        rows += [[name if c == "submission" else "" for c in columns] for name in new]
        write_table(path, rows, delimiter)
    return found


def write_results(out, title, records, steps, grades, how) -> None:
    """Write grades.csv, a feedback page for each student and the summary."""
    from jinja2 import Environment, FileSystemLoader

    tests = [s for s in steps if s["kind"] == "test"]
    hand = [s for s in steps if s["kind"] != "test" and s["points"]]
    top = sum(t["points"] for t in tests)
    whole = top + sum(h["points"] for h in hand)
    table = [["submission", "status", *(f"{t['id']} (max {t['points']:g})" for t in tests),
              f"autograded (max {top:g})",
              *(f"{h['id']} (by hand, max {h['points']:g})" for h in hand),
              f"total (max {whole:g})"]]  # fmt: skip
    for r in records:
        entry = grades.get(shown(r["name"]), {})
        for p in r["parts"]:
            p["hand"] = entry.get(p["id"])
        parts = {p["id"]: p for p in r["parts"]}
        by_hand = [parts[h["id"]] for h in hand]
        given = [p["hand"] for p in by_hand if p["hand"] is not None]
        r["comment"], r["given"] = entry.get("comment", ""), sum(given) if given else None
        complete = not r["refused"] and len(given) == len(hand)
        r["total"] = r["points"] + sum(given) if complete else None
        lost = [p["id"] for p in r["parts"] if p.get("missing")]
        empty = [p["id"] for p in by_hand if p["blank"] and r["stray"] and not p["missing"]]
        said = {"cells missing": lost, "empty, but there is other text": empty}
        r["status"] = "; ".join(f"{what}: {', '.join(ids)}" for what, ids in said.items() if ids)
        r["status"] = f"not graded: {r['refused']}" if r["refused"] else r["status"] or "graded"
        points = [*(parts[t["id"]]["points"] for t in tests), r["points"]]
        points = [None for _ in points] if r["refused"] else points
        points += [*(p["hand"] for p in by_hand), r["total"]]
        cells = ["" if p is None else f"{p:g}" for p in points]
        table.append([shown(r["name"]), r["status"], *cells])
    write_table(out / "grades.csv", table)
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = pages.get_template("grade_pages.html.j2")
    for r in records:
        html = page.render(kind="feedback", title=title, r=r, whole=whole)
        write(out / "feedback" / f"{r['name']}.html", html)
    graded = [r for r in records if not r["refused"]]
    shares = [100 * r["points"] / r["max"] for r in graded if r["max"]]
    bins = [sum(min(int(share // 10), 9) == b for share in shares) for b in range(10)]
    rates = []
    for t in tests:
        parts = [p for r in graded for p in r["parts"] if p["id"] == t["id"]]
        full = sum(not part["message"] for part in parts)
        rates.append((t, full, 100 * full / len(graded) if graded else 0))
    html = page.render(kind="summary", title=title, records=records, graded=graded, bins=bins,
                       rates=rates, hand=hand, how=how, whole=whole,
                       shares=sorted(shares))  # fmt: skip
    write(out / "summary.html", html)


def parse(argv: list[str] | None):
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", help="folder with one notebook per student")
    parser.add_argument("--set", help="number of the problem set (else asked of the notebooks)")
    parser.add_argument("--seed", type=int, help="the cohort's seed (else asked of the notebooks)")
    parser.add_argument("--master", type=Path, help="an instructor's notebook, instead of both")
    parser.add_argument("--out", type=Path, help="folder for the results (dist/grades/SEED/psN)")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--jobs", type=int, default=cores, help="at a time (%(default)s)")
    parser.add_argument("--cell-seconds", type=float, default=60, help="(%(default)s)")
    parser.add_argument("--notebook-seconds", type=float, default=300, help="(%(default)s)")
    parser.add_argument("--memory", type=int, default=2048, help="MiB a submission (%(default)s)")
    parser.add_argument("--no-sandbox", action="store_true", help="limits alone, no bubblewrap")
    args = parser.parse_args(argv)
    args.limits = Limits(args.cell_seconds, args.notebook_seconds, args.memory)
    if min(args.jobs, args.cell_seconds, args.notebook_seconds, args.memory) <= 0:
        parser.error("jobs, seconds and memory must be positive")
    return args


def main(argv: list[str] | None = None) -> int:
    """Grade and return the exit status."""
    args = parse(argv)
    files, others = find_submissions(args.submissions)
    path, master = find_master(args, files)
    ours = master["ntp_lite"]
    home = ROOT / "dist" / "grades" / str(ours.get("seed", "seed"))
    out = args.out or home / str(ours.get("assignment", path.stem))
    secret = [ROOT, path.parent.resolve(), Path(args.submissions).resolve(), out.resolve()]
    command, how = (None, "--no-sandbox") if args.no_sandbox else sandbox(secret)
    if command is None:
        how = (f"WITHOUT a sandbox ({how}): only the limits on time and memory hold. A submission "
               "runs with your rights: it can read your files and use the network.")  # fmt: skip
    steps, sheet = plan(master), out / "hand_grades.csv"
    grades = hand_grades(sheet, steps, list(files))  # before all else, and never written after
    print(f"Submissions run {how}", file=sys.stderr)
    if not os.getuid():
        print("You are root: it is better to grade as an ordinary user.", file=sys.stderr)
    keys = {name: key(name, file, path, args, command) for name, file in files.items()}
    places = {name: out / "records" / f"{keys[name]}.json" for name in files}
    done = {name: json.loads(p.read_text()) for name, p in places.items() if p.is_file()}
    todo = {name: file for name, file in files.items() if name not in done}
    resumed = sum(not r["refused"] for r in done.values())

    def keep(name: str, result: dict) -> None:
        done[name] = result
        write(places[name], json.dumps(result))

    try:
        grade_all(todo, len(done), master, args, command, keep)
    except KeyboardInterrupt:
        print(f"\nInterrupted: {len(done)} of {len(files)} submissions are graded and kept; the "
              "same command goes on from here.", file=sys.stderr)  # fmt: skip
        return 130
    records = [done[name] for name in files]
    title = f"{ours.get('assignment', path.stem)}, cohort {ours.get('seed', '?')}"
    write_results(out, title, records, steps, grades, how)
    odd = [r for r in records if r["refused"]]
    said = [f"  not graded: {r['name']}: {r['refused']}" for r in odd]
    if others := [str(p) for p in others if not p.resolve().is_relative_to(out.resolve())]:
        said.append(f"not a notebook, skipped: {', '.join(others)}")
    if lost := grades.keys() - set(map(shown, files)):
        said.append(f"in {sheet.name}, but no submission: {', '.join(sorted(lost))}")
    said.append(f"Results: {out}/grades.csv, summary.html and feedback/; enter what you grade by "
                f"hand in {sheet.name} and run this again.")  # fmt: skip
    before = f" ({resumed} of them in an earlier run)" if resumed else ""
    names = "; not graded: " + ", ".join(r["name"] for r in odd) if odd else ""
    said.append(f"Finished. {len(records) - len(odd)} of {len(records)} submissions graded{before}"
                f"{names}.")  # fmt: skip
    print("\n".join(said).encode(errors="replace").decode())
    return 1 if odd else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInputError as error:
        print(f"grade: {error}.", file=sys.stderr)
        sys.exit(2)
