"""What is delivered besides the site: Markdown for programs, a link check, the PDF, releases."""

import http.server
import re
import shutil
import threading

import nbformat
import pytest
from ntp_book import links, llms, pdf, release
from small_book import FIXTURE, ROOT

PAGE = """<html><head><meta name="description" content="What {name} is about."></head><body>
<article>
<h1>1. The page {name}#</h1><p id="here">See <a href="{other}.html#there">there</a> and
<a href="https://example.org/x#y">outside</a>.</p><details><summary>More</summary>inside</details>
<script>alert(1)</script></article></body></html>"""


@pytest.fixture
def site(tmp_path):
    """Two hand-made pages where a site would have them."""
    (tmp_path / "book").mkdir()
    for name, other in (("intro", "first"), ("first", "intro")):
        page = PAGE.format(name=name, other=other)
        (tmp_path / "book" / f"{name}.html").write_text(page, encoding="utf-8")
    return tmp_path


def test_chapters_as_markdown(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell("install()"),
        nbformat.v4.new_markdown_cell("Text with $x$."),
        nbformat.v4.new_code_cell("print(1)"),
    ]
    text = llms.markdown(nbformat.v4.new_notebook(cells=cells))
    assert text == "# Title\n\nText with $x$.\n\n```python\nprint(1)\n```\n"


def test_llms_lists_every_chapter(site, tmp_path):
    """One line with title and description, and the Markdown it links to."""
    root = tmp_path / "root"
    (root / "book" / "notebooks").mkdir(parents=True)
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nparts:\n"
        "  - {caption: One, numbered: 2, chapters: [{file: book/first}]}\n"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# First")])
    nbformat.write(notebook, root / "book" / "notebooks" / "first.ipynb")
    llms.write(site, root)
    listed = (site / "llms.txt").read_text()
    assert "- [1. The page first](book/first.html.md): What first is about.\n" in listed
    assert (site / "book" / "first.html.md").read_text() == "# First\n"


def test_outside_links_are_collected_once(site):
    assert links.outside_links(site) == {"https://example.org/x": {"intro", "first"}}


@pytest.fixture
def host():
    """A host that has one page, refuses one, and lacks all others."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            code = {"/good": 200, "/closed": 403}.get(self.path, 404)
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "failures", "said"),
    [("/good", 0, ""), ("/closed", 0, "refuses programs (403)"), ("/gone", 1, "404")],
)
def test_link_check(path, failures, said, host, capsys):
    assert links.check({host + path: {"first"}}) == failures
    printed = capsys.readouterr().out
    assert f"1 addresses, {failures} failures" in printed
    assert not said or f"{path}: {said} (in first)" in printed
    assert "network" not in printed


def test_a_host_that_is_not_there_is_a_failure(capsys):
    """Seen to fail when hundreds of lines did not say that there is no network."""
    assert links.check({"http://127.0.0.1:1/": {"first"}}) == 1
    assert "is there a network?" in capsys.readouterr().out


def test_a_page_is_made_ready_for_the_book(site):
    """Ids and links are unique in the book, folds are open, scripts are gone."""
    page = pdf.read_page(site, "book/intro", ["book/intro", "book/first"])
    assert page.name == page.article["id"] == "book-intro"
    assert page.title == "1. The page intro"
    assert page.article.find(id="book-intro--here")
    addresses = [link["href"] for link in page.article.find_all("a")]
    assert addresses == [f"{pdf.THIS_BOOK}book-first--there", "https://example.org/x#y"]
    assert page.links == {"book-first--there"}
    assert page.article.details.has_attr("open")
    assert page.article.script is None


def test_table_of_contents_has_the_sheets():
    book = [("Part & parcel", ["book/first"])]
    text = pdf.contents(book, {"book/first": "1. First"}, {"book-first": 7})
    assert '<li class="part">Part &amp; parcel</li>' in text
    assert f'<li data-sheet="7"><a href="{pdf.THIS_BOOK}book-first">1. First</a>' in text


def test_parts_of_the_fixture():
    assert pdf.parts(FIXTURE)[:2] == [("", ["book/intro"]), ("Part I", ["book/first"])]


PACKAGE = "ntp_lite/__init__.py"


@pytest.fixture
def tree(tmp_path):
    """The files that a release compares, all of v9.8.7."""
    (tmp_path / "ntp_lite").mkdir()
    for name in ("pyproject.toml", "CITATION.cff", "_config.yml", PACKAGE):
        shutil.copy(ROOT / name, tmp_path / name)
    replace(tmp_path / PACKAGE, r'(?m)^__version__ = ".*"', '__version__ = "9.8.7"')
    replace(tmp_path / "pyproject.toml", r'(?m)^version = ".*"', 'version = "9.8.7"')
    replace(tmp_path / "CITATION.cff", r"(?m)^version: .*", "version: 9.8.7")
    replace(tmp_path / "_config.yml", r'ntp_release: "[^"]*"', 'ntp_release: "v9.8.7"')
    (tmp_path / "CHANGELOG.md").write_text(
        "# What changed\n\n## 9.8.7\n\nAll.\n\n## 9.8.6\n\nNo.\n"
    )
    return tmp_path


def replace(path, pattern, by):
    text, count = re.subn(pattern, by, path.read_text(encoding="utf-8"))
    assert count == 1
    path.write_text(text, encoding="utf-8")


def test_a_release_that_agrees(tree):
    assert release.disagreements(tree, "v9.8.7") == []
    assert release.notes(tree, "9.8.7") == "All."


@pytest.mark.parametrize(
    "name", ["pyproject.toml", PACKAGE, "CITATION.cff", "_config.yml", "CHANGELOG.md"]
)
def test_a_file_of_another_release_is_named(name, tree):
    replace(tree / name, r"9\.8\.7", "9.8.5")
    (complaint,) = release.disagreements(tree, "v9.8.7")
    assert name in complaint or ("_config" in name and "RELEASE=v9.8.7" in complaint)


@pytest.mark.parametrize("tag", ["9.8.7", "v9.8", "v9.8.7rc", ""])
def test_a_bad_tag_is_refused(tag, tree):
    assert "write v1.2.3" in release.disagreements(tree, tag)[0]
