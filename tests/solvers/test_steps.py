"""The pieces of the solvers by themselves: sums, steps, searches and errors, against closed forms and differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

import gpo_analysis as gpo
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import get_margin_loss
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.preferences.laplacian import Laplacian
from gpo_analysis.solvers import kinks, newton, nonconvex, rows, sparse_newton, stacks
from gpo_analysis.solvers.faces import _exactly_there, _tightest, components
from gpo_analysis.solvers.minimum import Minimum, Status, described, ended
from gpo_analysis.solvers.pairs import WeightedPairs
from gpo_analysis.solvers.precise import minimise_precisely
from gpo_analysis.solvers.rows import WeightedRows

LOGISTIC = get_margin_loss("logistic")


def ring(n: int, seed: int = 0, weak: float = 1.0) -> WeightedPairs:
    """Both ways round a ring, with some chords; the pairs of the first response `weak` times."""
    rng = np.random.default_rng(seed)
    around = np.arange(n)
    winner = np.concatenate([around, (around + 1) % n, rng.integers(0, n, n)])
    loser = np.concatenate([(around + 1) % n, around, rng.integers(0, n, n)])
    keep = winner != loser
    dense = np.zeros((n, n))
    np.add.at(dense, (winner[keep], loser[keep]), rng.uniform(0.5, 1.5, keep.sum()))
    dense[0], dense[:, 0] = weak * dense[0], weak * dense[:, 0]
    i, j = np.nonzero(dense)
    return WeightedPairs(n, i, j, dense[i, j], 0.0, tuple(map(str, around)), dense)


def hessian_of(pairs: WeightedPairs, g: FloatArray) -> FloatArray:
    held = np.zeros((pairs.n, pairs.n))
    np.add.at(held, (pairs.winner, pairs.loser), pairs.weight * LOGISTIC.derivative(pairs.margins(g), order=2))
    held += held.T
    return np.asarray(np.diag(held.sum(1)) - held)


def test_small_arithmetic_on_stacks() -> None:
    rng = np.random.default_rng(0)
    g, blocks = rng.normal(size=(2, 4)), np.array([[0, 0, 1, 1], [0, 0, 0, 0]])
    centred = stacks.centred_in_blocks(g, blocks)
    np.testing.assert_allclose(centred[0], g[0] - np.repeat([g[0, :2].mean(), g[0, 2:].mean()], 2), atol=1e-15)
    np.testing.assert_allclose(centred[1], g[1] - g[1].mean(), atol=1e-15)
    weights = np.zeros((1, 4, 4))
    weights[0, 0, 1], weights[0, 2, 3], weights[0, 3, 2], weights[0, 1, 0] = 1.0, 2.0, 5.0, 0.5
    weights[0, 3, 1] = 0.1
    np.testing.assert_array_equal(stacks.grounds(weights, blocks[:1]), [[False, True, False, True]])
    np.testing.assert_array_equal(stacks.grounds(weights, blocks[1:]), [[False, False, False, True]])
    product = stacks.weighted(np.array([0.0, 2.0, 0.0]), np.array([np.inf, 3.0, np.nan]))
    np.testing.assert_array_equal(product, [0.0, 6.0, 0.0])
    value, size = stacks.summed(np.array([[[1.0, -2.0], [3.0, -4.0]]]))
    assert (value[0], size[0]) == (-2.0, 10.0)
    far = stacks.far_of(np.array([[1.0, 3.0, 0.0, 0.0], [np.inf, 0, 0, 0]]), blocks)
    np.testing.assert_array_equal(far, [1.0, np.inf])
    np.testing.assert_array_equal(stacks.differences(g)[1], g[1][:, None] - g[1][None, :])
    laplacian = np.array([[[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]]])
    stacks.as_laplacian(laplacian)
    np.testing.assert_array_equal(laplacian[0], [[3.0, -1.0, -2.0], [-1.0, 4.0, -3.0], [-2.0, -3.0, 5.0]])
    held, scale = stacks.with_grounds(laplacian.copy(), np.array([[False, False, True]]))
    grounded = laplacian[0] + np.diag([0, 0, 5.0])
    np.testing.assert_allclose(scale[0], 1 / np.sqrt([3.0, 4.0, 10.0]))
    np.testing.assert_allclose(held[0], grounded * scale[0][:, None] * scale[0])
    matrix, right = np.diag([2.0, -4.0]), np.array([1.0, 1.0])
    np.testing.assert_allclose(stacks.curved_step(matrix, right, True), [0.5, 0.25])
    np.testing.assert_allclose(stacks.curved_step(matrix, right, False), [0.5, 0.25])
    np.testing.assert_allclose(np.abs(stacks.curved_step(matrix, np.zeros(2), False)), [0.0, 0.1])  # off a saddle
    np.testing.assert_array_equal(stacks.curved_step(matrix, np.zeros(2), True), 0)
    np.testing.assert_allclose(stacks.curved_step(np.diag([1.0, 0.0]), right, True), [1.0, 1e10])
    weak = np.diag([1.0, 1e-12])  # positive: where that may not be so, one that is is solved as it is
    np.testing.assert_allclose(stacks.curved_step(weak, right, False), [1.0, 1e12])
    np.testing.assert_allclose(stacks.curved_step(weak, right, True), [1.0, 1e10])
    np.testing.assert_array_equal(stacks.curved_step(np.full((2, 2), np.nan), right, True), right)
    np.testing.assert_allclose(stacks.whole_step(np.diag([2.0, 4.0]), right), [0.5, 0.25])
    np.testing.assert_array_equal(stacks.whole_step(matrix, np.array([0.0, 1.0])), np.inf)
    np.testing.assert_array_equal(stacks.whole_step(np.zeros((2, 2)), right), np.inf)


@pytest.mark.parametrize("ends", [False, True])
def test_derivatives_and_traffic_of_a_stack(ends: bool) -> None:
    pairs = [ring(5, seed) for seed in range(3)]
    stack = newton._Stack(np.stack([one.dense() for one in pairs]), LOGISTIC, np.zeros((3, 5), int), True)
    g = np.random.default_rng(1).normal(size=(3, 5))
    here = stack._derivatives(stack.weights, g, ends=ends)
    for k, one in enumerate(pairs):
        flow = one.weight * LOGISTIC.derivative(one.margins(g[k]))
        assert here.value[k] == pytest.approx(float(one.weight @ LOGISTIC(one.margins(g[k]))), rel=1e-14)
        assert here.noise[k] == pytest.approx(here.value[k], rel=1e-14)
        np.testing.assert_allclose(here.gradient[k], one.balance(flow), atol=1e-14)
        np.testing.assert_allclose(here.hessian[k], hessian_of(one, g[k]), atol=1e-14)
        if ends:
            both = np.bincount(one.winner, np.abs(flow), 5) + np.bincount(one.loser, np.abs(flow), 5)
            np.testing.assert_allclose(here.traffic[k], both, rtol=1e-13)
    system = sparse_newton.SparseSystem(pairs[0], LOGISTIC, True)
    point = system.at(g[0])
    np.testing.assert_allclose(point.gradient, here.gradient[0], atol=1e-14)
    np.testing.assert_allclose(point.curvature, pairs[0].weight * LOGISTIC.derivative(pairs[0].margins(g[0]), order=2))
    assert point.value == pytest.approx(here.value[0])
    assert point.size == pytest.approx(here.value[0])
    step = system.solve(point, -point.gradient, 1e-10)
    np.testing.assert_allclose(hessian_of(pairs[0], g[0]) @ step, -point.gradient, atol=1e-9)
    assert step.mean() == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e20])
@pytest.mark.parametrize("n", [2, 6])
def test_the_error_told_is_of_the_size_of_rounding_carried_through_the_hessian(n: int, scale: float) -> None:
    pairs = ring(n)
    weights = scale * pairs.dense()[None]
    (found,) = newton.minimise_stack(weights, LOGISTIC, np.zeros((1, n), int))
    assert found.status is Status.OPTIMUM
    assert found.iterations <= 8
    flow = np.abs(pairs.weight * LOGISTIC.derivative(pairs.margins(found.reward)))
    traffic = np.bincount(pairs.winner, flow, n) + np.bincount(pairs.loser, flow, n)
    bound = 4 * np.finfo(float).eps * np.abs(np.linalg.pinv(hessian_of(pairs, found.reward))) @ traffic
    assert 0.02 * bound.max() < found.error <= 1.01 * bound.max() + 1e-15
    again = sparse_newton.minimise_sparse(replace(pairs, weight=scale * pairs.weight), LOGISTIC)
    assert again.converged
    assert again.iterations <= 10
    np.testing.assert_allclose(again.reward, found.reward, atol=1e-12)
    assert again.error <= 1.01 * bound.max() + 1e-10
    exact = minimise_precisely(pairs, LOGISTIC, np.zeros(n))
    assert exact is not None
    np.testing.assert_allclose(found.reward, exact.reward, atol=found.error + 1e-15)
    assert exact.iterations <= 12
    assert exact.error == pytest.approx(np.finfo(float).eps * (1 + np.abs(exact.reward).max()))


def test_ends_in_words() -> None:
    good, bad = ended(np.zeros(2), 1.0, 0.5, True, 3), ended(np.zeros(2), 1.0, 0.5, False, 3)
    assert (good.status, good.reason, good.error, good.iterations, good.converged) == (Status.OPTIMUM, "", 0.5, 3, True)
    assert bad.status is Status.NOT_CONVERGED
    assert bad.reason == "Newton's iteration ended after 3 steps with an estimated error of 5.0e-01 in β·log-ratio"
    assert bad.minimiser is None
    assert replace(bad, status=Status.NOT_UNIQUE).minimiser is bad.reward
    assert replace(good, reward=np.array([0.0, np.nan])).minimiser is None
    assert described(Status.OPTIMUM, "") == "optimum"
    assert described(Status.NOT_UNIQUE, "so") == "not unique: so"


def test_rows_search_doubles_and_halves_to_where_the_slope_is_four_times_flatter() -> None:
    one = rows._Newton(WeightedRows(np.eye(1), np.ones(1)), gpo.parse_loss("(z-1)**2"), True)
    for size in (1.0, 0.3, 0.01, 1e-6, 3.0, 40.0, 1e6):
        point = one.at(np.zeros(1))
        length = one.search(point, np.array([size]))
        slope = 2 * (length * size - 1)
        assert abs(slope) <= 0.25 * 2
        assert (length >= 1) == (size < 3)
    line = rows._Newton(WeightedRows(np.eye(1), np.ones(1)), gpo.parse_loss("-z"), True)
    far = line.search(line.at(np.zeros(1)), np.ones(1))
    assert far >= 1e30  # without an end


def test_rows_newton_on_a_quadratic_is_one_step_with_shifts_and_straight_directions() -> None:
    rng = np.random.default_rng(0)
    design, weight, shift = rng.normal(size=(8, 3)), rng.uniform(0.5, 2, 8), rng.normal(size=8)
    problem = WeightedRows(design, weight, shift)
    found = rows.newton(problem, gpo.parse_loss("(z-1)**2"))
    root: FloatArray = np.sqrt(weight)
    theirs: FloatArray = np.asarray(np.linalg.lstsq(root[:, None] * design, root * (1 - shift), rcond=None)[0], float)
    assert found.converged
    assert found.iterations <= 2
    np.testing.assert_allclose(found.reward, theirs, atol=1e-13)
    assert problem.value(gpo.parse_loss("(z-1)**2"), found.reward) == pytest.approx(found.value, rel=1e-13)
    np.testing.assert_allclose(problem.margins(theirs), design @ theirs + shift)
    doubled = WeightedRows(np.hstack([design, design[:, :1]]), weight, shift)
    twice = rows.newton(doubled, gpo.parse_loss("(z-1)**2"))
    assert twice.converged
    np.testing.assert_allclose(doubled.margins(twice.reward), problem.margins(theirs), atol=1e-12)
    logistic = rows.newton(WeightedRows(np.vstack([design, -design]), np.append(weight, 2 * weight)), LOGISTIC)
    assert logistic.converged
    assert logistic.iterations <= 8
    assert 0 < logistic.error < 1e-13


def test_a_second_attempt_counts_all_its_steps_and_the_lower_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = WeightedRows(np.eye(1), np.ones(1))

    def ends(*values: tuple[float, bool]) -> None:
        told = iter([(values[0], 7), *[((5.0, False), 2)] * 15, (values[1], 11)])

        def run(self: object, start: FloatArray, most: int) -> Minimum:
            (value, good), steps = next(told)
            return ended(np.array([value]), value, 0.0, good, steps)

        monkeypatch.setattr(rows._Newton, "run", run)

    for first, second, kept in (
        ((1.0, False), (2.0, False), 1.0), ((2.0, False), (1.0, False), 1.0), ((1.0, False), (2.0, True), 2.0),
    ):  # fmt: skip
        ends(first, second)
        found = rows.newton(problem, LOGISTIC)
        assert found.value == kept
        assert found.iterations == 7 + 15 * 2 + 11
    ends((1.0, True), (0.0, True))
    assert rows.newton(problem, LOGISTIC).iterations == 7
    ends((1.0, False), (0.0, True))
    assert rows.newton(problem, LOGISTIC, convex=False).value == 1.0
    ends((-1e60, False), (0.0, True))
    assert rows.newton(problem, LOGISTIC).value == -1e60


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_each_response_s_best_against_all_others_at_zero(share: float) -> None:
    found = sparse_newton.alone(LOGISTIC, np.array([share, 0.0, 1.0]), np.array([1 - share, 0.0, 1.0]))
    assert found[0] == pytest.approx(np.log(share / (1 - share)), abs=1e-6)
    assert found[1] == 0.0  # neither won nor lost
    assert found[2] == 0.0
    sided = sparse_newton.alone(LOGISTIC, np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(sided, [5.0, -5.0])  # five steps of at most one
    flat = gpo.parse_loss("max(0, 1-z)**2")
    np.testing.assert_array_equal(sparse_newton.alone(flat, np.array([1.0, 0.0]), np.array([0.0, 1.0])), [1.0, -1.0])


def test_a_badly_scaled_system_takes_few_conjugate_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Degrees over six orders of magnitude: in units of the diagonal they are nothing to the iteration."""
    n = 60
    sizes = np.geomspace(1e-3, 1e3, n)
    dense = np.sqrt(np.outer(sizes, sizes)) * (1 - np.eye(n))
    i, j = np.nonzero(np.triu(dense))
    pairs = WeightedPairs(n, i, j, dense[i, j], 0.0, tuple(map(str, range(n))), None)
    values = pairs.weight * np.where(np.arange(len(i)) % 7 == 0, -0.02, 1.0)
    laplacian, calls = Laplacian(pairs.table(values)), []
    inner = Laplacian.neighbours

    def counted(self: Laplacian, x: FloatArray) -> FloatArray:
        calls.append(1)
        return inner(self, x)

    monkeypatch.setattr(Laplacian, "neighbours", counted)
    right = np.random.default_rng(0).normal(size=n) * sizes
    right -= right.mean()
    step = sparse_newton._positive_step(laplacian, right, 1e-8)
    assert step is not None
    both = np.zeros((n, n))
    both[i, j] = values
    both += both.T
    np.testing.assert_allclose(
        np.diag(both.sum(1)) @ step - both @ step, right, atol=1e-7 * float(np.linalg.norm(right))
    )
    assert len(calls) < 40
    negative = Laplacian(pairs.table(-values))
    assert sparse_newton._positive_step(negative, right, 1e-8) is None


def test_what_is_accepted_of_a_trial() -> None:
    class At:
        def __init__(self, value: float, slope: float) -> None:
            self.g, self.value, self.size, self.gradient = np.zeros(1), value, 1.0, np.array([slope])

    step, old = np.ones(1), At(1.0, -1.0)

    def falls(value: float, slope: float, convex: bool = True, flattest: float = np.inf, given: float = -1.0) -> bool:
        return sparse_newton._falls(convex, old, At(value, slope), step, given, flattest, 1.0)

    assert falls(2.0, -0.5)  # of a convex f it falls all the way
    assert falls(2.0, 0.1)
    assert not falls(2.0, 0.11)
    assert not falls(2.0, 0.1, flattest=0.5)
    assert not falls(2.0, -0.5, convex=False)
    assert falls(0.9, 5.0, convex=False)
    assert falls(1.0 - 1.01e-4, 5.0)
    assert not falls(1.0 - 0.99e-4, 5.0)
    assert falls(1.0, 0.89, convex=False)
    assert not falls(1.0, 0.91, convex=False)
    assert not falls(1.0 + 1e-13, 0.5, convex=False)
    assert not falls(1.01, 2e-5, given=-1e-4, flattest=1.0)
    assert falls(1.01, 1e-5, given=-1e-4, flattest=1.0)


@pytest.mark.parametrize("tau", [1.0, 1e-2])
def test_smoothed_kinks_and_what_is_left_without_them(tau: float) -> None:
    loss = gpo.parse_loss("max(0, 1-z)*2 + abs(z) + z**2/5")
    shape = shape_of(loss)
    assert len(shape.kinks) == 2
    smooth = kinks._Smoothed(loss, shape, tau)
    z = np.linspace(-3, 3, 25)

    def total(x: FloatArray) -> FloatArray:
        return np.asarray(x**2 / 5 - x + sum((u + np.hypot(u, 2 * tau)) / 2 * 2 for u in (x - 1, x)) + 2 - 2 * x)

    np.testing.assert_allclose(smooth(z), total(z), atol=1e-12)
    step = 1e-4 * tau
    np.testing.assert_allclose(smooth.derivative(z), (total(z + step) - total(z - step)) / (2 * step), atol=1e-6)
    numeric = (smooth.derivative(z + step) - smooth.derivative(z - step)) / (2 * step)
    np.testing.assert_allclose(smooth.derivative(z, 2), numeric, atol=1e-5 / tau)
    np.testing.assert_allclose(kinks._smooth_part(loss, shape, z, 2), 0.4, atol=1e-12)
    np.testing.assert_allclose(kinks._smooth_part(loss, shape, z, 1), 0.4 * z - 3, atol=1e-12)
    np.testing.assert_allclose(kinks._smooth_part(loss, shape, z, 0), z**2 / 5 - 3 * z + 2, atol=1e-12)


def test_pairs_held_at_kinks_make_blocks_that_move_as_one() -> None:
    pairs = ring(6)
    g = np.array([0.0, -1.0, -3.0, 4.0, 5.0, 5.5])
    held = ((pairs.winner == 0) & (pairs.loser == 1)) | ((pairs.winner == 1) & (pairs.loser == 2))
    pinned = np.where(held & (pairs.winner == 0), 1.0, 2.0)
    blocks, offset, agree = kinks._contracted(pairs, held, pinned, g)
    assert blocks[0] == blocks[1] == blocks[2]
    assert len(set(blocks.tolist())) == 4
    np.testing.assert_allclose(offset[:3], [4 / 3, 1 / 3, -5 / 3])
    np.testing.assert_array_equal(offset[3:], 0)
    np.testing.assert_array_equal(agree, held)
    loss = gpo.parse_loss("(z-1)**2")
    at = kinks._reduced_newton(pairs, loss, shape_of(loss), blocks, offset, g)
    np.testing.assert_allclose(pairs.margins(at)[held], pinned[held], atol=1e-12)
    flow = pairs.balance(pairs.weight * loss.derivative(pairs.margins(at)))
    np.testing.assert_allclose(np.bincount(blocks, flow), 0, atol=1e-11)
    assert at.mean() == pytest.approx(0, abs=1e-13)


def test_of_constraints_between_the_same_two_the_tightest_is_kept() -> None:
    a, b = np.array([0, 0, 1, 0, 2]), np.array([1, 1, 0, 1, 0])
    first, second, bound = _tightest(a, b, np.array([1.0, 3.0, -2.0, -np.inf, 0.5]), 3)
    assert list(zip(first.tolist(), second.tolist(), bound.tolist(), strict=True)) == [
        (0, 1, 3.0),
        (1, 0, -2.0),
        (2, 0, 0.5),
    ]
    labels = components(4, np.array([0, 1, 2]), np.array([1, 0, 3]), strong=True)
    assert labels[0] == labels[1]
    assert len(set(labels.tolist())) == 3
    assert len(set(components(4, np.array([0, 1, 2]), np.array([1, 0, 3]), strong=False).tolist())) == 2
    from scipy.sparse import csr_array

    rows_, bound = csr_array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([1.0, 2.0, 0.0])
    near = np.array([1.0 + 1e-8, 2.0 - 1e-8])
    np.testing.assert_array_equal(_exactly_there(rows_, bound, np.array([1.0, 2.0, 0.0]), near), [1.0, 2.0])
    far = np.array([1.1, 2.0])
    np.testing.assert_array_equal(_exactly_there(rows_, bound, np.array([1.0, 2.0, 0.0]), far), far)
    np.testing.assert_array_equal(_exactly_there(rows_, bound, np.zeros(3), far), far)


def test_splits_and_what_they_come_to_by_brute_force() -> None:
    pairs = ring(5)
    sets = nonconvex._splits(pairs)
    assert len(sets) == 30
    assert len({tuple(row) for row in sets.tolist()}) == 30
    many = ring(12)
    likely = nonconvex._splits(many)
    assert len(likely) == 11 + 24
    net = many.balance(many.weight)
    for k, row in enumerate(likely[:11]):
        assert row.sum() == k + 1
        assert net[row].min() >= net[~row].max()
    g = np.random.default_rng(0).normal(size=5)

    def f(z: FloatArray) -> FloatArray:
        return np.asarray(1 / (1 + np.exp(z)) ** 2)

    shifted = nonconvex._shifted(pairs, get_margin_loss("savage"), sets, g, 0.25, 0.75)
    for row, value in zip(sets, shifted, strict=True):
        up, down = row[pairs.winner] & ~row[pairs.loser], ~row[pairs.winner] & row[pairs.loser]
        terms = np.where(up, 0.25, np.where(down, 0.75, f(pairs.margins(g))))
        assert value == pytest.approx(float(pairs.weight @ terms), rel=1e-13)
    flat = ring(4)
    curvature = nonconvex._least_curvature(flat, LOGISTIC, np.zeros(4))
    eigenvalues = np.linalg.eigvalsh(hessian_of(flat, np.zeros(4)))
    bent = hessian_of(flat, np.zeros(4))
    largest = max(eigenvalues[-1], np.abs(bent).max())
    assert curvature == pytest.approx(min(eigenvalues[1], np.abs(bent).max()) / largest, rel=1e-9)
    assert nonconvex._slack(np.array([2.0, -3.0, np.inf])) == pytest.approx(3e-9)
    assert nonconvex._slack(np.array([0.0])) == pytest.approx(1e-21)


def test_a_lone_pair_s_root_is_that_of_brentq() -> None:
    slope: Callable[[float], float] = lambda m: float(  # noqa: E731
        0.8 * LOGISTIC.derivative(np.array(m)) - 0.2 * LOGISTIC.derivative(np.array(-m))
    )
    (found,) = newton.minimise_stack(np.array([[[0.0, 0.8], [0.2, 0.0]]]), LOGISTIC, np.zeros((1, 2), int))
    assert found.reward[0] - found.reward[1] == pytest.approx(brentq(slope, 0, 5, xtol=1e-15), abs=1e-14)
