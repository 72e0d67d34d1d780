"""One policy, evaluated: everything a row of the sweep's table holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.losses import MarginLoss
from llm.data.types import Example, Reward
from llm.evaluation.expansion import compare_gradients
from llm.evaluation.margins import margins, on_policy_mu_squared
from llm.evaluation.texts import dependence, describe
from llm.evaluation.win_rate import BestOfN, WinRate, best_of_n, compare, length_controlled, win_rate
from llm.policy.logprobs import along, logprobs_of, precision
from llm.policy.sampling import sample
from llm.policy.tokenizers import encode_prompts

POLICY_STREAM, SECOND_STREAM = 101, 102  # seeds of the policies' noise, apart from the reference's


@dataclass(frozen=True, eq=False)
class HeldOutPairs:
    """Labelled pairs no policy is trained on, as token ids, with πref's log-probabilities.

    Parameters
    ----------
    prompts, chosen, rejected : sequence of sequence of int
        n token lists each; responses end with the end token.
    reference_logps : array, shape (n, 2)
        log πref, chosen first.
    p : array, shape (n,)
        Soft labels.
    """

    prompts: Sequence[Sequence[int]]
    chosen: Sequence[Sequence[int]]
    rejected: Sequence[Sequence[int]]
    reference_logps: FloatArray
    p: FloatArray


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """What every policy of a study is compared with, made once.

    Parameters
    ----------
    tokenizer, reference : tokenizer, model
        The tokenizer and πref.
    examples : sequence of Example
        m prompts with the human (or the world's) response.
    prompt_ids : sequence of sequence of int
        The prompts' ids.
    reward, judge : Reward, Reward, optional
        The gold reward, and a second one trained on other data where there is one.
    reference_rewards, reference_lengths : array, shape (m, s)
        Of s samples of πref a prompt; rewards by ``reward``, lengths in tokens.
    judge_rewards : array, shape (m, s), optional
        By ``judge``.
    target_rewards : array, shape (m,)
        Of the examples' responses.
    reference_entropy : float
        −mean log πref(y) of its samples, in nats a response.
    pairs : HeldOutPairs
        Held-out pairs.
    max_new_tokens, seed, batch_size : int
        Of sampling; log-probabilities are of a quarter as many responses side by side, 128 or more.
    dtype : str
        "float32", or "bfloat16" for autocast: of policies and of πref alike, in which all that is said of a policy is
        computed, so that of πref itself KL and ρ are 0.
    second_samples : int
        Prompts that get a second response of the policy, for ½E[ρ²] on-policy.
    gradient_pairs : int
        Held-out pairs whose gradient is compared with its expansions.
    """

    tokenizer: Any
    reference: Any
    examples: Sequence[Example]
    prompt_ids: Sequence[Sequence[int]]
    reward: Reward
    reference_rewards: FloatArray
    reference_lengths: FloatArray
    target_rewards: FloatArray
    reference_entropy: float
    pairs: HeldOutPairs
    max_new_tokens: int
    seed: int
    batch_size: int = 256
    second_samples: int = 256
    gradient_pairs: int = 96
    judge: Reward | None = None
    judge_rewards: FloatArray | None = None
    dtype: str = "float32"

    @property
    def scored(self) -> int:
        """Responses whose log-probabilities are computed side by side."""
        return scored_together(self.batch_size)

    def precise(self) -> AbstractContextManager[Any]:
        """The context of ``dtype``, for models alone: rewards keep theirs."""
        return precision(self.reference.device, self.dtype)


def scored_together(batch_size: int) -> int:
    """How many responses are scored side by side where so many are drawn."""
    return max(128, batch_size // 4)


@dataclass(frozen=True, eq=False)
class Findings:
    """Numbers of a policy, and its responses.

    Parameters
    ----------
    row : dict
        Column → number or word.
    rewards : array, shape (m,)
        Gold rewards of its responses, for side-by-side comparisons.
    texts : list of str
        Its m responses.
    """

    row: dict[str, Any]
    rewards: FloatArray
    texts: list[str]


def prepare(
    tokenizer: Any,
    reference: Any,
    examples: Sequence[Example],
    reward: Reward,
    pairs: HeldOutPairs,
    *,
    samples: int,
    max_new_tokens: int,
    seed: int,
    judge: Reward | None = None,
    **settings: Any,
) -> EvaluationSet:
    """Sample the reference and score it and the human responses.

    Parameters
    ----------
    samples : int
        Samples of πref a prompt.
    **settings : object
        ``batch_size``, ``second_samples``, ``gradient_pairs``, ``dtype`` of `EvaluationSet`.
    """
    if samples < 1 or not examples:
        raise ValueError(f"samples is {samples} for {len(examples)} prompts; accepted is at least one of both")
    prompts = [example.prompt for example in examples]
    ids = encode_prompts(tokenizer, prompts)
    with precision(reference.device, settings.get("dtype", "float32")):
        drawn = sample(
            reference, tokenizer, ids, seed=seed, max_new_tokens=max_new_tokens, samples=samples, keep_logprobs=True,
            batch_size=settings.get("batch_size", 256),
        )  # fmt: skip
    texts, repeated = drawn.texts(tokenizer), [prompt for prompt in prompts for _ in range(samples)]
    assert drawn.logprobs is not None
    shape = (len(prompts), samples)
    return EvaluationSet(
        tokenizer, reference, examples, ids, reward,
        reference_rewards=reward(repeated, texts).reshape(shape),
        reference_lengths=drawn.lengths.astype(np.float64).reshape(shape),
        target_rewards=reward(prompts, [example.target for example in examples]),
        reference_entropy=-float(drawn.logprobs.mean()), pairs=pairs, max_new_tokens=max_new_tokens, seed=seed,
        judge=judge, judge_rewards=judge(repeated, texts).reshape(shape) if judge is not None else None, **settings,
    )  # fmt: skip


def evaluate(policy: Any, against: EvaluationSet, loss: MarginLoss, beta: float) -> Findings:
    """Evaluate a policy trained with f(βρ).

    Sampling is at temperature 1 without truncation, with the same noise for every policy and another than πref's. KL is
    the mean over prompts of one response's sum over tokens, the end token included, of the exact full-vocabulary KL.

    Returns
    -------
    Findings
        ``row`` has the columns ``win_rate, win_rate_low, win_rate_high, ties``, the same with ``human_`` in front
        (against the examples' responses) and ``judge_``, ``kl, kl_stderr, kl_sampled`` (the mean of log πθ/πref, to
        check by), ``mu_squared_loss_on_policy`` and its ``_stderr``, ``reward_mean``, ``entropy``, those of `margins`,
        `compare_gradients` and `describe`, ``length_controlled_win_rate``, ``reward_on_length``, ``rho_on_length`` and
        their ``_correlation``. `signature` says in words what it shows.
    """
    with against.precise():
        drawn = sample(
            policy, against.tokenizer, against.prompt_ids, seed=against.seed + POLICY_STREAM,
            max_new_tokens=against.max_new_tokens, batch_size=against.batch_size,
        )  # fmt: skip
        said = along(policy, against.reference, against.prompt_ids, drawn.tokens, batch_size=against.scored)
    texts = drawn.texts(against.tokenizer)
    rewards = against.reward([example.prompt for example in against.examples], texts)
    row: dict[str, Any] = _named(win_rate(rewards, against.reference_rewards), "")
    row |= _named(win_rate(rewards, against.target_rewards), "human_") | _judged(against, texts)
    row |= {"kl": float(said[:, 0].mean()), "kl_stderr": _stderr(said[:, 0])}
    row |= {
        "kl_sampled": float((said[:, 1] - said[:, 2]).mean()),
        "kl_sampled_stderr": _stderr(said[:, 1] - said[:, 2]),
    }
    row |= {"reward_mean": float(rewards.mean()), "reward_stderr": _stderr(rewards)}
    row |= {"entropy": -float(said[:, 1].mean()), "reference_entropy": against.reference_entropy}
    row |= _on_policy(policy, against, said)
    row |= describe(drawn.tokens, drawn.finished)
    row |= _lengths(rewards, drawn.lengths, against)
    row |= _pairs(policy, against, loss, beta)
    row["loss_at_zero"] = float(loss(np.zeros(1))[0])
    return Findings(row, rewards, texts)


def best_of_n_table(against: EvaluationSet, *, pool: int, powers: Sequence[int] = (1, 2, 4, 8, 16)) -> list[BestOfN]:
    """Best-of-n of πref: n samples out of ``pool`` fresh ones a prompt, against the set's samples."""
    prompts = [example.prompt for example in against.examples]
    with against.precise():
        drawn = sample(
            against.reference, against.tokenizer, against.prompt_ids, seed=against.seed + SECOND_STREAM + 1,
            max_new_tokens=against.max_new_tokens, samples=pool, batch_size=against.batch_size,
        )  # fmt: skip
    rewards = against.reward([prompt for prompt in prompts for _ in range(pool)], drawn.texts(against.tokenizer))
    table = rewards.reshape(len(prompts), pool)
    return [best_of_n(table, against.reference_rewards, n) for n in powers if n <= pool]


def _named(result: WinRate, prefix: str) -> dict[str, Any]:
    return {
        f"{prefix}win_rate": result.win_rate,
        f"{prefix}win_rate_low": result.low,
        f"{prefix}win_rate_high": result.high,
        f"{prefix}ties": result.ties,
    }


def _judged(against: EvaluationSet, texts: list[str]) -> dict[str, Any]:
    if against.judge is None or against.judge_rewards is None:
        return {}
    rewards = against.judge([example.prompt for example in against.examples], texts)
    return _named(win_rate(rewards, against.judge_rewards), "judge_")


def _on_policy(policy: Any, against: EvaluationSet, said: FloatArray) -> dict[str, float]:
    """½E[ρ²] of two responses of the policy: the first is that of the win rate."""
    count = min(against.second_samples, len(against.prompt_ids))
    if count == 0:
        return {}
    some = list(against.prompt_ids[:count])
    with against.precise():
        second = sample(
            policy, against.tokenizer, some, seed=against.seed + SECOND_STREAM, max_new_tokens=against.max_new_tokens,
            batch_size=against.batch_size,
        )  # fmt: skip
        again = along(policy, against.reference, some, second.tokens, batch_size=against.scored)
    ratios = np.stack([said[:count, 1] - said[:count, 2], again[:, 1] - again[:, 2]], 1)
    value, stderr = on_policy_mu_squared(ratios)
    return {"mu_squared_loss_on_policy": value, "mu_squared_loss_on_policy_stderr": stderr}


def _lengths(rewards: FloatArray, lengths: IntArray, against: EvaluationSet) -> dict[str, float]:
    slope, correlation = dependence(rewards, lengths)
    won, _ = compare(rewards, against.reference_rewards)
    controlled = length_controlled(won, lengths - against.reference_lengths.mean(1))
    return {
        "length_controlled_win_rate": controlled,
        "reward_on_length": slope,
        "reward_on_length_correlation": correlation,
        "reference_length": float(against.reference_lengths.mean()),
    }


def _pairs(policy: Any, against: EvaluationSet, loss: MarginLoss, beta: float) -> dict[str, float]:
    pairs = against.pairs
    sides = (pairs.chosen, pairs.rejected)
    with against.precise():
        logps = np.stack([logprobs_of(policy, pairs.prompts, one, batch_size=against.scored) for one in sides], 1)
    found = margins(logps, pairs.reference_logps, loss, beta, pairs.p)
    change = logps - pairs.reference_logps
    longer = [len(a) - len(b) for a, b in zip(pairs.chosen, pairs.rejected, strict=True)]
    slope, correlation = dependence(change[:, 0] - change[:, 1], longer)
    found |= {"rho_on_length": slope, "rho_on_length_correlation": correlation}
    count = min(against.gradient_pairs, len(pairs.prompts))
    if count:
        with against.precise():
            found |= compare_gradients(
                policy, pairs.prompts[:count], pairs.chosen[:count], pairs.rejected[:count],
                pairs.reference_logps[:count], loss, beta, p=pairs.p[:count],
            )  # fmt: skip
    return found


def _stderr(values: FloatArray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf
