"""The addresses: a placeholder, a real one, and what GitHub Actions builds."""

from types import SimpleNamespace

import pytest
from ntp_book import addresses

PLACEHOLDER = "https://github.com/an_owner/geometry"
REAL = "https://github.com/Some-One/geometry"


def config(url, repository="", release="", tag=""):
    return SimpleNamespace(
        html_theme_options={"repository_url": url, "repository_branch": "main"},
        ntp_building_repository=repository,
        ntp_building_tag=tag,
        ntp_release=release,
    )


def test_a_placeholder_is_not_real():
    found = addresses.addresses(config(PLACEHOLDER))
    assert not found.real
    assert found.repository == PLACEHOLDER


def test_a_real_address():
    found = addresses.addresses(config(f"{REAL}/"))
    assert found == (REAL, "https://some-one.github.io/geometry/", "main", True)


def test_in_actions_a_placeholder_becomes_the_repository_that_is_built():
    found = addresses.addresses(config(PLACEHOLDER, "fork/geometry"))
    assert found.real
    assert found.repository == "https://github.com/fork/geometry"
    assert found.site == "https://fork.github.io/geometry/"


def test_in_actions_the_same_address_in_other_letters_is_the_same():
    assert addresses.addresses(config(REAL, "some-one/Geometry")).real


def test_in_actions_two_real_addresses_are_refused():
    with pytest.raises(addresses.AddressError, match="make notebooks REPOSITORY=fork/geometry"):
        addresses.addresses(config(REAL, "fork/geometry"))


@pytest.mark.parametrize(
    ("release", "tag", "ref"),
    [("", "", "main"), ("v1.0", "", "v1.0"), ("", "v2.0", "v2.0"), ("v1.0", "v2.0", "v1.0")],
)
def test_the_ref_is_the_release_or_the_branch(release, tag, ref):
    assert addresses.addresses(config(REAL, release=release, tag=tag)).ref == ref


def test_what_is_built_is_read_in_actions_alone():
    there = {"GITHUB_REPOSITORY": "a/b", "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1"}
    assert addresses.building_repository(there) == addresses.building_tag(there) == ""
    there["GITHUB_ACTIONS"] = "true"
    assert addresses.building_repository(there) == "a/b"
    assert addresses.building_tag(there) == "v1"
    there["GITHUB_REF_TYPE"] = "branch"
    assert addresses.building_tag(there) == ""
