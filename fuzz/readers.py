"""Mutated files for every reader, and now and then for its verb: whatever is in a file, an answer or one line.

    python -m fuzz.readers --count 1000 --seed 0

A file is taken from a few whole ones, mutated one to four times (bytes, lines, cells, columns, encodings, compression,
endings) and read. Counted for each reader are files *read*, *refused* (a ValueError of one line that names the file)
and faults, of which nothing may be found; the exit code is 1 where something is:

- *traceback*: anything but a ValueError;
- *nameless*: a refusal that does not name the file, or runs over several lines;
- *broken*: what was read is not what it promises (names twice, counts beyond bounds, a report that cannot be said);
- *verb*: ``gpo`` ends with a fault of the program, or prints characters that a terminal obeys.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from fuzz.kept import Keeper, Tried, add_keep  # noqa: E402
from fuzz.mutations import mutated_bytes  # noqa: E402
from gpo_analysis.cli import main as gpo  # noqa: E402
from gpo_analysis.cli.arguments import Parser, whole  # noqa: E402
from gpo_analysis.estimation import TrainingLog, read_training_log  # noqa: E402
from gpo_analysis.estimation.histories import read_history  # noqa: E402
from gpo_analysis.estimation.loss_log import read_loss_log  # noqa: E402
from gpo_analysis.estimation.margin_log import read_pairs  # noqa: E402
from gpo_analysis.preferences import (  # noqa: E402
    Comparisons,
    read_argument_votes,
    read_comparisons,
    read_comparisons_by_prompt,
)
from gpo_analysis.reading.visible import BEYOND_ASCII  # noqa: E402

FAULTS = ("traceback", "nameless", "broken", "verb")
VERB_EVERY = 10
"""Of how many files one is given to the verb, too; a fit takes longer than a reading."""

_GAMES = "winner,loser,count\nrock,scissors,3\nscissors,paper,2.5\npaper,rock,4\nscissors,rock,1\nrock,paper,1\n"
_PROMPTS = "prompt,winner,loser,tie\np1,Yes.,No.,0\np1,No.,Yes.,0\np2,No.,Yes.,1\np2,Yes.,No.,\n"
_BATTLES = "model_a,model_b,winner,judge\na,b,model_a,x\nb,c,tie,y\nc,a,model_b,z\na,c,tie (bothbad),x\nb,a,model_a,y\n"
_TABLE = "model_a;model_b;model_a_wins;model_b_wins;ties;ties_both_bad\na;b;5;3;2;0\nb;c;1;4;0;1\n"
_ROWS = (
    {"winner": "José", "loser": "日本", "count": 2},
    {"winner": "日本", "loser": "José", "count": 1},
    {"winner": 3, "loser": "José", "count": 1.5},
    {"winner": "José", "loser": 3.0, "count": 1},
)
_CHOSEN = (
    {"prompt": "Human: one?", "chosen": " Yes.", "rejected": " No."},
    {"prompt": "Human: one?", "chosen": " No.", "rejected": " Yes."},
)
_MARKS = "Model_A\tModel_B\twinner_model_a\twinner_model_b\twinner_tie\nx\ty\t1\t0\t0\ny\tz\t0\t0\t1\nz\tx\t0\t1\t0\n"
_MESSAGES = tuple(
    {
        "chosen": [{"role": "user", "content": "one?"}, {"role": "assistant", "content": a}],
        "rejected": [{"role": "user", "content": "one?"}, {"role": "assistant", "content": b}],
    }
    for a, b in (("Yes.", "No."), ("No.", "Yes."))
)
_DIALOGUES = tuple(
    {"chosen": f"Human: {q}\n\nAssistant: {a}", "rejected": f"Human: {q}\n\nAssistant: {b}"}
    for q, a, b in (("one?", "Yes.", "No."), ("two?", "No.", "Yes."), ("one?", "No.", "Yes."))
)
_VOTES = tuple(
    {
        "debate": "tea", "prompt": "Debate: tea\nSide: Yes\nArgument:", "chosen_id": a, "rejected_id": b,
        "votes_chosen": 3, "votes_rejected": 2, "votes_equal": 0,
    }
    for a, b in (("a1", "a2"), ("a2", "a3"), ("a3", "a1"))
)  # fmt: skip
_LOG = (
    "policy_chosen,policy_rejected,ref_chosen_logps,ref_rejected_logps,chosen_length,rejected_length,step\n"
    + "".join(f"{-10.5 - k},{-14.25 - k},{-9.5 - k},{-9 - k},{5 + k},{7 + k},{10 * (k // 3)}\n" for k in range(6))
)


_MEANS = tuple(
    {"loss": 0.69 - k / 50, "rewards/chosen": k / 20, "rewards/rejected": -k / 10, "rewards/margins": 3 * k / 20,
     "rewards/accuracies": 0.5 + k / 30, "logps/chosen": -40.5, "step": 10 * k}
    for k in range(1, 11)
)  # fmt: skip
_STATE = json.dumps({"epoch": 1.0, "log_history": [*_MEANS, {"eval_loss": 0.5, "step": 100}]}, indent=1)
_WANDB = "Step,run-1 - train/rewards/margins,run-1 - train/rewards/margins__MIN,run-1 - train/rewards/margins__MAX\n"
_WANDB += "".join(f"{k},{k / 9},{k / 9},{k / 9}\n" for k in range(1, 9))
_SCALAR = "Wall time,Step,Value\n" + "".join(f"17{k}.5,{k},{k / 9}\n" for k in range(1, 9))
_TAGS = "run,tag,step,value\n" + "".join(
    f"a,train/{tag},{k},{k / 9}\n" for k in range(1, 9) for tag in ("rewards/margins", "loss")
)
_PAIR_LOSSES = "loss,policy_chosen,policy_rejected,ref_chosen_logps,ref_rejected_logps,step\n" + "".join(
    f"{0.6 - k / 90},{-10.5 - k},{-14.25 - 2 * k},{-9.5 - k},{-9 - k},{k // 3}\n" for k in range(12)
)
_RECORDED = tuple(
    {"step": k // 3, "policy_chosen": -9.5, "policy_rejected": -8.25, "reference_chosen": -9.0,
     "reference_rejected": -8.5, "chosen_length": 5, "rejected_length": 7}
    for k in range(6)
)  # fmt: skip
_RUN_YAML = "model: model\npairs: pairs.jsonl\nout: out\nloss: [logistic, squared]\nbeta: 0.1\nsteps: 2\nseed: [0]\n"
_RUN_TOML = 'model = "model"\npairs = "pairs.jsonl"\nout = "out"\nloss = ["logistic"]\nlr = 1e-5\nlora = 4\n'
_STUDY_YAML = (
    "preset: tiny\ngrid: {losses: [logistic, squared], strengths: [0.1, 1.0], seeds: [0]}\n"
    "training: {steps: 4, max_grad_norm: null}\npolicy:\n  lora: {rank: 4}\n"
)
_STUDY_TOML = 'preset = "tiny"\nseed = 3\n[training]\nsteps = 4\nevaluate_at = [2, 4]\n[policy.lora]\nrank = 4\n'


def _lines(rows: tuple[dict[str, Any], ...]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _log_lines() -> str:
    header, *rows = _LOG.splitlines()
    names = header.split(",")
    return _lines(tuple(dict(zip(names, map(float, row.split(",")), strict=True)) for row in rows))


@cache
def _events() -> bytes:
    """A file of TensorBoard's events."""
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
    from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

    events = [Event(wall_time=0.0, file_version="brain.Event:2")]
    for row in _MEANS:
        values = [Summary.Value(tag=f"train/{tag}", simple_value=value) for tag, value in row.items() if tag != "step"]
        events.append(Event(wall_time=float(row["step"]), step=int(row["step"]), summary=Summary(value=values)))
    stream = io.BytesIO()
    writer = RecordWriter(stream)
    for event in events:
        writer.write(event.SerializeToString())
    return stream.getvalue()


# Readers of language models are imported when they are called: that loads PyTorch.


def _run(path: Path) -> object:
    from llm.own.config import read_config

    return read_config(path)


def _study(path: Path) -> object:
    from llm.study.declared import read_study

    return read_study(path)


def _pairs(path: Path) -> object:
    from llm.data.preferences import read_preferences

    return read_preferences(path)


def _texts(path: Path) -> object:
    from llm.data.splits import read_examples_of

    return read_examples_of(path, words=40)


def _kept_pairs(path: Path) -> object:
    from llm.data.types import read_pairs

    return read_pairs(path)


def _pair_log(path: Path) -> object:
    from gpo_analysis.integrations.pair_log import read_rows

    return read_rows(path)


@dataclass(frozen=True)
class Reader:
    """One way into the house: what it reads, the function, and the verb's arguments (FILE stands for the file).

    A verb of ``gpo`` is called with some of the files; other programs' are for `fuzz.options`.
    """

    seeds: tuple[tuple[str, str | Callable[[], bytes]], ...]
    read: Callable[[Path], object]
    verb: tuple[str, ...] = ()


_COMPARISONS = (
    ("a.csv", _GAMES), ("a.csv", _PROMPTS), ("b.csv", _BATTLES), ("t.csv", _TABLE), ("a.jsonl", _lines(_ROWS)),
    ("a.json", json.dumps(_ROWS, indent=1)), ("h.jsonl", _lines(_CHOSEN)), ("plain", _GAMES),
    ("m.tsv", _MARKS), ("m.jsonl", _lines(_MESSAGES)), ("d.jsonl", _lines(_DIALOGUES)), ("v.jsonl", _lines(_VOTES)),
)  # fmt: skip
READERS = {
    "comparisons": Reader(
        _COMPARISONS, read_comparisons, ("recommend-beta", "FILE", "--kl", "0.1", "--loss", "dpo", "--resamples", "2")
    ),
    "prompts": Reader(_COMPARISONS, read_comparisons_by_prompt, ("solve", "FILE", "--loss", "dpo")),
    "votes": Reader(
        (("v.jsonl", _lines(_VOTES)), ("v.json", json.dumps(_VOTES))),
        lambda path: read_argument_votes(path, by_side=False),
        ("solve", "FILE", "--votes", "arguments", "--loss", "dpo"),
    ),
    "log": Reader(
        (("log.csv", _LOG), ("log.jsonl", _log_lines())),
        read_training_log,
        ("diagnose", "FILE", "--beta", "0.1", "--resamples", "2", "--try-loss", "dpo"),
    ),
    "margins": Reader(
        (("rho.csv", "rho,step\n0.5,10\n-1.25,10\n2,20\n"),
         ("h.jsonl", '{"chosen_logratio": -0.5, "rejected_logratio": -2.5}\n' * 3)),
        read_pairs, ("diagnose", "FILE", "--beta", "0.1", "--resamples", "2", "--try-loss", "dpo"),
    ),
    "history": Reader(
        (("trainer_state.json", _STATE), ("h.json", json.dumps(_MEANS)), ("h.jsonl", _lines(_MEANS)),
         ("wandb.csv", _WANDB), ("run-a-tag-train_rewards_margins.csv", _SCALAR), ("tags.csv", _TAGS)),
        read_history, ("diagnose", "FILE", "--loss", "dpo", "--beta", "0.1"),
    ),
    "events": Reader(
        (("events.out.tfevents.1.x.0", _events),), read_history,
        ("diagnose", "FILE", "--loss", "dpo", "--beta", "0.1"),
    ),
    "losses": Reader(
        (("trainer_state.json", _STATE), ("losses.csv", _PAIR_LOSSES), ("h.jsonl", _lines(_MEANS))), read_loss_log,
    ),
    "run's configuration": Reader((("run.yaml", _RUN_YAML), ("run.toml", _RUN_TOML)), _run),
    "study's configuration": Reader((("study.yaml", _STUDY_YAML), ("study.toml", _STUDY_TOML)), _study),
    "pairs": Reader(
        (("c.jsonl", _lines(_CHOSEN)), ("m.jsonl", _lines(_MESSAGES)), ("d.jsonl", _lines(_DIALOGUES)),
         ("s.csv", "prompt,chosen,rejected,p\nHi,Hello,No,0.9\nOh,Yes,No,1\n"), ("p.json", json.dumps(_CHOSEN))),
        _pairs,
    ),
    "texts": Reader(
        (("c.jsonl", _lines(_CHOSEN)), ("d.jsonl", _lines(_DIALOGUES)),
         ("s.jsonl", _lines(({"source": "a b c", "summary": "a"}, {"source": "d", "summary": "e f"}))),
         ("l.jsonl", _lines(({"text": "a b c d e", "label": 1}, {"text": "f g h i j", "label": "negative"})))),
        _texts,
    ),
    "study's pairs": Reader(
        (("pairs.jsonl", _lines(tuple({**row, "reward_chosen": 1.0, "reward_rejected": 0.5} for row in _CHOSEN))),),
        _kept_pairs,
    ),
    "run's log of pairs": Reader((("log.jsonl", _lines(_RECORDED)),), _pair_log),
}  # fmt: skip


def mutated(reader: Reader, folder: Path, chance: random.Random) -> Path:
    """Write a mutated file; return its path."""
    name, text = chance.choice(reader.seeds)
    data = mutated_bytes(text.encode() if isinstance(text, str) else text(), chance)
    if chance.random() < 0.1:
        name = chance.choice(("a.csv", "a.jsonl", "a.json", "a.csv.gz", "a", "a.tsv", "a.yaml", "a.toml"))
    path = folder / name
    path.write_bytes(data)
    return path


def outcome(reader: Reader, path: Path, *, with_verb: bool) -> tuple[str, str]:
    """What came of a file ("read", "refused" or a fault), and of a fault the particulars."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # rows that are left out are said by a warning
            found = reader.read(path)
        wrong = next(_wrong(found), None)
        kind, what = ("read", "") if wrong is None else ("broken", wrong)
    except ValueError as error:
        told = str(error)
        whole = str(path) in told and len(told.splitlines()) == 1
        kind, what = ("refused", "") if whole else ("nameless", told)
    except Exception:
        return "traceback", traceback.format_exc()
    if with_verb and reader.verb and kind in ("read", "refused"):
        wrong = _verb([str(path) if word == "FILE" else word for word in reader.verb], kind, chance_of_json=path.suffix)
        if wrong:
            return "verb", wrong
    return kind, what


def _wrong(found: object) -> Iterator[str]:
    """In what way something that was read is not as promised."""
    if isinstance(found, dict):
        for part in found.values():
            yield from _wrong(part)
    elif isinstance(found, Comparisons):
        if len(set(found.items)) < len(found.items):
            yield "two items have one name"
        if not 0 < found.total <= 1e300 or not (found.count >= 0).all():
            yield f"counts {found.count}"
    elif isinstance(found, TrainingLog) and not len(found):
        yield "an empty log"
    report = getattr(found, "report", None)
    if report is not None:
        json.dumps(report.to_dict()).encode()
        if _obeyed(str(report)):
            yield f"the report has control characters: {report!s:.200}"


def _obeyed(text: str) -> bool:
    return re.search(f"[\x00-\x09\x0b-\x1f{BEYOND_ASCII}]", text) is not None


def _verb(arguments: list[str], kind: str, *, chance_of_json: str) -> str:
    """What is wrong with how ``gpo`` ends, or nothing."""
    as_json = chance_of_json == ".csv"
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", UserWarning)  # said in a line, whatever pytest makes of them
                gpo([*arguments, "--json"] if as_json else arguments)
        except SystemExit as leave:
            code = leave.code
    said = [line for line in err.getvalue().splitlines() if not line.startswith("gpo: warning")]
    if code not in ((0, 2) if kind == "read" else (2,)) or len(said) != (code == 2):
        return f"exit code {code} after {kind}: {err.getvalue():.300}"
    if _obeyed(out.getvalue()) or _obeyed(err.getvalue()):
        return "control characters are printed"
    if as_json and code == 0:
        json.loads(out.getvalue())
    return ""


def fuzz(name: str, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts of outcomes for one reader, and the particulars of faults."""
    reader, chance = READERS[name], random.Random(f"{seed} {name}")
    counts: Counter[str] = Counter(dict.fromkeys(("read", "refused", *FAULTS), 0))
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for trial in range(count):
            path = mutated(reader, Path(folder), chance)
            kind, what = outcome(reader, path, with_verb=trial % VERB_EVERY == 0)
            counts[kind] += 1
            if kind in FAULTS:
                faults.append(f"{name}, trial {trial}, {kind}: {what.strip()}\n  {path.read_bytes()[:300]!r}")
            path.unlink()
    return counts, faults


def main(arguments: list[str] | None = None) -> int:
    """Run the trials; return 1 where a fault shows."""
    parser = Parser(prog="python -m fuzz.readers", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=whole(1), default=1000, help="files a reader (default: 1000)")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--reader", action="append", choices=[*READERS], help="only this one (again for more)")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    add_keep(parser)
    options = parser.parse_args(arguments)
    keeper = Keeper(options.keep, "fuzz.readers", "Files mutated one to four times, a reader a row.")
    told, rows = {}, []
    for name in options.reader or READERS:
        counts, faults = fuzz(name, options.count, options.seed)
        told[name] = dict(counts)
        rows.append(Tried.of(name, "files", Counter(counts, files=options.count), FAULTS, "files"))
        if not options.json:
            print(f"{name:<12} " + "  ".join(f"{kind} {number}" for kind, number in counts.items()), flush=True)
        print("\n".join(faults[:10]), file=sys.stderr, end="\n" if faults else "")
    keeper.keep("", rows, {"count": options.count, "seed": options.seed})
    if options.json:
        print(json.dumps(told))
    return int(any(counts[kind] for counts in told.values() for kind in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
