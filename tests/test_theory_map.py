"""The theory map names every theorem's tests, and refuses a map that is wrong."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import theory_map  # noqa: E402

CHAPTER = """# A chapter

:::{prf:theorem} A claim [P, Theorem 1]
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
    (tmp_path / "01_one.md").write_text(CHAPTER)
    (tmp_path / "test_one.py").write_text(TEST)
    return tmp_path


def wrong(folder):
    return theory_map.problems(theory_map.statements(folder), theory_map.tests(folder))


def test_the_books_own_map_is_right():
    found = theory_map.statements(ROOT / "book")
    assert len(found) >= 30
    assert theory_map.problems(found, theory_map.tests(ROOT / "tests")) == []


def test_a_right_map(small_book):
    assert wrong(small_book) == []
    (statement,) = theory_map.statements(small_book)
    assert statement == ("theorem", "A claim", "P, Theorem 1", "thm-claim", "01_one")
    assert theory_map.tests(small_book)["thm-claim"] == [
        ("test_one.py::test_claim", {"cross_entropy"})
    ]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("Theorem label: thm-claim", "Nothing", "thm-claim has no test"),
        ("Theorem label: thm-claim", "Theorem label: thm-other", "no chapter has the label"),
        ("ntp.cross_entropy", "ntp.no_such_function", "ntp.no_such_function does not exist"),
    ],
)
def test_a_wrong_map_is_refused(small_book, old, new, complaint):
    (small_book / "test_one.py").write_text(TEST.replace(old, new))
    assert any(complaint in sentence for sentence in wrong(small_book))
