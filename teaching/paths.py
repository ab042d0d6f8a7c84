"""Where things lie in this repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROBLEM_SETS = ROOT / "teaching" / "problem_sets"
DIST = ROOT / "dist"
