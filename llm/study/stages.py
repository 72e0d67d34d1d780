"""The stages of a study, each from what the earlier ones left on disk.

A stage's folder ends with ``stage.json``, the key of its configuration and inputs (`llm.storage.reports`): found there, the stage
does nothing but read. So a study that was killed goes on where it was, and a changed setting runs again what depends
on it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpo_analysis.records import write_whole
from llm.data.types import Example, Pair, Reward, write_pairs
from llm.data.world import demonstration, generate, vocabulary
from llm.evaluation.evaluate import EvaluationSet, HeldOutPairs, best_of_n_table, prepare
from llm.policy.logprobs import logprobs_of
from llm.policy.models import load_model, save_model, small_llama
from llm.policy.sampling import sample
from llm.policy.tokenizers import encode_prompts, encode_responses, fingerprint, train_tokenizer
from llm.rewards.pairs import PairsConfig, make_pairs
from llm.storage.checksums import checksum_model, checksum_texts
from llm.storage.reports import finished_report, mark_done, stage_key
from llm.study.config import StudyConfig
from llm.training.sft import fine_tune, measure_quality

if TYPE_CHECKING:
    from llm.rewards.gold import Learned

__all__ = ["STAGES", "Splits", "Study"]

STAGES = ("data", "base", "sft", "reward", "pairs", "baseline", "sweep", "tables")
"""In the order they run; each asks for those before it."""

PARTS = ("fine_tuning", "pairs", "held_out", "evaluation", "reward")


@dataclass(frozen=True, eq=False)
class Splits:
    """The study's records; no prompt is in two of them.

    Parameters
    ----------
    fine_tuning, pairs, held_out, evaluation, reward
        Examples of each part.
    kind
        "world" or the kind of the files read.
    report
        What was read, kept and left out, in words.
    """

    fine_tuning: list[Example]
    pairs: list[Example]
    held_out: list[Example]
    evaluation: list[Example]
    reward: list[Example] = field(default_factory=list)
    kind: str = "world"
    report: str = ""


@dataclass(frozen=True, eq=False)
class Study:
    """A configuration, a folder and, where the data are not generated, their path.

    Parameters
    ----------
    config
        See `StudyConfig`.
    folder
        Where everything is written.
    data
        A folder with train/validation/test files of JSON lines, or None for the generated world.
    progress
        Whether bars are shown.
    """

    config: StudyConfig
    folder: Path
    data: Path | None = None
    progress: bool = False

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds spent in each stage so far, over all runs."""
        try:
            found: dict[str, float] = json.loads((self.folder / "seconds.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return found

    def run(self, until: str = STAGES[-1], say: Callable[[str], None] = print) -> None:
        """Run the stages up to ``until``.

        Where a launcher (accelerate, torchrun) started several processes, the first runs the stages, the others read
        what it left, and all share the sweep.
        """
        from llm.devices import on_first, place

        if until not in STAGES:
            raise ValueError(f"stage {until!r}; accepted are {', '.join(STAGES)}")
        self.folder.mkdir(parents=True, exist_ok=True)
        where = place(self.config.device)
        for stage in STAGES[: STAGES.index(until) + 1]:
            act = getattr(self, f"_run_{stage}")
            if stage == "sweep":
                told = self._timed(stage, act, where.rank == 0)
            else:
                told = on_first(where, partial(self._timed, stage, act, True))
            if where.rank == 0:
                say(f"{stage}: {told} ({self.seconds[stage]:.0f} s in all)")

    def _timed(self, stage: str, act: Callable[[], str], noted: bool) -> str:
        """Run a stage and, where noted, add its seconds to ``seconds.json``; what was only read adds next to none."""
        start = time.perf_counter()
        try:
            return act()
        finally:
            if noted:
                seconds = self.seconds
                seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
                write_whole(self.folder / "seconds.json", json.dumps(seconds, indent=1).encode(), self.folder)

    # data

    @cached_property
    def splits(self) -> Splits:
        """The records whose prompt leaves room for a response in the model's positions; the others are counted.

        How long a target is does not matter here: fine-tuning leaves out, and counts, those that are too long for it.
        """
        if self.raw.kind == "world":
            return self.raw
        from llm.policy.lengths import within_tokens

        model, tokenizer = self.base
        room = int(getattr(model.config, "max_position_embeddings", 1 << 20)) - self.longest
        parts, left = {}, 0
        for name in PARTS:
            parts[name], dropped = within_tokens(
                getattr(self.raw, name), tokenizer, max_prompt=room, max_response=sys.maxsize
            )
            left += dropped
            if not parts[name] and getattr(self.raw, name):
                raise ValueError(f"no record of {name} has a prompt of {room} tokens or less")
        self.reports["left_out_by_tokens"] = left
        return replace(self.raw, **parts)

    @cached_property
    def raw(self) -> Splits:
        """The records as they were generated or read."""
        if self.data is not None:
            from llm.data.splits import read_splits

            return read_splits(self.data, self.config)
        counts, seed, world = self.config.counts, self.config.seed, self.config.world
        taken: list[Example] = []

        def part(number: int, offset: int) -> list[Example]:
            made = generate(number, seed=1000 * seed + offset, config=world, exclude=taken)
            taken.extend(made)
            return made

        evaluation, held_out = part(counts.evaluation, 1), part(counts.held_out, 2)
        pairs, shown, judged = part(counts.pairs, 3), part(counts.fine_tuning, 4), part(counts.reward, 5)
        taught = [Example(e.prompt, demonstration(e, seed=seed, config=world), e.meta) for e in shown]
        return Splits(taught, pairs, held_out, evaluation, judged, report=f"{len(taken)} records generated")

    def _run_data(self) -> str:
        splits = self.raw
        sizes = {name: len(getattr(splits, name)) for name in ("fine_tuning", "pairs", "held_out", "evaluation")}
        return splits.report + "; " + ", ".join(f"{number} for {name}" for name, number in sizes.items())

    # models

    @cached_property
    def base(self) -> tuple[Any, Any]:
        """Model and tokenizer before fine-tuning."""
        policy, place = self.config.policy, self.folder / "base"
        if policy.source is not None:
            return load_model(policy.source, pad_token=policy.pad_token, device=self.config.device)
        texts = checksum_texts(self.raw.fine_tuning)
        key = stage_key({"policy": policy, "seed": self.config.seed}, data=texts)
        if finished_report(place, key) is None:
            words = [" ".join(vocabulary())] if self.raw.kind == "world" else []
            shown = [text for e in self.raw.fine_tuning for text in (e.prompt, e.target)]
            tokenizer = train_tokenizer([*shown, *words], policy.tokenizer)
            save_model(small_llama(policy.size, tokenizer, seed=self.config.seed), tokenizer, place)
            mark_done(place, key, {"vocabulary": len(tokenizer)})
        return load_model(place, device=self.config.device)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.base[1]

    def _run_base(self) -> str:
        from llm.policy.models import count_parameters

        model, tokenizer = self.base
        return f"{count_parameters(model):,} parameters, {len(tokenizer):,} tokens"

    @cached_property
    def reference(self) -> Any:
        """πref: the base model after supervised fine-tuning."""
        model, tokenizer = self.base
        quality = None
        if self.splits.kind == "world":
            some = self.splits.evaluation[:256]

            def quality(model: Any) -> dict[str, float]:
                return measure_quality(model, tokenizer, some, self.reward, max_new_tokens=self.longest)

        result = fine_tune(
            model, tokenizer, self.splits.fine_tuning, self.config.sft, folder=self.folder / "sft",
            held_out=self.splits.held_out[:256], quality=quality, device=self.config.device, progress=self.progress,
        )  # fmt: skip
        self.reports["sft"] = result.report
        return result.model.eval()

    @cached_property
    def reports(self) -> dict[str, Any]:
        """Reports of the stages, for run.json."""
        return {}

    @property
    def longest(self) -> int:
        """Most tokens of a sampled response."""
        return self.config.pairs.max_new_tokens

    def _run_sft(self) -> str:
        _ = self.reference
        before, after = self.reports["sft"]["before"], self.reports["sft"]["after"]
        told = ", ".join(f"{name} {before[name]:.3g} → {after[name]:.3g}" for name in _SHOWN if name in after)
        return f"before → after: {told}"

    # reward and pairs

    @cached_property
    def reward(self) -> Reward:
        """The gold reward."""
        if self.splits.kind == "world":
            from llm.rewards.world import WorldReward

            return WorldReward([*self.splits.pairs, *self.splits.held_out, *self.splits.evaluation])
        assert self._learned is not None
        return self._learned.gold

    @property
    def judge(self) -> Reward | None:
        """A second reward, trained on other data, or None."""
        return None if self._learned is None else self._learned.judge

    @cached_property
    def _learned(self) -> Learned | None:
        from llm.data.splits import learn_gold

        learned = learn_gold(self) if self.splits.reward else None
        report = {"gold": {"kind": "program", "accuracy": 1.0}} if learned is None else learned.report
        self.reports["reward"] = report
        return learned

    def _run_reward(self) -> str:
        _ = self._learned
        told = [
            f"{name} {report['accuracy']:.1%} right on held-out comparisons"
            for name, report in self.reports["reward"].items()
            if isinstance(report, dict) and "accuracy" in report
        ]
        return ", ".join(told)

    def _pairs(self, name: str, examples: Sequence[Example], config: PairsConfig) -> list[Pair]:
        made, report = make_pairs(
            self.reference, self.tokenizer, examples, self.reward, config, folder=self.folder / name,
            inputs={"records": checksum_texts(examples)}, progress=self.progress,
        )  # fmt: skip
        self.reports[name] = report
        return made

    @cached_property
    def pairs(self) -> list[Pair]:
        """Labelled pairs to train on."""
        return self._pairs("pairs", self.splits.pairs, self.config.pairs)

    @cached_property
    def held_out(self) -> list[Pair]:
        """Labelled pairs nothing is trained on."""
        config = replace(self.config.pairs, seed=self.config.pairs.seed + 1, pairs_per_prompt=1)
        return self._pairs("held_out", self.splits.held_out, config)

    def _run_pairs(self) -> str:
        write_pairs(self.pairs, self.folder / "pairs.jsonl")
        _ = self.held_out
        report = self.reports["pairs"]
        return (
            f"{len(self.pairs)} to train on, {len(self.held_out)} held out; label agrees with the reward in "
            f"{report['label_agrees_with_reward']:.1%}, {report['identical']} identical left out"
        )

    # what policies are compared with

    @cached_property
    def evaluation_set(self) -> EvaluationSet:
        """Samples of πref and held-out pairs."""
        settings = self.config.evaluation
        prompts = encode_prompts(self.tokenizer, [pair.prompt for pair in self.held_out])
        chosen = encode_responses(self.tokenizer, [pair.chosen for pair in self.held_out])
        rejected = encode_responses(self.tokenizer, [pair.rejected for pair in self.held_out])
        logps = [logprobs_of(self.reference, prompts, y) for y in (chosen, rejected)]
        held_out = HeldOutPairs(
            prompts, chosen, rejected, np.stack(logps, 1), np.array([pair.p for pair in self.held_out])
        )
        return prepare(
            self.tokenizer, self.reference, self.splits.evaluation, self.reward, held_out, judge=self.judge,
            samples=settings.samples, max_new_tokens=self.longest, seed=self.config.seed + 7,
            batch_size=settings.batch_size, second_samples=settings.second_samples,
            gradient_pairs=settings.gradient_pairs,
        )  # fmt: skip

    @cached_property
    def key(self) -> str:
        """Key of everything a policy's evaluation depends on, but its cell."""
        return stage_key(
            {"evaluation": self.config.evaluation, "longest": self.longest, "seed": self.config.seed},
            reference=checksum_model(self.reference), tokenizer=fingerprint(self.tokenizer),
            reward=self.reward.name, prompts=checksum_texts(self.splits.evaluation),
            pairs=checksum_texts(self.pairs), held_out=checksum_texts(self.held_out),
        )  # fmt: skip

    def _run_baseline(self) -> str:
        """Best-of-n of πref, and its rewards for the theory's predictions."""
        place = self.folder / "baseline"
        report = finished_report(place, self.key)
        if report is None:
            against, pool = self.evaluation_set, self.config.evaluation.best_of_pool
            rows = [
                {
                    "n": row.n, "kl_bound": row.kl_bound, "mean_reward": row.mean_reward,
                    "win_rate": row.result.win_rate, "win_rate_low": row.result.low,
                    "win_rate_high": row.result.high, "ties": row.result.ties,
                }
                for row in best_of_n_table(against, pool=pool)
            ]  # fmt: skip
            ids = against.prompt_ids[: min(256, len(against.prompt_ids))]
            drawn = sample(
                self.reference, self.tokenizer, ids, seed=self.config.seed + 977, max_new_tokens=self.longest,
                samples=pool, batch_size=self.config.evaluation.batch_size,
            )  # fmt: skip
            prompts = [e.prompt for e in self.splits.evaluation[: len(ids)] for _ in range(pool)]
            rewards = self.reward(prompts, drawn.texts(self.tokenizer)).reshape(len(ids), pool)
            report = {"best_of_n": rows, "reference_rewards": rewards.tolist()}
            mark_done(place, self.key, report)
        self.reports["baseline"] = report
        best = report["best_of_n"][-1]
        return f"best of {best['n']}: win rate {best['win_rate']:.3f} at KL ≤ {best['kl_bound']:.2f} nats"

    # the grid

    def _run_sweep(self) -> str:
        from llm.sweep.grid import run_grid

        return run_grid(self)

    def _run_tables(self) -> str:
        from llm.study.tables import write_tables

        return write_tables(self)


_SHOWN = ("nats_per_token", "sampled_reward", "sampled_exact", "greedy_exact")
