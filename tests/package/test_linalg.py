"""Norms and factors against numpy, the smaller side, and LAPACK that fails."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import scipy.linalg
import torch
from threadpoolctl import threadpool_info

import ntp_lite as ntp
from ntp_lite import _threads, linalg, margin
from ntp_lite._threads import one_thread_if_small, workers


def matrix(V, m, rank=None, seed=0):
    rng = np.random.default_rng(seed)
    rank = rank or min(V, m)
    return rng.normal(size=(V, rank)) @ rng.normal(size=(rank, m))


SHAPES = pytest.mark.parametrize("V, m", [(6, 9), (9, 6), (5, 5), (1, 4), (4, 1), (1, 1)])


@SHAPES
@pytest.mark.parametrize("scale", [1e-170, 1.0, 1e150])
def test_singular_values_and_norms(V, m, scale):
    A = scale * matrix(V, m)
    expected = np.linalg.svd(A, compute_uv=False)
    np.testing.assert_allclose(linalg.singular_values(A)[::-1], expected, rtol=1e-6)
    assert linalg.spectral_norm(A) == pytest.approx(expected[0], rel=1e-10)
    assert linalg.nuclear_norm(A) == pytest.approx(expected.sum(), rel=1e-13)


@SHAPES
def test_thresholding(V, m):
    A = matrix(V, m)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    for level in (0.0, float(np.median(s)), 2 * s[0]):
        expected = (U * np.maximum(s - level, 0)) @ Vt
        np.testing.assert_allclose(linalg.threshold_singular_values(A, level), expected, atol=1e-10)


def test_the_same_shrinkage_in_numpy_and_torch():
    squares, vectors = np.linalg.eigh(matrix(6, 9) @ matrix(6, 9).T)
    here = linalg.kept_directions(squares, vectors, 1.5)
    there = linalg.kept_directions(torch.tensor(squares), torch.tensor(vectors), 1.5)
    for one, two in zip(here, there, strict=True):
        np.testing.assert_allclose(one, two.numpy(), rtol=1e-13)


@pytest.mark.parametrize("V, m", [(4000, 20), (20, 4000)])
def test_no_matrix_of_the_larger_side_is_formed(V, m, monkeypatch):
    """4,000 x 20: every decomposition is of a 20 x 20 matrix."""
    sizes = []
    for name in ("eigh", "eigvalsh"):
        own = getattr(np.linalg, name)
        monkeypatch.setattr(
            np.linalg, name, lambda gram, own=own: (sizes.append(len(gram)), own(gram))[1]
        )
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda gram: (sizes.append(len(gram)), eigh(gram))[1])
    labels = ntp.random_soft_labels(V, m, 3, seed=0)
    assert ntp.solve_max_margin(labels, tol=1e-4).converged
    assert ntp.solve_ridge(labels, 0.05 * ntp.ridge_max(labels), tol=1e-2).converged
    assert sizes and max(sizes) <= max(20, 61)  # 60 tokens are seen


def test_solutions_of_the_transposed_shapes_agree_with_the_other_side(monkeypatch):
    """The Gram matrix of either side gives the same solution."""
    labels = ntp.random_soft_labels(30, 8, 3, seed=0)
    small = ntp.solve_max_margin(labels, tol=1e-6)

    def multiply(admm, A, kept, factors):
        product = factors @ (kept.T @ A)
        return lambda b: product[:, b]

    monkeypatch.setattr(margin.MarginADMM, "_gram", lambda admm, A, dtype=None: A @ A.T)
    monkeypatch.setattr(margin.MarginADMM, "_multiply", multiply)
    large = ntp.solve_max_margin(labels, tol=1e-6)
    assert small.n_iter == large.n_iter
    np.testing.assert_allclose(small.L, large.L, atol=1e-6)


# ---------------------------------------------------------------- LAPACK that fails


def fails(*args, **kwargs):
    raise np.linalg.LinAlgError("SVD did not converge")


@pytest.mark.parametrize("failures", [1, 2])
@SHAPES
def test_a_decomposition_that_fails_is_made_otherwise(V, m, failures, monkeypatch):
    A = matrix(V, m)
    expected = np.linalg.svd(A, compute_uv=False)
    monkeypatch.setattr(np.linalg, "svd", fails)
    if failures == 2:
        monkeypatch.setattr(scipy.linalg, "svd", fails)
    U, s, Vt = linalg.svd(A)
    np.testing.assert_allclose(s, expected, atol=1e-7 * expected[0])
    np.testing.assert_allclose((U * s) @ Vt, A, atol=1e-12 * expected[0])
    np.testing.assert_allclose(linalg.svd_values(A), expected, atol=1e-7 * expected[0])


@pytest.mark.parametrize("failures", [1, 2])
def test_no_solve_is_lost_to_a_decomposition_that_fails(failures, monkeypatch):
    labels = ntp.random_soft_labels(8, 13, 3, seed=0)

    def everything():
        best = ntp.solve_max_margin(labels, tol=1e-5)
        return [
            best.certificate.primal,
            ntp.solve_ridge(labels, 1e-3, tol=1e-4).certificate.primal,
            ntp.proxy_bounds(labels, best).upper,
            ntp.word_context_factors(best.L).singular_values[0],
            np.linalg.norm(np.matmul(*ntp.balanced_factors(best.L))),
            ntp.orthants(best.L, 1).singular_values[0],
            ntp.effective_rank(best.L),
        ]

    expected = everything()
    for library, name in ((np.linalg, "svd"), (np.linalg, "eigh"), (np.linalg, "eigvalsh")):
        monkeypatch.setattr(library, name, fails)
    monkeypatch.setattr(torch.linalg, "eigh", fails_in_torch)
    monkeypatch.setattr(torch.linalg, "eigvalsh", fails_in_torch)
    if failures == 2:
        monkeypatch.setattr(scipy.linalg, "svd", fails)
    # The Gram matrix has eight digits; one of these numbers is a difference of two near equals.
    assert everything() == pytest.approx(expected, rel=1e-6, abs=1e-8)


def fails_in_torch(*args):
    raise torch.linalg.LinAlgError("did not converge")


def test_infinite_matrices_are_not_tried_again(monkeypatch):
    monkeypatch.setattr(np.linalg, "eigh", fails)
    with pytest.raises(np.linalg.LinAlgError):
        linalg.symmetric_eigen(np.full((2, 2), np.nan))


# ---------------------------------------------------------------- effective rank


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("r", [1, 3, 5])
def test_effective_rank_counts_equal_singular_values(r, scale):
    U, _ = np.linalg.qr(matrix(9, r))
    W, _ = np.linalg.qr(matrix(7, r, seed=1))
    assert ntp.effective_rank(scale * U @ W.T) == pytest.approx(r, rel=1e-9)


def test_effective_rank_by_hand():
    s = np.array([4.0, 2.0, 1.0, 1.0])
    p = s / 8
    assert ntp.effective_rank(np.diag(s)) == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert ntp.effective_rank(np.zeros((3, 4))) == 0
    assert 1 < ntp.effective_rank(np.diag([1.0, 1e-3])) < 1.01
    with pytest.raises(ValueError, match="give a matrix"):
        ntp.effective_rank(np.ones(3))


# ---------------------------------------------------------------- threads


def threads():
    return {library["filepath"]: library["num_threads"] for library in threadpool_info()}


def test_small_problems_get_one_thread_and_the_setting_is_restored():
    from threadpoolctl import threadpool_limits

    with threadpool_limits(2):
        before = threads()
        assert max(before.values()) == 2
        with one_thread_if_small(_threads.SMALL - 1):
            assert set(threads().values()) == {1} and torch.get_num_threads() == 1
        assert threads() == before
        with one_thread_if_small(_threads.SMALL):
            assert threads() == before
        with pytest.raises(RuntimeError), one_thread_if_small(1):
            raise RuntimeError
        assert threads() == before


def in_two_threads(body):
    """Run the body as a user does whose libraries take two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        return body()
    finally:
        torch.set_num_threads(before)


def test_workers_share_the_blocks_and_have_libraries_of_one_thread():
    def body():
        before = threads()
        with workers() as helpers:
            meet = threading.Barrier(2)  # two blocks run at the same time, or nobody comes

            def seen(block):
                if block < 2:
                    meet.wait(timeout=60)
                return block, torch.get_num_threads(), set(threads().values())

            assert helpers.map(seen, range(5)) == [(block, 1, {1}) for block in range(5)]
        assert threads() == before and torch.get_num_threads() == 2
        with pytest.raises(RuntimeError), workers():
            raise RuntimeError
        assert threads() == before and torch.get_num_threads() == 2

    in_two_threads(body)


def test_workers_have_stopped_when_an_error_is_seen():
    ended = []
    entered = threading.Event()

    def fail_first(block):
        if block == 0:
            entered.wait(60)
            raise KeyboardInterrupt
        entered.set()
        time.sleep(0.2)
        ended.append(block)

    def body():
        with workers() as helpers:
            with pytest.raises(KeyboardInterrupt):
                helpers.map(fail_first, range(50))
            count = len(ended)
            time.sleep(0.5)
            assert 1 <= len(ended) == count < 49

    in_two_threads(body)


def test_the_max_margin_solver_finds_the_same_with_more_threads():
    labels = ntp.random_soft_labels(300, 2500, 4, seed=0)  # three blocks
    alone = ntp.solve_max_margin(labels, tol=1e-3)
    together = in_two_threads(lambda: ntp.solve_max_margin(labels, tol=1e-3))
    assert together.n_iter == alone.n_iter and together.converged
    np.testing.assert_allclose(together.L, alone.L, atol=1e-4)


@pytest.mark.parametrize("solve", ["margin", "ridge", "path"])
def test_the_solvers_use_one_thread(solve):
    from threadpoolctl import threadpool_limits

    labels = ntp.random_soft_labels(8, 13, 3, seed=0)
    seen = []
    with threadpool_limits(2):
        if solve == "margin":
            ntp.solve_max_margin(labels, callback=lambda now: seen.append(threads()))
        elif solve == "path":
            ntp.ridge_path(labels, [1e-3], callback=lambda now: seen.append(threads()))
        else:
            with pytest.MonkeyPatch.context() as patch:
                own = np.linalg.eigh
                patch.setattr(np.linalg, "eigh", lambda A: (seen.append(threads()), own(A))[1])
                ntp.solve_ridge(labels, 1e-3)
    assert seen and all(set(now.values()) == {1} for now in seen)
