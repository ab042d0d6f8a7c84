"""The addresses that the book names: its repository, its site, a chapter's notebook in Colab.

The repository's address stands in `_config.yml` and nowhere else. Until the book is published it
is a placeholder, with an underscore in the owner's name: nobody can register such a name, so no
reader can be made to install foreign code. A site that GitHub Actions builds takes the address of
the repository that it is built from, so that a fork's site leads to the fork's notebooks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import SphinxError

GITHUB = "https://github.com/"


class AddressError(SphinxError):
    """Two addresses that contradict each other."""

    category = "Address"


class Addresses(NamedTuple):
    """Where the book can be found; `real` is False while these are placeholders.

    ref : the tag of the release that is built, else the branch.
    """

    repository: str
    site: str
    ref: str
    real: bool


def addresses_of(repository: str, ref: str = "main") -> Addresses:
    """Return the addresses that belong to `https://github.com/owner/name`."""
    repository = repository.rstrip("/")
    owner, name = repository.split("/")[-2:]
    site = f"https://{owner.lower()}.github.io/{name}/"
    return Addresses(repository, site, ref, real="_" not in owner)


def addresses(config: Config) -> Addresses:
    """Return the addresses of the book that is being built.

    Raises AddressError if `_config.yml` and GitHub Actions name two real repositories.
    """
    options = config.html_theme_options
    branch = options.get("repository_branch") or "main"
    ref = config.ntp_release or config.ntp_building_tag or branch
    configured = addresses_of(options.get("repository_url", ""), ref)
    if not config.ntp_building_repository:
        return configured
    built = addresses_of(GITHUB + config.ntp_building_repository, ref)
    if configured.real and configured.repository.lower() != built.repository.lower():
        raise AddressError(
            f"_config.yml names {configured.repository}, and the book is built from "
            f"{built.repository}: run `make notebooks REPOSITORY={config.ntp_building_repository}` "
            "and commit what it changes."
        )
    return built


def building_repository(environment: Mapping[str, str] = os.environ) -> str:
    """Return the `owner/name` that GitHub Actions builds from, "" anywhere else."""
    in_actions = environment.get("GITHUB_ACTIONS") == "true"
    return environment.get("GITHUB_REPOSITORY", "") if in_actions else ""


def building_tag(environment: Mapping[str, str] = os.environ) -> str:
    """Return the tag that GitHub Actions builds, "" for a branch and anywhere else."""
    is_tag = building_repository(environment) and environment.get("GITHUB_REF_TYPE") == "tag"
    return environment.get("GITHUB_REF_NAME", "") if is_tag else ""


def notebook_name(page: str) -> str:
    """Return the file name of a chapter's notebook: `max_margin.ipynb` for `book/max_margin`."""
    return f"{page.split('/')[-1]}.ipynb"


def colab_address(found: Addresses, page: str) -> str:
    """Return where a chapter's notebook opens in Colab."""
    path = found.repository.removeprefix(GITHUB)
    notebook = f"book/notebooks/{notebook_name(page)}"
    return f"https://colab.research.google.com/github/{path}/blob/{found.ref}/{notebook}"


def setup(app: Sphinx) -> None:
    """Register the settings with Sphinx."""
    app.add_config_value("ntp_release", "", "env")
    app.add_config_value("ntp_building_repository", building_repository(), "env")
    app.add_config_value("ntp_building_tag", building_tag(), "env")
