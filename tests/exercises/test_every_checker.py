"""What every exercise checker must do, whatever it checks; test_<chapter>.py knows the answers."""

import inspect

import pytest
from chapters import chapters
from reference import verdict

from ntp_lite import exercises


def checkers_of(chapter):
    """The public functions that the chapter's module defines, apart from its solutions."""
    module = getattr(exercises, chapter)
    return [
        value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith(("_", "solution_"))
    ]


WITH_CHECKERS = [chapter for chapter in chapters() if chapter in exercises.CHAPTERS]
CHECKERS = [checker for chapter in WITH_CHECKERS for checker in checkers_of(chapter)]
# One checker takes two numbers; its own test is in test_soft_labels.py.
OF_FUNCTIONS = [checker for checker in CHECKERS if len(inspect.signature(checker).parameters) == 1]


@pytest.mark.parametrize("chapter", chapters())
def test_every_chapter_has_two_checkers(chapter):
    assert chapter in exercises.CHAPTERS, (
        f"The chapter {chapter} has no checkers; write ntp_lite/exercises/{chapter}.py."
    )
    assert len(checkers_of(chapter)) >= 2, (
        f"The chapter {chapter} needs two checkers or more in ntp_lite/exercises/{chapter}.py."
    )


def test_every_module_of_checkers_belongs_to_a_chapter():
    assert set(exercises.CHAPTERS) == set(chapters())
    assert len(OF_FUNCTIONS) == len(CHECKERS) - 1


def test_an_unknown_chapter_is_refused_with_the_list_of_those_there_are():
    with pytest.raises(AttributeError, match=r"named 'max_margins'; chapters are .*max_margin,"):
        exercises.max_margins  # noqa: B018
    assert set(exercises.CHAPTERS) <= set(dir(exercises))


@pytest.mark.parametrize(
    "checker", OF_FUNCTIONS, ids=lambda c: f"{c.__module__.rsplit('.', 1)[1]}.{c.__name__}"
)
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda *arguments: ..., "replace the ..."),
        (lambda *arguments: None, "None"),
        (lambda: 0, "TypeError"),
    ],
    ids=["stub", "no return", "no arguments"],
)
def test_what_is_no_answer_is_refused_and_named(checker, answer, message, capsys):
    right, text = verdict(checker, answer, capsys)
    assert not right and message in text
