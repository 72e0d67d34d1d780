"""The stages of a study: functions of what earlier stages made, which leave what they make on disk.

A stage's folder ends with ``stage.json``, the key of its configuration and inputs (`llm.storage.reports`): found there,
the stage does nothing but read. So a study that was killed goes on where it was, and a changed setting runs again what
depends on it and nothing else. `llm.study.pipeline` calls the stages in their order.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from llm.budget import Stop
from llm.data.splits import PARTS, WORLD, Splits, as_labelled, as_pairs, read_splits, world_splits
from llm.data.types import Pair, Reward, write_pairs
from llm.data.world import vocabulary
from llm.devices import this_rank
from llm.evaluation.evaluate import EvaluationSet, HeldOutPairs, best_of_n_table, prepare, scored_together
from llm.evaluation.policies import evaluate_policies
from llm.policy.batches import TokenizedPairs
from llm.policy.lengths import within_tokens
from llm.policy.logprobs import logprobs_of, precision, reference_logprobs
from llm.policy.models import add_lora, count_parameters, load_model, save_model, small_llama
from llm.policy.sampling import sample
from llm.policy.tokenizers import encode_prompts, encode_responses, fingerprint, train_tokenizer
from llm.rewards.gold import Learned, learn_preferences, learn_sentiment, learn_titles, learn_world
from llm.rewards.pairs import make_pairs
from llm.rewards.world import WorldReward
from llm.storage.checksums import checksum_model, checksum_texts
from llm.storage.reports import finished_report, mark_done, stage_key
from llm.study.config import StudyConfig
from llm.sweep.inputs import SweepInputs
from llm.sweep.run import SweepResult, train_sweep
from llm.training.cells import SweepCell
from llm.training.quality import measure_quality
from llm.training.sft import fine_tune

Made = TypeVar("Made")
_QUALITY = ("nats_per_token", "sampled_reward", "sampled_exact", "greedy_exact")


@dataclass(frozen=True)
class Setting:
    """What every stage of a study is handed.

    Parameters
    ----------
    config : StudyConfig
        See there.
    folder : Path
        Where everything is written.
    data : Path, optional
        A folder with train/validation/test files of JSON lines; None for the generated world.
    progress : bool
        Whether bars are shown.
    """

    config: StudyConfig
    folder: Path
    data: Path | None = None
    progress: bool = False

    @property
    def processes(self) -> int:
        """How many processes of our own work side by side: on a GPU, and where a launcher started several, none."""
        where = this_rank(self.config.device)
        return self.config.workers if where.world == 1 and where.device.type == "cpu" else 1

    @property
    def longest(self) -> int:
        """Most tokens of a sampled response."""
        return self.config.pairs.max_new_tokens


@dataclass(frozen=True)
class Outcome(Generic[Made]):
    """What a stage made.

    Parameters
    ----------
    value : object
        What the following stages take.
    line : str
        What is said of it.
    reports : dict
        Entries of run.json's ``reports``.
    """

    value: Made
    line: str
    reports: dict[str, Any] = field(default_factory=dict)


class Policy(NamedTuple):
    """A model with its tokenizer."""

    model: Any
    tokenizer: Any


class Gold(NamedTuple):
    """The gold reward, and a second one trained on other data where there is one."""

    reward: Reward
    judge: Reward | None


class SweepData(NamedTuple):
    """What is trained on: pairs, and log πref of their responses, (n, 2)."""

    pairs: TokenizedPairs
    logprobs: NDArray[np.float32]


class PairSets(NamedTuple):
    """Labelled pairs: those trained on, and those nothing is trained on."""

    train: list[Pair]
    held_out: list[Pair]


def make_records(setting: Setting) -> Outcome[Splits]:
    """Generate or read the records."""
    config = setting.config
    if setting.data is not None:
        records = read_splits(setting.data, config.counts, max_prompt=config.max_prompt, seed=config.seed)
    else:
        records = world_splits(config.counts, config.world, seed=config.seed)
    return Outcome(records, f"{records.report}; {records.sizes}")


def make_base(setting: Setting, records: Splits) -> Outcome[Policy]:
    """Load the model that is fine-tuned, or make a small one with a tokenizer trained on the records."""
    config, folder = setting.config, setting.folder / "base"
    if config.policy.source is not None:
        base = Policy(*load_model(config.policy.source, pad_token=config.policy.pad_token, device=config.device))
    else:
        key = stage_key({"policy": config.policy, "seed": config.seed}, data=checksum_texts(records.fine_tuning))
        if finished_report(folder, key) is None:
            words = [" ".join(vocabulary())] if records.kind == WORLD else []
            shown = [text for e in records.fine_tuning for text in (e.prompt, e.target)]
            tokenizer = train_tokenizer([*shown, *words], config.policy.tokenizer)
            save_model(small_llama(config.policy.size, tokenizer, seed=config.seed), tokenizer, folder)
            mark_done(folder, key, {"vocabulary": len(tokenizer)}, ["."])
        base = Policy(*load_model(folder, device=config.device))
    return Outcome(base, f"{count_parameters(base.model):,} parameters, {len(base.tokenizer):,} tokens")


def fit_records(setting: Setting, records: Splits, base: Policy) -> tuple[Splits, int]:
    """Return the records whose prompt leaves room for a response in the model's positions, and how many do not.

    How long a target is does not matter here: fine-tuning leaves out, and counts, those that are too long for it.
    """
    if records.kind == WORLD:
        return records, 0
    room = int(getattr(base.model.config, "max_position_embeddings", 1 << 20)) - setting.longest
    parts, left_out = {}, 0
    for name in PARTS:
        parts[name], dropped = within_tokens(
            getattr(records, name), base.tokenizer, max_prompt=room, max_response=sys.maxsize
        )
        left_out += dropped
        if not parts[name] and getattr(records, name):
            raise ValueError(f"no record of {name} has a prompt of {room} tokens or less")
    return replace(records, **parts), left_out


def make_reference(setting: Setting, records: Splits, base: Policy, *, stop: Stop | None = None) -> Outcome[Policy]:
    """Fine-tune the base model: πref."""
    config, model, tokenizer = setting.config, base.model, base.tokenizer
    quality = None
    if records.kind == WORLD:
        some, reward = records.evaluation[:256], _world_reward(records)

        def quality(model: Any) -> dict[str, float]:
            return measure_quality(model, tokenizer, some, reward, max_new_tokens=setting.longest)

    result = fine_tune(
        model, tokenizer, records.fine_tuning, config.sft, folder=setting.folder / "sft",
        held_out=records.held_out[:256], quality=quality, device=config.device, progress=setting.progress,
        stop=stop,
    )  # fmt: skip
    before, after = result.report["before"], result.report["after"]
    shown = ", ".join(f"{name} {before[name]:.3g} → {after[name]:.3g}" for name in _QUALITY if name in after)
    return Outcome(Policy(result.model.eval(), tokenizer), f"before → after: {shown}", {"sft": result.report})


def make_reward(setting: Setting, records: Splits, reference: Policy) -> Outcome[Gold]:
    """The gold reward and its judge for the kind of records: a program of the world, or models trained here."""
    learned = _learn(setting, records, reference) if records.reward else None
    if records.kind == WORLD:
        gold = Gold(_world_reward(records), None if learned is None else learned.judge)
    else:
        assert learned is not None  # files without records for the reward are refused when they are read
        gold = Gold(learned.gold, learned.judge)
    reports = {"gold": {"kind": "program", "accuracy": 1.0}} if learned is None else learned.report
    shown = [
        f"{name} {report['accuracy']:.1%} right on held-out comparisons"
        for name, report in reports.items()
        if isinstance(report, dict) and "accuracy" in report
    ]
    return Outcome(gold, ", ".join(shown), {"reward": reports})


def _world_reward(records: Splits) -> WorldReward:
    return WorldReward([*records.pairs, *records.held_out, *records.evaluation])


def _learn(setting: Setting, records: Splits, reference: Policy) -> Learned:
    config = setting.config
    folder: dict[str, Any] = {"folder": setting.folder / "reward"}
    shown = {**folder, "device": config.device, "progress": setting.progress}
    if records.kind == WORLD:
        cut = max(1, len(records.reward) // 8)
        return learn_world(records.reward[cut:], records.reward[:cut], config.reward, world=config.world, **shown)
    if records.kind == "summaries":
        model, tokenizer = reference
        return learn_titles(records.reward, records.held_out, config.reward, model=model, tokenizer=tokenizer, **shown)
    if records.kind == "pairs":
        return learn_preferences(as_pairs(records.reward), as_pairs(records.held_out), config.reward, **shown)
    return learn_sentiment(as_labelled(records.reward), as_labelled(records.held_out), config.reward, **folder)


def label_pairs(setting: Setting, records: Splits, reference: Policy, gold: Gold) -> Outcome[PairSets]:
    """Sample two responses to each prompt from πref and label them by the gold reward."""
    config = setting.config.pairs
    held_out_config = replace(config, seed=config.seed + 1, pairs_per_prompt=1)
    made, reports = {}, {}
    for name, examples, how in (("pairs", records.pairs, config), ("held_out", records.held_out, held_out_config)):
        made[name], reports[name] = make_pairs(
            reference.model, reference.tokenizer, examples, gold.reward, how, folder=setting.folder / name,
            inputs={"records": checksum_texts(examples)}, progress=setting.progress,
        )  # fmt: skip
    write_pairs(made["pairs"], setting.folder / "pairs.jsonl")
    report = reports["pairs"]
    line = (
        f"{len(made['pairs'])} to train on, {len(made['held_out'])} held out; label agrees with the reward in "
        f"{report['label_agrees_with_reward']:.1%}, {report['identical']} identical left out"
    )
    return Outcome(PairSets(made["pairs"], made["held_out"]), line, reports)


def comparison_key(setting: Setting, records: Splits, reference: Policy, gold: Gold, held_out: Sequence[Pair]) -> str:
    """Key of what policies are compared with, and how: nothing of it enters their training."""
    rewards = [[one.name, getattr(one, "fingerprint", None)] for one in gold if one is not None]
    return stage_key(
        {"evaluation": setting.config.evaluation, "longest": setting.longest, "seed": setting.config.seed},
        reference=checksum_model(reference.model), tokenizer=fingerprint(reference.tokenizer), rewards=rewards,
        prompts=checksum_texts(records.evaluation), held_out=checksum_texts(held_out),
    )  # fmt: skip


def comparison_set(
    setting: Setting, records: Splits, reference: Policy, gold: Gold, held_out: Sequence[Pair]
) -> EvaluationSet:
    """Samples of πref, and held-out pairs with its log-probabilities."""
    settings, tokenizer = setting.config.evaluation, reference.tokenizer
    prompts = encode_prompts(tokenizer, [pair.prompt for pair in held_out])
    sides = [encode_responses(tokenizer, [getattr(pair, side) for pair in held_out]) for side in ("chosen", "rejected")]
    together = scored_together(settings.batch_size)
    with precision(reference.model.device, settings.dtype):
        logps = np.stack([logprobs_of(reference.model, prompts, side, batch_size=together) for side in sides], 1)
    return prepare(
        tokenizer, reference.model, records.evaluation, gold.reward,
        HeldOutPairs(prompts, sides[0], sides[1], logps, np.array([pair.p for pair in held_out])), judge=gold.judge,
        samples=settings.samples, max_new_tokens=setting.longest, seed=setting.config.seed + 7,
        batch_size=settings.batch_size, second_samples=settings.second_samples,
        gradient_pairs=settings.gradient_pairs, dtype=settings.dtype,
    )  # fmt: skip


def measure_baseline(
    setting: Setting, records: Splits, reference: Policy, gold: Gold, against: Callable[[], EvaluationSet], key: str
) -> Outcome[dict[str, Any]]:
    """Best-of-n of πref, and its rewards for the theory's predictions."""
    folder = setting.folder / "baseline"
    report = finished_report(folder, key)
    if report is None:
        pool = setting.config.evaluation.best_of_pool
        rows = [
            {
                "n": row.n, "kl": row.kl, "kl_bound": row.kl_bound, "mean_reward": row.mean_reward,
                "win_rate": row.result.win_rate, "win_rate_low": row.result.low,
                "win_rate_high": row.result.high, "ties": row.result.ties,
            }
            for row in best_of_n_table(against(), pool=pool)
        ]  # fmt: skip
        some = records.evaluation[:256]
        with precision(reference.model.device, setting.config.evaluation.dtype):
            drawn = sample(
                reference.model, reference.tokenizer, encode_prompts(reference.tokenizer, [e.prompt for e in some]),
                seed=setting.config.seed + 977, max_new_tokens=setting.longest, samples=pool,
                batch_size=setting.config.evaluation.batch_size,
            )  # fmt: skip
        prompts = [e.prompt for e in some for _ in range(pool)]
        rewards = gold.reward(prompts, drawn.texts(reference.tokenizer)).reshape(len(some), pool)
        report = {"best_of_n": rows, "reference_rewards": rewards.tolist()}
        mark_done(folder, key, report)
    best = report["best_of_n"][-1]
    line = f"best of {best['n']}: win rate {best['win_rate']:.3f} at KL {best['kl']:.2f} nats"
    return Outcome(report, line, {"baseline": report})


def starting_model(setting: Setting, reference: Policy) -> Any:
    """Where every cell starts: πref, with fresh adapters where the configuration has them."""
    lora = setting.config.policy.lora
    if lora is None:
        return reference.model
    return add_lora(copy.deepcopy(reference.model), lora, seed=setting.config.seed)


def sweep_data(setting: Setting, reference: Policy, pairs: Sequence[Pair]) -> SweepData:
    """As many of the pairs as training sees, and πref's log-probabilities in training's dtype and layout."""
    training = setting.config.training
    rows = TokenizedPairs.from_pairs(pairs[: training.steps * training.batch_size], reference.tokenizer)
    table = reference_logprobs(
        reference.model, rows, cache=setting.folder / "reference", dtype=training.dtype, packed=training.packed
    )
    return SweepData(rows, table)


def sweep_inputs(setting: Setting, reference: Policy, data: SweepData) -> SweepInputs:
    """What cells are trained from and on."""
    arms = setting.config.grid.arms(len(data.pairs))
    return SweepInputs(starting_model(setting, reference), data.pairs, data.logprobs, setting.config.training, arms)


def train_policies(
    setting: Setting,
    reference: Policy,
    data: SweepData,
    cells: Sequence[SweepCell],
    stack: int | None,
    *,
    stop: Stop | None = None,
) -> Outcome[SweepResult]:
    """Train and export cells of the grid, at most ``stack`` of them together."""
    inputs = sweep_inputs(setting, reference, data)
    result = train_sweep(
        inputs.base_model, cells, inputs.pairs, inputs.reference, inputs.config, folder=setting.folder / "sweep",
        device=setting.config.device, stack_size=stack, processes=setting.processes, arms=inputs.arms,
        progress=setting.progress, stop=stop,
    )  # fmt: skip
    stopped = [f"{cell.name}: {s}" for cell, s in zip(result.cells, result.statuses, strict=True) if s != "finished"]
    line = f"{len(result.cells)} cells in {len(result.stacks)} stacks, {result.trained} stacks were missing"
    return Outcome(result, line + (f"; stopped: {'; '.join(stopped)}" if stopped else ""))


def evaluate_sweep(
    setting: Setting,
    reference: Policy,
    sweep: SweepResult,
    against: Callable[[], EvaluationSet],
    key: str,
    *,
    stop: Stop | None = None,
) -> Outcome[list[dict[str, Any]]]:
    """Evaluate every exported policy."""
    config, policies = setting.config, sweep.policies()
    found = evaluate_policies(
        policies, starting_model(setting, reference), against, key, folder=setting.folder / "evaluations",
        device=config.device, last_step=config.training.steps,
        processes=setting.processes, progress=setting.progress, stop=stop,
    )  # fmt: skip
    return Outcome(found, f"{len(found)} policies evaluated")
