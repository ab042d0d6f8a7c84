"""What is counted on a page, on one that is counted by hand."""

import pytest
from ntp_book import measures

PAGE = """<html><body><article>
<p>9 minutes for the story</p>
<p>one two <span class="math">x + y + z</span></p>
<figure><img><figcaption>a caption</figcaption></figure>
<figure><div class="ntp-interactive">not read</div><figcaption>moves</figcaption></figure>
<div class="cell_input"><pre>x = 1

assert x</pre></div>
<details><p>four folded words here</p><div class="cell_input"><pre>assert y</pre></div></details>
<div class="admonition dropdown"><p>a hint</p></div>
<div class="admonition predict"><p>guess</p></div>
<section><h2>7. Exercises</h2><p>do it</p></section>
</article></body></html>"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "a_page.html"
    path.write_text(PAGE)
    return measures.measure(path)


def test_counts_by_hand(page):
    """The story: 5 + 3 words, 1 of the prediction; captions have 3 more."""
    assert page == measures.Page(
        name="a_page",
        minutes="9",
        story=9,
        words=9 + 3 + 4 + 2 + 4,
        figures=2,
        moving=1,
        lines=2,
        asserts=1,
        open_answers=1,
    )


def test_missed_goals_are_named(page):
    said = "\n".join(measures.missed_goals([page]))
    assert "a_page: an assert stands in the open" in said
    assert "a_page: the answer to a prediction stands in the open" in said
    assert "fewer than 120 figures" in said
    assert "story" not in said


@pytest.mark.parametrize("answer", ["<details class='ntp-fold ntp-answer'></details>"])
def test_an_answer_is_folded_in_the_box_or_after_it(answer, tmp_path):
    path = tmp_path / "a_page.html"
    path.write_text(PAGE.replace("<section>", answer + "<section>"))
    assert measures.measure(path).open_answers == 0
    path.write_text(PAGE.replace("<p>guess</p>", answer))
    assert measures.measure(path).open_answers == 0


def test_a_page_that_is_too_long_and_still(page):
    page.story = 2001
    page.moving = 0
    said = "\n".join(measures.missed_goals([page]))
    assert "a_page: the story has more than 2000 words" in said
    assert "a_page: no figure moves" in said
