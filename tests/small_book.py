"""A small book that uses every construct which chapters may use: tests/fixtures/book."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIXTURE = ROOT / "tests" / "fixtures" / "book"
CHAPTER = "every_construct"


def copy_of_fixture(folder: Path) -> Path:
    """A copy of the fixture book that finds the extensions and this book's style."""
    shutil.copytree(FIXTURE, folder)
    config = folder / "_config.yml"
    text = config.read_text(encoding="utf-8")
    text = text.replace("../../../book/_ext", str(ROOT / "book" / "_ext"))
    folders = [str(ROOT / "book" / name) for name in ("assets", "vendor")]
    style = f"    html_static_path: {folders!r}\n    mathjax_path: mathjax/tex-chtml.js\n"
    config.write_text(text + style, encoding="utf-8")
    return folder


def build(book: Path) -> subprocess.CompletedProcess:
    """Build a site as `make book` does."""
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", str(book)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    environment["PYTHONPATH"] = str(ROOT)  # this tree's package, wherever the environment is
    return subprocess.run(
        [*command, "-W", "-n", "--keep-going"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def output(result: subprocess.CompletedProcess) -> str:
    """All that a build said."""
    return result.stdout + result.stderr
