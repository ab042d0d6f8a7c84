"""The statements of "What gradient descent does", each by an independent truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.special import expi

import ntp_lite as ntp

COUNTS = np.array([[4, 0, 1, 2, 0], [1, 3, 0, 2, 0], [0, 1, 2, 1, 0], [0, 0, 0, 1, 3]])
LABELS = ntp.SoftLabels.from_counts(COUNTS)
P, PI, S = LABELS.P.toarray(), LABELS.pi, COUNTS > 0
V, M, D_WIDTH = 4, 5, 4
N_MIN, TOTAL = 1, COUNTS.sum()


def nuc(X):
    return np.linalg.norm(X, "nuc")


def residual(L):
    Q = np.exp(L - L.max(axis=0))
    return (P - Q / Q.sum(axis=0)) * PI


def start(size=0.5, ratio=1.5, seed=0):
    rng = np.random.default_rng(seed)
    return size * ratio * rng.normal(size=(V, D_WIDTH)), size / ratio * rng.normal(
        size=(D_WIDTH, M)
    )


def energy(W, H):
    return (np.sum(W**2) + np.sum(H**2)) / 2


def imbalance(W, H):
    return W.T @ W - H @ H.T


@pytest.fixture(scope="module")
def margin():
    return ntp.solve_max_margin(LABELS, tol=1e-9)


@pytest.fixture(scope="module")
def flow():
    """The gradient flow by an adaptive integrator, which knows nothing of the laws."""
    W, H = start()
    shape = W.size

    def velocity(_, x):
        W, H = x[:shape].reshape(W_shape), x[shape:].reshape(H_shape)
        G = residual(W @ H)
        return np.concatenate([(G @ H.T).ravel(), (W.T @ G).ravel()])

    W_shape, H_shape = W.shape, H.shape
    times = np.geomspace(0.1, 2000, 300)
    solved = solve_ivp(
        velocity, (0, times[-1]), np.concatenate([W.ravel(), H.ravel()]), "LSODA", times,
        rtol=1e-10, atol=1e-12,
    )  # fmt: skip
    points = [(x[:shape].reshape(W_shape), x[shape:].reshape(H_shape)) for x in solved.y.T]
    return times, points, (W, H)


@pytest.mark.parametrize("mutation", ["none", "rate sqrt 2", "ridge q"])
def test_time_is_a_ridge_in_the_smallest_language(mutation):
    """Theorem label: prop-gradient-descent-tiny

    The flow by an integrator; the ridge judged by its certificate. Mutations: half the rate of
    growth in the formula, and the leak itself as the ridge.
    """
    a_0 = 0.2
    x_0 = np.sqrt(a_0 / np.sqrt(2))

    def velocity(_, y):
        q = 1 / (1 + np.exp(2 * y[0] * y[1]))
        return [q * y[1], 2 * y[0] * q]

    times = np.array([1.0, 10.0, 300.0])
    start_at = [x_0, np.sqrt(2) * x_0]
    solved = solve_ivp(velocity, (0, 300), start_at, "LSODA", times, rtol=1e-10, atol=1e-12)
    a = solved.y[0] * solved.y[1]
    rate = np.sqrt(2) if mutation == "rate sqrt 2" else 2 * np.sqrt(2)
    formula = (np.log(a / a_0) + expi(2 * a) - expi(2 * a_0)) / rate
    q = 1 / (1 + np.exp(2 * a))
    ridges = q if mutation == "ridge q" else np.sqrt(2) * q
    tiny = ntp.SoftLabels.from_counts([[1], [0]])
    gaps = [
        ntp.certify_ridge([[x], [-x]], tiny, ridge).relative_gap
        for x, ridge in zip(a, ridges, strict=True)
    ]
    right = np.allclose(formula, times, rtol=1e-5) and max(gaps) < 1e-9
    assert right == (mutation == "none")
    if mutation == "none":
        late = np.array([10.0, 100.0, 340.0])
        ridge = np.sqrt(2) / (1 + np.exp(2 * late))
        tau = (np.log(late / a_0) + expi(2 * late) - expi(2 * a_0)) / (2 * np.sqrt(2))
        error = np.abs(2 * tau * ridge * np.log(1 / ridge) - 1)
        assert (np.diff(error) < 0).all() and error[-1] < 0.01
        assert abs(tau[-1] * ridge[-1] * np.log(1 / ridge[-1]) - 1) > 0.4  # without the 2


def test_laws_of_the_flow(flow):
    """Theorem label: thm-gradient-descent-laws

    All five along an integrated flow. Mutations: D with a plus sign, energy at the rate <G, L>,
    half the bound on the price, twice the bound on the speed at a balanced rank-one start.
    """
    times, points, (W_0, H_0) = flow
    D_0, dots, energies, losses, speeds, prices = imbalance(W_0, H_0), [], [], [], [], []
    plus = []
    for W, H in points:
        L, G = W @ H, residual(W @ H)
        assert np.allclose(imbalance(W, H), D_0, atol=1e-6)
        plus.append(W.T @ W + H @ H.T)
        dots.append(np.vdot(G, L))
        energies.append(energy(W, H))
        losses.append(ntp.excess_loss(L, LABELS))
        speeds.append(np.sum((G @ H.T) ** 2) + np.sum((W.T @ G) ** 2))
        prices.append(energy(W, H) - nuc(L))
        assert speeds[-1] >= 2 * dots[-1] ** 2 / energies[-1]
    assert not np.allclose(plus[0], plus[-1], atol=1)
    assert (np.diff(losses) < 0).all()
    assert np.allclose(np.gradient(losses, times)[5:-5], -np.array(speeds)[5:-5], rtol=0.02)
    slope = np.gradient(energies, times)[5:-5]
    assert np.allclose(slope, 2 * np.array(dots)[5:-5], rtol=0.02, atol=1e-4)
    assert not np.allclose(slope, np.array(dots)[5:-5], rtol=0.02, atol=1e-4)
    assert min(prices) >= 0 and max(prices) <= nuc(D_0) / 2


def test_the_price_cannot_be_halved():
    """The constant one half in law 4 is attained: one factor zero, the other not."""
    W, H = start()
    assert np.isclose(energy(W, 0 * H) - 0, nuc(imbalance(W, 0 * H)) / 2)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        W, H = rng.normal(size=(5, 3)), rng.exponential() * rng.normal(size=(3, 4))
        extra = energy(W, H) - nuc(W @ H)
        assert -1e-12 <= extra <= nuc(imbalance(W, H)) / 2 + 1e-12
    W, H = ntp.balanced_factors(W @ H)
    assert np.isclose(energy(W, H), nuc(W @ H))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_steps_instead_of_time(optimizer):
    """Theorem label: prop-gradient-descent-steps

    One step of the package's SGD against the identity, then the bound after a thousand; mutation:
    Adam, for which both fail.
    """
    W, H = start()
    G, step = residual(W @ H), 0.1
    predicted = step**2 * (H @ G.T @ G @ H.T - W.T @ G @ G.T @ W)
    square = np.sum((G @ H.T) ** 2) + np.sum((W.T @ G) ** 2)
    predicted_energy = 2 * step * np.vdot(G, W @ H) + step**2 * square / 2

    def after(steps):
        model = ntp.UFM(V, M, D_WIDTH)
        with torch.no_grad():
            model.W.copy_(torch.tensor(W))
            model.H.copy_(torch.tensor(H))
        config = ntp.TrainConfig(
            ridge=0, optimizer=optimizer, lr=step, steps=steps, tol=None, device="cpu"
        )
        ntp.fit(model, LABELS, config)
        return model.W.detach().numpy(), model.H.detach().numpy()

    W_1, H_1 = after(1)
    exact = np.allclose(imbalance(W_1, H_1) - imbalance(W, H), predicted, atol=1e-12)
    exact &= np.isclose(energy(W_1, H_1) - energy(W, H), predicted_energy, atol=1e-12)
    W_k, H_k = after(1000)
    drift = nuc(imbalance(W_k, H_k) - imbalance(W, H))
    bounded = drift <= 2 * step * ntp.excess_loss(W @ H, LABELS)
    assert exact == bounded == (optimizer == "sgd")


def rest(L, support=S):
    k = support.sum(axis=0)
    mean = np.where(support, L, 0).sum(axis=0) / k
    R = np.where(support, mean, L)
    top = np.where(support, -np.inf, R).max(axis=0)
    return R, (mean - top)[k < len(L)].min()


def test_what_alignment_buys(margin):
    """Theorem label: thm-gradient-descent-alignment

    On the path (alignment one), in training, and for longer logits. Mutation: alignment one
    instead of the measured one fails where the rest is three times as long.
    """
    A = margin.certificate.primal
    k = LABELS.support_sizes
    C_up = nuc(ntp.in_support_logits(LABELS).toarray()) + np.sum(PI * (V - k) / k)
    path = [point.L for point in ntp.ridge_path(LABELS, [1e-3, 1e-5, 1e-7], tol=1e-6)]
    model = ntp.UFM(V, M, D_WIDTH, seed=1)
    config = ntp.TrainConfig(
        ridge=0, optimizer="sgd", lr=1.0, steps=5000, tol=None, device="cpu"
    )  # fmt: skip
    ntp.fit(model, LABELS, config)
    trained = model.logits().detach().numpy()
    longer = trained + 2 * ntp.split_logits(trained, LABELS).orthogonal
    for L in [*path, trained, longer]:
        judged = ntp.certify_ridge(L, LABELS)
        assert judged.operator_norm <= N_MIN / (2 * TOTAL)
        right = A * np.log(1 / judged.operator_norm) + C_up
        paid = ntp.excess_loss(L, LABELS) / judged.operator_norm
        assert paid + judged.alignment * nuc(L) <= right
    assert paid + nuc(L) > right  # the last of them is longer than it should be
    # The limit: on the path the norm per ln(1/gamma) comes down to A.
    ratios = [
        nuc(L) / np.log(1 / ridge) / A for L, ridge in zip(path, (1e-3, 1e-5, 1e-7), strict=True)
    ]
    assert abs(ratios[-1] - 1) < 0.15 and abs(ratios[-1] - 1) < abs(ratios[0] - 1)


@pytest.mark.parametrize("seed", range(10))
def test_the_price_of_a_loss(seed, margin):
    """Theorem label: thm-gradient-descent-price

    Any logits; then those with a small loss. Mutations: the proxy (equality fails), a
    permuted support, wrong axis.
    """
    A, L_mm = margin.certificate.primal, margin.L
    rng = np.random.default_rng(seed)
    L = rng.exponential() * rng.normal(size=(V, M))
    R, mu = rest(L)
    assert nuc(R) >= mu * A
    scale = rng.uniform(8, 20)
    L_in = ntp.in_support_logits(LABELS).toarray()
    noise = rng.normal(size=(V, M)) * ~S  # off the support any logits, within one
    L = L_in + scale * L_mm + np.clip(noise, -1, 1)
    e = ntp.excess_loss(L, LABELS)
    assert 0 < e <= 0.19 * N_MIN / TOTAL
    R, mu = rest(L)
    assert mu >= np.log(1 / e) - np.log(2 * TOTAL / N_MIN)
    assert nuc(R) >= mu * A
    # Equality at the solution, not at the proxy, not for another support.
    R, mu = rest(L_in + scale * L_mm)
    assert np.isclose(nuc(R - R.mean(axis=0)), mu * A, rtol=1e-5)
    other = ntp.random_soft_labels(V=12, m=20, support_size=3, seed=seed)
    A_other, support = ntp.solve_max_margin(other).certificate.primal, other.S.toarray() == 1
    R, mu = rest(ntp.centered_support(other), support)
    assert nuc(R) > mu * A_other * (1 + 1e-4)
    R, mu = rest(scale * L_mm, np.roll(S, 1, axis=1))
    assert mu < 0
    R, mu = rest(scale * L_mm.T[:V], S.T[:V])
    assert not np.isclose(nuc(R - R.mean(axis=0)), mu * A, rtol=1e-3)


def test_the_rate_needs_its_constant():
    """Where the correction ln(2n / N_min) matters: dropping it makes the bound false."""
    counts = np.array([[99, 50], [1, 50], [0, 0]])
    labels = ntp.SoftLabels.from_counts(counts)
    L = np.log(np.array([[0.99, 0.5], [0.01, 0.5], [1e-9, 1e-4]]))
    e = ntp.excess_loss(L, labels)
    assert e <= 0.19 / 200
    k = np.where(counts > 0, L, 0).sum(axis=0) / (counts > 0).sum(axis=0)
    mu = (k - L[2]).min()
    assert np.log(1 / e) - np.log(400) <= mu < np.log(1 / e)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_where_decoupled_decay_rests(optimizer):
    """Theorem label: prop-gradient-descent-decay

    Quadratic losses with known minima. SGD rests at the ridge solution, AdamW at the minimum or at
    the wall of the box; each answer fails for the other.
    """
    decay, small = 0.5, 1e-3
    targets = torch.tensor([0.3, -1.0, 5.0, -9.0], dtype=torch.float64)
    x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    if optimizer == "sgd":  # torch's coupled decay, without momentum, is the decoupled one
        rule = torch.optim.SGD([x], lr=0.1, weight_decay=decay)
    else:
        rule = torch.optim.AdamW([x], lr=0.02, weight_decay=decay, betas=(0.9, 0.95), eps=small)
    for k in range(8000):
        if optimizer == "adamw":
            rule.param_groups[0]["lr"] = 0.02 / (1 + k / 1000)
        rule.zero_grad()
        ((x - targets) ** 2 / 2).sum().backward()
        rule.step()
    theta = x.detach().numpy()
    g = theta - targets.numpy()
    ridge = np.allclose(g, -decay * theta, atol=1e-4)
    box = (decay * np.abs(theta) < 1).all() and np.allclose(
        g * (1 - decay * np.abs(theta)), -small * decay * theta, atol=2e-3
    )
    walls = np.allclose(theta, np.clip(targets.numpy(), -2, 2), atol=1e-2)
    assert ridge == (optimizer == "sgd")
    assert (box and walls) == (optimizer == "adamw")


def test_the_packages_decay_is_a_ridge_for_sgd_alone():
    """Certificates at ridge := decay: closed for SGD, open for AdamW."""
    gaps = {}
    for optimizer, lr in (("sgd", 1.0), ("adamw", 1e-2)):
        model = ntp.UFM(V, M, D_WIDTH, seed=0)
        config = ntp.TrainConfig(
            ridge=0, optimizer=optimizer, lr=lr, weight_decay=2e-2, steps=3000, tol=None,
            device="cpu", schedule="constant" if optimizer == "sgd" else "cosine",
        )  # fmt: skip
        ntp.fit(model, LABELS, config)
        L = model.logits().detach().numpy()
        gaps[optimizer] = ntp.certify_ridge(L, LABELS, ridge=2e-2).relative_gap
    assert gaps["sgd"] < 1e-2 and gaps["adamw"] > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_efficiency_is_a_distance_and_alignment_a_test(seed):
    """Norm efficiency >= alignment for any logits; scaling a path point separates the two.

    Mutation: alignment read as a distance; two parts in a thousand cost it half and more.
    """
    rng = np.random.default_rng(seed)
    for size in (0.1, 1.0, 4.0):
        L = size * (2 * S - 1) + rng.normal(size=(V, M))
        assert ntp.norm_efficiency(L, LABELS).upper >= ntp.certify_ridge(L, LABELS).alignment
    point = ntp.solve_ridge(LABELS, 1e-6 * (seed + 1), tol=1e-8)
    assert ntp.certify_ridge(point.L, LABELS).alignment > 0.999
    longer = 1.002 * point.L
    assert ntp.norm_efficiency(longer, LABELS).lower > 0.95
    assert not ntp.certify_ridge(longer, LABELS).alignment > 0.5


@pytest.mark.parametrize("sigma", [10.0, 0.0])
def test_noise_turns_the_box_into_a_ridge(sigma):
    """Equation label: eq-gradient-descent-noise

    torch's AdamW on a quadratic, gradients with noise. Mutation: no noise, and the box is back.
    """
    decay, targets = 0.1, torch.tensor([2.0, -4.0, 3.0], dtype=torch.float64)
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    rule = torch.optim.AdamW([x], lr=0.01, weight_decay=decay, betas=(0.9, 0.95))
    draws = torch.Generator().manual_seed(0)
    total = torch.zeros(3, dtype=torch.float64)
    for k in range(6000):
        noise = sigma * torch.randn(3, dtype=torch.float64, generator=draws)
        x.grad = x.detach() - targets + noise
        rule.step()
        total += x.detach() * (k >= 3000)
    mean = (total / 3000).numpy()
    ridge = np.allclose(mean, targets.numpy() / (1 + decay * 10), atol=0.25)
    box = np.allclose(mean, targets.numpy(), atol=0.05)
    assert ridge == (sigma > 0) != box


def test_the_heuristic_needs_its_logarithm():
    """Equation label: eq-gradient-descent-heuristic

    Gradient descent on a random text with A far from 2 ln(time). Mutation: ln(time) in the
    place of ln(1/excess).
    """
    labels = ntp.random_soft_labels(V=30, m=40, support_size=4, seed=0)
    A = ntp.solve_max_margin(labels).certificate.primal
    P, pi, step, steps = labels.P.toarray(), labels.pi, 0.5, 20_000
    rng = np.random.default_rng(0)
    W = 0.3 * rng.normal(size=(30, 32)) / np.sqrt(32)
    H = 0.3 * rng.normal(size=(32, 40)) / np.sqrt(32)
    for _ in range(steps):
        E = np.exp(W @ H)
        G = (P - E / E.sum(axis=0)) * pi
        W, H = W + step * G @ H.T, H + step * W.T @ G
    e, tau = ntp.excess_loss(W @ H, labels), step * steps
    assert 0.75 < 1 / e / (2 / A * tau * np.log(1 / e)) < 1.1
    assert not 0.75 < 1 / e / (2 / A * tau * np.log(tau)) < 1.1
