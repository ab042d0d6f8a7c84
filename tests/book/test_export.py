"""The notebook export: every construct, the committed notebooks, forks, the set-up cell."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
import yaml
from docutils import nodes
from ntp_book import addresses, numbering
from ntp_book.export import builder, cells, cli, outputs, setup_cell
from ntp_book.export.markdown import BlockWriter, ExportError, myst_leftover
from small_book import FIXTURE, ROOT, copy_of_fixture

CHAPTER = "every_construct.ipynb"
NOTEBOOKS = sorted((ROOT / "book" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The fixture book, exported once."""
    target = tmp_path_factory.mktemp("exported")
    builder.export(FIXTURE, target)
    return target


@pytest.fixture(scope="module")
def notebook(exported) -> nbformat.NotebookNode:
    return nbformat.read(exported / CHAPTER, as_version=4)


@pytest.fixture(scope="module")
def prose(notebook) -> str:
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


CONSTRUCTS = {
    "title with its number": "# 2. Every construct\n",
    "section number": "## 2.1. Text with *emphasis*\n",
    "inline markup": "Plain, **strong**, `code`, ",
    "characters that Markdown would read": r"a star \* and an under\_score, a \< b, 5 \$ and a",
    "brackets before a parenthesis": "[brackets] (round), a literal [x] (y)",
    "entity": r"an ampersand \&lt; and a tilde \~.",
    "link between chapters": "[Chapter 1](first.ipynb)",
    "doc role": "[The first chapter](first.ipynb)",
    "ref role to a section": "[sums](first.ipynb)",
    "term role": "[soft label](../glossary.md)",
    "abbr role": '<abbr title="next-token prediction">NTP</abbr>',
    "footnote mark": "a footnote<sup>[1]</sup>",
    "footnote": "<sup>[1]</sup> The footnote, with $f$.",
    "reference to an appendix": "proofs in [Appendix A](proofs.ipynb)",
    "theorem of an appendix": "[Theorem A.1](proofs.ipynb) and [(A.1)](proofs.ipynb)",
    "section by its number": "[Section 1.1](first.ipynb);",
    "outside link": "[outside link](https://example.org/a_b)",
    "textual citation": "Doe *et al.* [[2001](../bibliography.md)]",
    "parenthetical citation": "[[Doe, 2002](../bibliography.md)]",
    "inline mathematics": r"Inline $x_1 * y_1 \lt 3$, then",
    "equation of another chapter": "[(1.1)](first.ipynb)",
    "equation of this chapter": "[(2.1)](#equation-eq-every-square)",
    "numbered equation": (
        '<a id="equation-eq-every-square"></a>\n\n$$\nx^2 + y^2 = z^2 \\tag{2.1}\n$$'
    ),
    "numbered equation over lines": "  &= d\n\\end{aligned} \\tag{2.2}\n$$",
    "mathematics in a list": "  $$ \\beta = 1, \\quad \\gamma = 2 $$\n\n  and more",
    "list that starts at three": "3. three\n\n4. four\n\n   - nested",
    "mathematics in a quotation": "> A quotation with\n>\n> $$ q = 1 $$",
    "definition list": "- **Term**: Its definition with $t$.",
    "code block": '```python\nprint("not executed")\n```',
    "table": "| symbol | meaning |\n| --- | --- |\n| $\\lvert x \\rvert$ | absolute value |",
    "table caption": "**Table 2.1.** A captioned table with $x$\n\n| a | b |",
    "theorem": "> **Theorem 2.1 (Squares [this book]).**\n>\n> For all $x$,",
    "target of a link": '<a id="thm-every-squares"></a>\n\n> **Theorem 2.1',
    "equation in a theorem, on one line": "> $$ x^2 \\geq 0. \\tag{2.3} $$",
    "list in a theorem": "> 1. first\n> 2. second",
    "proof": "**Proof.** By [Definition 1.1](first.ipynb) and [(2.3)](#equation-eq-every-",
    "end of proof": "$$\n1 = 1\n$$\n\n∎",
    "theorem without a title": "> **Lemma 2.1.**\n>\n> Small, see [Theorem 2.1](",
    "remark": "> **Remark 2.1.**\n>\n> A remark.",
    "admonition with code": "> **Note**\n>\n> A note with code:\n>\n> ```python\n> x = 1\n> ```",
    "numref to a figure": "> [Figure 2.1](#fig-every-line), [Table 2.1](#tab-every-sizes), ",
    "numref to an exercise": "[Exercise 2.1](#ex-every-double).",
    "see also": "> **See also**",
    "dropdown": "<details>\n<summary>More detail on $x$</summary>\n\nFolded away. See [The first",
    "figure caption": "**Figure 2.1.** A line of slope $1$, as in [(2.1)](#equation-eq-every-",
    "exercise": '<a id="ex-every-double"></a>\n\n### Exercise 2.1 (Double *it*)\n\n*Difficulty 1',
    "hint": "<details>\n<summary>Hint 1</summary>\n\nAdd.\n\n</details>",
    "solution": "<summary>Solution to Exercise 2.1 (Double <i>it</i>)</summary>\n\nAdd $x$",
    "solution after its code": "(Double <i>it</i>), continued</summary>\n\nSo it is.\n\n</details>",
    "exercise without a title": "### Exercise 2.2\n\nProve [Lemma 2.1](#lem-every-small).",
}


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_construct(construct, prose):
    assert CONSTRUCTS[construct] in prose


def leftovers(path: Path) -> list[str]:
    """Markup that only Sphinx understands, and links to nowhere; code blocks may hold anything."""
    prose = re.sub(r"(?ms)^[>\s]*(`{3,})[^`\n{]*$.*?^[>\s]*\1$", "", all_prose(path))
    markup = r"^[>\s]*(?:`{3,}|:{3,}).*|^\([\w-]+\)=|\[\]\(.*?\)"
    targets = set(re.findall(r'<a id="([^"]+)">', prose))
    links = [link for link in re.findall(r"\]\(#([^)]+)\)", prose) if link not in targets]
    return [*filter(None, [myst_leftover(prose)]), *re.findall(markup, prose, re.M), *links]


def all_prose(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(c.source for c in cells if c.cell_type == "markdown")


def test_no_markup_is_left(exported):
    assert leftovers(exported / CHAPTER) == []


def test_leftovers_are_noticed(tmp_path):
    for text in ("{numref}`fig-x`", ":::{note}", "(sec-x)=", "[](x.md)", "[a](#nowhere)"):
        bad = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
        nbformat.write(bad, tmp_path / "bad.ipynb")
        assert leftovers(tmp_path / "bad.ipynb"), text


def test_no_label_is_left_unresolved(prose):
    source = (FIXTURE / "book" / "every_construct.md").read_text(encoding="utf-8")
    labels = re.findall(r"(?:label:|name:) ([\w-]+)|\$\$ \(([\w-]+)\)", source)
    visible = re.sub(r'\]\([^)]*\)|<a id="[^"]*">', "", prose)
    assert len(labels) > 8
    for label in filter(None, sum(labels, ())):
        if label != "python3":
            assert label not in visible


def test_code_cells(notebook):
    setup, *cells = [c for c in notebook.cells if c.cell_type == "code"]
    assert notebook.cells.index(setup) == 1
    assert "REPOSITORY" in setup.source
    by_text = {c.source.splitlines()[0]: c for c in cells}
    assert [c.source.splitlines()[0] for c in cells] == [
        "import matplotlib.pyplot as plt",
        "fig, ax = plt.subplots()",
        'print(f"{2 / 3:.3f}")',
        "hidden = 1",
        "def double(x):",
        "def double(x):",
    ]
    plot = by_text["fig, ax = plt.subplots()"]
    assert plot.metadata["tags"] == ["hide-input"]
    assert plot.metadata["jupyter"]["source_hidden"]
    assert by_text["hidden = 1"].metadata["jupyter"]["outputs_hidden"]
    stub, solution = (c for c in cells if c.source.startswith("def double"))
    assert "jupyter" not in stub.metadata
    assert solution.metadata["jupyter"]["source_hidden"], "solutions are folded"
    assert "assert double(2) == 4" in solution.source


def test_only_compared_cells_hold_output(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            compared = outputs.CHECKED in cell.metadata.get("tags", [])
            assert bool(cell.outputs) == compared
            assert cell.execution_count == (1 if compared else None)
    compared = outputs.checked_cells(notebook)
    assert [c.outputs[0].text for c in compared] == ["0.667\n"]


def test_export_is_deterministic(exported, tmp_path):
    builder.export(FIXTURE, tmp_path)
    for path in exported.glob("*.ipynb"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_prose_edit_keeps_output_and_code_edit_renews_it(exported, tmp_path):
    book = copy_of_fixture(tmp_path / "book")
    target = tmp_path / "notebooks"
    shutil.copytree(exported, target)
    stored = nbformat.read(target / CHAPTER, as_version=4)
    outputs.checked_cells(stored)[0].outputs[0].text = "stored\n"
    (target / CHAPTER).write_text(cells.dump(stored), encoding="utf-8")
    chapter = book / "book" / "every_construct.md"
    source = chapter.read_text(encoding="utf-8")

    chapter.write_text(source.replace("Plain, ", "Very plain, "), encoding="utf-8")
    builder.export(book, target)
    after_prose = nbformat.read(target / CHAPTER, as_version=4)
    assert "Very plain, " in all_prose(target / CHAPTER)
    assert outputs.checked_cells(after_prose)[0].outputs[0].text == "stored\n"

    chapter.write_text(source.replace("2 / 3", "1 / 3"), encoding="utf-8")
    builder.export(book, target)
    after_code = nbformat.read(target / CHAPTER, as_version=4)
    assert outputs.checked_cells(after_code)[0].outputs[0].text == "0.333\n"


@pytest.mark.parametrize(
    ("construct", "complaint"),
    [
        ("```{raw} html\n<b>x</b>\n```", "raw"),
        ("| a |\n|---|\n| $\\|x\\|$ |", "vert"),
        ("::::{tab-set}\n:::{tab-item} One\nText.\n:::\n::::", "has no CommonMark form"),
        ("> $$\n> a % comment\n> b\n> $$", "TeX comment"),
    ],
    ids=["raw", "bar in a table", "tabs", "comment in joined mathematics"],
)
def test_unsupported_construct_stops_the_export(construct, complaint, tmp_path, capfd):
    book = copy_of_fixture(tmp_path / "book")
    chapter = book / "book" / "first.md"
    chapter.write_text(chapter.read_text(encoding="utf-8") + f"\n{construct}\n", encoding="utf-8")
    with pytest.raises(ExportError):
        builder.export(book, tmp_path / "notebooks")
    message = capfd.readouterr().err
    assert "first.md" in message
    assert complaint in message
    assert not list((tmp_path / "notebooks").glob("*.ipynb")), "nothing is written"


def test_missing_picture_stops_the_export_and_is_named(tmp_path, monkeypatch):
    """Sphinx warns of it, too; the writer must not die of it, or no other page is reported."""
    monkeypatch.setattr(BlockWriter, "__init__", lambda self: None)
    writer = BlockWriter()
    writer.docname = "book/first"
    writer.builder = SimpleNamespace(srcdir=tmp_path)
    with pytest.raises(ExportError, match=r"book/first\.md: there is no picture book/none\.png"):
        writer.block_image(nodes.image(uri="book/none.png"))


def test_unresolved_label_stops_the_export(tmp_path, capfd):
    book = copy_of_fixture(tmp_path / "book")
    chapter = book / "book" / "first.md"
    text = chapter.read_text(encoding="utf-8")
    chapter.write_text(text + "\nSee {eq}`eq-nowhere`.\n", encoding="utf-8")
    with pytest.raises(ExportError):
        builder.export(book, tmp_path / "notebooks")
    assert "eq-nowhere" in capfd.readouterr().err


# --- A fork: another address ---


def test_fork_differs_in_its_address_alone(exported, tmp_path):
    book = copy_of_fixture(tmp_path / "book")
    cli.set_repository(book / "_config.yml", "Some-One/geometry")
    builder.export(book, tmp_path / "notebooks")
    fork = (tmp_path / "notebooks" / CHAPTER).read_text(encoding="utf-8")
    original = (exported / CHAPTER).read_text(encoding="utf-8")
    assert fork != original
    assert "https://some-one.github.io/geometry/book/first.html" in fork
    assert '\\"https://github.com/Some-One/geometry\\"' in fork
    ours, theirs = map(cells.normalise, (original, fork))
    assert ours == theirs
    assert builder.stale(FIXTURE, tmp_path / "notebooks") == [], "a fork's notebooks pass"


@pytest.mark.parametrize("name", ["owner", "a_b/c", "https://github.com/a/b", "-a/b", "a/b c"])
def test_bad_repository_is_refused(name, tmp_path):
    config = tmp_path / "_config.yml"
    config.write_text("  url: https://github.com/x/y\n", encoding="utf-8")
    with pytest.raises(ExportError, match="owner/name"):
        cli.set_repository(config, name)
    assert "x/y" in config.read_text(encoding="utf-8")


# --- The set-up cell ---


def run_setup(monkeypatch, url: str, colab: bool, installed: bool) -> list[list[str]]:
    """Run the set-up cell and return the commands that it would have run."""
    commands: list[list[str]] = []
    have = {"ntp_lite": installed}
    monkeypatch.setitem(sys.modules, "google.colab", object()) if colab else None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: have[name] or None)

    def install(command, **options):
        commands.append(command)
        have["ntp_lite"] = True

    monkeypatch.setattr(subprocess, "run", install)
    exec(setup_cell.setup_cell(url, "main"), {})
    return commands


def test_setup_installs_nothing_on_a_reader_s_machine(monkeypatch, capsys):
    assert run_setup(monkeypatch, "https://github.com/some/one", False, True) == []
    assert "device:" in capsys.readouterr().out


def test_setup_installs_in_colab_and_keeps_torch_and_numpy(monkeypatch):
    import numpy

    [command] = run_setup(monkeypatch, "https://github.com/some/one", True, False)
    assert "ntp_lite[chapters] @ git+https://github.com/some/one@main" in command
    assert f"numpy=={numpy.__version__}" in command
    assert any(part.startswith(f"torch=={torch.__version__.split('+')[0]}") for part in command)


def test_setup_with_the_placeholder_says_what_to_set(monkeypatch):
    with pytest.raises(SystemExit, match="set REPOSITORY"):
        run_setup(monkeypatch, "https://github.com/an_owner/name", True, False)


def test_setup_without_the_package_says_how_to_install_it(monkeypatch):
    with pytest.raises(SystemExit, match="pip install"):
        run_setup(monkeypatch, "https://github.com/some/one", False, False)


# --- The committed notebooks ---


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_notebook_is_plain_and_complete(path):
    assert leftovers(path) == []
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in outputs.checked_cells(notebook):
        assert cell.outputs, f"no stored output for: {cell.source[:60]}"


def test_colab_links_and_notebooks_correspond():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    repository = config["repository"]

    class Config:
        html_theme_options = {  # noqa: RUF012
            "repository_url": repository["url"],
            "repository_branch": repository["branch"],
        }

    linked = set()
    for chapter in numbering.read_chapters(ROOT):
        address = addresses.colab_address(Config, chapter)
        owner_and_name = repository["url"].removeprefix("https://github.com/")
        prefix = f"https://colab.research.google.com/github/{owner_and_name}/blob/main/"
        assert address.startswith(prefix)
        linked.add(ROOT / address.removeprefix(prefix))
    assert linked == set(NOTEBOOKS)


def test_committed_notebooks_are_fresh():
    names = builder.stale(ROOT, ROOT / "book" / "notebooks")
    assert names == [], "run `make notebooks`"


def test_stale_notebook_is_noticed(exported, tmp_path):
    target = tmp_path / "notebooks"
    shutil.copytree(exported, target)
    assert builder.stale(FIXTURE, target) == []
    text = (target / CHAPTER).read_text(encoding="utf-8")
    (target / CHAPTER).write_text(text.replace("Folded away", "Folded"), encoding="utf-8")
    shutil.copy(target / CHAPTER, target / "nobody.ipynb")
    assert builder.stale(FIXTURE, target) == [CHAPTER, "nobody.ipynb"]
