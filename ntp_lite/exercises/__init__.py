"""Checkers for the exercises, one module for each chapter, named like its file in `book/`.

`from ntp_lite import exercises`, then `exercises.max_margin.lower_bound(answer)`. Each checker
prints one message and returns True or False. An untouched stub (`...`) gets a reminder of what to
do; a wrong answer gets the likely mistake; a right one a short confirmation. Where the right answer
is a formula, it is a function of its own, `solution_<exercise>`, so that the help of a checker does
not show it; the folded solution in the chapter is written out there.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

CHAPTERS = sorted(module.name for module in iter_modules(__path__) if module.name[0] != "_")


def __getattr__(name: str) -> ModuleType:
    if name in CHAPTERS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(
        f"ntp_lite.exercises has no chapter named {name!r}; chapters are {', '.join(CHAPTERS)}"
    )


def __dir__() -> list[str]:
    return [*globals(), *CHAPTERS]
