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

Exit status: 0 all graded; 1 finished, but some files could not be graded; 2 nothing to grade, or
no master; 130 interrupted (the same command goes on where it stopped).
"""

import argparse
import csv
import hashlib
import io
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from multiprocessing.connection import wait
from pathlib import Path

from grade_mark import THREADS, Limits, NotGradedError, mark, plan, read_notebook

ROOT = Path(__file__).resolve().parent.parent
HELPERS = [Path(__file__).with_name(f"grade_{part}.py").resolve() for part in ("mark", "sandbox")]
PLACEHOLDERS = ("", "Your derivation here.")


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
        part = {"id": step["id"], "kind": step["kind"], "message": message, "max": step["points"]}
        if step["kind"] == "test":
            part["points"] = 0 if message else step["points"]
        elif step["kind"] != "given":
            part["source"] = sources.get(step["id"], "")
            part["blank"] = part["source"].strip() in PLACEHOLDERS
        elif not message or refused:
            continue
        parts.append(part)
    tests = [part for part in parts if part["kind"] == "test"]
    return {
        "name": name, "refused": refused, "note": single.get("note", ""), "parts": parts,
        "points": sum(part["points"] for part in tests), "max": sum(p["max"] for p in tests),
        "pending": sum(s["points"] for s in steps if s["kind"] in ("answer", "text")),
        "seconds": round(seconds, 1),
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


def find_submissions(place: str) -> dict[str, Path]:
    """Return the notebooks of a folder and its sub-folders, each with a name of its own."""
    folder = Path(place)
    if not place:  # what `make grade` hands on when it is given none; not this folder
        raise BadInputError("name the folder with the notebooks (SUBMISSIONS=folder)")
    if not folder.is_dir():
        raise BadInputError(f"there is no folder {folder}: name the folder with the notebooks")
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.suffix.lower() == ".ipynb" and not hidden and not path.is_dir():
            name = "__".join(inside.with_suffix("").parts)
            if len(os.fsencode(name)) > 200:  # its feedback must be a file, too
                name = f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
            found[name if name not in found else f"{name}{path.suffix}"] = path
    if not found:
        raise BadInputError(f"the folder {folder} holds no notebooks (*.ipynb)")
    return found


def find_master(args, files: dict[str, Path]) -> tuple[Path, dict]:
    """Return the instructor's notebook; where it is not named, ask the submissions which one."""
    path = args.master
    if path is None:
        wanted = (args.set and f"ps{args.set.removeprefix('ps')}", args.seed and str(args.seed))
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
        if not re.fullmatch(r"ps\d+", name) or not re.fullmatch(r"\d+", seed):
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


def write_results(out: Path, title: str, records: list[dict], steps: list[dict], how: str) -> None:
    """Write grades.csv, a feedback page for each student and the summary."""
    from jinja2 import Environment, FileSystemLoader

    tests = [s for s in steps if s["kind"] == "test"]
    hand = [s for s in steps if s["kind"] in ("answer", "text") and s["points"]]
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["submission", "status", *(f"{t['id']} (max {t['points']:g})" for t in tests),
                    f"autograded (max {sum(t['points'] for t in tests):g})",
                    *(f"{h['id']} (by hand, max {h['points']:g})" for h in hand),
                    "pending by hand (max)"])  # fmt: skip
    for r in records:
        name = "'" + r["name"] if r["name"][0] in "=+-@" else r["name"]  # no spreadsheet formula
        points = {p["id"]: p.get("points") for p in r["parts"]}
        status = f"not graded: {r['refused']}" if r["refused"] else "graded"
        row = [name, status, *(f"{points[t['id']]:g}" for t in tests), f"{r['points']:g}"]
        table.writerow([*row, *("" for _ in hand), f"{r['pending']:g}"])
    write(out / "grades.csv", "\ufeff" + text.getvalue())  # the mark tells Excel that it is UTF-8
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = pages.get_template("grade_pages.html.j2")
    for r in records:
        html = page.render(kind="feedback", title=title, r=r)
        write(out / "feedback" / f"{r['name']}.html", html)
    graded = [r for r in records if not r["refused"]]
    shares = [100 * r["points"] / r["max"] for r in graded if r["max"]]
    bins = [sum(min(int(share // 10), 9) == b for share in shares) for b in range(10)]
    rates = []
    for t in tests:
        parts = [p for r in graded for p in r["parts"] if p["id"] == t["id"]]
        full = sum(not part["message"] for part in parts)
        rates.append((t["id"], t["points"], full, 100 * full / len(graded) if graded else 0))
    html = page.render(kind="summary", title=title, records=records, graded=graded, bins=bins,
                       rates=rates, hand=hand, how=how, shares=sorted(shares))  # fmt: skip
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
    files = find_submissions(args.submissions)
    path, master = find_master(args, files)
    ours = master["ntp_lite"]
    home = ROOT / "dist" / "grades" / str(ours.get("seed", "seed"))
    out = args.out or home / str(ours.get("assignment", path.stem))
    secret = [ROOT, path.parent.resolve(), Path(args.submissions).resolve(), out.resolve()]
    command, how = (None, "--no-sandbox") if args.no_sandbox else sandbox(secret)
    if command is None:
        how = (f"WITHOUT a sandbox ({how}): only the limits on time and memory hold. A submission "
               "runs with your rights: it can read your files and use the network.")  # fmt: skip
    print(f"Submissions run {how}", file=sys.stderr)
    keys = {name: key(name, file, path, args, command) for name, file in files.items()}
    places = {name: out / "records" / f"{keys[name]}.json" for name in files}
    done = {name: json.loads(p.read_text()) for name, p in places.items() if p.is_file()}
    resumed, todo = len(done), {name: file for name, file in files.items() if name not in done}

    def keep(name: str, result: dict) -> None:
        done[name] = result
        write(places[name], json.dumps(result))

    try:
        grade_all(todo, resumed, master, args, command, keep)
    except KeyboardInterrupt:
        print(f"\nInterrupted: {len(done)} of {len(files)} submissions are graded and kept; the "
              "same command goes on from here.", file=sys.stderr)  # fmt: skip
        return 130
    records = [done[name] for name in files]
    title = f"{ours.get('assignment', path.stem)}, cohort {ours.get('seed', '?')}"
    write_results(out, title, records, plan(master), how)
    odd = [r for r in records if r["refused"]]
    before = f" ({resumed} of them in an earlier run)" if resumed else ""
    print(f"{len(records) - len(odd)} of {len(records)} submissions graded{before}.")
    for r in odd:
        print(f"  not graded: {r['name']}: {r['refused']}".encode(errors="replace").decode())
    print(f"Results: {out}/grades.csv, summary.html and feedback/")
    return 1 if odd else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInputError as error:
        print(f"grade: {error}.", file=sys.stderr)
        sys.exit(2)
