"""The theory map names every theorem's tests, and refuses a map that is wrong."""

import re

import pytest
from ntp_book import theory_map
from ntp_book.numbering import read_chapters
from small_book import ROOT

CHAPTER = """# A chapter

:::{prf:theorem} A claim [Zhao et al. 2024, Theorem 1]
:label: thm-claim
Text.
:::
"""
TEST = '''
def test_claim():
    """Theorem label: thm-claim

    More text."""
    ntp.cross_entropy(1, 2)
'''


@pytest.fixture
def small_book(tmp_path):
    (tmp_path / "tests" / "deeper").mkdir(parents=True)
    (tmp_path / "one.md").write_text(CHAPTER)
    (tmp_path / "tests" / "deeper" / "test_one.py").write_text(TEST)
    return tmp_path


def wrong(folder):
    found = theory_map.statements(folder, ["one"])
    return theory_map.problems(found, theory_map.tests(folder / "tests"))


def test_the_books_own_map_is_right():
    found = theory_map.statements(ROOT, read_chapters(ROOT))
    assert len(found) >= 30
    assert theory_map.problems(found, theory_map.tests(ROOT / "tests")) == []
    said = theory_map.written(ROOT / "book" / "theory_map.toml")
    texts = [(ROOT / f"{page}.md").read_text("utf-8") for page in read_chapters(ROOT)]
    assert theory_map.unwritten(found, said, texts) == []
    assert len(said.claims) > 10


WRITTEN = """[assumptions]
thm-claim = "λ > 0"
[[claims]]
claim = "it falls"
data = "Lily"
seeds = "3"
where = "fig-one"
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("thm-claim", "thm-clam", "thm-claim has no assumptions"),
        ("thm-claim", "thm-clam", "the label thm-clam; did you mean thm-claim?"),
        ("fig-one", "fig-two", "no chapter has the place fig-two"),
    ],
)
def test_assumptions_and_claims_that_lead_nowhere_are_refused(small_book, old, new, complaint):
    found = theory_map.statements(small_book, ["one"])
    path = small_book / "map.toml"
    path.write_text(WRITTEN, "utf-8")
    pages = [CHAPTER + "name: fig-one\n"]
    assert theory_map.unwritten(found, theory_map.written(path), pages) == []
    path.write_text(WRITTEN.replace(old, new), "utf-8")
    wrong = theory_map.unwritten(found, theory_map.written(path), pages)
    assert any(complaint in sentence for sentence in wrong), wrong


def test_rows_of_the_tables(small_book):
    path = small_book / "map.toml"
    path.write_text(WRITTEN, "utf-8")
    said = theory_map.written(path)
    found = theory_map.statements(small_book, ["one"])
    tested = theory_map.tests(small_book / "tests")
    row = theory_map.table("one", found, tested, said.assumptions)[-1]
    assert row.split(" | ")[1:3] == ["λ > 0", "Zhao et al. 2024, Theorem 1"]
    assert theory_map.claims_table(said.claims)[-1] == (
        "| it falls | Lily | 3 | {numref}`fig-one` |"
    )
    assert theory_map.place_of("eq-one") == "{eq}`eq-one`"
    assert theory_map.place_of("sec-one") == "{ref}`sec-one`"


@pytest.mark.parametrize("ending", ["", ".", " \n", ".\n"])
def test_a_right_map(small_book, ending):
    test = TEST.replace("thm-claim\n", f"thm-claim{ending}\n")
    (small_book / "tests" / "deeper" / "test_one.py").write_text(test)
    assert wrong(small_book) == []
    (statement,) = theory_map.statements(small_book, ["one"])
    assert statement == ("theorem", "A claim", "Zhao et al. 2024, Theorem 1", "thm-claim", "one")
    assert theory_map.tests(small_book / "tests").by_label["thm-claim"] == [
        ("test_one.py::test_claim", {"cross_entropy"})
    ]


def test_sources_are_names_and_not_letters_that_are_matrices_elsewhere():
    """A mutation that should fail: "[P, Section 2]" at the head of a theorem."""
    for statement in theory_map.statements(ROOT, read_chapters(ROOT)):
        assert not re.search(r"\b[A-Z]\b(?!\.)", statement.source), statement


def test_a_statement_without_a_source_claims_nothing(small_book):
    (small_book / "one.md").write_text(CHAPTER.replace(" [Zhao et al. 2024, Theorem 1]", ""))
    found = theory_map.statements(small_book, ["one"])
    row = theory_map.table("one", found, theory_map.tests(small_book / "tests"), {})[-1]
    assert row.split(" | ")[2] == "proved here"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("Theorem label: thm-claim", "Nothing", "begins with 'Theorem label: thm-claim.'"),
        ("label: thm-claim", "label: thm-clam", "the label thm-clam; did you mean thm-claim?"),
        ("label: thm-claim", "label: other", "test_claim: no chapter has the label other"),
        ("Theorem label: thm", "Theorem label thm", "write 'Theorem label: ' and the label"),
        ("ntp.cross_entropy", "ntp.cross_entrop", "not exist; did you mean cross_entropy?"),
        ("ntp.cross_entropy", "ntp.qqq", "test_claim: ntp.qqq does not exist"),
    ],
)
def test_a_wrong_map_is_refused(small_book, old, new, complaint):
    assert old in TEST
    (small_book / "tests" / "deeper" / "test_one.py").write_text(TEST.replace(old, new))
    assert any(complaint in sentence for sentence in wrong(small_book)), wrong(small_book)
