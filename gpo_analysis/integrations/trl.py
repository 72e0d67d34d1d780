"""TRL's DPOTrainer with any margin loss: `GPOTrainer`.

Importing this module imports TRL, torch and transformers; ``import gpo_analysis`` does not. Tested with TRL 1.16.

TRL writes its losses out inside one method. `GPOTrainer` lets that method run, for its metrics, and takes from its
forward pass the policy's token log-probabilities; the loss it returns is its own, mean f(βρ).
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import torch

try:
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]
    from trl.models.utils import unwrap_model_for_generation
    from trl.trainer.utils import use_adapter
except ImportError as error:  # pragma: no cover - what a user without the extra sees
    raise ImportError(f"GPOTrainer needs TRL 1.16 (pip install 'gpo-analysis[trl]'): {error}") from error

from accelerate.utils import gather_object, is_peft_model  # type: ignore[import-untyped]

from gpo_analysis.integrations.sequences import sequence_kl
from gpo_analysis.losses import MarginLoss, get_loss

# what DPOConfig offers that would make the objective another one than mean f(βρ), with the value that leaves it alone
_OTHER_OBJECTIVES: dict[str, tuple[Any, str]] = {
    "loss_type": (["sigmoid"], "name the loss by loss="),
    "loss_weights": (None, "one loss is trained"),
    "label_smoothing": (0.0, "give loss.smoothed(ε) or loss.robust(ε) as loss="),
    "f_divergence_type": ("reverse_kl", "ρ is a difference of log-ratios"),
    "ld_alpha": (None, "ρ weighs all tokens alike"),
    "use_weighting": (False, "pairs weigh alike"),
}


_Base: Any = DPOTrainer  # TRL is typed in part only


class GPOTrainer(_Base):  # type: ignore[misc]
    """Train a policy on preference pairs by mean f(βρ) (Tang et al. 2024, arXiv 2402.05749), in TRL.

    Everything of DPOTrainer stays: data sets, PEFT, precomputed reference log-probabilities, metrics, `evaluate`.
    Its logs gain ``mu_squared_loss`` (½ mean ρ² of the batch), ``mean_rho`` and ``margins/saturated``, the share of
    pairs with |βρ| > 1; `evaluate` gains ``eval_kl``, the KL divergence KL(πθ‖πref) in nats from responses sampled at
    temperature 1, ``eval_kl_stderr`` and ``eval_kl_finished``, the share of those that ended by themselves (the KL is
    that of responses cut at ``kl_max_new_tokens``).

    Parameters
    ----------
    model, ref_model, args, train_dataset, … : as of DPOTrainer
        As for DPOTrainer; β is ``args.beta`` and counts as in GPO: f(βρ). Use `gpo_analysis.convert_beta` for a β of
        another convention: TRL's ipo at β is ``loss="squared", reduction="mean"`` at 2β, times 1/(4β²).
    loss : str or MarginLoss
        A loss's name, or any `MarginLoss`.
    reduction : {"sum", "mean"}
        ``"sum"``: ρ sums over tokens, as in the paper. ``"mean"``: over token means, which is another objective.
    kl_prompts : int, optional
        Prompts of the evaluation set, spread over it, that `evaluate` samples a response for; 0 measures no KL. By
        default 64, or 0 where no reference model is in memory (full fine-tuning with precomputed references and no
        ``ref_model``) or the data hold images.
    kl_max_new_tokens : int
        Where sampled responses are cut.

    Raises
    ------
    ValueError
        For a loss that is unknown; where ``args`` asks for another objective (a loss_type, label smoothing, an
        f-divergence, weights), so that nothing but mean f(βρ) is trained under that name; a KL without a reference.
    """

    _tag_names: ClassVar[list[str]] = ["trl", "gpo"]

    def __init__(
        self,
        model: Any,
        *arguments: Any,
        loss: str | MarginLoss = "logistic",
        reduction: Literal["sum", "mean"] = "sum",
        kl_prompts: int | None = None,
        kl_max_new_tokens: int = 256,
        **named: Any,
    ) -> None:
        self.margin_loss = get_loss(loss) if isinstance(loss, str) else loss
        if not isinstance(self.margin_loss, MarginLoss):
            raise ValueError(f"loss is a {type(loss).__name__}; accepted are a name and a MarginLoss")
        if reduction not in ("sum", "mean"):
            raise ValueError(f"reduction {reduction!r}; accepted are 'sum' and 'mean'")
        if kl_max_new_tokens < 1 or (kl_prompts is not None and kl_prompts < 0):
            raise ValueError(f"kl_max_new_tokens {kl_max_new_tokens}, kl_prompts {kl_prompts}; accepted are ≥ 1, ≥ 0")
        given = named.get("args", arguments[1] if len(arguments) > 1 else None)
        if given is not None:
            refuse_other_objectives(given)
        self.reduction = reduction
        super().__init__(model, *arguments, **named)
        has_reference = (self.ref_model is not None or is_peft_model(self.model)) and not self._is_vision_dataset
        if kl_prompts and not has_reference:
            raise ValueError(
                f"kl_prompts={kl_prompts} needs the reference model: give ref_model=, precompute_ref_log_probs=False, "
                "or kl_prompts=0 (data with images: always 0)"
            )
        self.kl_prompts = (64 if has_reference else 0) if kl_prompts is None else kl_prompts
        self.kl_max_new_tokens = kl_max_new_tokens

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """Mean f(βρ) over the pairs of a batch; TRL's metrics beside ours."""
        if "ref_chosen_logps" not in inputs:
            reference = self.ref_model if self.ref_model is not None else self.model
            chosen, rejected = self.compute_ref_log_probs(reference, inputs)
            inputs = {**inputs, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        recorded = _Recorder(model)
        with self._references_in_batch():
            theirs = super()._compute_loss(recorded, inputs, return_outputs)
        policy = recorded.first
        rho = self._rho(policy.log_probs, inputs)
        loss = self.margin_loss(self.beta * rho).mean()
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * policy.aux_loss
        self._note(rho.detach())
        return (loss, theirs[1]) if return_outputs else loss

    @contextlib.contextmanager
    def _references_in_batch(self) -> Iterator[None]:
        """Have TRL read the reference log-probabilities from the batch, where they now are."""
        before = bool(vars(self)["precompute_ref_logps"])
        self.precompute_ref_logps = True
        try:
            yield
        finally:
            self.precompute_ref_logps = before

    def _rho(self, token_logps: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """ρ of each pair, (b,), from the (2b, t − 1) log-probabilities of chosen, then rejected."""
        lengths = inputs["completion_mask"][:, 1:].sum(1)
        if bool((lengths == 0).any()):
            raise ValueError(
                f"{int((lengths == 0).sum())} completions of the batch have no token (empty, or cut off by max_length "
                f"{self.args.max_length}); drop those pairs or raise max_length"
            )
        # prompt-learning adapters prepend virtual tokens; what is no completion has log-probability 0
        logps = token_logps[:, -(inputs["completion_mask"].size(1) - 1) :]
        logps = (logps if logps.dtype == torch.float64 else logps.float()).sum(1)
        reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]]).to(logps)
        ratios = logps - reference
        chosen, rejected = (ratios / lengths if self.reduction == "mean" else ratios).chunk(2)
        return chosen - rejected

    def _note(self, rho: torch.Tensor) -> None:
        rho = self.accelerator.gather_for_metrics(rho)
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["mu_squared_loss"].append(0.5 * float((rho**2).mean()))
        metrics["mean_rho"].append(float(rho.mean()))
        metrics["margins/saturated"].append(float(((self.beta * rho).abs() > 1).float().mean()))

    def evaluation_loop(self, dataloader: Any, *arguments: Any, **named: Any) -> Any:
        """DPOTrainer's, and the KL divergence beside it."""
        output = super().evaluation_loop(dataloader, *arguments, **named)
        if self.kl_prompts:
            kl, stderr, finished = self.measure_kl(dataloader.dataset)
            for name, value in (("kl", kl), ("kl_stderr", stderr), ("kl_finished", finished)):
                self._metrics["eval"][name].append(value)
        return output

    def measure_kl(self, dataset: Any) -> tuple[float, float, float]:
        """KL(πθ‖πref) on-policy, its standard error, and the share of sampled responses that ended by themselves.

        One response a prompt is sampled at temperature 1; the sum over its tokens, the end token included, of the exact
        KL of next-token distributions is averaged over prompts.

        Parameters
        ----------
        dataset : Dataset
            A prepared data set (with ``prompt_ids``), such as ``trainer.eval_dataset``.
        """
        if not len(dataset):
            raise ValueError("the data set has no prompts; KL is measured on at least one")
        picked = np.unique(np.linspace(0, len(dataset) - 1, min(self.kl_prompts, len(dataset))).round().astype(int))
        mine = [int(i) for i in picked[self.accelerator.process_index :: self.accelerator.num_processes]]
        was_training = self.model.training
        self.model.eval()
        found: list[tuple[float, bool]] = []
        try:
            size = self.args.per_device_eval_batch_size
            for start in range(0, len(mine), size):
                found += self._kl_of_batch([dataset[i]["prompt_ids"] for i in mine[start : start + size]])
        finally:
            self.model.train(was_training)
        values = np.array(gather_object(found) if self.accelerator.num_processes > 1 else found, dtype=np.float64)
        kl, count = values[:, 0], len(values)
        stderr = float(kl.std(ddof=1) / math.sqrt(count)) if count > 1 else math.inf
        return float(kl.mean()), stderr, float(values[:, 1].mean())

    def _kl_of_batch(self, prompts: list[list[int]]) -> list[tuple[float, bool]]:
        device, width = self.accelerator.device, max(len(ids) for ids in prompts)
        pad, end = self._tokenizer.pad_token_id, self._tokenizer.eos_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in prompts], device=device)
        seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=device)
        settings = {
            "do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, "num_beams": 1,
            "max_new_tokens": self.kl_max_new_tokens, "eos_token_id": end, "pad_token_id": pad, "use_cache": True,
        }  # fmt: skip
        with unwrap_model_for_generation(self.model_wrapped, self.accelerator) as sampler, torch.no_grad():
            whole = sampler.generate(input_ids=ids, attention_mask=seen, **settings)
        answer = whole[:, width:]
        ends = (answer == end).cumsum(1)
        kept = (ends == 0) | ((ends == 1) & (answer == end))  # the first end token counts, what follows does not
        mask = torch.cat([torch.zeros_like(seen), kept.to(seen)], 1)
        attention = torch.cat([seen, kept.to(seen)], 1)
        policy = self.accelerator.unwrap_model(self.model)
        with self.accelerator.autocast():
            kl = sequence_kl(policy, self._reference_call(policy), whole, attention, mask)
        return [(float(k), bool(f)) for k, f in zip(kl, ends[:, -1] > 0, strict=True)]

    def _reference_call(self, policy: Any) -> Any:
        """πref as something to call: a model of its own, or the policy without its adapter."""
        if self.ref_model is not None:
            return self.ref_model

        def call(**inputs: Any) -> Any:
            with use_adapter(policy, adapter_name="ref" if "ref" in policy.peft_config else None):
                return policy(**inputs)

        return call


class _Recorder:
    """A model that remembers what its first call returned."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.first: Any = None

    def __call__(self, **inputs: Any) -> Any:
        outputs = self.model(**inputs)
        if self.first is None:
            self.first = outputs
        return outputs


def refuse_other_objectives(args: DPOConfig) -> None:
    """Raise ValueError where a DPOConfig asks for another objective than mean f(βρ)."""
    for name, (neutral, advice) in _OTHER_OBJECTIVES.items():
        value = getattr(args, name, neutral)
        if value not in (neutral, [neutral]):
            raise ValueError(f"{name}={value!r} in args makes another objective than mean f(βρ): {advice}")
    if not args.beta > 0 or not math.isfinite(args.beta):
        raise ValueError(f"beta is {args.beta}; accepted are finite numbers above 0")


def _check_version() -> None:
    import trl

    if not trl.__version__.startswith("1.16."):
        warnings.warn(f"GPOTrainer was tested with TRL 1.16, this is {trl.__version__}", stacklevel=3)


_check_version()
