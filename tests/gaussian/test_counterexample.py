"""The counterexample and its family: what is claimed of them, against descents and single landscapes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gpo_analysis.gaussian import GaussianMixture, counterexample, counterexample_family, descend_from
from gpo_analysis.gaussian.counterexample import FamilyMap, _kl_reached


@pytest.fixture(scope="module")
def family() -> FamilyMap:
    return counterexample_family([0.2, 0.5, 3.0], [0.0, 1.5], points=401)


def test_the_setting() -> None:
    example = counterexample()
    assert example.reference == GaussianMixture([1 / 3] * 3, [-3.0, 0.0, 3.0], [0.5] * 3)
    assert example.behavior == GaussianMixture([1.0], [0.0], [0.5])
    assert example.policy is example.reference


def test_mu_on_the_reference_leaves_one_minimum() -> None:
    found = counterexample().on_reference().landscape(points=401)
    (minimum,) = found.mu_squared_loss_minima
    assert minimum.c == pytest.approx(0.0, abs=1e-8)
    assert found.objectives.behavior == found.objectives.reference


def test_remote_minima_are_nearly_zero_where_the_kl_is_large() -> None:
    low, middle, high = counterexample().landscape(points=401).mu_squared_loss_minima
    for remote in (low, high):
        assert abs(abs(remote.c) - 3.0) < 0.01
        assert remote.mu_squared_loss < 0.01
        assert remote.kl > 5.9
    assert middle.kl < 1e-12


def test_one_mode_cannot_do_it() -> None:
    """Equal-variance Gaussians: the loss is c² Var_μ(y)/s⁴, whatever μ."""
    single = counterexample(modes=[1.0], scale=0.7, width=0.4, mean=2.0)
    c = np.linspace(-3, 3, 61)
    found = single.landscape(grid=c)
    np.testing.assert_allclose(found.mu_squared_loss, c**2 * 0.4**2 / 0.7**4, rtol=1e-9, atol=1e-14)
    assert len(found.mu_squared_loss_minima) == 1


def test_the_summary_is_json() -> None:
    told = json.loads(json.dumps(counterexample().to_dict(points=201)))
    assert len(told["landscape"]["mu_squared_loss"]) == 3
    assert len(told["landscape_on_reference"]["mu_squared_loss"]) == 1
    assert told["behavior"] == {"weights": [1.0], "means": [0.0], "scales": [0.5]}


def test_it_shows_itself(family: FamilyMap) -> None:
    assert "μ    = 1 N(0, 0.5²)" in repr(counterexample())
    assert r"\pi_{\mathrm{ref}}" in counterexample()._repr_html_()
    assert "3 widths by 2 means, 120 starts" in repr(family)
    assert "<table" in family._repr_html_()


def test_the_map_agrees_with_single_landscapes(family: FamilyMap) -> None:
    for i, width in enumerate(family.widths):
        for j, mean in enumerate(family.means):
            found = counterexample(width=width, mean=mean).landscape(points=801)
            assert family.minima[i, j] == len(found.mu_squared_loss_minima)
            ends = found.reached_from("mu_squared_loss", family.starts)
            kl_end = found.objectives("kl", ends).value
            kl_start = found.objectives("kl", family.starts).value
            assert family.share_raised[i, j] == pytest.approx(np.mean(kl_end > kl_start + 1e-7), abs=1e-12)
            assert family.mean_kl_reached[i, j] == pytest.approx(kl_end.mean(), abs=1e-6)
            assert family.max_kl_reached[i, j] == pytest.approx(kl_end.max(), abs=1e-6)
            assert family.share_astray[i, j] == pytest.approx(np.mean(kl_end > 0.01))


def test_the_map_agrees_with_descents_that_take_steps() -> None:
    starts = np.linspace(-5, 5, 11) + 0.1
    family = counterexample_family([0.5], [0.75], starts=starts, points=401)
    paths = descend_from(counterexample(width=0.5, mean=0.75).objectives, starts, learning_rate=0.01, steps=250)
    raised = np.mean([path.kl[-1] > path.kl[0] + 1e-7 for path in paths])
    assert family.share_raised[0, 0] == pytest.approx(raised)


def test_a_start_at_rest_raises_nothing() -> None:
    """At 0 the KL is 0 before and after: the share that is raised counts what rises by more than rounding."""
    family = counterexample_family([0.5], [0.0], starts=[0.0], points=401)
    assert (family.share_raised[0, 0], family.share_astray[0, 0]) == (0.0, 0.0)
    table = counterexample().to_frame()
    assert list(table.columns) == ["of", "weight", "mean", "scale"]
    assert table["of"].tolist() == ["πref", "πref", "πref", "μ"]


def test_a_wide_mu_never_raises_the_kl_and_a_narrow_one_does(family: FamilyMap) -> None:
    assert family.share_raised[0].min() > 0.1
    assert family.share_raised[2].max() == 0.0
    assert family.minima[2].tolist() == [1, 1]
    assert family.max_kl_reached[2].max() < 1e-12


def test_the_maps_table(family: FamilyMap) -> None:
    table = family.table
    assert len(table) == 6
    assert table["width"].tolist() == [0.2, 0.2, 0.5, 0.5, 3.0, 3.0]
    assert table.loc[2, "minima"] == 3
    assert family.resolution == pytest.approx(14.0 / 400)


def test_flows_that_leave_the_grid_are_followed_on_a_wider_one() -> None:
    both, start = counterexample().objectives, np.array([2.0])
    n, kl = _kl_reached(both, 1.0, 101, start, np.array([3.6]))  # no minimum right of 2 within ±1, nor within ±2
    assert n == 3
    assert kl[0] == pytest.approx(5.9755, abs=1e-4)
    with pytest.raises(ValueError, match="no minimum of the μ-weighted square loss within"):
        _kl_reached(both, 1e-3, 11, start, np.array([3.6]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: counterexample_family([], [0.0]), "widths must be one or more finite numbers"),
        (lambda: counterexample_family([0.5, -1.0], [0.0]), "widths must be above zero, got -1.0"),
        (lambda: counterexample_family([0.5, 0.0], [0.0]), "widths must be above zero, got 0.0"),
        (lambda: counterexample_family([0.5], [np.nan]), "means must be one or more finite"),
        (
            lambda: counterexample_family([0.5], [0.0], reference=GaussianMixture([1.0], [[0.0, 0.0]], [1.0])),
            "reference must be over numbers",
        ),
        (lambda: counterexample(width=0.0), "scales must be above zero"),
        (lambda: counterexample(modes=[]), "weights must have shape"),
    ],
)
def test_bad_arguments_are_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
