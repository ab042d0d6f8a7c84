"""Checkers for the exercises: `from ntp_lite import checks`, then `checks.ch04.name(answer)`.

Each checker prints one message and returns True or False. An untouched stub (`...`) gets a
reminder of what to do; a wrong answer gets the likely mistake; a right one a short confirmation.
"""

from importlib import import_module
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name.startswith("ch"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(
        f"ntp_lite.checks has no part named {name!r}; chapters are ch01, ch02, ..."
    )
