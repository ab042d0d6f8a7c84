"""Checkers of "The regularisation path": right answers pass, mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest

from ntp_lite.exercises import regularisation_path


def price(norm="nuc", base=np.e, sign=1, divide=True, quotient=False):
    def answer(L_1, ridge_1, L_2, ridge_2):
        growth = np.linalg.norm(L_2, norm) - np.linalg.norm(L_1, norm)
        if quotient:
            growth = np.linalg.norm(L_2 - L_1, norm)
        return sign * growth / (np.log(ridge_1 / ridge_2) / np.log(base) if divide else 1)

    return answer


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (
            lambda L_1, r_1, L_2, r_2: np.linalg.norm(L_2, "nuc") / np.log(1 / r_2),
            "one point alone",
        ),
        (price(sign=-1), "the sign"),
        (price(base=10), "natural logarithm"),
        (price("fro"), "Frobenius"),
        (price(2), "operator norm"),
        (price(quotient=True), "norm of the slope"),
        (price(divide=False), "divide by the step"),
        (
            lambda L_1, r_1, L_2, r_2: price(divide=False)(L_1, r_1, L_2, r_2) / (r_1 - r_2),
            "not in the ridge itself",
        ),
    ],
)
def test_estimate_price_hints(answer, hint, capsys):
    assert not regularisation_path.estimate_price(answer)
    assert hint in capsys.readouterr().out


def margins(
    table=lambda N: N / N.sum(), keep=True, base=np.e, off=np.nan, vacuous=-np.inf, div=True
):
    def answer(N, gamma):
        joint = table(N)
        with np.errstate(all="ignore"):
            bound = np.log((joint - gamma * keep) / (gamma if div else 1)) / np.log(base)
        bound = np.where(joint > gamma, bound, vacuous)
        return np.where(N > 0, bound, off)

    return answer


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (margins(lambda N: N / N.sum(axis=0)), "priors are missing"),
        (margins(lambda N: N / N.sum(axis=1, keepdims=True)), "wrong axis"),
        (margins(keep=False), "subtract it"),
        (margins(base=10), "natural logarithm"),
        (margins(div=False), "divide by gamma"),
        (margins(off=-np.inf), "should be nan."),
        (margins(off=0.0), "nan, not 0"),
        (margins(vacuous=np.nan), "-inf, not nan"),
        (margins(vacuous=0.0), "-inf, not 0"),
    ],
)
def test_guaranteed_margins_hints(answer, hint, capsys):
    assert not regularisation_path.guaranteed_margins(answer)
    assert hint in capsys.readouterr().out


def from_below(sign=1, scale=True, priors=True, weights=True, mean=False, base=np.e, prices=True):
    def answer(N, G_mm, ridge):
        pi, P = N.sum(axis=0) / N.sum(), N / N.sum(axis=0)
        R = P - sign * prices * (ridge if scale else 1) * G_mm / (pi if priors else 1)
        with np.errstate(all="ignore"):
            terms = np.where(R > 0, -R * np.log(R), 0)
        entropies = terms.sum(axis=0) / np.log(base)
        return entropies @ pi if weights else entropies.mean() if mean else entropies.sum()

    return answer


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (from_below(sign=-1), "the sign"),
        (from_below(prices=False), "entropy floor"),
        (from_below(priors=False), "divide column j"),
        (from_below(weights=False, mean=True), "not equally"),
        (from_below(weights=False), "weight the entropies"),
        (from_below(base=2), "natural logarithm"),
    ],
)
def test_value_from_below_hints(answer, hint, capsys):
    assert not regularisation_path.value_from_below(answer)
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize(
    ("checker", "solution"),
    [
        (regularisation_path.estimate_price, price()),
        (regularisation_path.guaranteed_margins, regularisation_path.solution_guaranteed_margins),
        (regularisation_path.guaranteed_margins, margins()),
        (regularisation_path.value_from_below, from_below()),
        (regularisation_path.value_from_below, regularisation_path.solution_value_from_below),
    ],
)
def test_right_answers_pass(checker, solution, capsys):
    assert checker(solution)
    assert "Right" in capsys.readouterr().out


def test_the_counts_of_the_checker_cover_all_cases():
    joint = regularisation_path.COUNTS / regularisation_path.COUNTS.sum()
    seen = regularisation_path.COUNTS > 0
    assert (
        (~seen).any()
        and (seen & (joint <= regularisation_path.GAMMA)).any()
        and (joint > regularisation_path.GAMMA).any()
    )
