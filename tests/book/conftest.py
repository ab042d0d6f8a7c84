"""Tests of the book do not depend on whether GitHub Actions runs them."""

import os

os.environ.pop("GITHUB_ACTIONS", None)
