"""The addresses that the book names: its repository, its site, a chapter's notebook in Colab.

The repository's address stands in `_config.yml` and nowhere else. Until the book is published it
is a placeholder, with an underscore in the owner's name: nobody can register such a name, so no
reader can be made to install foreign code.
"""

from __future__ import annotations

from typing import NamedTuple

from sphinx.config import Config

GITHUB = "https://github.com/"


class Addresses(NamedTuple):
    """Where the book can be found; `real` is False while these are placeholders."""

    repository: str
    site: str
    branch: str
    real: bool


def addresses_of(repository: str, branch: str = "main") -> Addresses:
    """Return the addresses that belong to `https://github.com/owner/name`."""
    repository = repository.rstrip("/")
    owner, name = repository.split("/")[-2:]
    site = f"https://{owner.lower()}.github.io/{name}/"
    return Addresses(repository, site, branch, real="_" not in owner)


def addresses(config: Config) -> Addresses:
    """Return the addresses of the book that is being built."""
    options = config.html_theme_options
    branch = options.get("repository_branch") or "main"
    return addresses_of(options.get("repository_url", ""), branch)


def notebook_name(page: str) -> str:
    """Return the file name of a chapter's notebook: `max_margin.ipynb` for `book/max_margin`."""
    return f"{page.split('/')[-1]}.ipynb"


def colab_address(config: Config, page: str) -> str:
    """Return where a chapter's notebook opens in Colab."""
    found = addresses(config)
    path = found.repository.removeprefix(GITHUB)
    notebook = f"book/notebooks/{notebook_name(page)}"
    return f"https://colab.research.google.com/github/{path}/blob/{found.branch}/{notebook}"
