"""Losses of two log-ratios named from logs that hold both, and not from logs that do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fuzz.drawn_margins import bfloat16
from fuzz.two_ratio_logs import KINDS, campaign, draw
from gpo_analysis.cli.main import gpo as command
from gpo_analysis.estimation import audit_log
from gpo_analysis.estimation.audit_two_ratio import FAMILIES
from gpo_analysis.estimation.loss_log import loss_log
from gpo_analysis.losses import get_loss, get_two_ratio_loss

RNG = np.random.default_rng(3)
A, B = RNG.normal(0.3, 1.5, 200), RNG.normal(-0.5, 1.4, 200)
PARAMETERS = {
    "bco_pair": {"shift": 0.7}, "kto": {"reference_point": 0.4, "desirable": 1.5, "undesirable": 0.5},
    "cal_dpo": {"tau": 0.3, "weight": 1.25}, "dpop": {"penalty": 7.0}, "rpo": {"weight": 0.4},
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family.name} {family.parameter}")
def test_what_is_fitted_is_the_catalogue_s(family) -> None:  # type: ignore[no-untyped-def]
    values = {} if family.name == "bco_pair" and not family.parameter else PARAMETERS.get(family.name, {})
    columns = family.parts(A, B, values.get(family.parameter, 0.0))
    weights = [1.0] * family.base + [values[name] for name, _, _ in family.weights]
    assert columns @ weights == pytest.approx(get_two_ratio_loss(family.name, **values)(A, B), rel=1e-12)


@pytest.mark.parametrize(("name", "off"), [("bco_pair", bfloat16), ("cal_dpo", lambda x: np.round(x, 4))])
def test_loss_and_parameters_from_rewards(name: str, off) -> None:  # type: ignore[no-untyped-def]
    a, b, values = off(A), off(B), PARAMETERS[name]
    found = audit_log(
        loss_log({"chosen_reward": a, "rejected_reward": b, "loss": off(get_two_ratio_loss(name, **values)(a, b))})
    )
    assert (found.loss, found.of, found.reduction) == (name, "logged rewards", None)
    assert found.beta == pytest.approx(1.0, rel=0.03)
    assert found.parameters == pytest.approx(values, rel=0.05)
    assert found.to_dict()["parameters"] == found.parameters


def test_a_margin_loss_is_not_named_so_and_dpop_where_it_is_dpo_is_a_set() -> None:
    hinge = {"chosen_logratio": A / 0.1, "rejected_logratio": B / 0.1, "loss": np.maximum(0, 1 - A + B)}
    found = audit_log(loss_log(hinge))
    assert (found.loss, found.parameters) == ("hinge", {})
    assert found.beta == pytest.approx(0.1, rel=1e-3)
    above = np.abs(A)
    loss = np.round(np.logaddexp(0, B - above), 4)
    either = audit_log(loss_log({"chosen_reward": above, "rejected_reward": B, "loss": loss}))
    assert set(either.losses) == {"logistic", "dpop"}
    assert either.undecided is not None


@pytest.mark.parametrize("name", ["nca_pair", "apo_down"])
def test_margins_alone_name_nothing_and_say_what_would(name: str) -> None:
    loss = np.round(get_two_ratio_loss(name)(A, B), 4)
    found = audit_log(loss_log({"margin": np.round(A - B, 4), "loss": loss}))
    assert found.undecided is not None
    assert "rewards/chosen" in found.undecided


def test_likelihood_a_token_beside_dpo_from_batches() -> None:
    rng = np.random.default_rng(4)
    lengths = rng.integers(5, 30, (2, 240)).astype(float)
    reference = -2 * lengths - 30
    ratios = rng.normal(0, 5, (2, 240))
    policy, step = reference + ratios, np.repeat(np.arange(60), 4)
    token = -np.bincount(step, policy[0]) / np.bincount(step, lengths[0])
    loss = np.bincount(step, np.logaddexp(0, -0.2 * (ratios[0] - ratios[1]))) / 4 + 0.5 * token
    found = audit_log(
        loss_log({
            "chosen_logps": policy[0], "rejected_logps": policy[1], "ref_chosen_logps": reference[0],
            "ref_rejected_logps": reference[1], "length_chosen": lengths[0], "length_rejected": lengths[1],
            "step": step.astype(float), "loss": np.round(loss, 4)[step],
        })
    )  # fmt: skip
    assert (found.loss, found.likelihood, found.reduction) == ("rpo", "log π a token", "sums")
    assert found.parameters["weight"] == pytest.approx(0.5, rel=0.01)
    assert found.beta == pytest.approx(0.2, rel=0.01)


def test_a_trainer_s_means_name_apo_zero(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    history = []
    for step in range(50):
        a = rng.normal(0.02 * step, 0.05 + 0.01 * step, 64)
        b = rng.normal(-0.04 * step, 0.05 + 0.02 * step, 64)
        loss = get_loss("apo_zero")(a, b).mean()  # type: ignore[call-arg]
        history.append({
            "step": step, "loss": round(float(loss), 4), "rewards/chosen": float(a.mean()),
            "rewards/rejected": float(b.mean()), "rewards/margins": float((a - b).mean()),
            "rewards/accuracies": float((a > b).mean()),
        })  # fmt: skip
    file = tmp_path / "trainer_state.json"
    file.write_text(json.dumps({"log_history": history}))
    found = json.loads(CliRunner().invoke(command, ["audit-log", str(file), "--json"]).stdout)
    assert (found["loss"], found["beta"]) == ("apo_zero", 1.0), found


def test_rewards_of_something_else_are_left_aside() -> None:
    margin = A - B
    kept = loss_log({"margin": margin, "chosen_reward": A**2, "rejected_reward": B, "loss": np.abs(margin)})
    assert (kept.apart, kept.of) == (None, "logged margins")
    taken = loss_log({"margin": 2 * margin, "chosen_reward": A, "rejected_reward": B, "loss": np.abs(margin)})
    assert taken.of == "logged rewards"
    means = loss_log({"rewards/chosen": A, "rewards/rejected": B, "loss": np.abs(margin)})
    assert means.means
    assert means.pairs.rho("sums") == pytest.approx(margin)


def test_rows_that_do_not_differ_name_nothing() -> None:
    same = np.zeros(12)
    found = audit_log(loss_log({"chosen_reward": same, "rejected_reward": same, "loss": same + 0.6931}))
    assert (found.losses, found.confidence) == ((), 0.0)
    assert "the same in all rows" in str(found)


def test_means_of_sppo_hard_are_not_those_of_a_squared_loss() -> None:
    drawn = draw(np.random.default_rng([77, 6]), "means")
    assert (drawn.loss, audit_log(loss_log(drawn.columns)).loss) == ("sppo_hard", "sppo_hard")


def test_a_part_of_the_campaign() -> None:
    assert campaign(1, seed=1, start=3)["named"] == 1
    drawn = [draw(np.random.default_rng(i), kind) for i, kind in enumerate(KINDS)]
    assert all(np.isfinite(column).all() for d in drawn for column in d.columns.values())
