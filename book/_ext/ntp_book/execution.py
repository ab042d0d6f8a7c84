"""Which `ntp_lite` a chapter runs, when it has to run again, and what is said when it dies.

Jupyter Book's cache of executed chapters compares their cells alone, and would show old numbers
after a change in `ntp_lite`. So every page that runs code gets a key: a hash of what its output
depends on besides its own cells. The key is written into the page's header as Sphinx reads it, as
the kernel's display name. The cache compares that name together with the cells; nothing shows it.

The key covers `ntp_lite` but for its command line, the data and the pinned versions, and the
measurements and weights of the repository that the page's code names. Of a subpackage (the checkers
of the exercises) it covers only the modules that the page names: a new hint in one chapter's
checker runs that chapter again, not all of them.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_client.kernelspec import KernelSpecManager
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import SphinxError
from sphinx.util import logging

logger = logging.getLogger(__name__)

TREE = Path(__file__).resolve().parents[3]
CACHE = ".jupyter_cache"
# Executed states that the cache keeps, so that a return to an earlier state runs nothing.
CACHE_LIMIT = 200
KEY = "ntp_execution_key"
NOT_RUN_BY_CHAPTERS = ("__main__.py", "cli.py")
# A text in the code that names measurements or weights: "benchmarks/results", "_pretrained/model".
READ = re.compile(r"[\"']((?:benchmarks|_pretrained)/[\w./-]+)[\"']")
CODE_CELL = re.compile(r"(?ms)^(`{3,}|:{3,})\{code-cell\}.*?^\1\s*$")
KERNEL_NAME = re.compile(r"(?m)^(\s+display_name:).*$")


class ExecutionError(SphinxError):
    """A page that cannot be executed, or must not be."""

    category = "Execution"


# --- When a page has to run again ---


def names(code: str) -> set[str]:
    """Return the names in import lines, and every attribute's: all by which code names a module."""
    imports = re.findall(r"(?m)^\s*(?:from|import)\b.*(?:\n\s+\w.*|\n\s*\).*)*", code)
    found = {word for line in imports for word in re.findall(r"\w+", line)}
    return found | set(re.findall(r"\.(\w+)", code))


def modules(root: Path, code: str) -> list[Path]:
    """Return the files of `ntp_lite` that a page with this code can reach.

    That is the package itself but for its command line; of a subpackage, what every module of it
    may use (names with a leading underscore) and the modules that the code names, directly or by
    way of each other.
    """
    package = root / "ntp_lite"
    found = [path for path in package.glob("*.py") if path.name not in NOT_RUN_BY_CHAPTERS]
    optional = set()
    for path in package.rglob("*/*.py"):
        if path.name.startswith("_"):
            found.append(path)
        else:
            optional.add(path)
    wanted = names(code)
    while new := {path for path in optional if path.stem in wanted}:
        found += new
        optional -= new
        for path in new:
            wanted |= names(path.read_text(encoding="utf-8"))
    return sorted(found)


def files_read(root: Path, code: str) -> list[Path]:
    """Return the measurements and weights that a page's code names and that are there."""
    found: list[Path] = []
    for named in sorted(set(READ.findall(code))):
        path = root / named
        found += [path] if path.is_file() else sorted(path.rglob("*"))
    return [path for path in found if path.is_file()]


def execution_key(root: Path, text: str) -> str:
    """Return a hash of everything that a page's output depends on besides its own cells."""
    code = "\n".join(match[0] for match in CODE_CELL.finditer(text))
    digest = hashlib.sha256()
    for path in files_read(root, code):  # weights are large: their size and time will do
        state = path.stat()
        is_large = state.st_size > 10_000_000
        content = f"{state.st_size} {state.st_mtime_ns}".encode() if is_large else path.read_bytes()
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + content)
    data = sorted((root / "ntp_lite" / "data").glob("*.txt"))
    pins = [path for path in [root / "constraints.txt"] if path.exists()]
    for path in [*modules(root, code), *data, *pins]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def write_key(app: Sphinx, docname: str, source: list[str]) -> None:
    """Write a page's key into its header, where the cache of executed pages looks."""
    text = source[0]
    if app.config.nb_execution_mode == "off" or not CODE_CELL.search(text):
        return
    key = execution_key(Path(app.srcdir), text)
    header, fence, body = text.removeprefix("---").partition("\n---")
    header, written = KERNEL_NAME.subn(rf"\1 Python 3 ({key})", header, count=1)
    if not (written and fence and text.startswith("---")):
        raise ExecutionError(
            f"{docname}.md runs code, and its header has no line `display_name: Python 3` under "
            "`kernelspec:`; copy the header of another chapter."
        )
    source[0] = f"---{header}{fence}{body}"
    app.env.metadata[docname][KEY] = key


def pages_to_read_again(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Return the unchanged pages whose key is no longer what it was."""
    root = Path(app.srcdir)
    outdated = []
    for page in sorted(env.found_docs - added - changed):
        key = env.metadata.get(page, {}).get(KEY)
        if key is not None:
            text = Path(env.doc2path(page)).read_text(encoding="utf-8")
            if key != execution_key(root, text):
                outdated.append(page)
    return outdated


# --- Which package is run ---


def foreign_package(python: str = sys.executable, tree: Path = TREE) -> str | None:
    """Return one sentence if `python` imports an `ntp_lite` that is not this tree's, else None.

    A copied or renamed folder keeps the environment of the original: its tests and chapters would
    silently run the original's package.
    """
    look = "import importlib.util as u; s = u.find_spec('ntp_lite'); print(s.origin if s else '')"
    command = [python, "-P", "-c", look]
    origin = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if origin and Path(origin).resolve().is_relative_to(tree):
        return None
    found = f"imports ntp_lite from {Path(origin).parent}" if origin else "has no ntp_lite"
    return (
        f"{python} {found}, and this book is in {tree}: the environment belongs to another folder. "
        "Run `make distclean` and then `make setup` here."
    )


def refuse_foreign_package(python: str = sys.executable) -> None:
    """Raise ExecutionError if `python` imports an `ntp_lite` that is not this tree's."""
    complaint = foreign_package(python)
    if complaint:
        raise ExecutionError(complaint)


def kernel_python(name: str = "python3") -> str:
    """Return the interpreter that executes the chapters.

    Of a kernel that says just `python`, Jupyter runs the interpreter that Jupyter itself runs in.
    """
    python = str(KernelSpecManager().get_kernel_spec(name).argv[0])
    return sys.executable if re.fullmatch(r"python(3(\.\d+)?)?", python) else python


# --- Around a build ---


def choose_cache(app: Sphinx, config: Config) -> None:
    """Name the folder of the cache, which both myst-nb and this module use."""
    if config.nb_execution_mode == "cache":
        config.nb_execution_cache_path = str(Path(app.outdir).parent / CACHE)


def prepare(app: Sphinx) -> None:
    """Before chapters run: the right package, and a cache that does not grow for ever."""
    if app.config.nb_execution_mode == "off":
        return
    for python in sorted({sys.executable, kernel_python()}):
        refuse_foreign_package(python)
    if app.config.nb_execution_mode == "cache":
        get_cache(app.config.nb_execution_cache_path).change_cache_limit(CACHE_LIMIT)


def name_the_page(app: Sphinx, error: Exception | None) -> None:
    """When a build ends in an exception, say at which page: a dead kernel does not know it."""
    if error is None:
        return
    try:
        page = app.env.docname
    except (AttributeError, KeyError):  # it was not reading a page
        return
    died = "DeadKernel" in type(error).__name__
    reason = "its kernel died, as it does when memory runs out" if died else type(error).__name__
    logger.error(f"{page}.md: the build ended while this page was read: {reason}.")


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("config-inited", choose_cache)
    app.connect("builder-inited", prepare)
    app.connect("env-get-outdated", pages_to_read_again)
    app.connect("source-read", write_key)
    app.connect("build-finished", name_the_page)
