"""The rooms of the package: imports run downwards only, and `import ntp_lite` is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ntp_lite

FOLDER = Path(ntp_lite.__file__).parent
ORDER = list(ntp_lite.ROOMS)
FILES = sorted(path for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "__main__"))


def imported_rooms(source: str) -> set[str]:
    """The rooms of this package that a module imports, wherever in it the import stands."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            rooms |= {node.module.split(".")[0]} if node.module else {a.name for a in node.names}
    return rooms


def upward_imports(room: str, source: str, order: list[str]) -> set[str]:
    """Rooms that are imported although they stand below `room` (or are `room` itself)."""
    return {other for other in imported_rooms(source) if order.index(other) >= order.index(room)}


def test_every_room_is_listed():
    assert sorted(ORDER) == sorted(path.stem for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_room_imports_only_from_those_above_it(path):
    assert upward_imports(path.stem, path.read_text("utf-8"), ORDER) == set()


def test_an_upward_import_would_be_seen():
    source = (FOLDER / "linalg.py").read_text("utf-8")
    assert upward_imports("linalg", source + "\nfrom .margin import x\n", ORDER) == {"margin"}
    assert upward_imports("linalg", source + "\nfrom . import plots\n", ORDER) == {"plots"}
    moved = [room for room in ORDER if room != "_validate"] + ["_validate"]
    assert upward_imports("linalg", source, moved) == {"_validate"}


def test_public_names_are_those_of_the_list_for_type_checkers():
    tree = ast.parse((FOLDER / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    listed = {}
    for node in block.body:
        for alias in node.names:
            listed[alias.name] = node.module
    assert listed.pop("plots") is None
    rooms = {name: room for room, names in ntp_lite.ROOMS.items() for name in names}
    assert listed == rooms
    assert set(ntp_lite.__all__) == {*rooms, "plots"}


def test_every_public_name_is_there():
    for name in ntp_lite.__all__:
        assert getattr(ntp_lite, name) is not None
    assert set(ntp_lite.__all__) < set(dir(ntp_lite))
    with pytest.raises(AttributeError, match="has no attribute 'sovle_ridge'"):
        _ = ntp_lite.sovle_ridge


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"torch", "matplotlib", "seaborn", "pandas", "tqdm", "jinja2", "scipy"}
    assert not heavy & loaded_by("import ntp_lite")
    # Counting and the algebra need no torch, drawing or training.
    counted = loaded_by(
        "import ntp_lite; labels = ntp_lite.random_soft_labels(3, 4, 2); "
        "ntp_lite.in_support_logits(labels); ntp_lite.ridge_path(labels, [0.1])"
    )
    assert not {"torch", "matplotlib", "seaborn", "pandas"} & counted
    assert "torch" in loaded_by("import ntp_lite; ntp_lite.solve_max_margin")  # the judge can fail
