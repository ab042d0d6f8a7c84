"""Which package chapters run, when they run again, and what is said when one dies."""

import re
import shutil
import sys

import nbformat
import pytest
from ntp_book import execution
from ntp_book.export import outputs
from ntp_book.export.markdown import ExportError
from small_book import ROOT, build, copy_of_fixture, output

CHAPTER = """\
Prose may speak of exercises.other.

```{code-cell} ipython3
:tags: [hide-input]

import ntp_lite as ntp
from ntp_lite import exercises

exercises.mine.answer(4)
```
"""
FILES = {
    "ntp_lite/core.py": True,
    "ntp_lite/_private.py": True,
    "ntp_lite/__main__.py": False,
    "ntp_lite/cli.py": False,
    "ntp_lite/data/text.txt": True,
    "ntp_lite/data/report.html": False,
    "ntp_lite/exercises/__init__.py": True,
    "ntp_lite/exercises/_common.py": True,
    "ntp_lite/exercises/mine.py": True,
    "ntp_lite/exercises/used_by_mine.py": True,
    "ntp_lite/exercises/other.py": False,
    "constraints.txt": True,
    "README.md": False,
}


@pytest.fixture
def tree(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1", encoding="utf-8")
    mine = tmp_path / "ntp_lite/exercises/mine.py"
    mine.write_text("from .used_by_mine import compare", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_key_follows_what_a_chapter_can_reach(tree, name):
    before = execution.execution_key(tree, CHAPTER)
    (tree / name).write_text("2", encoding="utf-8")
    assert (execution.execution_key(tree, CHAPTER) != before) == FILES[name]


@pytest.mark.parametrize(
    "code",
    [
        "from ntp_lite.exercises import mine",
        "from ntp_lite.exercises import (\n    first,\n    mine,\n)",
        "import ntp_lite.exercises.mine as check",
        "from ntp_lite.exercises.mine import answer",
        "ntp.exercises.mine.answer(4)",
        "%matplotlib inline\nntp.exercises.mine.answer(4)",
    ],
)
def test_key_sees_every_way_to_name_a_module(tree, code):
    chapter = f"```{{code-cell}} ipython3\n{code}\n```\n"
    before = execution.execution_key(tree, chapter)
    (tree / "ntp_lite/exercises/mine.py").write_text("2", encoding="utf-8")
    assert execution.execution_key(tree, chapter) != before


READS = """```{code-cell} ipython3
stored = first("benchmarks/runs")
weights = "_pretrained/model"
```"""


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("benchmarks/runs/one.json", True),
        ("_pretrained/model/config.json", True),
        ("benchmarks/other/one.json", False),
        ("_pretrained/checkpoints/one.npz", False),
    ],
)
def test_key_follows_the_measurements_and_weights_that_the_code_names(tree, name, counts):
    before = execution.execution_key(tree, READS)
    path = tree / name
    path.parent.mkdir(parents=True)
    path.write_text("1")
    appeared = execution.execution_key(tree, READS)
    path.write_text("2")
    changed = execution.execution_key(tree, READS)
    assert (appeared != before) == (changed != appeared) == counts


def test_every_chapter_reaches_its_own_checker_alone():
    """The book's own chapters; a checker may be used by another chapter, too."""
    checkers = {p for p in (ROOT / "ntp_lite").rglob("*/*.py") if not p.name.startswith("_")}
    assert len(checkers) >= 17
    for chapter in (ROOT / "book").glob("*.md"):
        text = chapter.read_text(encoding="utf-8")
        code = "\n".join(match[0] for match in execution.CODE_CELL.finditer(text))
        used = set(execution.modules(ROOT, code)) & checkers
        if re.search(r"^from ntp_lite import (?:checks|exercises)|^from ntp_lite\.ex", code, re.M):
            assert 1 <= len(used) <= 3, (chapter.name, used)


# --- Builds ---


def executed(result):
    assert result.returncode == 0, output(result)
    found = re.findall(r"([\w-]+)\.md: Executing notebook", output(result))
    return sorted(found)


def test_a_changed_checker_runs_its_own_chapter_again_and_no_other(tmp_path):
    book = copy_of_fixture(tmp_path / "book")
    exercises = book / "ntp_lite" / "exercises"
    exercises.mkdir(parents=True)
    for name in ("first", "other"):
        (exercises / f"{name}.py").write_text("1", encoding="utf-8")
    chapter = book / "book" / "first.md"
    text = chapter.read_text(encoding="utf-8")
    chapter.write_text(text.replace("value = 2 + 2", "value = 2 + 2  # exercises.first"), "utf-8")
    assert executed(build(book)) == ["every_construct", "first"]
    (exercises / "first.py").write_text("2", encoding="utf-8")
    assert executed(build(book)) == ["first"]
    (exercises / "other.py").write_text("2", encoding="utf-8")
    assert executed(build(book)) == []
    (book / "ntp_lite" / "core.py").write_text("1", encoding="utf-8")
    assert executed(build(book)) == ["every_construct", "first"]
    (book / "ntp_lite" / "core.py").unlink()
    assert executed(build(book)) == [], "an earlier state comes from the cache"


def test_a_chapter_whose_kernel_dies_is_named(tmp_path):
    book = copy_of_fixture(tmp_path / "book")
    chapter = book / "book" / "every_construct.md"
    text = chapter.read_text(encoding="utf-8")
    died = text.replace("hidden = 1", "import os\nos._exit(7)")
    chapter.write_text(died, encoding="utf-8")
    result = build(book)
    assert result.returncode != 0
    assert "book/every_construct.md: the build ended while this page was read" in output(result)
    assert "its kernel died" in output(result)


def test_a_page_that_runs_code_needs_a_kernel_in_its_header(tmp_path):
    book = copy_of_fixture(tmp_path / "book")
    chapter = book / "book" / "first.md"
    text = chapter.read_text(encoding="utf-8")
    chapter.write_text(text.replace("  display_name: Python 3\n", ""), encoding="utf-8")
    result = build(book)
    assert result.returncode != 0
    assert "first.md runs code, and its header has no line `display_name" in output(result)


# --- Which package ---


def test_this_trees_package_is_accepted():
    assert execution.foreign_package() is None
    execution.refuse_foreign_package(execution.kernel_python())


def test_another_trees_package_is_refused(tmp_path):
    complaint = execution.foreign_package(tree=tmp_path)
    assert complaint is not None
    assert f"imports ntp_lite from {ROOT / 'ntp_lite'}" in complaint
    assert str(tmp_path) in complaint and "make distclean" in complaint


def test_a_missing_package_is_said_to_be_missing(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    assert "has no ntp_lite" in execution.foreign_package(str(python))


def test_a_copied_tree_builds_nothing_with_the_originals_package(tmp_path):
    """Its environment would be the original's, and so would be every number on its site."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "book" / "_ext", copy / "book" / "_ext")
    book = copy_of_fixture(tmp_path / "book")
    config = book / "_config.yml"
    text = config.read_text(encoding="utf-8")
    text = text.replace(str(ROOT / "book" / "_ext"), str(copy / "book" / "_ext"))
    config.write_text(text, encoding="utf-8")
    result = build(book)
    assert result.returncode != 0
    assert "the environment belongs to another folder" in output(result)
    assert "Executing notebook" not in output(result)


# --- The same in the export ---


def notebook_that_runs(source):
    cell = nbformat.v4.new_code_cell(source)
    return nbformat.v4.new_notebook(cells=[cell])


def test_export_names_the_notebook_whose_kernel_dies(tmp_path):
    notebook = notebook_that_runs("import os\nos._exit(7)")
    with pytest.raises(ExportError, match=r"mine\.ipynb: its kernel died"):
        outputs.run(notebook, "mine.ipynb", tmp_path)


def test_export_refuses_another_trees_package(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "foreign_package", lambda python: "It is another tree's.")
    with pytest.raises(ExportError, match=r"mine\.ipynb fails:\nIt is another tree's\."):
        outputs.run(notebook_that_runs("1"), "mine.ipynb", tmp_path)
