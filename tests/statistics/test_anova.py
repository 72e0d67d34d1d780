"""Analysis of variance against published tables, nested least squares, and components that were put in."""

from __future__ import annotations

import numpy as np
import pytest

from gpo_analysis.statistics import anova, variance_shares

# Tippett (1950), as `warpbreaks` in R: breaks of yarn by wool (2) and tension (3), nine looms each
WARP = np.array(
    [
        [
            [26, 30, 54, 25, 70, 52, 51, 26, 67], [18, 21, 29, 17, 12, 18, 35, 30, 36],
            [36, 21, 24, 18, 10, 43, 28, 15, 26],
        ],
        [
            [27, 14, 29, 19, 29, 31, 41, 20, 44], [42, 26, 19, 16, 39, 28, 21, 39, 29],
            [20, 21, 24, 17, 13, 15, 15, 16, 28],
        ],
    ],
    dtype=float,
)  # fmt: skip


def test_a_published_table() -> None:
    """`summary(aov(breaks ~ wool * tension, warpbreaks))` in R's manual."""
    found = anova(WARP, ["wool", "tension"])
    published = {"wool": (1, 450.7, 3.765, 0.058213), "tension": (2, 2034.3, 8.498, 0.000693),
                 "wool:tension": (2, 1002.8, 4.189, 0.021044)}  # fmt: skip
    for name, (degrees, squares, f, p) in published.items():
        one = found[name]
        assert one.degrees == degrees
        assert (one.squares, one.f) == pytest.approx((squares, f), rel=2e-4)
        assert one.p == pytest.approx(p, abs=6e-7)  # as printed
    assert (found["within"].degrees, found["within"].squares) == (48, pytest.approx(5745, abs=0.5))
    total, error = 450.7 + 2034.3 + 1002.8 + 5745.1, 5745.1 / 48
    assert found["tension"].omega == pytest.approx((2034.3 - 2 * error) / (total + error), rel=1e-4)
    assert sum(one.omega for one in found.values()) == pytest.approx(1.0, abs=1e-12)


def residual(y: np.ndarray, columns: list[np.ndarray]) -> tuple[float, int]:
    """Sum of squares that least squares leave, and the rank of the model."""
    design = np.concatenate(columns, 1)
    fitted, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    return float(np.sum((y - design @ fitted) ** 2)), int(rank)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 2, 2), (4, 2, 3)])
def test_blocks_against_nested_least_squares(shape: tuple[int, int, int]) -> None:
    y = np.random.default_rng(sum(shape)).normal(size=shape).cumsum(2)
    index = np.indices(shape).reshape(3, -1)
    one = [np.eye(size)[where] for size, where in zip(shape, index, strict=True)]

    def product(*axes: int) -> np.ndarray:
        found = np.ones((y.size, 1))
        for axis in axes:
            found = (found[:, :, None] * one[axis][:, None, :]).reshape(y.size, -1)
        return found

    def reduction(axes: tuple[int, ...]) -> tuple[float, int]:
        smaller = [product()] + [product(*part) for part in _subsets(axes)]
        (before, rank), (after, more) = residual(y.ravel(), smaller), residual(y.ravel(), [*smaller, product(*axes)])
        return before - after, more - rank

    found = anova(y, ["a", "b"], blocks="seed")
    for name, axes in (("a", (0,)), ("b", (1,)), ("a:b", (0, 1))):
        (squares, degrees), (noise, left) = reduction(axes), reduction((*axes, 2))
        assert (found[name].squares, found[name].degrees) == (pytest.approx(squares), degrees)
        assert found[name].f == pytest.approx(squares / degrees / (noise / left))
    assert sum(effect.squares for effect in found.values()) == pytest.approx(float(((y - y.mean()) ** 2).sum()))
    assert sum(effect.omega for effect in found.values()) == pytest.approx(1.0, abs=1e-12)


def _subsets(axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [tuple(axis for k, axis in enumerate(axes) if mask >> k & 1) for mask in range(1, 2 ** len(axes) - 1)]


def test_a_split_plot_worked_out_by_hand() -> None:
    """Two factors, two blocks; effects by hand: grand 5, a ±1, b ±2, a:b 0, block ±½, a:block ±½, others 0."""
    signs = np.array([-1.0, 1.0])
    a, b, s = signs[:, None, None], signs[None, :, None], signs[None, None, :]
    y = 5 + a + 2 * b + 0.5 * s + 0.5 * a * s
    found = anova(y, ["a", "b"], blocks="s")
    assert {name: effect.squares for name, effect in found.items()} == pytest.approx(
        {"a": 8.0, "b": 32.0, "a:b": 0.0, "s": 2.0, "rest": 2.0}
    )
    assert found["a"].f == pytest.approx(4.0)  # 8 over a:s's 2
    # components: a (8 − 2)/8, b 32/8, s (2 − 0)/4, a:s half of (2 − 0)/2
    total = 0.75 + 4.0 + 0.5 + 0.5
    assert [found[name].omega for name in ("a", "b", "a:b", "s", "rest")] == pytest.approx(
        [0.75 / total, 4 / total, 0.0, 0.5 / total, 0.5 / total]
    )


def test_omega_is_unbiased_where_shares_of_squares_are_not() -> None:
    rng = np.random.default_rng(0)
    omega, share = [], []
    for _ in range(400):
        y = rng.normal(size=(6, 8, 5)) + rng.normal(size=5)  # seeds and noise, no effect
        omega.append(anova(y, ["f", "beta"], blocks="seed")["f"].omega)
        share.append(variance_shares(y, ["f", "beta"])["f"])
    assert abs(np.mean(omega)) < 3 * np.std(omega) / 20
    assert np.mean(share) > 10 * np.std(share) / 20


def test_what_is_no_layout() -> None:
    for outcome, said in ((np.ones((2, 2)), "2 axes"), (np.ones((2, 2, 1)), "two or more"),
                          (np.full((2, 2, 2), np.nan), "finite")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            anova(outcome, ["a", "b"])
