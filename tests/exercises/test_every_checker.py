"""What every exercise checker must do, whatever it checks; the chapters' tests know the answers."""

import inspect

import pytest
from reference import verdict

from ntp_lite import checks

CHECKERS = [
    value
    for chapter in range(1, 18)
    for module in [getattr(checks, f"ch{chapter:02d}")]
    for name, value in vars(module).items()
    if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
]
# One checker takes two numbers; its own test is in test_ch01.py.
OF_FUNCTIONS = [checker for checker in CHECKERS if len(inspect.signature(checker).parameters) == 1]


def test_every_chapter_has_two_checkers():
    modules = [checker.__module__ for checker in CHECKERS]
    assert all(modules.count(f"ntp_lite.checks.ch{k:02d}") >= 2 for k in range(1, 18))
    assert len(OF_FUNCTIONS) == len(CHECKERS) - 1


@pytest.mark.parametrize("checker", OF_FUNCTIONS, ids=lambda c: f"{c.__module__[-4:]}.{c.__name__}")
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
