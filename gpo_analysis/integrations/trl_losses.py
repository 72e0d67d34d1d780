"""TRL's own preference losses, executed on given log-ratios and lengths.

A DPOTrainer is made with a language model of a few weights; its method that computes the loss is then handed the
log-probabilities to use in place of a model's, so that every line of TRL between log-probabilities and loss is run.
Making a trainer resets what accelerate keeps of a process: check in a process of its own, not beside a training run.
Importing this module imports TRL, torch and transformers.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from gpo_analysis.arrays import FloatArray
from gpo_analysis.estimation.identify import Pairs

try:
    import trl
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]
except ImportError as error:  # pragma: no cover - what a user without the extra sees
    raise ImportError(f"the check needs TRL (pip install 'gpo-analysis[trl]'): {error}") from error

VERSION: str = trl.__version__
REFERENCE_NATS = 1.0
"""−log πref of every token."""


class TrlLosses:
    """TRL's losses as functions of log-ratios and lengths.

    Examples
    --------
    >>> losses = TrlLosses()  # doctest: +SKIP
    >>> losses.names()[:3]  # doctest: +SKIP
    ('sigmoid', 'hinge', 'ipo')
    """

    def __init__(self) -> None:
        with _quietly():
            self._folder = tempfile.mkdtemp(prefix="gpo-conventions-")
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            self._trainer = self._make()

    def _make(self, **settings: Any) -> Any:
        from datasets import Dataset  # type: ignore[import-untyped]

        args = DPOConfig(
            output_dir=self._folder, use_cpu=True, bf16=False, report_to=[], gradient_checkpointing=False,
            disable_tqdm=True, **settings,
        )  # fmt: skip
        data = Dataset.from_list([{"prompt": "a", "chosen": " b", "rejected": " c"}])
        return DPOTrainer(
            model=_model(), ref_model=_model(), args=args, train_dataset=data, processing_class=_tokenizer()
        )

    def names(self) -> tuple[str, ...]:
        """The values of ``loss_type``, as TRL's own error message lists them."""
        return self._listed("loss_type", ["no such loss"], "sigmoid")

    def divergences(self) -> tuple[str, ...]:
        """The values of ``f_divergence_type``, as DPOConfig's help lists them."""
        text = str(DPOConfig.__dataclass_fields__["f_divergence_type"].metadata.get("help", ""))
        return tuple(re.findall(r"`(\w+)`", text.partition("Possible values are:")[2].partition(".")[0]))

    def _listed(self, setting: str, unknown: Any, known: str) -> tuple[str, ...]:
        pairs = Pairs(np.zeros(1), np.zeros(1), np.ones(1), np.ones(1))
        try:
            self.batch(pairs, **{setting: unknown})
        except ValueError as error:
            found = tuple(re.findall(r"'(\w+)'", str(error).partition("one of")[2]))
            if known in found:
                return found
        raise RuntimeError(f"TRL {VERSION} does not list its {setting}s in its error message any more")

    def refusal(self, **settings: Any) -> str | None:
        """Why a DPOTrainer with these settings is refused, in TRL's words; None where it is not."""
        try:
            with _quietly():
                self._make(**settings)
        except (ValueError, NotImplementedError) as error:
            return str(error)
        finally:
            with _quietly():
                self._trainer = self._make()  # a trainer that is made resets what accelerate keeps of earlier ones
        return None

    def values(self, pairs: Pairs, loss: str, beta: float, label_smoothing: float = 0.0, **more: Any) -> FloatArray:
        """The loss of each pair in a batch of its own, shape (k,).

        Parameters
        ----------
        pairs : Pairs
            With lengths.
        loss : str
            A ``loss_type``.
        beta, label_smoothing : float
            TRL's settings of those names.
        **more : Any
            Other settings, by DPOTrainer's attribute.
        """
        settings = {"loss_type": [loss], "beta": beta, "label_smoothing": label_smoothing, **more}
        return np.array([self.batch(_at(pairs, i), **settings) for i in range(len(pairs.chosen))])

    def batch(self, pairs: Pairs, dtype: Any = torch.float64, **settings: Any) -> float:
        """The loss of one batch, as the trainer would descend it."""
        with torch.no_grad():
            return float(self._loss(*_as_trl_has_them(pairs, dtype), **settings))

    def gradient(self, pairs: Pairs, dtype: Any = torch.float64, **settings: Any) -> FloatArray:
        """Derivatives of the loss of one batch in log π of its responses, by TRL's own autograd.

        Parameters
        ----------
        pairs : Pairs
            With lengths.
        dtype : torch.dtype
        **settings : Any

        Returns
        -------
        array, shape (k, 2)
            Chosen first.
        """
        inputs, outputs = _as_trl_has_them(pairs, dtype)
        outputs.log_probs.requires_grad_(True)
        (found,) = torch.autograd.grad(self._loss(inputs, outputs, **settings), outputs.log_probs)
        mask = inputs["completion_mask"][:, 1:]
        # moving log π of a response by one nat moves each of its tokens by one over its length
        moved = (found * mask).sum(1) / mask.sum(1)
        return np.asarray(torch.stack(moved.chunk(2), 1).detach().numpy())

    def _loss(self, inputs: dict[str, Any], outputs: SimpleNamespace, **settings: Any) -> Any:
        trainer = self._trainer
        changed = {"loss_types" if name == "loss_type" else name: value for name, value in settings.items()}
        weights = changed.pop("loss_weights", [1.0] * len(changed.get("loss_types", trainer.loss_types)))
        with _attributes(trainer, precompute_ref_logps=True, loss_weights=weights, **changed):
            return trainer._compute_loss(lambda **_: outputs, inputs, False)


def _at(pairs: Pairs, i: int) -> Pairs:
    columns = (pairs.chosen, pairs.rejected, pairs.chosen_length, pairs.rejected_length)
    return Pairs(*(None if column is None else column[i : i + 1] for column in columns))  # type: ignore[arg-type]


def _as_trl_has_them(pairs: Pairs, dtype: Any) -> tuple[dict[str, Any], SimpleNamespace]:
    """A batch with a prompt of one token, and what a model would return for it; chosen rows stand before rejected."""
    if pairs.chosen_length is None or pairs.rejected_length is None:
        raise ValueError("TRL's losses need the lengths of the responses")
    ratios = torch.tensor(np.concatenate([pairs.chosen, pairs.rejected]), dtype=dtype)
    lengths = torch.tensor(np.concatenate([pairs.chosen_length, pairs.rejected_length])).long()
    mask = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long()
    whole = torch.cat([torch.zeros(len(lengths), 1, dtype=torch.long), mask], dim=1)
    reference = -REFERENCE_NATS * lengths.to(dtype)
    tokens = ((reference + ratios) / lengths)[:, None] * mask.to(dtype)
    zeros = torch.zeros_like(tokens)
    chosen, rejected = reference.chunk(2)
    inputs = {  # of the attention mask TRL only counts tokens, for a metric
        "input_ids": torch.zeros_like(whole), "attention_mask": whole, "completion_mask": whole,
        "ref_chosen_logps": chosen, "ref_rejected_logps": rejected,
    }  # fmt: skip
    outputs = SimpleNamespace(log_probs=tokens, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    return inputs, outputs


@contextlib.contextmanager
def _attributes(holder: Any, **values: Any) -> Iterator[None]:
    before = {name: getattr(holder, name) for name in values}
    for name, value in values.items():
        setattr(holder, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(holder, name, value)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the warnings and progress bars of TRL, transformers and datasets."""
    from datasets.utils import logging as bars  # type: ignore[import-untyped]

    level, shown = logging.get_verbosity(), bars.is_progress_bar_enabled()
    logging.set_verbosity(40)  # errors alone
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if shown:
            bars.enable_progress_bar()


def _model() -> Any:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=5, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1,
            max_position_embeddings=16, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )
    )  # fmt: skip


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(("<pad>", "<eos>", *"abc"))}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    make: Any = PreTrainedTokenizerFast  # typed in part only
    return make(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")
