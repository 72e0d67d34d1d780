"""Presets of studies.

Sizes are ours; the paper's policy is T5X Large and its grid is not known (Tang et al. 2024, arXiv 2402.05749).
``tiny`` is for tests; ``cpu`` takes minutes on two cores, ``files`` too (with --data), ``small`` one to two hours;
``gpu`` keeps within fifteen minutes of one H100 or H200 by itself: 3 to 5 million parameters, with 2 GB of policies on
disk. It was tested at a reduced size on a processor; its speed on a GPU is measured by each run and was not by us.
"""

from __future__ import annotations

from llm.data.splits import Counts
from llm.policy.models import LlamaSize
from llm.policy.tokenizers import TokenizerConfig
from llm.rewards.labels import LabelConfig
from llm.rewards.pairs import PairsConfig
from llm.study.config import EvaluationConfig, PolicyConfig, StudyConfig
from llm.sweep.plan import GridConfig
from llm.training.config import TrainConfig
from llm.training.sft import SftConfig

_WORLD_LABELS = LabelConfig("bt", temperature=1.0)

PRESETS: dict[str, StudyConfig] = {
    "tiny": StudyConfig(
        "tiny",
        Counts(fine_tuning=400, pairs=96, held_out=32, evaluation=24),
        policy=PolicyConfig(size=LlamaSize(hidden=16, layers=1, heads=2)),
        sft=SftConfig(steps=30, warmup=5),
        pairs=PairsConfig(max_new_tokens=12, keep_unfinished=True, labels=_WORLD_LABELS, seed=1),
        grid=GridConfig(losses=("logistic", "hinge", "squared"), strengths=(0.1, 1.0)),
        training=TrainConfig(6, batch_size=8, warmup=10, evaluate_at=(3, 6)),
        evaluation=EvaluationConfig(samples=2, second_samples=8, gradient_pairs=8, best_of_pool=4),
        stack=2,
        workers=1,
    ),
    "cpu": StudyConfig(
        "cpu",
        Counts(fine_tuning=16000, pairs=6800, held_out=384, evaluation=512),
        policy=PolicyConfig(size=LlamaSize(hidden=64, layers=2, heads=4)),
        sft=SftConfig(steps=1000),
        pairs=PairsConfig(max_new_tokens=24, labels=_WORLD_LABELS, seed=1),
        training=TrainConfig(200, warmup=10, evaluate_at=(50, 200), checkpoint_every=50),
        evaluation=EvaluationConfig(second_samples=192, gradient_pairs=48),
    ),
    "files": StudyConfig(
        "files",
        Counts(fine_tuning=12000, reward=6000, pairs=4800, held_out=256, evaluation=512),
        policy=PolicyConfig(
            size=LlamaSize(hidden=96, layers=2, heads=4, positions=384), tokenizer=TokenizerConfig("bpe", 2048)
        ),
        sft=SftConfig(steps=1000, learning_rate=3e-3),
        pairs=PairsConfig(max_new_tokens=24, keep_unfinished=True, labels=_WORLD_LABELS, seed=1),
        grid=GridConfig(losses=("logistic", "squared", "hinge")),
        training=TrainConfig(120, warmup=10, evaluate_at=(120,), checkpoint_every=40),
        evaluation=EvaluationConfig(second_samples=128, gradient_pairs=48),
        max_prompt=100,
    ),
    "small": StudyConfig(
        "small",
        Counts(fine_tuning=40000, pairs=16000, held_out=1024, evaluation=768),
        policy=PolicyConfig(size=LlamaSize(hidden=128, layers=3, heads=4)),
        sft=SftConfig(steps=2000, learning_rate=3e-3),
        pairs=PairsConfig(max_new_tokens=24, labels=_WORLD_LABELS, seed=1),
        grid=GridConfig(
            strengths=(0.03, 0.1, 0.3, 1.0, 2.0, 4.0), seeds=(0, 1, 2), reused_losses=("logistic", "squared")
        ),
        training=TrainConfig(300, warmup=10, evaluate_at=(30, 99, 300), checkpoint_every=50),
    ),
    "gpu": StudyConfig(
        "gpu",
        Counts(fine_tuning=40000, pairs=24000, held_out=1024, evaluation=512),
        policy=PolicyConfig(
            size=LlamaSize(hidden=256, layers=4, heads=4, positions=640), tokenizer=TokenizerConfig("bpe", 2048)
        ),
        sft=SftConfig(steps=1200, batch_size=64, learning_rate=1.5e-3, warmup=100, dtype="bfloat16", max_length=640),
        pairs=PairsConfig(max_new_tokens=24, labels=_WORLD_LABELS, batch_size=4096, seed=1),
        grid=GridConfig(
            strengths=(0.03, 0.1, 0.3, 1.0, 2.0, 4.0), seeds=(0, 1, 2), learning_rate=2e-4,
            reused_losses=("logistic", "squared"),
        ),
        training=TrainConfig(
            300, batch_size=64, warmup=20, evaluate_at=(300,), dtype="bfloat16", packed=False, bucket=32
        ),
        evaluation=EvaluationConfig(second_samples=128, gradient_pairs=32, batch_size=4096, dtype="bfloat16"),
        stack=6,  # the losses of a condition and seed
        workers=1,
        max_prompt=320,
        device="cuda",
        budget_seconds=780,
    ),
}  # fmt: skip


def preset(name: str) -> StudyConfig:
    """Return a preset by name; a ValueError names those there are."""
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}; accepted are {', '.join(PRESETS)}")
    return PRESETS[name]
