"""Landscapes: all minima and no others, refined; several parameters; what is said at the ends."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from gpo_analysis.gaussian import GaussianMixture, Landscape, Regularizers, counterexample, landscape
from gpo_analysis.gaussian.minima import _sign_changes, minima_from_starts
from tests.cases import cases

CE = counterexample()


@pytest.fixture(scope="module")
def found_landscape() -> Landscape:
    return CE.landscape(points=801)


def test_the_counterexample_has_its_three_minima_and_the_kl_one(found_landscape: Landscape) -> None:
    assert [round(m.c, 6) + 0.0 for m in found_landscape.mu_squared_loss_minima] == [-2.993551, 0.0, 2.993551]
    assert [round(m.c, 9) + 0.0 for m in found_landscape.kl_minima] == [0.0]
    for m in found_landscape.mu_squared_loss_minima:
        assert m.objective == "mu_squared_loss"
        assert m.value == m.mu_squared_loss < 0.01
        assert m.uncertainty < 1e-8
        assert m.curvature > 1.0
    assert found_landscape.mu_squared_loss_minima[0].kl > 5.9
    assert found_landscape.leaves("kl") == found_landscape.leaves("mu_squared_loss") == (False, False)


def test_minima_agree_with_scipys_bounded_search(found_landscape: Landscape) -> None:
    def loss(c: float) -> float:
        return CE.reference.shifted(c).mu_squared_loss_to(CE.reference, CE.behavior)

    best = optimize.minimize_scalar(loss, bounds=(2.5, 3.5), method="bounded", options={"xatol": 1e-9})
    assert found_landscape.mu_squared_loss_minima[2].c == pytest.approx(best.x, abs=1e-6)
    assert found_landscape.mu_squared_loss_minima[2].value <= best.fun + 1e-12


def test_values_and_derivatives_on_the_grid(found_landscape: Landscape) -> None:
    i = 623
    policy = CE.reference.shifted(found_landscape.c[i])
    assert found_landscape.kl[i] == pytest.approx(policy.kl_divergence_to(CE.reference), rel=1e-10)
    assert found_landscape.mu_squared_loss[i] == pytest.approx(
        policy.mu_squared_loss_to(CE.reference, CE.behavior), rel=1e-9
    )
    slope = np.gradient(found_landscape.mu_squared_loss, found_landscape.c)
    np.testing.assert_allclose(found_landscape.mu_squared_loss_gradient[5:-5], slope[5:-5], atol=0.05)
    assert found_landscape.kl_error.max() < 1e-9


MIXTURE = st.builds(
    lambda parts: GaussianMixture(
        np.array([w for w, _, _ in parts]) / sum(w for w, _, _ in parts),
        [m for _, m, _ in parts],
        [s for _, _, s in parts],
    ),
    st.lists(st.tuples(st.floats(0.1, 1), st.floats(-4, 4), st.floats(0.2, 1.0)), min_size=1, max_size=4),
)


@given(MIXTURE, st.floats(-4, 4), st.floats(0.1, 1.5))
@cases(8)
def test_no_minimum_is_missed_and_none_invented(g: GaussianMixture, place: float, width: float) -> None:
    """Against the values alone on a grid eight times as fine, wherever the stated resolution promises."""
    mu = GaussianMixture([1.0], [place], [width])
    grid = np.linspace(-9, 9, 181)
    found = landscape(g, g, mu, grid=grid)
    fine = np.linspace(-9, 9, 1441)
    for objective in ("kl", "mu_squared_loss"):
        value = found.objectives(objective, fine).value
        clear = 1e-9 * (1.0 + value[1:-1])
        low = 1 + np.flatnonzero((value[1:-1] < value[:-2] - clear) & (value[1:-1] < value[2:] - clear))
        high = 1 + np.flatnonzero((value[1:-1] > value[:-2]) & (value[1:-1] > value[2:]))
        places = np.array([m.c for m in found.minima(objective)])
        for i in low:
            gap = np.abs(fine[high] - fine[i]).min(initial=np.inf)
            neighbours = np.abs(fine[np.setdiff1d(low, i)] - fine[i]).min(initial=np.inf)
            if min(gap, neighbours) > found.resolution + 0.03 and abs(fine[i]) < 8.8:
                assert np.abs(places - fine[i]).min(initial=np.inf) < 0.03
        for m in found.minima(objective):
            around = found.objectives(objective, [m.c - 1e-3, m.c, m.c + 1e-3]).value
            assert around[1] <= around[[0, 2]].min() + 1e-13


def test_a_close_pair_shows_on_a_grid_fine_enough() -> None:
    """What the resolution promises, at its edge: two minima 0.7 apart on grids of step 0.4 and of step 20."""
    g = GaussianMixture([0.5, 0.5], [-0.35, 0.35], [0.1, 0.1])
    mu = GaussianMixture([1.0], [0.0], [0.05])
    fine = landscape(g, g, mu, grid=np.linspace(-1.5, 1.5, 301))
    inner = [m.c for m in fine.mu_squared_loss_minima]
    assert len(inner) >= 2
    coarse = landscape(g, g, mu, grid=np.linspace(-40, 40, 5))
    assert coarse.resolution == 20.0
    assert len(coarse.mu_squared_loss_minima) < len(inner)


def test_flow_runs_to_the_next_minimum_downhill(found_landscape: Landscape) -> None:
    starts = np.array([-6.0, -1.6, -1.4, 0.0, 1.4, 1.6, 2.9, 3.1])
    ends = found_landscape.reached_from("mu_squared_loss", starts)
    np.testing.assert_allclose(ends, np.array([-2.993551] * 2 + [0.0] * 3 + [2.993551] * 3), atol=1e-5)
    np.testing.assert_allclose(found_landscape.reached_from("kl", starts), 0.0, atol=1e-8)
    with pytest.raises(ValueError, match="within the grid, from -7 to 7"):
        found_landscape.reached_from("kl", [8.0])


def test_a_start_at_a_minimum_stays_whatever_rounding_says() -> None:
    """At c = 1.5 a symmetric setting has a minimum exactly on the start, where the slope is rounding alone."""
    found = counterexample(width=0.2, mean=1.5).landscape(points=401)
    starts = [0.0, 1.5, 3.0, *(m.c for m in found.mu_squared_loss_minima)]
    np.testing.assert_allclose(found.reached_from("mu_squared_loss", starts), starts, atol=1e-8)


def test_a_flow_that_leaves_the_grid_is_nan_and_the_end_is_said_open() -> None:
    cut = CE.landscape(grid=np.linspace(1.6, 2.6, 51))
    assert cut.mu_squared_loss_minima == ()
    assert cut.leaves("mu_squared_loss") == (False, True)
    assert cut.leaves("kl") == (True, False)
    assert np.isnan(cut.reached_from("mu_squared_loss", [2.0]))[0]


def test_a_flat_objective_has_no_minima_and_a_plateau_is_said() -> None:
    slope = np.array([-1.0, -0.5, 1e-12, -1e-12, 1e-12, 0.4, 1.0, -1.0, 2.0])
    left, right = _sign_changes(slope, np.full(9, 1e-9))
    assert left.tolist() == [1, 7]
    assert right.tolist() == [5, 8]
    g = GaussianMixture([1.0], [0.0], [1.0])
    still = landscape(lambda c: g, g, g, grid=np.linspace(-1, 1, 11))
    assert still.kl_minima == still.mu_squared_loss_minima == ()
    np.testing.assert_array_equal(still.kl, 0.0)
    np.testing.assert_array_equal(still.reached_from("kl", [0.3]), [0.3])


def test_a_plateaus_middle_and_length() -> None:
    """A family that stands still for |c| < 1: the KL is zero there and grows on both sides."""
    g = GaussianMixture([1.0], [0.0], [1.0])
    flat = landscape(lambda c: g.shifted(np.sign(c) * max(abs(c) - 1.0, 0.0) ** 3), g, g, grid=np.linspace(-3, 3, 61))
    (minimum,) = flat.kl_minima
    assert minimum.c == pytest.approx(0.0, abs=0.11)
    assert 0.8 < minimum.uncertainty < 1.2


def test_tables_and_words(found_landscape: Landscape) -> None:
    table = found_landscape.table
    assert list(table.columns) == ["c", "kl", "mu_squared_loss", "kl_error", "mu_squared_loss_error"]
    assert len(table) == 801
    minima = found_landscape.minima_table
    assert minima["objective"].tolist() == ["kl"] + ["mu_squared_loss"] * 3
    assert minima["c"].tolist()[1] == pytest.approx(-2.993551, abs=1e-6)
    assert "mu_squared_loss: 3 local minima" in repr(found_landscape)
    assert "kl: 1 local minimum" in repr(found_landscape)
    assert "c = 0: kl = 0" in repr(found_landscape)
    assert "<table" in found_landscape._repr_html_()
    told = json.loads(json.dumps(found_landscape.to_dict()))
    assert told["grid"]["points"] == 801
    assert [round(m["c"], 3) for m in told["mu_squared_loss"]][2] == 2.994


def test_a_family_that_is_not_a_shift_needs_a_grid() -> None:
    g = GaussianMixture([0.5, 0.5], [-1.0, 1.0], [0.5, 0.5])

    def spread(c: float) -> GaussianMixture:
        return GaussianMixture([0.5, 0.5], [-c, c], [0.5, 0.5])

    with pytest.raises(ValueError, match="grid is needed"):
        landscape(spread, g, g)
    found = landscape(spread, g, g, grid=np.linspace(-2, 2, 80))
    np.testing.assert_allclose([m.c for m in found.kl_minima], [-1.0, 1.0], atol=1e-8)


PLANE = GaussianMixture([0.5, 0.5], [[0.0, 0.0], [3.0, 1.0]], [0.5, 0.5])
PLANE_MU = GaussianMixture([1.0], [[0.0, 0.0]], [0.5])


@pytest.fixture(scope="module")
def plane_found() -> Landscape:
    return landscape(PLANE, PLANE, PLANE_MU, starts=8, seed=2)


def test_two_parameters_minima_lie_where_a_mode_replaces_another(plane_found: Landscape) -> None:
    places = sorted(tuple(round(x, 2) + 0.0 for x in m.c) for m in plane_found.mu_squared_loss_minima)
    assert places == [(-3.0, -1.0), (0.0, 0.0)]
    assert plane_found.resolution is None
    assert plane_found.mu_squared_loss_minima[0].c == pytest.approx((0.0, 0.0), abs=1e-8)
    remote = plane_found.mu_squared_loss_minima[1]
    assert remote.kl > 3.0
    assert remote.uncertainty < 1e-8
    gradient = plane_found.objectives("mu_squared_loss", remote.c).gradient
    assert np.abs(gradient).max() < 1e-7
    assert [tuple(np.round(m.c, 6) + 0.0) for m in plane_found.kl_minima] == [(0.0, 0.0)]


def test_two_parameters_tables_words_and_refusals(plane_found: Landscape) -> None:
    assert list(plane_found.table.columns)[:2] == ["c_0", "c_1"]
    assert len(plane_found.table) == 8
    assert list(plane_found.minima_table.columns)[1:3] == ["c_0", "c_1"]
    assert "c = (0, 0)" in repr(plane_found)
    assert plane_found.to_dict()["grid"] is None
    with pytest.raises(ValueError, match="one parameter"):
        plane_found.leaves("kl")
    with pytest.raises(ValueError, match="one parameter"):
        plane_found.reached_from("kl", [0.0])


def test_a_grid_of_several_parameters_is_evaluated_and_spans_the_starts() -> None:
    grid = np.stack(np.meshgrid([-0.6, 0.1, 0.7], [-0.5, 0.5], indexing="ij"), axis=-1).reshape(-1, 2)
    found = landscape(PLANE, PLANE, PLANE_MU, grid=grid, starts=3)
    assert found.kl.shape == (6,)
    assert found.kl_gradient.shape == (6, 2)
    assert found.kl[0] == pytest.approx(PLANE.shifted(grid[0]).kl_divergence_to(PLANE), abs=1e-7)
    assert len(found.mu_squared_loss_minima) == 1


def test_saddles_are_dropped() -> None:
    """KL of a symmetric spread: a saddle at no spread in one direction, minima on both sides of it."""
    g = GaussianMixture([0.5, 0.5], [-1.0, 1.0], [0.5, 0.5])

    def family(c: np.ndarray) -> GaussianMixture:
        return GaussianMixture([0.5, 0.5], [c[1] - c[0], c[1] + c[0]], [0.5, 0.5])

    both = Regularizers.of(family, g, g, n_parameters=2)
    assert both("kl", [0.0, 0.0]).gradient == pytest.approx(0.0, abs=1e-9)
    assert minima_from_starts(both, "kl", np.array([[0.0, 0.7]])) == ()  # no slope leads off the ridge
    (minimum,) = minima_from_starts(both, "kl", np.array([[0.0, 0.7], [0.3, 0.2]]))
    assert minimum.c == pytest.approx((1.0, 0.0), abs=1e-8)


@pytest.mark.parametrize("scale", [3.0, 0.2])
def test_one_mode_has_the_curvature_of_its_closed_form(scale: float) -> None:
    """KL of a shift is |c|²/2s², the square loss |c|²/s²: flat and steep minima alike."""
    g = GaussianMixture([1.0], [[0.5, -0.5]], [scale])
    found = landscape(g, g, g, starts=2)
    for objective, curvature in (("kl", scale**-2), ("mu_squared_loss", 2 * scale**-2)):
        (minimum,) = found.minima(objective)  # type: ignore[arg-type]
        assert minimum.c == pytest.approx((0.0, 0.0), abs=1e-8)
        assert minimum.curvature == pytest.approx(curvature, rel=1e-6)


def test_three_dimensions_by_monte_carlo() -> None:
    g = GaussianMixture([0.5, 0.5], [[0.0, 0.0, 0.0], [3.0, 1.0, 0.0]], [0.5, 0.5])
    mu = GaussianMixture([1.0], [[0.0, 0.0, 0.0]], [0.5])
    found = landscape(g, g, mu, starts=3, samples=2_000, seed=0)
    assert not found.objectives.uses_quadrature
    lowest = found.mu_squared_loss_minima[0]
    np.testing.assert_allclose(lowest.c, 0.0, atol=3 * lowest.uncertainty + 1e-6)
    assert len(found.mu_squared_loss_minima) >= 2
    assert found.mu_squared_loss_error.max() > 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"grid": [0.0, 1.0]}, "three or more increasing"),
        ({"grid": [0.0, 2.0, 1.0]}, "three or more increasing"),
        ({"grid": [0.0, 1.0, 1.0, 2.0]}, "three or more increasing"),
        ({"grid": [0.0, np.nan, 1.0]}, "three or more increasing"),
        ({"grid": [[0.0, 1.0, 2.0]]}, "three or more increasing"),
        ({"grid": [0.0, 1.0, np.inf]}, "three or more increasing"),
        ({"points": 2}, "points must be 3 or more"),
    ],
)
def test_bad_grids_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        landscape(CE.reference, CE.reference, CE.behavior, **options)  # type: ignore[arg-type]


def test_bad_starts_are_refused(found_landscape: Landscape) -> None:
    with pytest.raises(ValueError, match="starts must be 1 or more"):
        landscape(PLANE, PLANE, PLANE_MU, starts=0)
    with pytest.raises(ValueError, match="kl or mu_squared_loss"):
        found_landscape.minima("js")  # type: ignore[arg-type]
