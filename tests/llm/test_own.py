"""``python -m llm train``: what it writes is loaded, read and recomputed; a killed run ends where a whole one does."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("trl")

import gpo_analysis as gpo
from gpo_analysis.locks import run_lock
from llm.__main__ import main
from tests.integrations.stand_ins import OF_LIBRARIES
from tests.llm.killable import command, killed_after
from tests.llm.own_runs import SHORT, train

pytestmark = OF_LIBRARIES


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def rho_of(policy: Any, reference: Any, tokenizer: Any, pairs: Path) -> np.ndarray:
    """ρ of every pair of texts, token by token."""
    found = []
    for line in pairs.read_text().splitlines():
        row = json.loads(line)
        before = tokenizer(row["prompt"]).input_ids
        sides = []
        for side in ("chosen", "rejected"):
            after = [*tokenizer(" " + row[side]).input_ids, tokenizer.eos_token_id]
            ids = torch.tensor([before + after])
            with torch.no_grad():
                logps = [m(input_ids=ids).logits[0].log_softmax(-1) for m in (policy, reference)]
            sides.append([sum(float(x[len(before) + i - 1, t]) for i, t in enumerate(after)) for x in logps])
        found.append(sides[0][0] - sides[0][1] - sides[1][0] + sides[1][1])
    return np.array(found)


@pytest.mark.parametrize("lora", [0, 2])
def test_what_is_written_is_what_was_trained(
    tmp_path: Path, model: Path, pairs: Path, lora: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from peft import AutoPeftModelForCausalLM
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "run"
    train(model, pairs, out, "--loss", "squared", "--beta", "0.2", "--lora", str(lora))
    shown = capsys.readouterr().out
    assert "½E[ρ²]" in shown
    assert f"gpo diagnose {out}/log.jsonl --loss 'squared' --beta 0.2" in shown
    policy = (AutoPeftModelForCausalLM if lora else AutoModelForCausalLM).from_pretrained(out / "policy")
    tokenizer = AutoTokenizer.from_pretrained(out / "policy")
    reference = AutoModelForCausalLM.from_pretrained(model)
    rho = rho_of(policy.eval(), reference.eval(), tokenizer, pairs)
    last = [row for row in log_of(out) if row["step"] == 4]
    logged = [
        row["policy_chosen"] - row["reference_chosen"] - row["policy_rejected"] + row["reference_rejected"]
        for row in last
    ]
    np.testing.assert_allclose(sorted(logged), sorted(rho), atol=1e-4)
    assert np.abs(rho).max() > 1e-3
    assert {row["step"] for row in log_of(out)} == {0, 1, 2, 3, 4}
    columns = {f"{model}_{side}" for model in ("policy", "reference") for side in ("chosen", "rejected")}
    beside = {"loss", "soft_label"}
    assert all(set(row) == {"step", "chosen_length", "rejected_length", *columns, *beside} for row in log_of(out))
    z = 0.2 * np.array(logged)
    np.testing.assert_allclose([r["loss"] for r in last], 0.9 * (1 - z) ** 2 + 0.1 * (1 + z) ** 2, rtol=1e-12)
    result = result_of(out)
    assert result["status"] == "finished"
    assert result["measures"]["train"]["mean_rho"] == pytest.approx(rho.mean(), abs=1e-4)
    assert result["measures"]["kl"]["value"] >= 0
    found = gpo.advice.diagnose(out / "log.jsonl", "squared", 0.2)
    assert found.mu_squared_loss.value == pytest.approx(0.5 * np.mean(rho**2), rel=1e-3)
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/mean_rho", "train/mu_squared_loss"} <= set(events.Tags()["scalars"])
    before = (out / "result.json").read_bytes()
    train(model, pairs, out, "--loss", "squared", "--beta", "0.2", "--lora", str(lora))  # nothing is done again
    assert (out / "result.json").read_bytes() == before
    train(model, pairs, out, "--loss", "squared", "--beta", "0.3", "--lora", str(lora), code=1)
    assert "holds another run, which differs in beta (0.2 there, 0.3 here)" in capsys.readouterr().err


def test_a_sweep_has_a_folder_a_cell_and_a_table(tmp_path: Path, model: Path, pairs: Path) -> None:
    out = tmp_path / "sweep"
    train(model, pairs, out, "--loss", "hinge", "log(1+exp(-z))", "--strength", "0.1", "0.5", "--held-out", "0.34")
    folders = sorted(path for path in out.iterdir() if (path / "policy").is_dir())
    assert len(folders) == 4
    results = [result_of(folder) for folder in folders]
    assert {(r["loss"], r["beta"], r["strength"]) for r in results} == {
        ("hinge", 0.1, None), ("hinge", 0.5, None), ("log(1+exp(-z))", 0.2, 0.1), ("log(1+exp(-z))", 1.0, 0.5),
    }  # fmt: skip
    for folder, result in zip(folders, results, strict=True):
        assert (folder / "policy" / "model.safetensors").is_file()
        assert set(result["measures"]) == {"train", "held_out", "kl"}
    assert [cell["loss"] for cell in result_of(out)["cells"]] == ["hinge"] * 2 + ["log(1+exp(-z))"] * 2
    assert len((out / "table.csv").read_text().splitlines()) == 1 + 2 * 4
    first = {json.dumps({k: v for k, v in row.items() if k.startswith("ref")}) for row in log_of(folders[0])}
    for folder in folders[1:]:  # one πref for all
        assert {json.dumps({k: v for k, v in row.items() if k.startswith("ref")}) for row in log_of(folder)} == first


def test_messages_go_through_the_chat_template(tmp_path: Path, model: Path) -> None:
    from transformers import AutoTokenizer

    from llm.data.preferences import read_preferences
    from llm.own.tokens import PairTokenizer

    path = tmp_path / "chat.jsonl"
    user = {"role": "user", "content": "why"}
    path.write_text(json.dumps({"prompt": [user], "chosen": "yes", "rejected": "red blue"}))
    tokenizer = AutoTokenizer.from_pretrained(model)
    row = PairTokenizer(tokenizer, []).rows(read_preferences(path)[0], "here")[0]
    assert tokenizer.decode(row["prompt_ids"]) == "[user] why [assistant]"
    assert tokenizer.convert_ids_to_tokens(row["chosen_ids"]) == ["yes<eos>"] or row["chosen_ids"][-1] == 1
    train(model, path, tmp_path / "run")
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="here, line 1: messages need a chat template"):
        PairTokenizer(tokenizer, []).rows(read_preferences(path)[0], "here")


def test_options_from_files(tmp_path: Path, model: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from llm.own.__main__ import configured

    common = {"model": str(model), "pairs": str(pairs), "out": str(tmp_path / "run")}
    (tmp_path / "run.toml").write_text(
        "".join(f'{k} = "{v}"\n' for k, v in common.items())
        + 'loss = ["savage", "ipo"]\nstrength = 0.5\nlr = 1e-5\nepochs = 2\n'
    )
    (tmp_path / "run.yaml").write_text(
        "".join(f"{k}: {v}\n" for k, v in common.items()) + "loss: [savage, ipo]\nstrength: 0.5\nlr: 1e-5\nepochs: 2\n"
    )
    configs = [configured({"config": str(tmp_path / name)}) for name in ("run.toml", "run.yaml")]
    assert configs[0] == configs[1]
    assert (configs[0].loss, configs[0].strength, configs[0].lr) == (("savage", "ipo"), (0.5,), 1e-5)
    won = configured({"config": str(tmp_path / "run.yaml"), "beta": ["0.2"], "lr": "2e-5", "steps": "7"})
    assert (won.beta, won.strength, won.lr, won.steps, won.epochs) == ((0.2,), (), 2e-5, 7, 0.0)
    for text, words in (
        ("learning_rate: 1\n", "unknown option 'learning_rate'"),
        ("bata: 0.1\n", "did you mean 'beta'?"),
        ("beta: many\n", "beta is 'many'; accepted is a finite number"),
        ("steps: 1.5\n", "steps is 1.5; accepted is a whole number"),
        ("loss: [\n", "malformed YAML"),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        assert main(["train", "--config", str(tmp_path / "bad.yaml")]) == 1
        assert words in capsys.readouterr().err


def test_values_may_follow_one_option_or_each_its_own() -> None:
    from llm.own.__main__ import parser

    at_once = ["--loss", "squared", "dpo", "--seed", "0", "1"]
    one_by_one = ["--loss", "squared", "--loss", "dpo", "--seed", "0", "--seed", "1"]
    assert vars(parser().parse_args(at_once)) == vars(parser().parse_args(one_by_one))
    assert parser().parse_args(one_by_one).loss == ["squared", "dpo"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--loss", "dppo"), "dppo"),
        *[
            ((f"--{name}", "0"), f"{name.replace('-', '_')} is 0; accepted is more, or to leave it out")
            for name in ("steps", "epochs", "lr", "lora-alpha", "record-steps", "save-steps")
        ],
        *[
            ((f"--{name}", value), f"{name.replace('-', '_')} is ")
            for name in ("steps", "epochs", "batch", "sft-steps", "kl-prompts", "warmup", "lora")
            for value in ("-1", "nan")
        ],
        (("--batch", "0"), "batch is 0; accepted is a finite number, 1 or more"),
        (("--beta", "-1"), "beta is -1"),
        (("--beta", "1", "--strength", "1"), "both given"),
        (("--batch", "6", "--accumulation", "4"), "must divide batch"),
        (("--schedule", "steep"), "schedule is 'steep'; accepted are linear"),
        (("--link", "kl"), "link is 'kl'"),
        (("--model", "/nowhere/model"), "no folder with a model"),
        (("--pairs", "/nowhere/pairs.jsonl"), "is no file"),
        (("--max-length", "2"), "every pair has more than 2 tokens"),
    ],
)
def test_bad_input_is_refused_before_a_model_is_loaded(
    tmp_path: Path, model: Path, pairs: Path, more: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("a model was loaded"))
    train(model, pairs, tmp_path / "run", *more, code=1)
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()


def test_an_adapter_is_no_reference(tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    train(tmp_path / "adapter", pairs, tmp_path / "run", code=1)
    assert "holds an adapter; accepted is a whole model" in capsys.readouterr().err


def test_fine_tuning_before_makes_the_reference(tmp_path: Path, model: Path, pairs: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "run"
    train(model, pairs, out, "--sft-steps", "5", "--sft-lr", "0.01")
    reference = AutoModelForCausalLM.from_pretrained(out / "sft" / "model").eval()
    policy = AutoModelForCausalLM.from_pretrained(out / "policy").eval()
    rho = rho_of(policy, reference, AutoTokenizer.from_pretrained(out / "policy"), pairs)
    assert result_of(out)["measures"]["train"]["mean_rho"] == pytest.approx(rho.mean(), abs=1e-4)


def test_a_run_whose_loss_overflows_says_so(tmp_path: Path, model: Path, pairs: Path) -> None:
    out = tmp_path / "run"
    train(model, pairs, out, "--loss", "exponential", "--beta", "1e30")
    assert result_of(out)["status"].startswith("nan at step")
    assert result_of(out)["policy"] is None


def test_one_run_a_folder(tmp_path: Path, model: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_lock(tmp_path / "run", "somebody else"):
        train(model, pairs, tmp_path / "run", code=1)
    assert "is at work in" in capsys.readouterr().err


def test_a_killed_run_ends_where_a_whole_one_does(tmp_path: Path, model: Path, pairs: Path) -> None:
    from safetensors.torch import load_file

    more = ("--steps", "40", "--save-steps", "5", "--record-steps", "10")
    train(model, pairs, tmp_path / "whole", *more)
    out = tmp_path / "killed"
    words = ["train", "--model", str(model), "--pairs", str(pairs), "--out", str(out), *SHORT, *more]
    killed_after(out, "checkpoints/checkpoint-*/seal.json", command, words)
    killed_in_time = not (out / "result.json").exists()
    half = out / "checkpoints" / "checkpoint-999"  # what a kill in the middle of writing leaves
    half.mkdir(parents=True, exist_ok=True)
    (half / "model.safetensors").write_bytes(b"half")
    train(model, pairs, out, *more)
    assert killed_in_time
    first, second = (load_file(str(tmp_path / name / "policy" / "model.safetensors")) for name in ("whole", "killed"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6)
    assert [row["step"] for row in log_of(out)] == [row["step"] for row in log_of(tmp_path / "whole")]
    assert not (out / "checkpoints").exists()


def test_a_run_killed_after_its_last_step_takes_no_further_one(tmp_path: Path, model: Path, pairs: Path) -> None:
    more = ("--steps", "2", "--batch", "2", "--save-steps", "1", "--record-steps", "1")
    train(model, pairs, tmp_path / "whole", *more)
    out = tmp_path / "killed"
    words = ["train", "--model", str(model), "--pairs", str(pairs), "--out", str(out), *SHORT, *more]
    killed_after(out, "checkpoints/checkpoint-2/seal.json", command, words)
    (left := out / ".tmp" / "left").mkdir(parents=True)
    train(model, pairs, out, *more)
    assert not left.exists()
    assert log_of(out) == log_of(tmp_path / "whole")
    one, other = (result_of(folder) for folder in (tmp_path / "whole", out))
    assert one["steps"] == other["steps"] == 2
    assert other["measures"] == one["measures"]


def test_ctrl_c_saves_the_step_and_the_same_command_goes_on_from_there(
    tmp_path: Path, model: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No checkpoint was due: what is kept is what Ctrl-C kept."""
    from safetensors.torch import load_file

    from llm.own.cell import _StopAtNan

    def stop(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 3:
            signal.raise_signal(signal.SIGINT)

    more = ("--steps", "8", "--save-steps", "1000", "--record-steps", "2")
    train(model, pairs, tmp_path / "whole", *more)
    out, before = tmp_path / "stopped", signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(_StopAtNan, "on_step_end", stop, raising=False)
            train(model, pairs, out, *more, code=130)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert "the same command goes on from here" in capsys.readouterr().err
    assert [path.name for path in (out / "checkpoints").glob("checkpoint-*")] == ["checkpoint-3"]
    train(model, pairs, out, *more)
    first, second = (load_file(str(tmp_path / name / "policy" / "model.safetensors")) for name in ("whole", "stopped"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6)
    steps = [row["step"] for row in log_of(out) if row["step"] != 3]  # where it stopped has rows of its own
    assert steps == [row["step"] for row in log_of(tmp_path / "whole")]


def test_a_model_that_nobody_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig

    from llm.own.inputs import _tokenizer_of

    def away(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to the hub\nsecond line")

    monkeypatch.setattr(AutoConfig, "from_pretrained", away)
    with pytest.raises(FileNotFoundError, match=r"no model 'nosuch': there is no such folder here.*couldn't connect"):
        _tokenizer_of("nosuch")


def test_words_on_a_missing_package_are_kept_where_somebody_chose_them() -> None:
    from llm.commands import missing

    assert "--report-to none" in missing(ModuleNotFoundError("x is not installed; or --report-to none", name="x"))
    assert "gpo-analysis[llm]" in missing(ModuleNotFoundError("No module named 'peft'", name="peft"))
