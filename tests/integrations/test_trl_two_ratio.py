"""GPOTrainer with losses of two log-ratios and of batches, mixtures and weights: TRL's own losses and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

import gpo_analysis as gpo  # noqa: E402
from gpo_analysis.losses import get_two_ratio_loss, mixture  # noqa: E402
from tests.integrations.stand_ins import OF_LIBRARIES  # noqa: E402
from tests.integrations.tiny_trl import PAIRS, gpo_trainer, make_trainer, pair_set  # noqa: E402

pytestmark = OF_LIBRARIES
BETA = 0.7


def loss_and_gradient(trainer: Any) -> tuple[float, np.ndarray]:
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(trainer.train_dataset))])
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
    return float(loss.detach()), gradient.double().numpy()


def both(folder: Path, theirs: dict[str, Any], ours: Any, more: dict[str, Any] | None = None) -> tuple[Any, Any]:
    from trl import DPOTrainer

    shared = {"beta": BETA, **(more or {})}
    expected = loss_and_gradient(make_trainer(DPOTrainer, folder, settings={**shared, **theirs}))
    found = loss_and_gradient(make_trainer(gpo_trainer(), folder, settings=shared, loss=ours))
    assert np.abs(expected[1]).max() > 1e-4
    return expected, found


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("nca_pair", 1.0),
        ("bco_pair", 1.0),
        ("sppo_hard", BETA**-2),
        ("apo_zero", 1.0),
        ("apo_down", 1.0),
        ("aot", 1.0),
        ("aot_unpaired", 1.0),
    ],
)
def test_trl_s_losses(tmp_path: Path, name: str, factor: float) -> None:
    expected, found = both(tmp_path, {"loss_type": [name]}, name)
    assert factor * found[0] == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(factor * found[1], expected[1], rtol=1e-4, atol=1e-6 * np.abs(expected[1]).max())


@pytest.mark.parametrize("more", [{"ld_alpha": 0.4}, {"use_weighting": True}])
def test_trl_s_weights(tmp_path: Path, more: dict[str, Any]) -> None:
    expected, found = both(tmp_path, {"loss_type": ["bco_pair"]}, "bco_pair", more)
    plain, _ = both(tmp_path, {"loss_type": ["bco_pair"]}, "bco_pair")
    assert abs(expected[0] - plain[0]) > 1e-3
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-6 * np.abs(expected[1]).max())


def test_trl_s_mixtures(tmp_path: Path) -> None:
    mixed = mixture([(1.0, gpo.get_loss("dpo")), (0.3, gpo.get_loss("nca_pair"))])
    expected, found = both(tmp_path, {"loss_type": ["sigmoid", "nca_pair"], "loss_weights": [1.0, 0.3]}, mixed)
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-6 * np.abs(expected[1]).max())


def test_trl_s_rpo(tmp_path: Path) -> None:
    """sigmoid and sft: with responses of one length T the same as rpo(γ = α/(βT)), up to a constant."""
    from trl import DPOTrainer

    pairs = pair_set([("a b", "c d", "d d"), ("b", "a a", "d c"), ("c d", "b b", "a c")])
    tokens = 3  # the end token is one
    theirs = {"beta": BETA, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}
    expected = loss_and_gradient(make_trainer(DPOTrainer, tmp_path, settings=theirs, train_dataset=pairs))
    loss = get_two_ratio_loss("rpo", weight=0.5 / (BETA * tokens))
    found = loss_and_gradient(
        make_trainer(gpo_trainer(), tmp_path, settings={"beta": BETA}, loss=loss, train_dataset=pairs)
    )
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-5 * np.abs(expected[1]).max())


def test_soft_labels_and_training(tmp_path: Path) -> None:
    p = [1.0, 0.75, 0.5, 0.0, 0.9]
    rows = pair_set().add_column("p", p)
    text = "-log(sigmoid(a)) - log(sigmoid(-b))"
    trainer = make_trainer(gpo_trainer(), tmp_path, train_dataset=rows, loss=text, settings={"beta": BETA})
    found = loss_and_gradient(trainer)[0]
    ratios = np.array([values[:4] for values in trainer.pair_logps(list(rows_of(trainer)))])
    a, b = BETA * (ratios[:, 0] - ratios[:, 2]), BETA * (ratios[:, 1] - ratios[:, 3])
    pair = gpo.get_loss("bco_pair")
    expected = np.mean(np.array(p) * pair(a, b) + (1 - np.array(p)) * pair(b, a))
    assert found == pytest.approx(expected, rel=1e-5)
    trainer.train()
    assert trainer.state.global_step == 3
    assert "mu_squared_loss" in trainer.state.log_history[0]
    with pytest.raises(ValueError, match="accepted"):
        loss_and_gradient(make_trainer(gpo_trainer(), tmp_path, train_dataset=rows, loss="aot"))


def rows_of(trainer: Any) -> Any:
    return (trainer.train_dataset[i] for i in range(len(PAIRS)))


def test_pairs_that_fill_up_a_batch_are_not_sorted() -> None:
    from gpo_analysis.integrations.objective import PairSums, pair_losses
    from gpo_analysis.losses import get_batch_loss

    logps = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    reference, lengths = torch.zeros(6, 2, dtype=torch.float64), torch.ones(6, 2)
    real = torch.tensor([True, True, False, True, True, False])
    aot = get_batch_loss("aot_unpaired")
    found = pair_losses(aot, BETA, PairSums(logps, reference, lengths), real=real)
    alone = pair_losses(aot, BETA, PairSums(logps[real], reference[real], lengths[real]))
    assert float(found.sum()) == pytest.approx(float(alone.sum()))
    assert (found[~real] == 0).all()
    (slope,) = torch.autograd.grad(found.sum(), logps)
    (expected,) = torch.autograd.grad(alone.sum(), logps)
    np.testing.assert_allclose(slope.numpy(), expected.numpy())
    none = pair_losses(aot, BETA, PairSums(logps, reference, lengths), real=torch.zeros(6, dtype=torch.bool))
    assert torch.autograd.grad(none.sum(), logps)[0].abs().max() == 0
