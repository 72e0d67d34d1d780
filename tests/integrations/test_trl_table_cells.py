"""Each cell of the table that executes TRL: its words, and that every wrong row fails the cells that it should."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the table executes TRL, which needs torch")
pytest.importorskip("trl", reason="the table executes TRL: pip install 'gpo-analysis[trl]'")

from gpo_analysis.analysis import get_convention  # noqa: E402
from gpo_analysis.divergences import get_link  # noqa: E402
from gpo_analysis.estimation.identify import Pairs  # noqa: E402
from gpo_analysis.integrations import trl_table  # noqa: E402
from gpo_analysis.integrations.trl_losses import TrlLosses  # noqa: E402
from gpo_analysis.integrations.trl_optima import Cell  # noqa: E402
from gpo_analysis.losses import get_loss, get_two_ratio_loss  # noqa: E402
from tests.integrations.stand_ins import OF_LIBRARIES  # noqa: E402

pytestmark = OF_LIBRARIES
table: Any = trl_table
COUPLED = ("large batches: ∫₀¹ f(β [Q_A(u) − Q_B(u)]) du, the quantile coupling", "")
#: name: (the form of its loss, how GPOTrainer is told to train it).
CELLS = {
    "sigmoid": ("f = logistic, κ = 0.5", "loss='logistic' at β = 0.5"),
    "hinge": ("f = hinge, κ = 0", "loss='hinge' at β = 0.5"),
    "ipo": ("f = squared, κ = 1", "loss='squared' at β = 1, reduction='mean'"),
    "exo_pair": ("f = exo(0.1), κ = 0.45512 at ε = 0.1", "loss='exo(0.1)' at β = 0.5"),
    "robust": ("f = robust(logistic, 0.1), κ = 0.4 at ε = 0.1", "loss='robust(logistic, 0.1)' at β = 0.5"),
    "nca_pair": (
        "F(a, b): κ = 0.5 along the margin, 1 in a population, pulls of a and b 0.375, 0.125",
        "loss='nca_pair' at β = 0.5",
    ),
    "sppo_hard": (
        "F(a, b): κ = 1 along the margin, 2 in a population, pulls of a and b 2, 2",
        "loss='sppo_hard' at β = 0.5, times 4",
    ),
    "aot": (COUPLED[0], "loss='aot' at β = 0.5"),
    "aot_unpaired": (COUPLED[0], "loss='aot_unpaired' at β = 0.5"),
    "sigmoid_norm": ("f = logistic, κ = 0.5", "loss='logistic' at β = 0.5, reduction='mean'"),
    "sft": (
        "F(a, b): κ = 0 along the margin, 0 in a population, pulls of a and b 0, 0",
        "loss='sft' at β = 1, reduction='mean', up to a constant, for responses of one length",
    ),
    "f_divergence:forward_kl": ("φ′(t) = −1/t in the place of log t", "link='forward_kl'"),
    "f_divergence:js_divergence": (
        "φ′(t) = log(2t/(1+t)), up to a constant in the place of log t", "link='jensen_shannon'",
    ),
    "f_divergence:alpha_divergence": (
        "φ′(t) = (1 − t^(−α))/α in the place of log t, α being TRL's coefficient ½", "link='alpha' at α = ½ alone",
    ),
}  # fmt: skip


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without optima and flows, which are tested by themselves and say here what they were asked."""

    def asked(*given: Any) -> Cell:
        row, *epsilon = given
        return Cell(f"{getattr(row, 'name', row)} {epsilon}", None)

    for name in ("optimum_cell", "dynamics_cell", "link_optimum_cell", "link_dynamics_cell"):
        monkeypatch.setattr(table, name, lambda *given, name=name: Cell(f"{name} {asked(*given).text}", None))


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", CELLS)
def test_what_the_cells_say(name: str) -> None:
    (row,) = table.trl_table((name,))
    assert (row.name, row.holds) == (name, True)
    assert (row.form.text, row.form.holds) == (CELLS[name][0], None)
    said, _, differs = row.trainer.text.rpartition(": ")
    assert said == CELLS[name][1]
    single = name.endswith("alpha_divergence")
    for text in (row.value.text, row.gradient.text, differs):
        found = re.fullmatch(r"differs by (\d\.\de[+-]\d\d)", text)
        assert found is not None, text
        assert float(found.group(1)) < (1e-6 if single else 1e-7 if name == "exo_pair" else 1e-13)
    assert (row.value.holds, row.gradient.holds, row.trainer.holds) == (True, True, True)
    link = name.startswith("f_divergence")
    assert row.optimum.text.startswith("link_optimum_cell" if link else f"optimum_cell trl:{name} [")
    assert row.dynamics.text.startswith("link_dynamics_cell" if link else f"dynamics_cell trl:{name} [")
    epsilon = 0.1 if name in ("robust", "exo_pair", "aot", "aot_unpaired") else 0.0
    assert link or row.optimum.text.endswith(f"[{epsilon}]")
    assert dict(row._facts()) == {"name": name, **{c: getattr(row, c).text for c in table.COLUMNS}}
    assert list(row.to_dict()) == ["name", *table.COLUMNS]
    assert row.to_dict()["form"] == {"text": row.form.text, "holds": None}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("name", "changes", "fails"),
    [
        ("ipo", {"factor": 1.0}, "value gradient trainer"),
        ("ipo", {"scale": 0.25 * (1 + 1e-4)}, "value gradient trainer"),
        ("ipo", {"ratio": "sums"}, "value gradient trainer"),
        ("sigmoid", {"loss": "squared"}, "value gradient trainer"),
        ("robust", {"smoothing": "smoothed"}, "value gradient trainer"),
        ("nca_pair", {"loss": "bco_pair"}, "value gradient trainer"),
        ("sppo_hard", {"scale_power": 0}, "value gradient trainer"),
        ("sft", {"ratio": "sums"}, "value trainer"),
        ("aot", {"factor": 2.0}, "value trainer"),
        ("aot", {"loss": "aot_unpaired"}, "value gradient"),
    ],
)
def test_a_wrong_row_fails_its_cells(
    name: str, changes: dict[str, Any], fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = dataclasses.replace(get_convention(f"trl:{name}"), **changes)
    monkeypatch.setattr(table, "get_convention", lambda _: wrong)
    (row,) = table.trl_table((name,))
    assert [column for column in table.COLUMNS if getattr(row, column).holds is False] == fails.split()
    assert not row.holds


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("name", "link", "fails"),
    [
        ("reverse_kl", "forward_kl", "value gradient"),
        ("forward_kl", "jensen_shannon", "value gradient"),
        ("js_divergence", "reverse_kl", "value gradient"),
    ],
)
def test_a_wrong_link_fails_its_cells(name: str, link: str, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.LINKS, name, lambda _: get_link(link))
    (row,) = table.trl_table((f"f_divergence:{name}",))
    assert [column for column in table.COLUMNS if getattr(row, column).holds is False] == fails.split()
    monkeypatch.setitem(table.TRAINED_LINKS, name, "chi_po")
    (row,) = table.trl_table((f"f_divergence:{name}",))
    assert row.trainer.holds is False
    assert row.trainer.text.startswith("link='chi_po': differs by")


@pytest.mark.usefixtures("plain")
def test_a_coefficient_that_differs_at_one_value_alone_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = table.LINKS["alpha_divergence"]
    for wrong in (0.2, 0.8):
        monkeypatch.setitem(
            table.LINKS, "alpha_divergence", lambda a, wrong=wrong: real(0.6 if a == wrong else a)
        )  # fmt: skip
        (row,) = table.trl_table(("f_divergence:alpha_divergence",))
        assert (row.value.holds, row.gradient.holds, row.trainer.holds) == (False, False, True)


def test_rows_are_those_that_are_asked_for_and_without_a_row_every_cell_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "list_conventions", lambda: ())
    steps: list[tuple[float, str]] = []
    found = table.trl_table(("hinge", "ipo"), progress=lambda done, what: steps.append((done, what)))
    assert [row.name for row in found] == ["hinge", "ipo"]
    for row in found:
        for column in table.COLUMNS:
            cell = getattr(row, column)
            assert (cell.text, cell.holds) == (f"the dictionary has no row trl:{row.name}", False)
    assert [what for _, what in steps][:2] == ["hinge", "ipo"]
    assert [done for done, _ in steps][:2] == [0.0, 0.5]


def test_smoothing_is_that_which_counts() -> None:
    for smoothing, epsilon in (("robust", 0.1), ("exo", 0.1), ("smoothed", 0.1), ("ignored", 0.0), (None, 0.0)):
        assert table._epsilon(dataclasses.replace(get_convention("trl:sigmoid"), smoothing=smoothing)) == epsilon


def test_differences_are_relative_to_one_and_the_size_and_what_is_infinite_must_be_the_same() -> None:
    difference, inf, nan = table._difference, np.inf, np.nan
    assert difference([3.0, 1.0], [3.0, 1.0]) == Cell("differs by 0.0e+00", True)
    assert difference([4.0, 1.0], [3.0, 1.0]) == Cell("differs by 2.5e-01", False)
    assert difference([1.0, -7.0], [1.0, -9.0]) == Cell("differs by 2.0e-01", False)
    assert difference([1 + 1.5e-6], [1.0]) == Cell("differs by 7.5e-07", True)
    assert difference([1 + 2.5e-6], [1.0]) == Cell("differs by 1.2e-06", False)
    assert difference([0.5], [0.0], tolerance=0.5).holds is True
    with np.errstate(invalid="ignore"):  # as the table is made
        assert difference([inf, 1.0], [inf, 1.0]) == Cell("differs by 0.0e+00", True)
        assert difference([inf, 1.0], [-inf, 1.0]) == Cell("differs by 0.0e+00", False)
        assert difference([nan, 1.0], [nan, 1.0]).holds is True
        assert difference([nan, 1.0], [2.0, 1.0]).holds is False
        assert difference([2.0, 1.0], [inf, 1.0]).holds is False


def test_the_worst_of_cells_is_one_that_fails_else_the_largest() -> None:
    a, b, c = Cell("differs by 3.0e-09", True), Cell("differs by 2.0e-08", True), Cell("differs by 1.0e-12", False)
    assert table._worst([a, b]) is b
    assert table._worst([b, a]) is b
    assert table._worst([b, c, a]) is c
    row = table.TableRow("x", a, a, Cell("said", None), a, a, a)
    assert row.holds
    for column in table.COLUMNS:
        changed: dict[str, Any] = {column: c}
        assert not dataclasses.replace(row, **changed).holds, column


def test_losses_that_do_not_push_margins_up_have_no_kappa() -> None:
    cell = table._form(get_convention("trl:discopop"), 0.0)
    assert cell.holds is None
    assert cell.text.startswith("f = lrml: lrml has slope f′(0) = ")


@pytest.mark.parametrize("name", ["sigmoid", "ipo", "robust", "nca_pair", "sppo_hard", "sft"])
def test_gradients_are_those_of_the_row_s_own_values(name: str) -> None:
    """Finite differences in log π of one response after the other."""
    row = get_convention(f"trl:{name}")
    epsilon = table._epsilon(row)
    pairs = table.random_pairs(table.BETA, count=4)
    found = table._gradient(row, pairs, epsilon)
    chosen_length, rejected_length = table.lengths(pairs)

    def mean(chosen: np.ndarray, rejected: np.ndarray) -> float:
        by = (chosen_length, rejected_length) if row.ratio == "means" else (1.0, 1.0)
        w, l = chosen / by[0], rejected / by[1]  # noqa: E741
        if name == "sft":  # −log π of all chosen tokens
            return float(-chosen.sum() / chosen_length.sum())
        if row.kind == "margin":
            f = get_loss(str(row.loss))
            f = f.robust(0.1) if name == "robust" else f
            factor, beta = (2.0, 0.5) if name == "ipo" else (1.0, 0.5)
            return float(np.mean(f(factor * beta * (w - l)))) * (1 / (4 * beta**2) if name == "ipo" else 1.0)
        loss = get_two_ratio_loss(name)
        return float(np.mean(loss(0.5 * w, 0.5 * l))) * (4.0 if name == "sppo_hard" else 1.0)

    step = 1e-5
    for k in range(4):
        for side in range(2):
            moved = []
            for sign in (1, -1):
                both = [pairs.chosen.copy(), pairs.rejected.copy()]
                both[side][k] += sign * step
                moved.append(mean(*both))
            assert found[k, side] == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_trl_is_asked_in_its_own_words() -> None:
    losses = TrlLosses()
    assert losses.names()[:3] == ("sigmoid", "hinge", "ipo")
    assert losses.divergences() == tuple(table.LINKS)
    refused = losses.refusal(loss_type=["exo_pair"], label_smoothing=0.0)
    assert refused is not None
    assert "Label smoothing must be greater than 0" in refused
    assert losses.refusal(loss_type=["exo_pair"], label_smoothing=0.1) is None
    with pytest.raises(ValueError, match="TRL's losses need the lengths of the responses"):
        losses.batch(Pairs(np.zeros(2), np.zeros(2)), loss_type=["sigmoid"])
    with pytest.raises(RuntimeError, match="does not list its loss_types in its error message any more"):
        losses._listed("loss_type", ["no such loss"], "a loss that TRL lacks")


def test_trl_s_values_are_of_pairs_alone_and_its_settings_are_put_back() -> None:
    losses = TrlLosses()
    trainer = losses._trainer
    before = {name: getattr(trainer, name) for name in ("beta", "loss_types", "loss_weights", "precompute_ref_logps")}
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.normal(0, 3, 5), rng.normal(0, 3, 5), np.array([1.0, 2, 3, 4, 5]), np.array([3.0, 1, 2, 7, 1]))
    rho = pairs.chosen - pairs.rejected
    found = losses.values(pairs, "sigmoid", 0.7)
    np.testing.assert_allclose(found, np.logaddexp(0, -0.7 * rho), rtol=1e-12)
    batch = losses.batch(pairs, loss_type=["sigmoid"], beta=0.7, label_smoothing=0.0)
    assert batch == pytest.approx(found.mean(), rel=1e-12)
    mixed = losses.batch(pairs, loss_type=["sigmoid", "hinge"], loss_weights=[1.0, 0.25], beta=0.7, label_smoothing=0.0)
    hinge = np.maximum(0, 1 - 0.7 * rho)
    assert mixed == pytest.approx(found.mean() + 0.25 * hinge.mean(), rel=1e-12)
    single = losses.batch(pairs, dtype=torch.float32, loss_type=["sigmoid"], beta=0.7, label_smoothing=0.0)
    assert single != batch
    assert single == pytest.approx(batch, rel=1e-5)
    gradient = losses.gradient(pairs, loss_type=["sigmoid"], beta=0.7, label_smoothing=0.0)
    pull = -0.7 / (1 + np.exp(0.7 * rho)) / 5
    np.testing.assert_allclose(gradient, np.stack([pull, -pull], axis=1), rtol=1e-10)
    assert {name: getattr(trainer, name) for name in before} == before
    with pytest.raises(ValueError, match="no such loss"):
        losses.batch(pairs, loss_type=["no such loss"])
    assert {name: getattr(trainer, name) for name in before} == before, "also after an error"
