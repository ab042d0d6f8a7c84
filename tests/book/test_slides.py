"""The slides: what a chapter's deck shows, in which order, and that it needs nothing else.

Mutations to fail: proofs kept; links kept; nested sections kept (to reveal.js a section is a
slide, and its formulas are never drawn); stills not decoded; folded parts put beside the others.
"""

import base64
import re

import pytest
from bs4 import BeautifulSoup
from ntp_book import slides
from small_book import ROOT

STILL = base64.b64encode(b"<svg>still</svg>").decode()
PAGE = f"""<html><head><meta property="og:site_name" content="The book"></head><body>
<article class="bd-article"><section>
<h1>3. Birds<a class="headerlink" href="#birds">#</a></h1>
<div class="chapter-frame admonition"><p class="admonition-title">In this chapter</p>
<p><strong>Question.</strong> Do <em>birds</em> sing in <a href="other.html">Chapter 1</a>?</p>
<p><strong>Time.</strong> 5 minutes.</p></div>
<section id="one"><h2>3.1. Wings<a class="headerlink" href="#one">#</a></h2>
<p>Prose.</p>
<div class="predict admonition"><p class="admonition-title">Predict</p><p>How many?</p>
<details class="ntp-fold ntp-answer"><summary>Answer</summary><div><p>Two.</p></div></details></div>
<div class="cell"><details class="admonition hide above-input">
<div class="cell_input"><pre>code</pre></div></details>
<details class="ntp-fold ntp-answer"><summary>See what happens</summary>
<figure class="align-default" id="fig-birds-wing"><img alt="A wing." src="../_images/0123.svg"/>
<figcaption><p>Figure 3.1<a class="headerlink" href="#x">#</a></p></figcaption></figure>
</details></div>
<figure class="align-default" id="fig-birds-move">
<figure class="ntp-interactive"><div><img alt="s" src="data:image/svg+xml;base64,{STILL}"></div>
<details class="ntp-numbers"><summary>The numbers</summary><div></div></details>
<script type="application/json">{{"kind":"frames"}}</script></figure>
<figcaption><p>Figure 3.2</p></figcaption></figure>
<details class="ntp-fold ntp-checks"><summary>Checks</summary>
<figure><img src="no.svg"></figure></details>
</section>
<section id="two"><h2>3.2. Songs<a class="headerlink" href="#two">#</a></h2>
<div class="proof theorem admonition" id="thm-birds"><p class="admonition-title">Theorem 3.1</p>
<section class="theorem-content"><p>By <a href="#eq">(3.1)</a>, \\(x=1\\).</p></section></div>
<details class="ntp-fold ntp-proof"><summary>Proof</summary><div class="proof is-proof admonition">
<p>Obvious.</p></div></details>
<details class="ntp-fold ntp-aside"><summary>Aside</summary>
<div class="proof lemma admonition"><p class="admonition-title">Lemma 3.2</p><p>More.</p></div>
</details>
<div class="takeaways admonition"><p class="admonition-title">Key takeaways</p>
<ul><li>Sing.</li></ul></div></section>
<section><h2>3.3. Exercises</h2><div class="exercise admonition"><figure><img src="no.svg"></figure>
</div><div class="solution admonition"><figure><img src="no.svg"></figure></div></section>
</section></article></body></html>"""


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    (folder / "book").mkdir(parents=True)
    (folder / "_images").mkdir()
    (folder / "book" / "birds.html").write_text(PAGE, encoding="utf-8")
    (folder / "_images" / "0123.svg").write_text("<svg>wing</svg>", encoding="utf-8")
    return folder


@pytest.fixture
def out(site, tmp_path):
    slides.write_slides(site, tmp_path / "out", ["book/birds"], slides.book_title(site))
    return tmp_path / "out"


def deck(out):
    return BeautifulSoup((out / "birds.html").read_text(encoding="utf-8"), "html.parser")


def test_a_deck_shows_question_predictions_pictures_statements_and_takeaways(out):
    shown = [(s["class"][0], s.select_one(".section")) for s in deck(out).select("section[class]")]
    assert [(kind, section and section.get_text()) for kind, section in shown] == [
        ("title-slide", None),
        ("predict-slide", "3.1. Wings"),
        ("picture-slide", "3.1. Wings"),
        ("picture-slide", "3.1. Wings"),
        ("statement-slide", "3.2. Songs"),
        ("statement-slide", "3.2. Songs"),
        ("takeaways-slide", "3.2. Songs"),
    ]
    first = deck(out).select_one(".title-slide")
    assert first.select_one(".question").decode_contents() == "Do <em>birds</em> sing in Chapter 1?"
    assert first.select_one("h1").get_text() == "3. Birds"
    text = deck(out).get_text()
    for left_out in ("Prose", "code", "Obvious", "Aside", "Answer", "See what happens", "#"):
        assert left_out not in text


def test_the_answer_comes_later_and_what_is_folded_lies_below(out):
    page = deck(out)
    assert page.select_one(".predict .fragment").get_text(strip=True) == "Two."
    [column] = page.select("section:not([class])")
    titles = [s.select_one(".admonition-title").get_text() for s in column.find_all("section")]
    assert titles == ["Theorem 3.1", "Lemma 3.2"]
    assert not page.select(".slide section"), "to reveal.js a section is a slide"


def test_pictures_are_files_to_take_away(out):
    """A still is one also where the figure has a number, which is a figure around it.

    Seen to fail when only a figure that is itself the moving one was looked for: the still's data
    were taken for the name of a file, and no deck of the book was written.
    """
    figures = out / "figures" / "birds"
    assert {path.name: path.read_text() for path in figures.iterdir()} == {
        "fig-birds-wing.svg": "<svg>wing</svg>",
        "moving-1-1.svg": "<svg>still</svg>",
    }
    image = deck(out).select_one("#fig-birds-wing img")
    assert image["src"] == "figures/birds/fig-birds-wing.svg" and image["alt"] == "A wing."
    moving = deck(out).select_one(".ntp-interactive")  # what the script needs to move it
    assert moving.select_one("script").get_text() and moving.select_one(".ntp-numbers div")


def test_the_folder_of_the_slides_needs_nothing_else(out):
    """No link leads out of it, all that the decks load is in it, and it can be written again."""
    for page in out.glob("*.html"):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for tag, attribute in (("link", "href"), ("script", "src"), ("img", "src"), ("a", "href")):
            for address in (t[attribute] for t in soup.find_all(tag) if t.get(attribute)):
                assert address.startswith("data:") or (out / address).is_file(), address
    for path in out.glob("static/*.css"):
        assert not re.search(r"url\((?!\"?data:)", path.read_text(encoding="utf-8")), path
    assert (out / "index.html").read_text(encoding="utf-8").count('href="birds.html"') == 1


def test_a_page_without_its_question_and_a_missing_site_are_one_sentence(site, tmp_path, capsys):
    (site / "book" / "birds.html").write_text(PAGE.replace("Question.", "Why?"), encoding="utf-8")
    with pytest.raises(slides.SlidesError, match=r"^3\. Birds: its frame asks no question$"):
        slides.make_deck(site, "book/birds", tmp_path / "out", "The book")
    assert slides.main(["--site", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    assert "run make book first" in capsys.readouterr().err
    assert not (tmp_path / "out" / "index.html").exists()


def test_there_is_a_deck_for_each_numbered_chapter():
    found = slides.chapters()
    assert len(found) == len(set(found)) > 15
    for page in found:
        text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
        assert "\n**Question.** " in text and ":class: chapter-frame" in text, page
    assert not any("appendix" in page or page.endswith("tour") for page in found)


def test_reveal_is_vendored_with_its_licence_and_stays_out_of_the_site():
    folder = ROOT / "book" / "vendor" / "reveal"
    assert "reveal.js" in (folder / "reveal.js").read_text(encoding="utf-8")[:200]
    licence = (folder / "LICENSE").read_text(encoding="utf-8")
    assert "Hakim El Hattab" in licence and "Permission is hereby granted" in licence
    assert "reveal" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "reveal" in (ROOT / "_config.yml").read_text(encoding="utf-8").split("\nexecute:")[0]
