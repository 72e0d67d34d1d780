"""TRL's DPOTrainer with any loss of a margin or of two log-ratios: `GPOTrainer` and its configuration, `GPOConfig`.

Importing this module imports TRL, torch and transformers; ``import gpo_analysis`` does not. Tested with TRL 1.16.

TRL writes its losses out inside one method. `GPOTrainer` lets that method run, for its metrics, and takes from its
forward pass the policy's token log-probabilities; the loss it returns is its own, mean p f(z) + (1 − p) f(−z) of a
margin loss, mean p F(a, b) + (1 − p) F(b, a) of two log-ratios.
``python -m gpo_analysis.integrations.trl_script`` is TRL's own script with this trainer.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

try:
    import torch
    from trl import DPOTrainer  # type: ignore[attr-defined]
    from trl.trainer.utils import use_adapter
except ImportError as error:  # pragma: no cover - what a user without the extra sees
    raise ImportError(f"GPOTrainer needs TRL 1.16 (pip install 'gpo-analysis[trl]'): {error}") from error

from accelerate.utils import broadcast_object_list, is_peft_model  # type: ignore[import-untyped]

from gpo_analysis.integrations.objective import Objective, PairSums, generator_derivative, pair_losses, wpo_weights
from gpo_analysis.integrations.on_policy import KlEstimate, OnPolicyKl, output_size
from gpo_analysis.integrations.pair_log import PairLog, logps_of, with_reference_columns
from gpo_analysis.integrations.pair_means import PairMeans, pair_metrics
from gpo_analysis.integrations.pair_shares import SHARE, is_real, of_both_sides, refuse_unsharded, with_shares
from gpo_analysis.integrations.preference_sets import (
    IDS,
    LABEL,
    REFERENCE,
    WithLabels,
    check_references,
    check_rows,
    columns_of,
    is_sized,
    some_rows,
    without_stale_references,
)
from gpo_analysis.integrations.sampling import has_learned_positions, position_limit
from gpo_analysis.integrations.trl_calls import OwnBatchSize, Recorder
from gpo_analysis.integrations.trl_config import GPOConfig, Settings, settings_of
from gpo_analysis.losses import BatchLoss, warn_of_rising
from gpo_analysis.progress import Progress

_Base: Any = DPOTrainer  # TRL is typed in part only


class GPOTrainer(OwnBatchSize, _Base):  # type: ignore[misc]
    """Train a policy on preference pairs by mean f(βρ) (Tang et al. 2024, arXiv 2402.05749) or F(βh_w, βh_l), in TRL.

    Everything of DPOTrainer stays: data sets, PEFT, precomputed reference log-probabilities, metrics, `evaluate`. A
    column ``p`` of a data set is a soft label: the loss of such a pair is p f(βρ) + (1 − p) f(−βρ). A set that has
    ``prompt_ids``, ``chosen_ids`` and ``rejected_ids`` and no texts is taken as it is.

    Its logs gain ``mu_squared_loss`` (½ mean ρ²), ``mean_rho`` and ``margins/saturated``, the share of pairs with
    |βρ| > 1; `evaluate` gains ``eval_kl``, the KL divergence KL(πθ‖πref) in nats from responses sampled at temperature
    1, ``eval_kl_stderr`` and ``eval_kl_finished``, the share of those that ended by themselves (the KL is that of
    responses cut at ``kl_max_new_tokens``, or where the model's positions end). Means are over pairs, whatever their
    batches, and so is the loss of a step, whatever its parts (gradient accumulation) and processes: pairs with which
    accelerate fills up a last batch do not count. Of several evaluation sets each has its own. Where the KL cannot be
    measured a warning says why and training goes on.

    Parameters
    ----------
    model, ref_model, args, train_dataset, … : as of DPOTrainer
        As for DPOTrainer; ``args`` may be a `GPOConfig`, which has fields for all that follows. β is ``args.beta`` and
        counts as in GPO: f(βρ). Use `gpo_analysis.convert_beta` for a β of another convention: TRL's ipo at β is
        ``loss="squared", reduction="mean"`` at 2β, times 1/(4β²). Reference log-probabilities that stand in a data set
        are used if ``args.precompute_ref_log_probs`` asks for precomputed ones, and never else.
    loss : str, MarginLoss, TwoRatioLoss or BatchLoss
        A loss's name ("aot" and "aot_unpaired" too, which sort a process's batch), an expression in z, or in a and b,
        or any loss; "logistic" unless given here or in ``args``. ``args.ld_alpha`` weighs the tokens beyond the shorter
        response (LD-DPO), ``args.use_weighting`` the pairs (WPO), as in TRL, whatever the loss.
    reduction : {"sum", "mean"}
        ``"sum"``: ρ sums over tokens, as in the paper. ``"mean"``: over token means, which is another objective.
    link : str
        The divergence whose generator derivative φ′ takes the place of the logarithm: "reverse_kl" (the logarithm),
        "forward_kl", "jensen_shannon", "alpha" (½) or "chi_po".
    kl_prompts : int, optional
        Prompts of the evaluation set, spread over it (of a stream the first), that `evaluate` samples a response for; 0
        measures no KL. By default 64, or 0 where no reference model is in memory (full fine-tuning with precomputed
        references and no ``ref_model``) or the data hold images.
    kl_max_new_tokens : int
        Where sampled responses are cut.

    Raises
    ------
    ValueError
        For a loss that is unknown; where ``args`` asks for another objective (a loss_type, label smoothing, an
        f-divergence, loss_weights), so that nothing but ``loss`` is trained under that name; a link other than
        "reverse_kl" with a loss of two log-ratios; soft labels with one of the batch; a KL without a reference or
        with one of another vocabulary; rows without a token in prompt or response, or longer than the model's
        positions.
    """

    _tag_names: ClassVar[list[str]] = ["trl", "gpo"]

    def __init__(
        self,
        model: Any,
        *arguments: Any,
        loss: str | Objective | None = None,
        reduction: str | None = None,
        link: str | None = None,
        kl_prompts: int | None = None,
        kl_max_new_tokens: int | None = None,
        **named: Any,
    ) -> None:
        args = named.get("args", arguments[1] if len(arguments) > 1 else None)
        given = Settings(loss, reduction, link, kl_prompts, kl_max_new_tokens)
        self.settings = settings_of(args, given)
        self.objective = self.settings.objective
        warn_of_rising([self.objective])
        self.reduction, self.link = str(self.settings.reduction), str(self.settings.link)
        # known before the sets are prepared, unless the model is still to be loaded
        self._limit = None if isinstance(model, str) else _hard_limit(model)
        self._totals = {"train": PairMeans(), "eval": PairMeans()}
        self._prefix = "eval"
        super().__init__(model, *arguments, **named)
        refuse_unsharded(self)
        collator: Any = vars(self)["data_collator"]
        self.data_collator = WithLabels(collator)
        if isinstance(model, str):
            self._limit = _hard_limit(self.model)
            for name, dataset in self._sets():
                check_rows(dataset, name, limit=self._limit, max_length=self.args.max_length)
        self.kl_prompts = self._kl_prompts()
        self.kl_max_new_tokens = int(self.settings.kl_max_new_tokens or 256)
        if isinstance(args, GPOConfig) and args.pair_log:
            if self._is_vision_dataset:
                raise ValueError(f"pair_log={args.pair_log!r} with images; accepted are texts")
            rows = some_rows(self.train_dataset, args.pair_log_pairs)
            self.add_callback(PairLog(self, args.pair_log, rows, args.pair_log_steps))

    def _sets(self) -> list[tuple[str, Any]]:
        """The prepared sets by name."""
        sets = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval": self.eval_dataset}
        return [("train", self.train_dataset), *((name, one) for name, one in sets.items() if one is not None)]

    def _kl_prompts(self) -> int:
        asked = self.settings.kl_prompts
        has_reference = (self.ref_model is not None or is_peft_model(self.model)) and not self._is_vision_dataset
        if asked and not has_reference:
            raise ValueError(
                f"kl_prompts={asked} needs the reference model: give ref_model=, precompute_ref_log_probs=False, "
                "or kl_prompts=0 (data with images: always 0)"
            )
        if not has_reference or asked == 0:
            return 0
        mine, theirs = output_size(self.model), output_size(self.ref_model)
        if self.ref_model is not None and mine != theirs:
            what = f"the policy has {mine} output embeddings and the reference {theirs}"
            if asked:
                raise ValueError(f"{what}; a KL divergence needs one vocabulary: resize both, or give kl_prompts=0")
            warnings.warn(f"{what}; no KL is measured (resize both to have it)", stacklevel=4)
            return 0
        return 64 if asked is None else asked

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        """DPOTrainer's, unless the set has ids already; then checked."""
        dataset = without_stale_references(dataset, dataset_name, args.precompute_ref_log_probs)
        columns = set(columns_of(dataset))
        if not set(IDS) <= columns or {"prompt", "chosen"} & columns:
            dataset = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        check_rows(dataset, dataset_name, limit=self._limit, max_length=args.max_length)
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if LABEL not in self._signature_columns:
            self._signature_columns.append(LABEL)

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """DPOTrainer's, unless the set has the numbers already."""
        if set(REFERENCE) <= set(columns_of(dataset)):
            check_references(dataset, name)
            return dataset
        dataset = dataset.remove_columns(set(REFERENCE) & set(columns_of(dataset)))
        # DPOTrainer has the first process write a file for the others, of a set in memory into a folder of its own
        if self.accelerator.num_processes > 1 and is_sized(dataset) and not self.is_deepspeed_enabled:
            return with_reference_columns(self, dataset, batch_size)
        return super()._precompute_ref_logps(dataset, name, batch_size)

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        """DPOTrainer's; a soft label is none of the model's inputs."""
        return super().compute_ref_log_probs(model, {k: v for k, v in inputs.items() if k != LABEL})

    def with_references(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The batch with reference log-probabilities: its own where they were precomputed, else computed here."""
        if self.precompute_ref_logps and set(REFERENCE) <= set(inputs):
            return inputs
        bare = {name: value for name, value in inputs.items() if name not in REFERENCE}
        chosen, rejected = self.compute_ref_log_probs(
            self.ref_model if self.ref_model is not None else self.model, bare
        )
        return {**bare, REFERENCE[0]: chosen, REFERENCE[1]: rejected}

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """DPOTrainer's, and what each pair counts in the step's mean."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        return with_shares(batches, self.accelerator), items

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """Mean of the objective over the pairs of a batch, or a batch's part of a step's; TRL's metrics beside ours."""
        inputs = dict(inputs)
        p, share = inputs.pop(LABEL, None), inputs.pop(SHARE, None)
        inputs = self.with_references(inputs)
        real = is_real(inputs["input_ids"], self.accelerator) if share is None else share > 0
        if not bool(real.all()):  # pairs that fill up the last batch are none of its pairs
            inputs["completion_mask"] = inputs["completion_mask"] * of_both_sides(real)[:, None]
        recorded = Recorder(model)
        with self._references_in_batch():
            theirs = super()._compute_loss(recorded, inputs, return_outputs)
        policy = recorded.first
        logps, reference, lengths = self.pair_sums(policy.log_probs, inputs, self.ld_alpha)
        empty = int(((lengths == 0) & real[:, None]).sum())
        if empty:
            raise ValueError(
                f"{empty} completions of the batch have no token (empty, or cut off by max_length "
                f"{self.args.max_length}); drop those pairs or raise max_length"
            )
        # pairs that fill up the last batch stand at πref, without a gradient
        pairs = PairSums(torch.where(real[:, None], logps, reference), reference, lengths)
        if p is not None and isinstance(self.objective, BatchLoss) and not bool((p == 1).all()):
            raise ValueError(f"soft labels p with {self.objective.name}, which sorts the batch; accepted is p = 1")
        each = pair_losses(self.objective, self.beta, pairs, reduction=self.reduction, link=self.link, p=p, real=real)
        if self.use_weighting:
            each = each * wpo_weights(policy, inputs["completion_mask"][:, 1:])
        sums, ratios = (logps - reference).detach(), pairs.ratios(self.reduction).detach()
        scores = generator_derivative(self.link, ratios)
        rho, margin = ratios[:, 0] - ratios[:, 1], self.beta * (scores[:, 0] - scores[:, 1])
        # a process may have no pair of its own in a last batch
        loss = (each * (real.to(each) / real.sum().clamp(min=1) if share is None else share.to(each))).sum()
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * policy.aux_loss
        self._note(real, torch.stack([rho, margin, each], 1).detach(), torch.cat([sums, logps], 1).detach())
        return (loss, theirs[1]) if return_outputs else loss

    @contextlib.contextmanager
    def _references_in_batch(self) -> Iterator[None]:
        """Have TRL read the reference log-probabilities from the batch, where they now are, and count all processes."""
        before = bool(vars(self)["precompute_ref_logps"])
        self.precompute_ref_logps = True
        # at the end of a set gather_for_metrics takes a row a process for rows of pairs, and drops the last of them
        self.accelerator.gather_for_metrics = self.accelerator.gather
        try:
            yield
        finally:
            self.precompute_ref_logps = before
            del self.accelerator.gather_for_metrics

    def pair_sums(
        self, token_logps: torch.Tensor, inputs: dict[str, Any], ld_alpha: float | None = None
    ) -> tuple[torch.Tensor, ...]:
        """log πθ, log πref and lengths of pairs, (b, 2) each, chosen first, from (2b, t − 1) log πθ of tokens."""
        # prompt-learning adapters prepend virtual tokens; what is no completion has log-probability 0
        mask = inputs["completion_mask"][:, 1:]
        logps = token_logps[:, -mask.size(1) :]
        logps = logps if logps.dtype == torch.float64 else logps.float()
        lengths = mask.sum(1)
        if ld_alpha is not None:  # LD-DPO (arXiv 2409.06411): tokens beyond the shorter response count α times
            shared = torch.minimum(*lengths.chunk(2)).repeat(2)
            logps = torch.where(mask.cumsum(1) > shared[:, None], ld_alpha * logps, logps)
        logps = logps.sum(1)
        reference = torch.stack([inputs[name] for name in REFERENCE], 1).to(logps)
        return torch.stack(logps.chunk(2), 1), reference, torch.stack(lengths.chunk(2), 1)

    def _note(self, real: torch.Tensor, ours: torch.Tensor, theirs: torch.Tensor) -> None:
        """Count a batch: (b, 3) ρ, margin and loss; (b, 4) log-ratios and log π."""
        mode = "train" if self.model.training else "eval"
        rows = self.accelerator.gather(torch.cat([real[:, None].double(), ours.double(), theirs.double()], 1))
        kept = rows[rows[:, 0] > 0, 1:]
        self._totals[mode].add(*kept[:, :3].T)
        if len(kept) < len(rows):
            for name, value in pair_metrics(kept[:, 3:], self.beta).items():
                self._metrics[mode][name][-1] = value

    def pair_logps(self, rows: list[dict[str, Any]]) -> list[tuple[float, ...]]:
        """Log-probabilities and lengths of some pairs: log πθ of chosen and rejected, log πref, and their tokens.

        Parameters
        ----------
        rows : list of k dicts
            Prepared rows. Every process is given the same ones.

        Returns
        -------
        list of k tuples
            Six numbers each: sums over tokens in nats, and lengths.
        """
        return logps_of(self, rows)

    def from_first(self, value: Any) -> Any:
        """What the first process has; every process calls this."""
        if self.accelerator.num_processes == 1:
            return value
        return broadcast_object_list([value])[0]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """DPOTrainer's; means over pairs, under the name of the evaluation set that they are of."""
        mode = "train" if self.model.training else "eval"
        means = self._totals[mode].means(self._metrics[mode])
        self._metrics[mode].clear()
        self._totals[mode].clear()
        prefix = "" if mode == "train" else f"{self._prefix}_"
        logs.update({f"{prefix}{name}": value for name, value in means.items()})
        super().log(logs, start_time)

    def evaluation_loop(self, dataloader: Any, *arguments: Any, **named: Any) -> Any:
        """DPOTrainer's, and the KL divergence beside it."""
        self._prefix = named.get("metric_key_prefix", arguments[3] if len(arguments) > 3 else "eval")
        self._metrics["eval"].clear()
        self._totals["eval"].clear()
        output = super().evaluation_loop(dataloader, *arguments, **named)
        seen, name = self._totals["eval"], f"{self._prefix}_loss"
        if name in output.metrics and seen.count and not self.aux_loss_enabled:
            output.metrics[name] = seen.loss / seen.count  # transformers' counts batches of several processes wrongly
        if self.kl_prompts:
            try:
                found = self._measured(dataloader.dataset)
            except Exception as error:  # whatever it is: a measurement must not cost the run
                warnings.warn(f"the KL divergence was not measured: {type(error).__name__}: {error}", stacklevel=2)
                found = None
            if found is not None:
                for name, value in zip(("kl", "kl_stderr", "kl_finished"), found, strict=True):
                    output.metrics[f"{self._prefix}_{name}"] = value
        return output

    def measure_kl(self, dataset: Any, *, progress: bool | Progress = False) -> tuple[float, float, float]:
        """KL(πθ‖πref) on-policy, its standard error, and the share of sampled responses that ended by themselves.

        One response a prompt is sampled at temperature 1, from the model's own softmax: nothing of its generation
        config but the end tokens enters. The sum over its tokens, the end token included, of the exact KL of next-token
        distributions is averaged over prompts. Prompts that leave no position for a response, and those without a
        token, are left out with a warning.

        Parameters
        ----------
        dataset : Dataset
            A prepared data set (with ``prompt_ids``), such as ``trainer.eval_dataset``; of a stream the first
            ``kl_prompts`` rows are taken.
        progress : bool or function
            A bar where standard error is a terminal, or a function of the share done and what is next.

        Raises
        ------
        ValueError
            Where no prompt can be used.
        """
        found = self._measured(dataset, progress)
        return found.kl, found.stderr, found.finished

    def _measured(self, dataset: Any, progress: bool | Progress = False) -> KlEstimate:
        return OnPolicyKl(self, self._tokenizer, progress)(dataset)

    def reference_call(self, policy: Any) -> Any:
        """πref as something to call: a model of its own, or the policy without its adapter."""
        if self.ref_model is not None:
            return self.ref_model
        inner = self.accelerator.unwrap_model(self.model)

        def call(**inputs: Any) -> Any:
            with use_adapter(inner, adapter_name="ref" if "ref" in inner.peft_config else None):
                return policy(**inputs)

        return call


def _hard_limit(model: Any) -> int | None:
    """Tokens beyond which the model ends in an error; rotary positions only become worse."""
    inner = model.get_base_model() if is_peft_model(model) else model
    return position_limit(inner) if has_learned_positions(inner) else None


def _check_version() -> None:
    import trl

    if not trl.__version__.startswith("1.16."):
        warnings.warn(f"GPOTrainer was tested with TRL 1.16, this is {trl.__version__}", stacklevel=3)


_check_version()
