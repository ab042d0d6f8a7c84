"""The notebook export: every construct, the committed notebooks, forks, the set-up cell."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from docutils import nodes
from ntp_book import addresses, numbering
from ntp_book.export import builder, cells, cli, outputs
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
    "links between chapters": "**Prerequisites.** Chapter 1, The first chapter, sums, Section 1.1;",
    "term role": "A soft label, an <abbr",
    "abbr role": '<abbr title="next-token prediction">NTP</abbr>',
    "footnote mark": "a footnote<sup>[1]</sup>",
    "footnote": "<sup>[1]</sup> The footnote, with $f$.",
    "reference to an appendix": "proofs in Appendix A, with ",
    "theorem of an appendix": "with Theorem A.1 and (A.1).",
    "outside link": "[outside link](https://example.org/a_b)",
    "textual citation": "Doe *et al.* [2001]",
    "parenthetical citation": "[Doe, 2002]",
    "inline mathematics": r"Inline $x_1 * y_1 \lt 3$, then",
    "equations in a line": "3$, then (1.1) and (2.1) and (2.2).",
    "numbered equation": "(2.2).\n\n$$\nx^2 + y^2 = z^2 \\tag{2.1}\n$$",
    "numbered equation over lines": "  &= d\n\\end{aligned} \\tag{2.2}\n$$",
    "mathematics in a list": "  $$ \\beta = 1, \\quad \\gamma = 2 $$\n\n  and more",
    "list that starts at three": "3. three\n\n4. four\n\n   - nested",
    "mathematics in a quotation": "> A quotation with\n>\n> $$ q = 1 $$",
    "definition list": "- **Term**: Its definition with $t$.",
    "code block": '```python\nprint("not executed")\n```',
    "table": "| symbol | meaning |\n| --- | --- |\n| $\\lvert x \\rvert$ | absolute value |",
    "table caption": "**Table 2.1.** A captioned table with $x$\n\n| a | b |",
    "theorem": "> **Theorem 2.1 (Squares [this book]).**\n>\n> For all $x$,",
    "equation in a theorem, on one line": "> $$ x^2 \\geq 0. \\tag{2.3} $$",
    "list in a theorem": "> 1. first\n> 2. second",
    "proof": "<summary>Proof</summary>\n\nBy Definition 1.1 and (2.3).\n",
    "end of proof": "$$\n1 = 1\n$$\n\n∎",
    "theorem without a title": "> **Lemma 2.1.**\n>\n> Small, see Theorem 2.1.",
    "remark": "> **Remark 2.1.**\n>\n> A remark.",
    "admonition with code": "> **Note**\n>\n> A note with code:\n>\n> ```python\n> x = 1\n> ```",
    "numref to a figure": "> Figure 2.1, Table 2.1, Exercise 2.1.",
    "see also": "> **See also**",
    "dropdown": "<details>\n<summary>More detail on $x$</summary>\n\nFolded away. See The first",
    "figure caption": "**Figure 2.1.** A line of slope $1$, as in (2.1).",
    "exercise": "### Exercise 2.1 (Double *it*)\n\n*Difficulty 1",
    "hint": "<details>\n<summary>Hint 1</summary>\n\nAdd.\n\n</details>",
    "solution": "<summary>Solution to Exercise 2.1 (Double <i>it</i>)</summary>\n\nAdd $x$",
    "solution after its code": "(Double <i>it</i>), continued</summary>\n\nSo it is.\n\n</details>",
    "exercise without a title": "### Exercise 2.2\n\nProve Lemma 2.1.",
}


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_construct(construct, prose):
    assert CONSTRUCTS[construct] in prose


# With a published address, links lead to the site, those to places in the notebook, too.
LINKS = {
    "chapter": "[Chapter 1](SITE/first.html#ch-first)",
    "page": "[The first chapter](SITE/first.html)",
    "section": "[sums](SITE/first.html#sec-first-sums)",
    "appendix": "[Appendix A](SITE/proofs.html#app-proofs)",
    "theorem of an appendix": "[Theorem A.1](SITE/proofs.html#thm-proofs-first)",
    "term": "[soft label](SITE/glossary.html#term-soft-label)",
    "citation": "Doe *et al.* [[2001](SITE/bibliography.html#",
    "equation of another chapter": "[(1.1)](SITE/first.html#equation-eq-first-sum)",
    "equation of this chapter": "[(2.1)](SITE/every_construct.html#equation-eq-every-square)",
    "theorem of this chapter": "[Theorem 2.1](SITE/every_construct.html#thm-every-squares)",
    "figure": "[Figure 2.1](SITE/every_construct.html#fig-every-line)",
    "exercise": "[Exercise 2.1](SITE/every_construct.html#ex-every-double)",
    "outside": "[outside link](https://example.org/a_b)",
}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """The fixture book with an address, exported once."""
    book = copy_of_fixture(tmp_path_factory.mktemp("published") / "book")
    cli.set_repository(book / "_config.yml", "Some-One/geometry")
    builder.export(book, book / "book" / "notebooks")
    return book


@pytest.mark.parametrize("kind", LINKS)
def test_links_lead_to_the_published_site(kind, published):
    link = LINKS[kind].replace("SITE", "https://some-one.github.io/geometry/book")
    assert link in all_prose(published / "book" / "notebooks" / CHAPTER)


def test_a_placeholder_is_no_target_of_links(prose):
    assert re.findall(r"\]\((?!https://example\.org)", prose) == []
    assert "github.io" not in prose and "<a id" not in prose


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
    assert [c.source.splitlines()[:2] for c in cells] == [
        ["import matplotlib.pyplot as plt"],
        ["# @title Figure 2.1", "fig, ax = plt.subplots()"],
        ['print(f"{2 / 3:.3f}")'],
        ["# @title Code", "hidden = 1"],
        ["def double(x):", "    return ...  # your code"],
        ["# @title Solution to Exercise 2.1", "def double(x):"],
    ]
    _, plot, _, hidden, stub, solution = cells
    assert plot.metadata["tags"] == ["hide-input"]
    assert plot.metadata["jupyter"]["source_hidden"]
    assert hidden.metadata["jupyter"]["outputs_hidden"]
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


def test_a_fork_differs_in_its_address_and_links_alone(exported, published):
    texts = [(folder / CHAPTER).read_text(encoding="utf-8") for folder in
             (exported, published / "book" / "notebooks")]  # fmt: skip
    assert '\\"https://github.com/Some-One/geometry\\"' in texts[1]
    plain = [
        re.sub(r"https://github\.com/[\w-]+/\w+|\"id\": .*", "", without_links(t)) for t in texts
    ]
    assert plain[0] == plain[1]
    assert builder.stale(published, published / "book" / "notebooks") == []
    assert CHAPTER in builder.stale(FIXTURE, published / "book" / "notebooks")


def without_links(text: str) -> str:
    """Keep the text of each link to the site."""
    return re.sub(r"\[((?:\\.|[^\[\]])*)\]\(https://some-one[^)]*\)", r"\1", text)


def test_the_check_does_not_depend_on_who_builds(published, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_REPOSITORY", "fork/other")
    assert builder.stale(published, published / "book" / "notebooks") == []


@pytest.mark.parametrize("name", ["owner", "a_b/c", "https://github.com/a/b", "-a/b", "a/b c"])
def test_bad_repository_is_refused(name, tmp_path):
    config = tmp_path / "_config.yml"
    config.write_text("  url: https://github.com/x/y\n", encoding="utf-8")
    with pytest.raises(ExportError, match="owner/name"):
        cli.set_repository(config, name)
    assert "x/y" in config.read_text(encoding="utf-8")


@pytest.mark.parametrize("tag", ["v1.0", "2027.1", ""])
def test_a_release_is_written_and_used(tag, tmp_path):
    config = tmp_path / "_config.yml"
    config.write_text('    ntp_release: "v0.1" # a tag\n', encoding="utf-8")
    cli.set_release(config, tag)
    assert config.read_text(encoding="utf-8") == f'    ntp_release: "{tag}"\n'


def test_a_bad_release_is_refused(tmp_path):
    config = tmp_path / "_config.yml"
    config.write_text('    ntp_release: ""\n', encoding="utf-8")
    for tag in ('v1"', "a b", "-v"):
        with pytest.raises(ExportError, match="is not a tag"):
            cli.set_release(config, tag)
    config.write_text("title: no such line\n", encoding="utf-8")
    with pytest.raises(ExportError, match="exactly one line"):
        cli.set_release(config, "v1.0")


# --- The committed notebooks ---


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_notebook_is_plain_and_complete(path):
    assert leftovers(path) == []
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.metadata.get("cellView") == "form":
            assert cell.source.startswith(("# @title ", "%%")), "Colab shows only the title"
    for cell in outputs.checked_cells(notebook):
        assert cell.outputs, f"no stored output for: {cell.source[:60]}"


# What a reader has to answer before the next cell runs.
WAITING = re.compile(r"\b(?:files\.upload|input|getpass)\(")
# Switched off until the reader ticks a box; "Run all" goes on.
FORM_FIELD = re.compile(r"(?m)^\w+ = False  # @param \{type: ?\"boolean\"\}$")


def waiting(notebook):
    """The code cells at which "Run all" would stop until somebody answers."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return [text for text in sources if WAITING.search(text) and not FORM_FIELD.search(text)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_no_cell_waits(path):
    assert waiting(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize(
    ("source", "waits"),
    [
        ("uploaded = files.upload()", True),
        ("name = input('Who?')", True),
        ('ask = False  # @param {type:"boolean"}\nif ask:\n    files.upload()', False),
        ('ask = True  # @param {type:"boolean"}\nif ask:\n    files.upload()', True),
        ("my_input(3)", False),
    ],
)
def test_a_cell_that_waits_is_noticed(source, waits):
    cell = nbformat.v4.new_code_cell(source)
    assert bool(waiting(nbformat.v4.new_notebook(cells=[cell]))) == waits


def test_colab_links_and_notebooks_correspond():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    repository = config["repository"]

    found = addresses.addresses_of(repository["url"], repository["branch"])
    linked = set()
    for chapter in numbering.read_chapters(ROOT):
        address = addresses.colab_address(found, chapter)
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
