"""The guard agrees with the dictionary as it stands, and finds every wrong row that once stood there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gpo_analysis.analysis import BetaConvention, beta_dictionary, list_conventions
from gpo_analysis.cli.main import gpo as command
from gpo_analysis.divergences import alpha_link
from gpo_analysis.estimation.identify import Pairs, identify
from gpo_analysis.losses import get_loss
from tests.integrations.stand_ins import OF_LIBRARIES

pytest.importorskip("torch", reason="the guard executes TRL, which needs torch")
pytest.importorskip("trl", reason="the guard executes TRL: pip install 'gpo-analysis[trl]'")
pytestmark = OF_LIBRARIES


@pytest.fixture
def guard() -> object:
    from gpo_analysis.integrations import guard as module

    return module


def _row(name: str) -> BetaConvention:
    return next(item for item in list_conventions() if item.name == name)


def _found(guard: object, name: str, *rows: BetaConvention) -> str:
    """What the guard says of a name with these rows alone; the row must be called wrong."""
    verdict = guard.check_trl(rows, [name])[0]  # type: ignore[attr-defined]
    assert verdict.agrees is False, verdict
    return verdict.by


def test_the_dictionary_agrees_with_the_installed_trl(guard: object) -> None:
    import trl

    found = guard.check_trl()  # type: ignore[attr-defined]
    assert not [v for v in found if v.agrees is False]
    assert {v.version for v in found} == {trl.__version__}
    agreeing = {v.name for v in found if v.agrees}
    assert agreeing >= {item.name for item in list_conventions() if item.library == "trl"}
    assert agreeing >= {f"trl:f_divergence:{name}" for name in guard.LINKS}  # type: ignore[attr-defined]
    assert not [v for v in found if v.agrees is None], "nothing of TRL is without a row"


def test_what_has_no_row_is_told_apart(guard: object) -> None:
    names = ["trl:aot", "trl:sft", "trl:nca_pair"]
    rows = [item for item in list_conventions() if item.name not in names]
    left = {v.name: v.by for v in guard.check_trl(rows, names)}  # type: ignore[attr-defined]
    assert "statistic of the batch" in left["trl:aot"]
    assert "rejected response does not enter" in left["trl:sft"]
    assert "two log-ratios taken apart" in left["trl:nca_pair"]


@pytest.mark.parametrize(
    ("name", "changes", "by"),
    [
        ("trl:sppo_hard", {"scale_power": 0}, "TRL trains 204.082 · sppo_hard at β = 0.07"),
        ("trl:nca_pair", {"loss": "bco_pair"}, "TRL trains 1 · nca_pair"),
        ("trl:apo_down", {"smoothing": "smoothed"}, "at β = 0.07, label_smoothing = 0.1: values differ"),
        ("trl:sft", {"ratio": "sums"}, "values differ"),
        ("trl:aot", {"loss": "aot_unpaired"}, "a batch has"),
        ("trl:aot_unpaired", {"smoothing": "ignored"}, "label_smoothing = 0.1: a batch has"),
    ],
)
def test_it_finds_wrong_rows_of_two_log_ratios_and_of_batches(
    guard: object, name: str, changes: dict[str, object], by: str
) -> None:
    assert by in _found(guard, name, replace(_row(name), **changes))  # type: ignore[arg-type]


def test_it_finds_sigmoid_taken_as_cdpo(guard: object) -> None:
    by = _found(guard, "trl:sigmoid", replace(_row("trl:sigmoid"), smoothing="smoothed"))
    assert "smoothing smoothed (ε = 0.1) in the dictionary, none (ε = 0) in TRL" in by


def test_it_finds_exo_taken_without_smoothing(guard: object) -> None:
    by = _found(guard, "trl:exo_pair", replace(_row("trl:exo_pair"), needs_smoothing=False))
    assert "label_smoothing 0: the dictionary accepts it, TRL refuses it" in by


def test_it_finds_our_form_of_the_alpha_divergence(guard: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(guard.LINKS, "alpha_divergence", alpha_link)  # type: ignore[attr-defined]
    by = _found(guard, "trl:f_divergence:alpha_divergence", _row("trl:sigmoid"))
    assert "at α = 0.2 the dictionary has (1 − t^(−0.2))/0.2, TRL (1 − t^(−0.8))/0.8" in by
    assert "α = 0.5" not in by, "the two agree at ½"


def test_it_finds_a_missing_row(guard: object) -> None:
    rows = [item for item in list_conventions() if item.name != "trl:sigmoid_norm"]
    assert "no row for it; TRL trains 1 · logistic at β = 0.9 over token means" in _found(
        guard, "trl:sigmoid_norm", *rows
    )


def test_it_finds_a_conversion_called_exact_with_epsilon_unsaid(guard: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beta_dictionary, "_unsaid", lambda *_: False)
    assert "called exact with ε left unsaid" in _found(guard, "trl:robust", _row("trl:robust"))


@pytest.mark.parametrize(
    ("name", "changes", "by"),
    [
        ("trl:ipo", {"factor": 1.0}, "β 0.07 in the dictionary, 0.14 in TRL"),
        ("trl:ipo", {"scale": 1.0}, "scale 204.082 in the dictionary, 51.0204 in TRL"),
        ("trl:ipo", {"ratio": "sums"}, "reduction sums in the dictionary, means in TRL"),
        ("trl:hinge", {"loss": "logistic"}, "f logistic in the dictionary, hinge in TRL"),
        ("trl:robust", {"smoothing": "smoothed"}, "smoothing smoothed (ε = 0.1) in the dictionary, robust"),
        ("trl:robust", {"smoothing": None}, "has no label smoothing"),
        ("trl:robust", {"name": "trl:robust_dpo"}, "has no loss_type 'robust_dpo'"),
        ("trl:discopop", {"loss": "cell"}, "f cell in the dictionary, lrml in TRL"),
    ],
)
def test_it_says_by_what_a_row_differs(guard: object, name: str, changes: dict[str, object], by: str) -> None:
    row = replace(_row(name), **changes)  # type: ignore[arg-type]
    assert by in _found(guard, row.name, row)


def test_the_command() -> None:
    done = CliRunner().invoke(command, ["conventions", "--check", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert {"library", "name", "version", "agrees", "by"} == set(rows[0])
    assert {row["agrees"] for row in rows} == {True}
    shown = CliRunner().invoke(command, ["conventions", "--check", "--table"])
    assert "one of the two" in str(shown.exception)
    assert "trl:sigmoid_norm" in CliRunner().invoke(command, ["conventions"]).stdout
    listed = json.loads(CliRunner().invoke(command, ["conventions", "--json"]).stdout)
    assert {"verl:dpo", "nemo-rl:dpo", "halos:dpo", "unsloth:dpo"} <= {row["name"] for row in listed}


@pytest.mark.parametrize(
    ("loss", "smoothing", "epsilon"),
    [("logistic", "smoothed", 0.2), ("exponential", "robust", 0.3), ("savage", None, 0), ("squared", None, 0)],
)
def test_values_name_their_loss(loss: str, smoothing: str | None, epsilon: float) -> None:
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 9, (2, 60)).astype(float)
    pairs = Pairs(*rng.normal(0, 6, (2, 60)), *lengths)
    f = get_loss(loss)
    f = {"smoothed": f.smoothed, "robust": f.robust}[smoothing](epsilon) if smoothing else f
    for reduction, beta in (("sums", 0.3), ("means", 1.7)):
        found = identify(pairs, 0.25 * f(beta * pairs.rho(reduction)))
        assert [(r.loss, r.reduction, r.smoothing) for r in found] == [(loss, reduction, smoothing)]
        assert found[0].beta == pytest.approx(beta, rel=1e-5)
        assert found[0].scale == pytest.approx(0.25, rel=1e-5)
        assert found[0].label_smoothing == pytest.approx(epsilon, abs=1e-5)


def test_values_that_do_not_separate_two_losses_name_both() -> None:
    pairs = Pairs(np.linspace(-2, 0.9, 30), np.zeros(30))
    found = identify(pairs, (pairs.rho("sums") - 1) ** 2)
    assert {r.loss for r in found} == {"squared", "truncated_quadratic"}
    assert identify(pairs, np.sin(5 * pairs.rho("sums"))) == ()
    with pytest.raises(ValueError, match="lengths"):
        pairs.rho("means")


def test_without_trl_the_command_says_which_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import builtins

    real = builtins.__import__

    def no_trl(name: str, *rest: object) -> object:
        if name.startswith("gpo_analysis.integrations.guard"):
            raise ModuleNotFoundError("No module named 'trl'", name="trl")
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_trl)
    done = CliRunner().invoke(command, ["conventions", "--check"])
    assert "pip install 'gpo-analysis[trl]'" in str(done.exception)
