"""The built site: the notebooks' numbers, honest failures, no request to anybody else."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from bs4 import BeautifulSoup
from ntp_book import api, sources_version
from ntp_book import site as site_parts
from ntp_book.addresses import addresses_of
from ntp_book.export import builder, cells, outputs
from small_book import CHAPTER, ROOT, build, copy_of_fixture, output


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The fixture book with its notebooks, built once, in a folder with a space in its name."""
    book = copy_of_fixture(tmp_path_factory.mktemp("a folder") / "book")
    builder.export(book, book / "book" / "notebooks")
    result = build(book)
    assert result.returncode == 0, output(result)
    return book


@pytest.fixture(scope="module")
def page(site) -> BeautifulSoup:
    path = site / "_build" / "html" / "book" / "every_construct.html"
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_numbers_and_link_texts_are_those_of_the_notebook(site, page):
    """Each link inside the page has the same text in the notebook, `Theorem 2.1` and all."""
    path = site / "book" / "notebooks" / "every_construct.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    article = page.find("article")
    shown = {
        link["href"][1:]: link.get_text()
        for link in article.find_all("a", class_="reference internal")
        if link["href"].startswith("#")
    }
    assert {"thm-every-squares", "fig-every-line", "tab-every-sizes"} <= set(shown)
    for target, text in shown.items():
        assert text in prose, target
    # Titles and captions themselves.
    for title in article.select("p.admonition-title, span.caption-number, h1, h2"):
        text = title.get_text().strip().removesuffix("#")
        if re.match(r"(Theorem|Lemma|Remark|Exercise|Figure|Table|5\.)", text):
            number = re.search(r"2(\.\d)?", text)[0]
            assert number in prose
    assert [t.get_text() for t in article.select("span.eqno")] == ["(2.1)#", "(2.2)#", "(2.3)#"]


def test_no_request_leaves_the_site(site):
    html = site / "_build" / "html"
    pages = sorted(html.rglob("*.html"))
    assert len(pages) > 5
    for path in pages:
        soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for tag, attribute in [
            ("script", "src"),
            ("img", "src"),
            ("iframe", "src"),
            ("source", "src"),
        ]:
            for element in soup.find_all(tag):
                assert "//" not in element.get(attribute, ""), (path.name, element)
        for link in soup.find_all("link"):
            if link.get("rel") != ["canonical"]:
                assert "//" not in link.get("href", ""), (path.name, link)
        for script in soup.find_all("script"):
            assert "thebe" not in script.get_text(), path.name


def test_mathjax_is_the_vendored_one(page, site):
    [script] = [s for s in page.find_all("script") if "tex-chtml" in s.get("src", "")]
    target = (site / "_build/html/book" / script["src"].split("?")[0]).resolve()
    assert target.is_file()


def test_ids_are_unique_and_pictures_have_alternative_texts(page):
    ids = [element["id"] for element in page.find_all(id=True)]
    twice = {i for i in ids if ids.count(i) > 1} - {"pst-primary-sidebar"}
    assert not {i for i in twice if "content" in i or i == "proof"}, twice
    pictures = page.find("article").find_all("img")
    assert pictures
    assert all(picture.get("alt") for picture in pictures)


def test_a_placeholder_offers_the_notebook_but_no_colab(page):
    addresses = {a["href"] for a in page.find_all("a", href=True) if "every_construct" in a["href"]}
    assert "../notebooks/every_construct.ipynb" in addresses  # where `make book` copies it
    assert not any("_sources" in a and a.endswith(".ipynb") for a in addresses)
    assert not any("colab" in a["href"] for a in page.find_all("a", href=True))


def test_a_published_book_offers_colab(monkeypatch):
    monkeypatch.setattr(site_parts, "is_chapter", lambda config, page: True)
    found = addresses_of("https://github.com/some/one", "v1.0")
    monkeypatch.setattr(site_parts, "addresses", lambda config: found)
    context = {"header_buttons": [], "pathto": lambda path, kind: path}
    site_parts.add_buttons(SimpleNamespace(config=None), "book/mine", "", context, None)
    [colab] = context["header_buttons"]
    assert colab["url"] == (
        "https://colab.research.google.com/github/some/one/blob/v1.0/book/notebooks/mine.ipynb"
    )


def test_the_front_door_of_a_placeholder_names_no_address(site):
    """Its root leads to the first page, wrong addresses back to it; nothing can be listed yet."""
    html = site / "_build" / "html"
    root = (html / "index.html").read_text(encoding="utf-8")
    assert 'content="0; url=book/intro.html"' in root
    assert "canonical" not in root and "og:image" not in root
    missing = BeautifulSoup((html / "404.html").read_text(encoding="utf-8"), "html.parser")
    for link in missing.find_all("a"):
        assert (html / link["href"]).is_file()
    assert not (html / "sitemap.xml").exists()


def test_failing_assert_fails_every_build_until_it_is_mended(tmp_path):
    book = copy_of_fixture(tmp_path / "book")
    chapter = book / "book" / "first.md"
    source = chapter.read_text(encoding="utf-8")
    chapter.write_text(source.replace("value == 4", "value == 5"), encoding="utf-8")
    for attempt in ("first", "second, from the cache"):
        result = build(book)
        assert result.returncode != 0, f"{attempt} build passed"
        assert "AssertionError" in output(result)
    chapter.write_text(source, encoding="utf-8")
    result = build(book)
    assert result.returncode == 0, output(result)


def test_prose_edit_executes_nothing(site):
    chapter = site / "book" / "first.md"
    chapter.write_text(chapter.read_text(encoding="utf-8") + "\nMore prose.\n", encoding="utf-8")
    result = build(site)
    assert result.returncode == 0, output(result)
    assert "Executing notebook" not in output(result)
    html = (site / "_build/html/book/first.html").read_text(encoding="utf-8")
    assert "More prose." in html


def test_changed_number_fails_nbval(site, tmp_path):
    path = tmp_path / f"{CHAPTER}.ipynb"
    shutil.copy(site / "book" / "notebooks" / path.name, path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax"]
    command += ["--nbval-current-env", "-c", os.devnull, "--rootdir", str(tmp_path), str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    notebook = nbformat.read(path, as_version=4)
    outputs.checked_cells(notebook)[0].outputs[0].text = "0.668\n"
    path.write_text(cells.dump(notebook), encoding="utf-8")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "0.668" in result.stdout


def test_the_api_page_makes_a_list_of_arguments():
    lines = ["name : of one", "    and more of it.", "other : two.", "", "Prose, then", "", "    x"]
    made = api.to_restructured_text(lines)
    assert made[1:4] == ["* **name** : of one", "  and more of it.", "* **other** : two."]
    assert made.count("::") == 1  # what is indented after prose is still a display


def test_a_changed_extension_forgets_what_was_read(tmp_path):
    """Else `make notebooks` would write pages that the former code had read."""
    folder = tmp_path / "ntp_book"
    shutil.copytree(ROOT / "book" / "_ext" / "ntp_book", folder)
    before = sources_version(folder)
    assert before == sources_version()
    for name in ("site.py", "export/cells.py", "export/setup_cell.txt"):
        (folder / name).write_text("other", encoding="utf-8")
        assert sources_version(folder) != before
        before = sources_version(folder)


def test_a_description_is_whole_sentences_without_tex():
    """Seen to fail when the text was cut after 200 characters, wherever that was."""
    tex = r"Vectors have 768 numbers. The logits $L_{\mathrm{mm}}$ have rank 100. What is lost?"
    assert site_parts.first_sentences(tex) == "Vectors have 768 numbers. What is lost?"
    long = "The first sentence is short. " + "The second one does not end " * 20
    assert site_parts.first_sentences(long) == "The first sentence is short."
    assert site_parts.first_sentences("words " * 100).endswith("words ...")
