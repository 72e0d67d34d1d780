"""Evaluation against brute force, enumeration, finite differences and Monte Carlo."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

import gpo_analysis as gpo

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import llm.evaluation.expansion  # noqa: E402
from llm.data.world import generate, vocabulary  # noqa: E402
from llm.evaluation.evaluate import HeldOutPairs, best_of_n_table, evaluate, prepare  # noqa: E402
from llm.evaluation.expansion import compare_gradients  # noqa: E402
from llm.evaluation.margins import margins, on_policy_mu_squared, taylor_radius  # noqa: E402
from llm.evaluation.signatures import signature  # noqa: E402
from llm.evaluation.texts import dependence, describe, distinct  # noqa: E402
from llm.evaluation.win_rate import best_of_n, best_of_n_kl, compare, interval, length_controlled, win_rate  # noqa: E402
from llm.policy.logprobs import along, logprobs_of, response_logprobs  # noqa: E402
from llm.policy.models import LlamaSize, small_llama  # noqa: E402
from llm.policy.packing import response_rows  # noqa: E402
from llm.policy.sampling import SpecialIds, sample  # noqa: E402
from llm.policy.tokenizers import encode_prompts, encode_responses, train_tokenizer  # noqa: E402
from llm.rewards.world import WorldReward  # noqa: E402

RNG = np.random.default_rng(0)


def test_win_rate_counts_every_comparison_of_a_prompt() -> None:
    mine, theirs = RNG.integers(0, 3, (20, 2)), RNG.integers(0, 3, (20, 4))
    won = tied = 0.0
    for i in range(20):
        for a, b in itertools.product(mine[i], theirs[i]):
            won += float(a > b)
            tied += float(a == b)
    found = win_rate(mine, theirs)
    assert found.ties == pytest.approx(tied / 160)
    assert found.win_rate == pytest.approx((won + 0.5 * tied) / 160)
    assert tied > 0
    assert found.low < found.win_rate < found.high
    flipped = win_rate(theirs, mine)
    assert flipped.win_rate == pytest.approx(1 - found.win_rate)
    assert (flipped.low, flipped.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_the_interval_covers_at_its_level_where_samples_of_a_prompt_share_its_luck() -> None:
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        luck = rng.beta(0.5, 0.5, size=60)  # per prompt; mean ½
        won = rng.binomial(8, luck) / 8
        low, high = interval(won)
        covered += low <= 0.5 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_intervals_at_the_edge_are_no_points() -> None:
    low, high = interval(np.ones(100))
    assert (round(low, 3), high) == (0.963, 1.0)  # Wilson: n/(n + z²)
    assert interval(np.zeros(100)) == pytest.approx((0.0, 1 - low))
    assert interval([0.3]) == (0.0, 1.0)


@pytest.mark.parametrize("bad", [[[np.nan]], [], np.zeros((2, 2, 2))])
def test_rewards_that_are_none_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"rewards has"):
        compare(bad, [[1.0]])
    with pytest.raises(ValueError, match="one row a prompt"):
        compare([1.0, 2.0], [1.0])


def test_best_of_n_agrees_with_every_subset() -> None:
    pool, theirs = RNG.integers(0, 4, (5, 6)).astype(float), RNG.integers(0, 4, (5, 3)).astype(float)
    for n in range(1, 7):
        won, best = [], []
        for i in range(5):
            for chosen in itertools.combinations(pool[i], n):
                top = max(chosen)
                best.append(top)
                won.append(np.mean((top > theirs[i]) + 0.5 * (top == theirs[i])))
        found = best_of_n(pool, theirs, n)
        assert found.result.win_rate == pytest.approx(np.mean(won))
        assert found.mean_reward == pytest.approx(np.mean(best))
        assert found.kl_bound == pytest.approx(np.log(n) - (n - 1) / n)
    with pytest.raises(ValueError, match="accepted is 1 to 6"):
        best_of_n(pool, theirs, 7)


def test_the_kl_of_best_of_n_agrees_with_every_draw() -> None:
    """By enumeration of all n-tuples of draws; ties go to any of the best, alike."""
    pi, rewards = np.array([0.1, 0.2, 0.3, 0.25, 0.15]), np.array([1.0, 0.0, 1.0, 2.0, 0.0])
    levels = [0.35, 0.4, 0.25]
    for n in (1, 2, 3, 4):
        best = np.zeros(5)
        for draw in itertools.product(range(5), repeat=n):
            top = [i for i in draw if rewards[i] == max(rewards[j] for j in draw)]
            for i in top:
                best[i] += np.prod(pi[list(draw)]) / len(top)
        assert best_of_n_kl(levels, n) == pytest.approx(float(np.sum(best * np.log(best / pi))), abs=1e-12)
    fine = np.full(4000, 1 / 4000)
    assert best_of_n_kl(fine, 8) == pytest.approx(np.log(8) - 7 / 8, abs=2e-3)  # no ties: the known value
    for bad in ([0.5], [0.5, -0.5, 1.0], []):
        with pytest.raises(ValueError, match="sum to 1"):
            best_of_n_kl(bad, 2)


def test_length_control_changes_nothing_where_length_says_nothing() -> None:
    rng = np.random.default_rng(2)
    won = (rng.random(4000) < 0.7).astype(float)
    assert length_controlled(won, rng.normal(size=4000)) == pytest.approx(won.mean(), abs=0.01)
    assert length_controlled(won, np.zeros(4000)) == pytest.approx(won.mean(), abs=0.01)
    assert 0 < length_controlled(np.ones(50), np.arange(50)) < 1


def test_margins_by_hand() -> None:
    policy, reference = RNG.normal(size=(2, 30, 2)) * 2
    loss = gpo.get_loss("logistic")
    soft = RNG.random(30)
    found = margins(policy, reference, loss, 1.3, soft)
    rho = (policy[:, 0] - reference[:, 0]) - (policy[:, 1] - reference[:, 1])
    z = 1.3 * rho
    assert found["mu_squared_loss"] == pytest.approx(np.mean(rho**2) / 2)
    assert found["held_out_loss"] == pytest.approx(
        np.mean(soft * np.log1p(np.exp(-z)) + (1 - soft) * np.log1p(np.exp(z)))
    )
    assert found["beyond_taylor"] == pytest.approx(np.mean(np.abs(z) >= np.pi))
    assert 0 < found["beyond_taylor"] < 1
    assert found["chosen_change"] - found["rejected_change"] == pytest.approx(found["mean_rho"])
    assert found["margin_q50"] == pytest.approx(np.median(np.abs(z)))
    weight = -1 / (1 + np.exp(z))  # f′ of the logistic loss; its series: −½ + z/4 − z³/48
    for order, series in ((1, -0.5), (2, -0.5 + z / 4), (4, -0.5 + z / 4 - z**3 / 48)):
        error = np.sqrt(np.mean((series - weight) ** 2) / np.mean(weight**2))
        assert found[f"weight_error_{order}"] == pytest.approx(error, rel=1e-9)
    ends = {"chosen_logp": policy[:, 0], "rejected_logp": policy[:, 1], "mean_rho": rho,
            "chosen_change": policy[:, 0] - reference[:, 0], "rejected_change": policy[:, 1] - reference[:, 1],
            "accuracy": rho > 0}  # fmt: skip
    for name, values in ends.items():
        assert found[name] == pytest.approx(np.mean(values)), name
    assert found["margin_q90"] == pytest.approx(np.quantile(np.abs(z), 0.9))
    tied = margins([[0.0, 0.0], [1.0, 0.0]], np.zeros((2, 2)), loss, 1.0)
    assert (tied["accuracy"], tied["held_out_loss"]) == (0.75, pytest.approx((np.log(2) + np.log1p(np.exp(-1))) / 2))
    assert taylor_radius(gpo.get_loss("squared")) == np.inf
    with pytest.raises(ValueError, match=r"\(n, 2\) twice"):
        margins(policy[:, 0], reference[:, 0], loss, 1.0)


def test_the_on_policy_square_is_the_variance_of_the_log_ratio() -> None:
    rng = np.random.default_rng(3)
    values, stderr = on_policy_mu_squared(rng.normal(0.7, 1.5, size=(40000, 2)))
    assert abs(values - 1.5**2) < 4 * stderr
    assert stderr < 0.05
    with pytest.raises(ValueError, match=r"\(m, 2\)"):
        on_policy_mu_squared([1.0])


def test_texts() -> None:
    assert distinct([[1, 1, 1, 1]], 1) == 0.25
    assert np.isnan(distinct([[1]], 2))
    found = describe([[1, 2, 3], [1, 2, 3], [4]], [True, True, False])
    assert found["length"] == pytest.approx(7 / 3)
    assert found["distinct_responses"] == pytest.approx(2 / 3)
    x = RNG.normal(size=50)
    y = RNG.normal(size=50) + x
    slope, correlation = dependence(y, x)
    assert slope == pytest.approx(np.polyfit(x, y, 1)[0])
    assert correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert dependence(np.ones(3), [1, 2, 3]) == (0.0, 0.0)


GOOD = {
    "entropy": 9.0, "reference_entropy": 10.0, "held_out_loss": 0.5, "loss_at_zero": 0.7, "kl": 0.5,
    "win_rate_low": 0.55, "win_rate_high": 0.65, "relative_error_1": 0.5, "finished": 1.0, "length": 10.0,
    "reference_length": 10.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "none"),
        ({"entropy": 1.0}, "collapse"),
        ({"held_out_loss": 1.0}, "instability"),
        ({"win_rate_low": 0.42, "win_rate_high": 0.49}, "worse than πref"),
        ({"finished": 0.8, "length": 12.0}, "runaway"),
        ({"finished": 0.8}, "none"),  # as long as the reference's: the limit of tokens is short
        ({"kl": 0.01, "win_rate_low": 0.48}, "underfit"),
        ({"relative_error_1": 0.05}, "limited by the learning rate"),
    ],
)
def test_signatures(change: dict[str, float], words: str) -> None:
    assert signature({**GOOD, **change}) == words


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer([" ".join(vocabulary())])


@pytest.fixture(scope="module")
def models(tokenizer: Any) -> tuple[Any, Any]:
    made = []
    for seed in (0, 1):
        model = small_llama(LlamaSize(hidden=16, layers=1, heads=2, positions=128), tokenizer, seed=seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            model.lm_head.weight.normal_(0, 0.3)
        made.append(model)
    return made[0], made[1]


def response_logps(model: Any, prompts: Any, responses: Any) -> Any:
    return response_logprobs(model, response_rows(prompts, responses))[0]


def test_padding_changes_no_log_probability(models: tuple[Any, Any]) -> None:
    prompts, responses = [[5, 6, 7], [8], [9, 4]], [[3, 1], [4, 5, 6, 1], [1]]
    together = response_logps(models[0], prompts, responses)
    for i in range(3):
        alone = models[0](input_ids=torch.tensor([prompts[i] + responses[i]])).logits[0].log_softmax(-1).detach()
        expected = sum(float(alone[len(prompts[i]) - 1 + j, t]) for j, t in enumerate(responses[i]))
        assert together[i].item() == pytest.approx(expected, abs=1e-5)
    said = along(models[0], models[1], prompts, responses, batch_size=2)
    np.testing.assert_allclose(said[:, 1], together.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(logprobs_of(models[0], prompts, responses, batch_size=2), said[:, 1], atol=1e-5)
    with pytest.raises(ValueError, match="response 1 has no token"):
        response_rows([[1], [2]], [[3], []])


def test_kl_of_samples_agrees_with_enumeration() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    def tiny(seed: int) -> Any:
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=5, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=16, pad_token_id=0, eos_token_id=1, bos_token_id=None, initializer_range=0.6,
        )  # fmt: skip
        return LlamaForCausalLM(config).eval()

    policy, reference = tiny(0), tiny(1)
    prompts = [[2, 3]] * 2000
    drawn = sample(policy, SpecialIds(0, 1), prompts, seed=0, max_new_tokens=3, batch_size=500)
    said = along(policy, reference, prompts, drawn.tokens, batch_size=500)
    every = [[1], *([a, 1] for a in range(5) if a != 1)]
    every += [[a, b, c] for a, b, c in itertools.product(range(5), repeat=3) if a != 1 and b != 1]
    exact = along(policy, reference, [[2, 3]] * len(every), every)
    p, ratio = np.exp(exact[:, 1]), exact[:, 1] - exact[:, 2]
    assert p.sum() == pytest.approx(1, abs=1e-5)
    kl = float(p @ ratio)
    assert kl == pytest.approx(float(p @ exact[:, 0]), rel=1e-4), "the exact sum over tokens has the same mean"
    stderr = said[:, 0].std() / np.sqrt(2000)
    assert abs(said[:, 0].mean() - kl) < 4 * stderr
    assert said[:, 0].std() < (said[:, 1] - said[:, 2]).std(), "and a lower variance"


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", gpo.PAPER_LOSSES)
def test_the_gradient_is_that_of_the_loss_and_its_series_closes_in(
    models: tuple[Any, Any], name: str, soft: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, reference = models
    loss = gpo.get_loss(name)
    rng = np.random.default_rng(4)
    prompts, chosen, rejected = ([rng.integers(3, 100, 4).tolist() for _ in range(6)] for _ in range(3))
    base = torch.stack([response_logps(reference, prompts, side).detach() for side in (chosen, rejected)], 1)
    p = torch.as_tensor(rng.uniform(0.5, 1, 6)) if soft else None
    found = compare_gradients(policy, prompts, chosen, rejected, base, loss, 0.05, p=p)
    policy.zero_grad()
    logps = [response_logps(policy, prompts, side) for side in (chosen, rejected)]
    rho = (logps[0] - base[:, 0]) - (logps[1] - base[:, 1])
    labels = torch.ones(6) if p is None else p
    (labels * loss(0.05 * rho) + (1 - labels) * loss(-0.05 * rho)).mean().backward()
    rho = rho.detach()
    norm = torch.cat([p.grad.flatten() for p in policy.parameters()]).norm()
    policy.zero_grad()
    assert found["gradient_norm"] == pytest.approx(float(norm), rel=1e-4)
    assert float((0.05 * rho).abs().max()) < 1, "within every series' reach"
    if name in ("squared", "truncated_quadratic"):
        assert found["relative_error_2"] < 1e-5
        assert found["relative_error_1"] > 0.001
    elif name == "hinge":
        assert found["relative_error_1"] < 1e-5
    else:
        assert found["relative_error_4"] < found["relative_error_2"] < found["relative_error_1"]
    assert found["cosine_4"] == pytest.approx(1, abs=1e-2)
    monkeypatch.setattr(llm.evaluation.expansion, "PAIRS", 2)  # a part at a time: the same numbers
    parts = compare_gradients(policy, prompts, chosen, rejected, base, loss, 0.05, p=p)
    for key, value in found.items():
        assert parts[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key


@pytest.fixture(scope="module")
def against(tokenizer: Any, models: tuple[Any, Any]) -> Any:
    examples = generate(40, seed=5)
    ids = encode_prompts(tokenizer, [e.prompt for e in examples])
    chosen = encode_responses(tokenizer, [e.target for e in examples])
    rejected = encode_responses(tokenizer, [e.target for e in reversed(examples)])
    logps = np.stack([response_logps(models[1], ids, side).detach().numpy() for side in (chosen, rejected)], 1)
    pairs = HeldOutPairs(ids, chosen, rejected, logps.astype(np.float64), np.ones(40))
    settings = {"samples": 2, "max_new_tokens": 6, "seed": 0, "second_samples": 30, "gradient_pairs": 8}
    return prepare(tokenizer, models[1], examples, WorldReward(examples), pairs, **settings)


def test_the_reference_evaluated_as_a_policy(models: tuple[Any, Any], against: Any) -> None:
    row = evaluate(models[1], against, gpo.get_loss("logistic"), 0.5).row
    for name in ("kl", "mu_squared_loss", "mu_squared_loss_on_policy", "mean_rho"):
        assert row[name] == pytest.approx(0, abs=1e-5), name
    assert row["win_rate_low"] <= 0.5 <= row["win_rate_high"]
    assert row["ties"] > 0
    assert row["held_out_loss"] == pytest.approx(np.log(2), rel=1e-5)
    assert signature(row) == "underfit; limited by the learning rate"
    assert row["entropy"] == pytest.approx(row["reference_entropy"], rel=0.15)


def test_another_policy_is_told_from_the_reference(models: tuple[Any, Any], against: Any) -> None:
    findings = evaluate(models[0], against, gpo.get_loss("squared"), 0.5)
    row = findings.row
    assert row["kl"] > 1
    assert abs(row["kl"] - row["kl_sampled"]) < 5 * row["kl_sampled_stderr"]
    assert row["mu_squared_loss"] > 0.1
    assert row["relative_error_2"] < 1e-4
    assert row["human_win_rate"] < 0.2, "an untrained model against true summaries"
    assert len(findings.texts) == len(findings.rewards) == 40
    again = evaluate(models[0], dataclasses.replace(against, batch_size=7), gpo.get_loss("squared"), 0.5)
    assert again.texts == findings.texts, "the noise does not depend on the batch size"


def test_columns_of_an_evaluation(models: tuple[Any, Any], against: Any) -> None:
    few = dataclasses.replace(against, second_samples=1)
    row = evaluate(models[0], few, gpo.get_loss("logistic"), 0.5).row
    asked = evaluate(models[0], dataclasses.replace(against, second_samples=0), gpo.get_loss("logistic"), 0.5).row
    assert set(row) - set(asked) == {"mu_squared_loss_on_policy", "mu_squared_loss_on_policy_stderr"}
    wins = [
        f"{side}{name}" for side in ("", "human_") for name in ("win_rate", "win_rate_low", "win_rate_high", "ties")
    ]
    named = [*wins, "kl", "kl_stderr", "kl_sampled", "kl_sampled_stderr", "reward_mean", "reward_stderr", "entropy",
             "reference_entropy", "length", "length_sd", "finished", "distinct_responses", "distinct_1", "distinct_2",
             "distinct_3", "mu_squared_loss", "held_out_loss", "loss_at_zero", "gradient_norm", "cosine_1",
             "relative_error_1", "length_controlled_win_rate", "reward_on_length", "rho_on_length"]  # fmt: skip
    assert set(named) <= set(asked)
    assert row["loss_at_zero"] == pytest.approx(np.log(2), rel=1e-12)
    assert 0 < row["kl_stderr"] < row["kl_sampled_stderr"]


@pytest.mark.parametrize("soft", [False, True])
def test_the_error_of_an_expanded_gradient_is_relative(models: tuple[Any, Any], soft: bool) -> None:
    """To first order f′ is f′(0): the gradient of f′(0) (2p − 1) βρ on average, by autograd."""
    policy, reference = models
    rng = np.random.default_rng(6)
    prompts, chosen, rejected = ([rng.integers(3, 100, 4).tolist() for _ in range(5)] for _ in range(3))
    base = torch.stack([response_logps(reference, prompts, side).detach() for side in (chosen, rejected)], 1)
    p = torch.as_tensor(rng.uniform(0.5, 1, 5)) if soft else None
    found = compare_gradients(policy, prompts, chosen, rejected, base, gpo.get_loss("exponential"), 0.3, p=p)
    labels = torch.ones(5) if p is None else p

    def gradient(total: Any) -> Any:
        pieces = torch.autograd.grad(total, list(policy.parameters()), retain_graph=True, allow_unused=True)
        return torch.cat([piece.flatten().double() for piece in pieces if piece is not None])

    logps = [response_logps(policy, prompts, side) for side in (chosen, rejected)]
    z = 0.3 * ((logps[0] - base[:, 0]) - (logps[1] - base[:, 1]))
    true = gradient((labels * torch.exp(-z) + (1 - labels) * torch.exp(z)).mean())
    first = gradient((-(2 * labels - 1) * z).mean())
    assert found["relative_error_1"] == pytest.approx(float((first - true).norm() / true.norm()), rel=1e-4)
    assert found["cosine_1"] == pytest.approx(float(first @ true / first.norm() / true.norm()), rel=1e-4)


def test_a_judge_is_asked_beside_the_reward(models: tuple[Any, Any], against: Any) -> None:
    class Short:
        name = "short"

        def __call__(self, prompts: Any, responses: Any) -> np.ndarray:
            return -np.array([len(text) for text in responses], dtype=np.float64)

    both = dataclasses.replace(against, judge=Short(), judge_rewards=np.full((40, 2), -1e9))
    assert evaluate(models[0], both, gpo.get_loss("hinge"), 0.5).row["judge_win_rate"] == 1.0


def test_best_of_n_rises_with_n(against: Any) -> None:
    table = best_of_n_table(against, pool=4)
    assert [row.n for row in table] == [1, 2, 4]
    rates = [row.result.win_rate for row in table]
    assert rates == sorted(rates)
    assert rates[2] > rates[0]
    assert table[0].kl_bound == 0.0
