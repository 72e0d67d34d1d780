"""A typed loss in every experiment that loops over losses: run, drawn, and no claim said of it unproved."""

from __future__ import annotations

import itertools
import re
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

import gpo_analysis as gpo
from experiments._losses import accepted, one_claim, stated
from experiments.framework import Check
from experiments.framework.cells import join
from experiments.framework.compare import compare
from experiments.framework.discovery import get_experiments
from experiments.framework.settings import BadSetting, settings_of, with_settings
from figures.framework.drawing import caption_of, get_figures
from fuzz.small import SMALL, made_up_data, table_of
from gpo_analysis.plotting import figure_style
from gpo_analysis.records import Record, plain, write_record

TYPED = "log(cosh(1-z))"
NAMES = (
    "losses", "taylor", "variants", "speed-and-dynamics", "policy-deviation",
    "over-optimisation", "not-bradley-terry", "taylor-in-training",
    "links-and-divergences", "lengths", "journals", "arguments", "arena", "beta-sweep", "ipo-toys",
    "beta-or-f", "own-data", "kl-and-mu-square", "statistical-efficiency",
)  # fmt: skip
LESS: dict[str, dict[str, Any]] = {
    "ipo-toys": {"taus": (0.5,), "steps": 600, "record_every": 200},
    "taylor": {"points": 10, "orders": (0, 1, 2, 8, 16)},
    "kl-and-mu-square": {"records": 20, "starts": 10, "regularizing_duration": 2.0},
    "statistical-efficiency": {"replications": 20, "paired": 20},
}
"""Settings smaller still than those of `fuzz.small`."""
COLUMN = {"ipo-toys": "method", "own-data": "what", "kl-and-mu-square": "objective"}
"""The column that names losses, where it is not ``loss``."""
LONG = "log(1+exp(-z)) + 0.1*(z-1)**2 + 0.05*log(cosh(1-z)) + 0.01*exp(-z)"


def small(name: str, losses: tuple[str, ...]) -> tuple[Any, Any, pd.DataFrame]:
    """Module, configuration and table of an experiment at its small size, with losses of one's own."""
    (experiment,) = get_experiments([name])
    module = experiment.load()
    config = with_settings(module.Config(), {**SMALL[name], **LESS.get(name, {}), "losses": losses}, name)
    with made_up_data():
        table = join([table_of(experiment.module_name, config, axes) for axes in plain(module.cells(config))])
    return module, config, table


@pytest.mark.parametrize("name", NAMES)
def test_a_typed_loss_is_run_and_drawn(name: str) -> None:
    asked = ("dpo", "ipo", TYPED) if name == "ipo-toys" else ("logistic", TYPED)
    module, config, table = small(name, asked)
    named = table
    if name == "statistical-efficiency":  # its noisy labels are of logistic and squared whatever f are compared
        named = table[table["setting"].isin(["bradley-terry", "two groups", "paired"])]
    there = set(named[COLUMN.get(name, "loss")].dropna())
    assert set(asked) <= there
    assert not there & set(gpo.PAPER_LOSSES) - set(asked)
    checks = module.check(config, table)
    assert checks
    assert all(check.verdict != "not run" or check.note for check in checks)
    for check in checks:  # a claim without a value would be called contradicted, and is none
        assert check.verdict == "not run" or str(check.computed) != "nan", check.claim
        for part, one in check.parts:
            assert one.verdict == "not run" or str(one.computed) != "nan", (check.claim, part)
    assert module.summary(config, table)
    record = Record(name, plain(config), table, {"checks": [check.to_json() for check in checks]})
    (figure,) = get_figures([module.FIGURE])
    with figure_style():
        drawn = figure.load().draw({name: record})
        drawn.canvas.draw()
        words = {text.get_text() for text in drawn.findobj(Text)}
    plt.close(drawn)
    assert any("cosh" in word for word in words)
    assert caption_of(figure.load(), {name: record})


@pytest.mark.parametrize("name", NAMES)
def test_the_field_is_described_and_names_are_those_of_the_catalogue(name: str) -> None:
    (experiment,) = get_experiments([name])
    (field,) = [one for one in settings_of(experiment) if one.name == "losses"]
    assert field.meaning
    if name != "ipo-toys":
        assert with_settings(experiment.config("quick"), {"losses": ["dpo", TYPED]}).losses == ("logistic", TYPED)
    with pytest.raises(BadSetting, match="twice"):
        with_settings(experiment.config("quick"), {"losses": ["dpo", "logistic"]}, name)
    with pytest.raises(BadSetting, match=r"two log-ratios|of a margin"):
        with_settings(experiment.config("quick"), {"losses": ["log(1+exp(-a)) + b**2"]}, name)


def test_what_an_experiment_cannot_take_is_refused_with_the_reason() -> None:
    for text, options, why in (
        ("z**2", {}, "f′\\(0\\) = 0"),
        ("lrml", {}, "f′\\(0\\)"),
        ("log(1+exp(-z))-z**2", {"strength": True}, "κ = .* < 0"),
        ("max(0, 2-z)", {"flow": True}, "jumps"),
        ("1/(1+exp(z))", {"known": True}, "not known to be convex"),
    ):
        with pytest.raises(ValueError, match=why):
            accepted(["logistic", text], **options)
    assert accepted(gpo.PAPER_LOSSES, strength=True, flow=True, known=True) == gpo.PAPER_LOSSES


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("taylor", "ipo-toys")])
def test_a_loss_that_rises_at_0_is_refused_at_once(name: str) -> None:
    for text in ("log(1+exp(z))", "z**2", "log(1+exp(-z)) + z/2"):
        with pytest.raises(BadSetting, match=re.escape(f"{text} has f′(0) =")):
            with_settings(get_experiments([name])[0].config("quick"), {"losses": ["logistic", text]}, name)


def test_a_series_is_of_any_loss_and_of_one_that_rises_only_the_bound_is_claimed() -> None:
    module, config, table = small("taylor", ("log(1+exp(z))",))
    (check,) = module.check(config, table)
    assert "less its bound" in check.claim
    assert check.verdict == "holds"


@pytest.mark.parametrize("name", ["kl-and-mu-square", "lengths", "statistical-efficiency"])
def test_no_curvature_is_refused_where_it_is_divided_by(name: str) -> None:
    straight = "hinge" if name != "statistical-efficiency" else "max(0,2-z)"
    with pytest.raises(BadSetting, match=re.escape(f"{straight} has κ = 0")):
        with_settings(get_experiments([name])[0].config("quick"), {"losses": ["logistic", straight]}, name)


@pytest.mark.parametrize("name", ["beta-or-f", "own-data"])
def test_own_losses_alone_leave_claims_not_run_with_the_reason(name: str) -> None:
    module, config, table = small(name, (TYPED,))
    checks = module.check(config, table)
    about = [check for check in checks if check.verdict == "not run"]
    assert len(about) == (len(checks) if name == "beta-or-f" else 4)
    assert all("of this run" in check.note or "this run has none" in check.note for check in about)
    assert not any(check.verdict == "contradicted" for check in checks)
    assert f"Losses of this run: {TYPED}." in module.summary(config, table)
    with figure_style():
        drawn = get_figures([module.FIGURE])[0].load().draw({name: Record(name, plain(config), table)})
        drawn.canvas.draw()
    plt.close(drawn)


def test_a_long_formula_is_short_in_a_figure_and_whole_in_its_caption() -> None:
    module, config, table = small("kl-and-mu-square", (LONG, LONG.replace("0.01", "0.02")))
    record = Record("kl-and-mu-square", plain(config), table, {"changed": {"losses": list(config.losses)}})
    (figure,) = get_figures([module.FIGURE])
    with figure_style():
        drawn = figure.load().draw({"kl-and-mu-square": record})
        drawn.canvas.draw()
        titles = [text for text in drawn.findobj(Text) if "bf{" in text.get_text()]
        assert len(titles) == 3
        boxes = sorted((text.get_window_extent() for text in titles), key=lambda box: box.x0)
    plt.close(drawn)
    for first, second in itertools.pairwise(boxes):
        assert first.x1 < second.x0
    assert f"is f(z) = {LONG}" in caption_of(figure.load(), {"kl-and-mu-square": record})


def test_parts_of_a_claim_are_told_apart_by_typed_names() -> None:
    checks = [Check.equal(f"{name}, 5 pairs: f(0)", 1.0, 1.0, 0.0) for name in ("c*exp(-z) with c=1, d=2", "hinge")]
    (one,) = one_claim(checks, ("c*exp(-z) with c=1, d=2",))
    assert [part for part, _ in one.parts] == ["c*exp(-z) with c=1, d=2, 5 pairs", "hinge, 5 pairs"]


def test_a_claim_of_absent_losses_is_not_run() -> None:
    def never(claim: str) -> Check:
        raise AssertionError(claim)

    for options in ({"of": ["squared"]}, {"some": ["squared", "hinge"]}, {"some": ["logistic", "hinge"], "least": 2}):
        check = stated(["logistic", TYPED], "c", never, **options)
        assert check.verdict == "not run"
        assert "among the losses of this run" in check.note


def test_a_record_without_the_field_counts_as_one_of_the_default(tmp_path: Any) -> None:
    (experiment,) = get_experiments(["losses"])
    config = experiment.config("quick")
    older = {key: value for key, value in plain(config).items() if key != "losses"}
    table = pd.DataFrame({"x": [1.0, 2.0]})
    for folder, values in (("old", older), ("new", plain(config)), ("typed", {**older, "losses": ["logistic", TYPED]})):
        write_record(Record("losses", values, table, {"code_hash": folder}), tmp_path / folder)
    (same,), (other,) = (compare(tmp_path / "old", tmp_path / b, common=True) for b in ("new", "typed"))
    assert not same.problems
    assert other.problems
    assert type(config)(**older) == config
