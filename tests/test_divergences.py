"""Divergences and links against mpmath, scipy, finite differences and published forms."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

import gpo_analysis as gpo
from gpo_analysis.divergences import (
    LINKS,
    alpha_link,
    chi_po,
    forward_kl,
    get_link,
    jensen_shannon,
    register_kl,
    register_mu_squared_loss,
    reverse_kl,
)

NAN = float("nan")


def draws(seed, n=4, size=3):
    return np.random.default_rng(seed).dirichlet(np.ones(n), size=size)


@given(st.integers(0, 10**6))
def test_kl_agrees_with_scipy_is_not_negative_and_vectorises(seed):
    p, q, r = draws(seed)
    assert gpo.kl_divergence(p, q) == pytest.approx(entropy(p, q), rel=1e-10, abs=1e-14)
    assert gpo.kl_divergence(p, q) >= 0
    both = gpo.kl_divergence([p, q], r)
    np.testing.assert_allclose(both, [gpo.kl_divergence(p, r), gpo.kl_divergence(q, r)])
    assert isinstance(gpo.kl_divergence(p, q), float)


def test_kl_of_zeros():
    assert gpo.kl_divergence([1.0, 0.0], [0.25, 0.75]) == pytest.approx(np.log(4))
    assert gpo.kl_divergence([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert gpo.kl_divergence([1.0, 0.0], [1.0, 0.0]) == 0


def test_kl_of_nearly_equal_distributions_keeps_its_digits():
    gap = 1e-9
    p, q = [0.3 + gap, 0.7 - gap], [0.3, 0.7]
    with mpmath.workdps(50):
        exact = sum(mpmath.mpf(a) * mpmath.log(mpmath.mpf(a) / mpmath.mpf(b)) for a, b in zip(p, q, strict=True))
        assert float(exact) > 0
    assert gpo.kl_divergence(p, q) == pytest.approx(gap**2 / 2 * (1 / 0.3 + 1 / 0.7), rel=1e-6)


@given(st.integers(0, 10**6))
def test_mu_squared_loss_is_half_the_mean_square_of_rho_over_pairs(seed):
    policy, reference, mu = draws(seed)
    h = np.log(policy / reference)
    pairs = sum(0.5 * mu[i] * mu[j] * (h[i] - h[j]) ** 2 for i in range(4) for j in range(4))
    assert gpo.mu_squared_loss(policy, reference, mu) == pytest.approx(pairs, rel=1e-10)
    np.testing.assert_allclose(gpo.mu_squared_loss([policy] * 2, reference, [mu, policy])[0], pairs, rtol=1e-10)


def test_mu_squared_loss_looks_at_the_support_of_mu_only():
    assert gpo.mu_squared_loss([0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [0.5, 0.5, 0.0]) == pytest.approx(0, abs=1e-15)
    assert gpo.mu_squared_loss([0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [0.4, 0.4, 0.2]) == np.inf
    assert gpo.mu_squared_loss([0.25, 0.25, 0.5], [0.5, 0.5, 0.0], [0.4, 0.4, 0.2]) == np.inf
    assert gpo.mu_squared_loss([0.0, 1.0], [0.5, 0.5], [1.0, 0.0]) == 0
    with pytest.raises(ValueError, match=r"both 0 at \[2\]"):
        gpo.mu_squared_loss([0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.4, 0.4, 0.2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gpo.kl_divergence([0.5, 0.6], [0.5, 0.5]), "p must sum to 1"),
        (lambda: gpo.kl_divergence([0.5, 0.5], [NAN, 0.5]), r"q\[0\] is nan"),
        (lambda: gpo.kl_divergence([0.5, 0.5], [-0.5, 1.5]), r"q\[0\] is -0.5"),
        (lambda: gpo.kl_divergence([0.5, 0.5], [1.0]), "one length n"),
        (lambda: gpo.kl_divergence(np.full((2, 2), 0.5), np.full((3, 2), 0.5)), "do not fit"),
        (lambda: gpo.kl_divergence(1.0, [1.0]), "at least one axis"),
        (lambda: gpo.kl_divergence([0.5, 0.5], [0.5, 0.5], tolerance=1), "options"),
        (lambda: gpo.mu_squared_loss([0.5, 0.5], [0.5, 0.5], [0.5, 0.6]), "behavior must sum to 1"),
        (lambda: gpo.mu_squared_loss([0.5, 0.5], [0.5, 0.5], [1.0]), "behavior and policy"),
        (lambda: gpo.mu_squared_loss([0.5, 0.5], [0.5, 0.5], [0.5, 0.5], tolerance=1), "options"),
        (lambda: gpo.kl_divergence([0.5, 0.5], [1.0]), "^p and q must have one length n"),
        (lambda: gpo.kl_divergence([NAN, 0.5], [0.5, 0.5]), r"p\[0\] is nan"),
        (lambda: gpo.kl_divergence([0.5, 0.5], [0.5, 0.6]), "^q must sum to 1"),
        (lambda: gpo.mu_squared_loss([0.5, 0.6], [0.5, 0.5], [0.5, 0.5]), "^policy must sum to 1"),
        (lambda: gpo.mu_squared_loss([0.5, 0.5], [0.5, 0.6], [0.5, 0.5]), "^reference must sum to 1"),
        (lambda: gpo.mu_squared_loss([0.5, 0.5], [1.0], [0.5, 0.5]), "^policy and reference must have one length"),
    ],
)
def test_bad_distributions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_other_distributions_are_computed_by_what_is_registered_for_them():
    class Point:
        pass

    class Below(Point):
        pass

    @register_kl(Point, Point)
    def kl(p, q, tolerance=0.0):
        return "kl", p, q, tolerance

    @register_mu_squared_loss(Point, Point, Point)
    def square(policy, reference, behavior, tolerance=0.0):
        return "mu", policy, reference, behavior, tolerance

    p, q, r = Point(), Below(), Point()
    assert gpo.kl_divergence(p, q, tolerance=2) == ("kl", p, q, 2)
    assert gpo.mu_squared_loss(p, q, r, tolerance=3) == ("mu", p, q, r, 3)
    with pytest.raises(ValueError, match=r"KL of \(Point, list\): accepted are arrays, or one of \(.*Point, Point"):
        gpo.kl_divergence(p, [0.5, 0.5])
    with pytest.raises(ValueError, match=r"square loss of \(list, Point, Below\)"):
        gpo.mu_squared_loss([1.0], p, q)


def test_mixtures_of_gaussians_are_registered():
    g = gpo.GaussianMixture([1.0], [0.0], [1.0])
    assert gpo.kl_divergence(g.shifted(2.0), g) == pytest.approx(2.0)
    assert gpo.mu_squared_loss(g.shifted(2.0), g, g) == pytest.approx(4.0)  # c² Var_μ(y) / s⁴
    with pytest.raises(ValueError, match=r"KL of \(GaussianMixture, list\)"):
        gpo.kl_divergence(g, [1.0])


FORMS = {
    "reverse_kl": (lambda t: mpmath.log(t), lambda: reverse_kl),
    "forward_kl": (lambda t: -1 / t, lambda: forward_kl),
    "jensen_shannon": (lambda t: mpmath.log(2 * t / (1 + t)), lambda: jensen_shannon),
    "alpha 1/2": (lambda t: (1 - t ** mpmath.mpf(-0.5)) / mpmath.mpf(0.5), lambda: alpha_link(0.5)),
    "alpha 3": (lambda t: (1 - t ** mpmath.mpf(-3)) / 3, lambda: alpha_link(3.0)),
    "chi_po": (lambda t: t + mpmath.log(t), lambda: chi_po),
}


@pytest.mark.parametrize("name", FORMS)
def test_links_their_derivatives_and_inverses(name):
    form, link = FORMS[name][0], FORMS[name][1]()
    for t in (1e-8, 0.01, 0.5, 1.0, 3.0, 1e4):
        with mpmath.workdps(40):
            value, slope = float(form(mpmath.mpf(t))), float(mpmath.diff(form, mpmath.mpf(t)))
        assert float(link(t)) == pytest.approx(value, rel=1e-12, abs=1e-14)
        assert float(link.of_log(np.log(t))) == pytest.approx(value, rel=1e-12, abs=1e-14)
        assert float(link.derivative(t)) == pytest.approx(slope, rel=1e-10)
        assert slope > 0


@pytest.mark.parametrize("name", FORMS)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 0.1, 1.0, 30.0]))
def test_policies_from_links_are_normalised_with_the_asked_for_differences(name, seed, scale):
    link = FORMS[name][1]()
    rng = np.random.default_rng(seed)
    reference, u = rng.dirichlet(np.ones(4)), scale * rng.normal(size=4)
    reference = 0.9 * reference + 0.025
    h = link.log_ratio(u, reference)
    assert reference @ np.exp(h) == pytest.approx(1, abs=1e-12)
    got = link.of_log(h)
    np.testing.assert_allclose(got - got.max(), u - u.max(), atol=1e-6 * (1 + scale))


def test_link_of_equal_values_is_the_reference():
    for link in LINKS.values():
        np.testing.assert_allclose(link.log_ratio([2.0, 2.0, 2.0], [0.2, 0.3, 0.5]), 0, atol=1e-12)


def test_links_far_apart_leave_all_mass_on_one():
    for link in LINKS.values():
        h = link.log_ratio([0.0, 1e6], [0.5, 0.5])
        assert h[1] == pytest.approx(np.log(2), rel=1e-5)
        assert np.isfinite(h).all()


def test_links_by_name():
    assert get_link("js") is jensen_shannon
    assert get_link("chi") is chi_po
    assert get_link("kl") is reverse_kl
    assert get_link(forward_kl) is forward_kl
    assert get_link("alpha").alpha == 0.5
    assert alpha_link(3.0).alpha == 3.0
    assert alpha_link(3.0).name == "alpha"
    assert "2309.16240" in alpha_link(3.0).source
    assert alpha_link(3.0).formula == "(1 − t^(−α))/α"
    for link in LINKS.values():
        assert "arXiv" in link.source
        assert link.formula
    with pytest.raises(ValueError, match="unknown link 'tv'; accepted are reverse_kl"):
        get_link("tv")


@pytest.mark.parametrize("alpha", [0.0, -1.0, NAN, float("inf")])
def test_bad_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must be a finite number above 0"):
        alpha_link(alpha)


def test_bad_link_arguments_are_refused():
    with pytest.raises(ValueError, match=r"ratios π/πref must be above 0, got array\(\[-0.5\]\)"):
        chi_po([1.0, -0.5, 0.0])
    with pytest.raises(ValueError, match=r"^ratio"):
        chi_po("much")
    with pytest.raises(ValueError, match=r"^log-ratio"):
        chi_po.of_log("much")
    with pytest.raises(ValueError, match=r"^u must"):
        chi_po.log_ratio("much", [0.5, 0.5])
    with pytest.raises(ValueError, match=r"reference\[1\] is 0"):
        chi_po.log_ratio([0.0, 1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="u must be finite"):
        chi_po.log_ratio([0.0, np.inf], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"reference must have shape \(2,\)"):
        chi_po.log_ratio([0.0, 1.0], [1.0])
