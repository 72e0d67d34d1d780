"""Pairs, packing, log-probabilities, the objective and checkpoints, against plain torch, transformers and numpy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

import gpo_analysis as gpo
from llm.data.types import Pair
from llm.policy.batches import TokenizedPairs, batch_rows
from llm.policy.logprobs import chosen_logprobs, pair_logprobs, reference_logprobs
from llm.policy.packing import pack, unpacked
from llm.policy.tokenizers import train_tokenizer
from llm.storage.checkpoints import CheckpointError, latest_checkpoint, load_checkpoint, save_checkpoint
from llm.training.cells import SweepCell
from llm.training.objective import StackedObjective, generator_derivative, soft_loss


def llama(seed: int = 0, **changes: object) -> LlamaForCausalLM:
    sizes: dict[str, object] = {
        "vocab_size": 31, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.4,
    }  # fmt: skip
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **changes})).eval()


def random_pairs(n: int = 6, seed: int = 0) -> TokenizedPairs:
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> list[int]:
        return [int(i) for i in rng.integers(2, 31, rng.integers(low, high))]

    rows = [(ids(1, 9), [*ids(0, 6), 1], [*ids(0, 6), 1]) for _ in range(n)]
    return TokenizedPairs([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], rng.uniform(size=n))


def one_by_one(model: LlamaForCausalLM, pairs: TokenizedPairs) -> torch.Tensor:
    """Each response in a batch of its own, by transformers' full logits."""
    rows = []
    for i, prompt in enumerate(pairs.prompt):
        row = []
        for answer in (pairs.chosen[i], pairs.rejected[i]):
            logps = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            row.append(sum(logps[len(prompt) - 1 + k, token] for k, token in enumerate(answer)))
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layout", [pack, unpacked])
def test_log_probabilities_and_gradients_equal_the_plain_computation(layout: object, attention: str) -> None:
    model = llama(attn_implementation=attention).double()
    pairs = random_pairs()
    found = pair_logprobs(model, layout(pairs), chunk_elements=100)[0]  # type: ignore[operator]
    expected = one_by_one(model, pairs)
    assert expected.detach().std() > 1.0
    # transformers computes norms, and the eager softmax, in float32 whatever the dtype
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=2e-6)
    weights = torch.randn(found.shape, dtype=torch.float64)
    mine = torch.autograd.grad((found * weights).sum(), list(model.parameters()))
    theirs = torch.autograd.grad((expected * weights).sum(), list(model.parameters()))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)


def test_packing_computes_the_prompt_once_and_padding_changes_nothing() -> None:
    pairs = random_pairs(8)
    batch = pack(pairs)
    longest = max(len(x) + len(a) + len(b) for x, a, b in zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True))
    assert batch.input_ids.shape == (8, longest)
    assert len(batch.targets) == pairs.lengths.sum()  # logits only where there is a response
    model = llama().double()
    together = pair_logprobs(model, batch)[0]
    for i in range(len(pairs)):
        torch.testing.assert_close(pair_logprobs(model, pack(pairs.take([i])))[0, 0], together[i], rtol=0, atol=2e-6)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return out


@pytest.mark.parametrize("shared", [True, False])
def test_the_chunked_head_equals_log_softmax_without_the_full_logits(shared: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    runs, n, d, v = 2, 50, 3, 400
    hidden = torch.randn(runs, n, d, dtype=torch.float64, generator=generator, requires_grad=True)
    shape = (v, d) if shared else (runs, v, d)
    weight = torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    targets = torch.randint(v, (n,), generator=generator)
    with Largest() as seen:
        found = chosen_logprobs(hidden, weight, targets, chunk_elements=8 * v)
        found.pow(2).sum().backward()
    assert seen.elements <= 8 * v < runs * n * v
    mine = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    full = (hidden @ weight.mT).log_softmax(-1)
    expected = full.gather(-1, targets.expand(runs, n)[..., None])[..., 0]
    expected.pow(2).sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mine[0], hidden.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(mine[1], weight.grad, rtol=1e-10, atol=1e-10)


def test_half_precision_is_summed_in_float32() -> None:
    generator = torch.Generator().manual_seed(1)
    hidden, weight = (torch.randn(s, generator=generator).bfloat16() for s in ((1, 64, 32), (500, 32)))
    targets = torch.randint(500, (64,), generator=generator)
    found = chosen_logprobs(hidden, weight, targets)
    exact = (hidden.double() @ weight.double().mT).log_softmax(-1)[0, torch.arange(64), targets]
    assert found.dtype == torch.float32
    assert (found[0].double() - exact).abs().max() < 1e-4
    rounded = (hidden @ weight.mT).log_softmax(-1)[0, torch.arange(64), targets]
    assert (rounded.double() - exact).abs().max() > 1e-2  # what half-precision logits would give


def test_models_whose_logits_are_more_than_a_product_are_refused() -> None:
    model = llama()
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(ValueError, match="final_logit_softcapping"):
        pair_logprobs(model, pack(random_pairs(2)))


def test_references_are_kept_and_belong_to_model_and_pairs(tmp_path: Path) -> None:
    model, pairs = llama(), random_pairs(7)
    found = reference_logprobs(model, pairs, cache=tmp_path, batch_size=3)
    np.testing.assert_allclose(found, one_by_one(model, pairs).detach().numpy(), rtol=1e-4, atol=1e-4)
    (file,) = tmp_path.glob("*.safetensors")
    stamp = file.stat().st_mtime_ns
    np.testing.assert_array_equal(reference_logprobs(model, pairs, cache=tmp_path), found)
    assert file.stat().st_mtime_ns == stamp
    file.write_bytes(b"no tensors")
    np.testing.assert_array_equal(reference_logprobs(model, pairs, cache=tmp_path, batch_size=3), found)
    other = reference_logprobs(llama(1), pairs, cache=tmp_path)
    assert np.abs(other - found).max() > 0.1
    reference_logprobs(model, random_pairs(7, seed=1), cache=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


def test_a_reference_that_is_not_finite_names_the_pair() -> None:
    model = llama()
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="pair 0"):
        reference_logprobs(model, random_pairs(2))


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "p", "message"),
    [
        ([[1]], [[]], [[1]], [1.0], "chosen of pair 0"),
        ([[1]], [[1]], [[]], [1.0], "rejected of pair 0"),
        ([[]], [[1]], [[1]], [1.0], "prompt of pair 0"),
        ([[2]], [[1, -1]], [[1]], [1.0], "token -1"),
        ([[1]], [[1]], [[1]], [1.5], "1.5"),
        ([[1]], [[1]], [[1]], [np.nan], "nan"),
        ([[1]], [[1], [1]], [[1]], [1.0], "2 chosen"),
        ([], [], [], [], "no pairs"),
    ],
)
def test_pairs_that_cannot_be_trained_on_are_refused(
    prompt: list[list[int]], chosen: list[list[int]], rejected: list[list[int]], p: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TokenizedPairs(prompt, chosen, rejected, np.array(p))


def test_pairs_are_tokenised_with_the_end_token_and_long_ones_named() -> None:
    tokenizer = train_tokenizer(["a red boat ."])
    labelled = [Pair("a red", "boat .", "red", p=0.75), Pair("a", "red", "boat")]
    made = TokenizedPairs.from_pairs(labelled, tokenizer)
    assert made.lengths.tolist() == [[3, 2], [2, 2]]
    assert {row[-1] for row in made.chosen + made.rejected} == {tokenizer.eos_token_id}
    assert made.p.tolist() == [0.75, 1.0]
    with pytest.raises(ValueError, match="pair 0 has 5 tokens"):
        TokenizedPairs.from_pairs(labelled, tokenizer, max_length=4)


def test_every_pass_sees_every_pair_once_and_orders_differ() -> None:
    rows = np.concatenate([batch_rows(7, 3, step, seed=4) for step in range(7)])
    passes = rows.reshape(3, 7)
    assert all(sorted(row) == list(range(7)) for row in passes.tolist())
    assert len({tuple(row) for row in passes.tolist()}) == 3
    assert batch_rows(7, 20, 0, seed=4).tolist() == rows[:20].tolist()  # larger than a pass
    assert batch_rows(7, 3, 0, seed=5).tolist() != rows[:3].tolist()


@pytest.mark.parametrize("name", ["reverse_kl", "forward_kl", "jensen_shannon", "alpha", "chi_po"])
def test_links_equal_the_library_s_numpy_form(name: str) -> None:
    s = torch.linspace(-30, 30, 61, dtype=torch.float64, requires_grad=True)
    g = generator_derivative(name, s)
    link = gpo.get_link(name)
    np.testing.assert_allclose(g.detach().numpy(), link.of_log(s.detach().numpy()), rtol=1e-12, atol=1e-12)
    (slope,) = torch.autograd.grad(g.sum(), s)
    ratio = np.exp(s.detach().numpy())
    np.testing.assert_allclose(slope.numpy(), link.derivative(ratio) * ratio, rtol=1e-9, atol=1e-14)


def test_the_objective_by_hand() -> None:
    """Two pairs: log-ratios (0.5, −0.5) and (−1, 1), of 2 and 1, 4 and 2 tokens: ρ = 1 and −2; of means 0.75, −0.75."""
    cells = [
        SweepCell("squared", 0.5, 0, 1.0), SweepCell("logistic", 2.0, 0, 1.0), SweepCell("dpo", 1.0, 0, 1.0),
        SweepCell("squared", 1.0, 0, 1.0, reduction="mean"), SweepCell("squared", 0.5, 0, 1.0, divergence="chi_po"),
        SweepCell("exp(-z)", 1.0, 0, 1.0),
    ]  # fmt: skip
    ratios = torch.tensor([[0.5, -0.5], [-1.0, 1.0]], dtype=torch.float64)
    reference = torch.tensor([[-3.0, -4.0], [-5.0, -6.0]], dtype=torch.float64)
    lengths = torch.tensor([[2, 1], [4, 2]])
    loss, rho, margin = StackedObjective(cells)(
        (reference + ratios).expand(6, 2, 2), reference, lengths, torch.tensor([1.0, 0.25], dtype=torch.float64)
    )
    assert rho[0].tolist() == [1.0, -2.0]
    assert rho[3].tolist() == [0.75, -0.75]
    assert margin[1].tolist() == [2.0, -4.0]
    np.testing.assert_allclose(loss[0], [0.25, 0.25 * 4.0 + 0.75 * 0.0])
    np.testing.assert_allclose(
        loss[1], [np.log1p(np.exp(-2)), 0.25 * np.log1p(np.exp(4)) + 0.75 * np.log1p(np.exp(-4))]
    )
    np.testing.assert_allclose(
        loss[2], [np.log1p(np.exp(-1)), 0.25 * np.log1p(np.exp(2)) + 0.75 * np.log1p(np.exp(-2))]
    )
    np.testing.assert_allclose(loss[3], [0.0625, 0.25 * 1.75**2 + 0.75 * 0.25**2])
    np.testing.assert_allclose(margin[4], [0.5 * (1 + np.exp(0.5) - np.exp(-0.5)), 0.5 * (np.exp(-1) - np.exp(1) - 2)])
    np.testing.assert_allclose(loss[5], [np.exp(-1), 0.25 * np.exp(2) + 0.75 * np.exp(-2)])


def test_a_weight_of_zero_removes_an_infinite_term() -> None:
    z = torch.tensor([200.0, -200.0, 0.0], requires_grad=True)  # e^200 is inf in float32
    value = soft_loss(gpo.get_loss("exponential"), z, torch.tensor([1.0, 0.0, 0.5]))
    value.sum().backward()
    assert value.tolist() == [0.0, 0.0, 1.0]
    assert z.grad is not None
    assert z.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": 0.0}, "beta"), ({"beta": float("nan")}, "beta"), ({"learning_rate": -1.0}, "learning_rate"),
        ({"loss": "dpoo"}, "dpoo"), ({"loss": "1 +"}, "1 +"), ({"divergence": "kl2"}, "kl2"), ({"seed": -1}, "seed"),
        ({"reduction": "median"}, "median"),
    ],
)  # fmt: skip
def test_cells_that_make_no_sense_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        SweepCell(**{"loss": "squared", "beta": 1.0, "seed": 0, "learning_rate": 1e-3, **changes})  # type: ignore[arg-type]
    assert message in str(refusal.value)


def test_keys_differ_where_cells_do() -> None:
    cells = [
        SweepCell("squared", 0.1, 0, 1e-3), SweepCell("squared", 0.1, 0, 2e-3), SweepCell("squared", 0.1, 1, 1e-3),
        SweepCell("squared", 0.1, 0, 1e-3, reduction="mean"), SweepCell("(1-z)**2", 0.1, 0, 1e-3),
    ]  # fmt: skip
    assert len({cell.key for cell in cells}) == len(cells)


def test_checkpoints_round_trip_in_small_files(tmp_path: Path) -> None:
    tensors = {
        "big": torch.arange(1000, dtype=torch.float32).view(10, 100), "half": torch.randn(7).bfloat16(),
        "empty": torch.zeros(0, 3), "one": torch.tensor(3.5, dtype=torch.float64),
    }  # fmt: skip
    path = save_checkpoint(tensors, tmp_path, 12, {"a": [1]}, shard_bytes=512)
    assert max(file.stat().st_size for file in path.glob("*.safetensors")) < 1024
    assert len(list(path.glob("*.safetensors"))) >= 8
    found, step, meta = load_checkpoint(path)
    assert (step, meta) == (12, {"a": [1]})
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
    newer = save_checkpoint(tensors, tmp_path, 13, {})
    assert latest_checkpoint(tmp_path) == newer
    assert not path.exists()


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    first = save_checkpoint({"x": torch.ones(300)}, tmp_path, 1, {})
    flush, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"step 2 not written .*No space left.*step-00000001 is intact"):
        save_checkpoint({"x": torch.zeros(300)}, tmp_path, 2, {}, shard_bytes=1 << 10)
    monkeypatch.undo()
    assert latest_checkpoint(tmp_path) == first
    assert torch.equal(load_checkpoint(first)[0]["x"], torch.ones(300))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_write_that_the_system_cuts_off_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """Not a patched call: files above 4 KiB are refused by the system while they are written."""
    resource = pytest.importorskip("resource")
    first = save_checkpoint({"x": torch.ones(10)}, tmp_path, 1, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match=r"step 2 not written .*step-00000001 is intact"):
            save_checkpoint({"x": torch.ones(10_000)}, tmp_path, 2, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert torch.equal(load_checkpoint(first)[0]["x"], torch.ones(10))


def test_half_a_checkpoint_is_none(tmp_path: Path) -> None:
    whole = save_checkpoint({"x": torch.ones(300)}, tmp_path, 1, {})
    (tmp_path / ".writing-00000002").mkdir()  # a process was killed here
    assert latest_checkpoint(tmp_path) == whole
    (whole / "part-000.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="is not what was written"):
        load_checkpoint(whole)


def test_strengths_are_as_exact_as_the_log_probabilities() -> None:
    """β = 0.1 has an error of 1e-9 in float32; margins of float64 log-ratios have none of it."""
    ratios = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    cells = [SweepCell("logistic", 0.1, 0, 1.0), SweepCell("squared", 1 / 3, 0, 1.0)]
    zero, one = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2)
    margin = StackedObjective(cells)(ratios.expand(2, 1, 2), zero, one, one[:, 0]).margin
    np.testing.assert_allclose(margin[:, 0], [0.1, 1 / 3], rtol=1e-14)
