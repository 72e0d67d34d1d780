"""Command lines made of the parsers themselves, for every verb of every program here: an end in 0, 1 or 2, in one line.

    python -m fuzz.options --count 1000 --seed 0
    python -m fuzz.options --count 200 --program gpo --program "llm train"
    python -m fuzz.options --say 17 --seed 0                    what the 17th trial calls, and what it says

A trial picks a program and a verb, asks its parser (argparse's or click's) for the options there are, and gives some of
them values of their kind, one of them often something else: empty, extreme, of another script, with characters that a
terminal obeys, a file that is missing, empty, damaged, unreadable or a folder; options stand twice, or without a value.
Files of configuration and ``--set`` are made likewise. The command runs in a forked child in a folder of its own, for
at most some seconds of processor time: one that is still at work then is *busy*, which is no fault. Nothing of this may
be found, and the exit code is 1 where something is:

- *hang*: after a minute it has not ended, and with all that it started has used less than a second of the processor
  (but for ``gpo explore``, which serves pages until it is told to stop);
- *traceback*: anything that Python prints of an exception that nobody met, or a fault of the program (code 3);
- *code*: another exit code than 0, 1 and 2;
- *lines*: an error of no line, or of more than one for the one thing that was wrong;
- *nameless*: one value was wrong, and the line names no option, and none of the values given;
- *unseen*: characters that a terminal obeys come out;
- *written*: bad arguments (2) that left a file, or a temporary one left by any end.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from fuzz.commands import become, leave, preloaded, redirected  # noqa: E402
from fuzz.damage import damaged  # noqa: E402
from fuzz.kept import Keeper, Tried, add_keep  # noqa: E402
from fuzz.parsers import Option, Verb, verbs  # noqa: E402
from gpo_analysis.cli.arguments import Parser, whole  # noqa: E402
from gpo_analysis.reading.visible import BEYOND_ASCII  # noqa: E402

FAULTS = ("hang", "traceback", "code", "lines", "nameless", "unseen", "written")
PROGRAMS = (
    "gpo", "experiments", "figures", "benchmarks", "llm", "llm train", "llm export", "llm gpu", "llm optimum",
    "llm predicted", "llm tuned", "llm real", "llm fetch", "fuzz.attack", "fuzz.coverage", "fuzz.expressions",
    "fuzz.faults", "fuzz.kept", "fuzz.readers", "fuzz.same_bits", "fuzz.studies", "fuzz.seconds", "fuzz.calculus",
    "fuzz.audit_logs", "mutation",
)  # fmt: skip
"""Names of ``python -m``, but gpo, with the words that go before the options."""
CPU_SECONDS = 3
WALL_SECONDS = 60.0
MEMORY = 6 << 30

ODD = (
    "", " ", "-", "--", "=", "-1", "-0", "0", "1", "2", "3", "1e-3", "0.5", "nan", "inf", "-inf", "1e400", "1e-400",
    "9" * 30, "9" * 5000, "1_000", "1,5", "0x10", "٣", "½", "True", "None", "null", "[]", "{}", "[1, 2", "a=b", "=1",
    "x" * 3000, "日本", "Jose\u0301", "\u202egpj", "\u200b", "\x1b[31mred", "a\nb", "a\tb", "%s", "%(prog)s", "$HOME",
    "`id`", ";", "@file", "\udcff", "-h-", "--no-such", ".", "exp(-z)", "log(", "z", "lambda: 1", "__import__('os')",
)  # fmt: skip
"""What is no value of most options."""
FILES = (
    "votes.csv", "log.csv", "pairs.jsonl", "train.yaml", "study.yaml", "study.toml", "records", "figures", "model",
    "empty",
    "bytes.bin", "folder", "unreadable", "sealed/x", "missing", "missing/x", "votes.csv/x", "/dev/null", "/dev/full",
    "/proc/none/x", "out", "out/x", "damaged.csv", "damaged.jsonl", "damaged.yaml", "image.png", "x.json",
    "x.md", "x.parquet",
)  # fmt: skip
"""What lies in a trial's folder, or does not."""
VOTES = "winner,loser,count\nrock,scissors,3\nscissors,paper,2.5\npaper,rock,4\nscissors,rock,1\nrock,paper,1\n"
LOG = "policy_chosen,policy_rejected,ref_chosen_logps,ref_rejected_logps,step\n" + "".join(
    f"{-10.5 - k},{-14.25 - k},{-9.5 - k},{-9 - k},{10 * (k // 3)}\n" for k in range(6)
)
PAIRS = "".join(json.dumps({"prompt": f"{k}?", "chosen": " yes", "rejected": " no"}) + "\n" for k in range(6))
TRAIN = (
    "model: model\npairs: pairs.jsonl\nout: out\nloss: [logistic, squared]\nbeta: 0.1\nsteps: 2\nbatch: 2\nseed: [0]\n"
)
STUDY = "preset: tiny\ngrid: {losses: [logistic, squared], strengths: [0.1, 1.0], seeds: [0]}\ntraining: {steps: 4}\n"
STUDY_TOML = 'preset = "tiny"\n[training]\nsteps = 4\n[grid]\nlosses = ["logistic"]\n'


# -- a command line ----------------------------------------------------------------------------------------------------


@dataclass
class Call:
    """A command line, and what in it was made to be wrong."""

    verb: Verb
    words: list[str]
    odd: list[tuple[str, str]]  # option (or "") and value

    def __str__(self) -> str:
        program = self.verb.program
        return f"{program if program == 'gpo' else f'python -m {program.split()[0]}'} {' '.join(map(repr, self.words))}"


def call_of(programs: Sequence[str], chance: random.Random) -> Call:
    """Draw a command line."""
    verb = chance.choice(verbs(chance.choice(programs)))
    words, odd = list(verb.words), list[tuple[str, str]]()
    wrong = chance.random() < 0.75
    given = [
        one
        for one in verb.options
        if one.required or not one.names or chance.random() < min(0.3, 4 / len(verb.options))
    ]
    chance.shuffle(given)
    for one in given:
        strange = wrong and not odd and chance.random() < 0.5
        values = [_value(one, strange and k == 0, chance) for k in range(1 + (one.several and chance.randrange(3)))]
        if one.kind == "flag":
            words.append(chance.choice(one.names))
            continue
        if strange:
            odd.append((one.names[-1] if one.names else "", values[0]))
        if one.names:
            name = chance.choice(one.names)
            joined = name.startswith("--") and not one.several and chance.random() < 0.3
            words += [f"{name}={values[0]}"] if joined else [name, *values]
        else:
            words[len(verb.words) : len(verb.words)] = values
    if chance.random() < 0.05 and len(words) > len(verb.words):
        at = chance.randrange(len(verb.words), len(words))
        odd += [("", ""), ("", "")]  # whatever comes of it
        words[at : at + 1] = chance.choice(([], [words[at]] * 2, [chance.choice(ODD)]))
    return Call(verb, words, odd)


def _value(option: Option, strange: bool, chance: random.Random) -> str:
    """A value of an option, or something else."""
    if strange:
        return chance.choice(FILES if option.file and chance.random() < 0.6 else ODD)
    if option.choices:
        return chance.choice(option.choices)
    if option.kind == "int":
        return chance.choice(("1", "2", "3"))
    if option.kind == "float":
        return chance.choice(("0.1", "0.5", "1", "2"))
    hint = option.hint.lower()
    for part, values in _LIKELY:
        if re.search(part, hint):
            return chance.choice(values)
    return chance.choice(("a", "0.1", "logistic", *FILES[:9]))


_LIKELY = (
    (
        r"name=value",
        ("seeds=2", "points=5", "losses=[logistic]", "losses=[]", "seeds=x", "points=-1", "seed=1.5", "n=[", "seeds=",
         "points=1e400", "losses=[z]", "losses=nonsense", "=3", "seeds", "points=9999999999999999999999"),
    ),
    (r"^name ", ("losses", "taylor", "beta-sweep", "journals")),
    (r"loss", ("logistic", "squared", "exp(-z)", "dpo")),
    (r"^cell", ("logistic-0.1-s0-fresh",)),
    (r"config", ("train.yaml", "study.yaml", "study.toml", "damaged.yaml")),
    (r"\bout\b|figure", ("out", "out/x", "x.json", "x.md", "image.png")),
    (r"model", ("model",)),
    (r"pairs", ("pairs.jsonl",)),
    (r"records", ("records",)),
    (r"log", ("log.csv", "damaged.csv")),
    (r"comparisons|votes", ("votes.csv", "damaged.csv")),
    (r"scheduler", ("nonsense", "tcp://127.0.0.1:1")),
    (r"sizes?\b", ("5x40", "3x9")),
    (r"columns", ("winner=winner", "a=b")),
)  # fmt: skip


# -- a trial -----------------------------------------------------------------------------------------------------------


def laid(folder: Path, chance: random.Random) -> None:
    """Lay out the files that a trial may name."""
    for name in ("records", "figures", "model", "folder", "sealed"):
        (folder / name).mkdir()
    texts = {"votes.csv": VOTES, "log.csv": LOG, "pairs.jsonl": PAIRS, "train.yaml": TRAIN, "study.yaml": STUDY,
             "study.toml": STUDY_TOML, "empty": ""}  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, source in (
        ("damaged.csv", "votes.csv"),
        ("damaged.jsonl", "pairs.jsonl"),
        ("damaged.yaml", "train.yaml"),
    ):
        shutil.copy(folder / source, folder / name)
        for _ in range(chance.randrange(1, 4)):
            if (folder / name).stat().st_size:
                damaged(folder / name, folder / "log.csv", chance)
    if chance.random() < 0.5:
        lines = chance.choice((TRAIN, STUDY)).splitlines()
        at = chance.randrange(len(lines))
        key = lines[at].partition(":")[0]
        lines[at] = chance.choice(
            (f"{key}: {chance.choice(ODD)}", f"{key}: [1, [2]]", f"{key}: {{a: b}}", f"{key}x: 1", key, f"- {key}")
        )
        (folder / "damaged.yaml").write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    (folder / "bytes.bin").write_bytes(chance.randbytes(300))
    (folder / "unreadable").write_text(VOTES)
    (folder / "unreadable").chmod(0)
    (folder / "sealed").chmod(0o500)


@dataclass(frozen=True)
class End:
    """How a command ended."""

    code: int | None  # None: it was still at work
    out: str
    errors: str
    left: tuple[str, ...]  # new files
    seconds: float
    idle: bool = False  # it did not end, and did next to nothing


def ended(call: Call, folder: Path) -> End:
    """Run a command in a forked child, in ``folder``, with bounds on time and memory."""
    before = _files(folder)
    started = time.perf_counter()
    streams = folder.parent / "stdout", folder.parent / "stderr"
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _run(call, folder, streams)
    status, patience, idle = 0, time.monotonic() + WALL_SECONDS, False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > patience:
            idle = _processor_seconds(child) < 1.0
            os.killpg(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            break
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it started
    out, errors = (stream.read_text(encoding="utf-8", errors="replace") for stream in streams)
    signalled = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXCPU)
    code = None if signalled else os.waitstatus_to_exitcode(status)
    return End(code, out, errors, tuple(sorted(_files(folder) - before)), time.perf_counter() - started, idle)


def _processor_seconds(group: int) -> float:
    """What the processes of a group have used, with those that they have waited for (where the system lists them)."""
    used = [0.0] if Path("/proc/self/stat").exists() else [math.inf]
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = file.read_text().rpartition(")")[2].split()
            if int(words[2]) == group:
                used.append(sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK"))
    return sum(used)


def _run(call: Call, folder: Path, streams: tuple[Path, Path]) -> None:
    """In the child: become the command. Does not return."""
    os.setpgid(0, 0)
    redirected(*streams)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _without_privilege()
    os.environ.update(HF_HUB_OFFLINE="1", BROWSER="true", MPLBACKEND="Agg", PYTHONPATH=str(Path(__file__).parents[1]))
    leave(become(call.verb.program.split()[0], call.words))


def _without_privilege() -> None:
    """Give up what lets root read every file, where that is Linux's."""
    if os.geteuid() == 0 and sys.platform == "linux":
        import ctypes

        header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        ctypes.CDLL(None).capset(header, data)


def _files(folder: Path) -> set[str]:
    found = set()
    for root, folders, files in os.walk(folder):
        found.update(os.path.relpath(os.path.join(root, name), folder) for name in [*folders, *files])  # noqa: PTH118
    return found


def faults_of(call: Call, end: End) -> list[str]:
    """What is wrong with how a command ended, by kind."""
    serves = call.verb.program == "gpo" and "explore" in call.words[:1]  # until it is told to stop
    found = ["hang"] if end.code is None and end.idle and not serves else []
    if "Traceback (most recent call last)" in end.errors or end.code == 3 or "a fault of the program" in end.errors:
        found.append("traceback")
    if end.code is not None and end.code not in (0, 1, 2, 3):
        found.append("code")
    lines = [line for line in re.split(r"[\r\n]+", end.errors) if line.strip()]
    names = 1 if end.code == 2 else max(1, len(call.words))
    if end.code in (1, 2) and not (end.code == 1 and end.out and not lines) and not 1 <= len(lines) <= names:
        found.append("lines")
    if end.code == 2 and len(call.odd) == 1 and lines and not _names(lines[-1], call):
        found.append("nameless")
    if re.search(f"[\x00-\x08\x0b-\x1f{BEYOND_ASCII}]", (end.out + end.errors).replace("\r", "").replace("\x1b[A", "")):
        found.append("unseen")
    if (end.code == 2 and end.left) or (
        end.code is not None and any(".tmp/" in name and not name.endswith("lock") for name in end.left)
    ):
        found.append("written")
    return found


def _names(line: str, call: Call) -> bool:
    """Whether an error names an option of the verb, or a word of the call (as text, as Python's, or shortened)."""
    told = "".join(line.split())
    if any(name.startswith("--") and name in line for one in call.verb.options for name in one.names):
        return True
    words = [part for word in call.words[len(call.verb.words) :] for part in (word, word.partition("=")[2]) if part]
    return any(re.sub(r"\s+", "", text)[:12] in told for word in words for text in (word, repr(word)[1:-1]))


def trial(programs: Sequence[str], seed: int, number: int) -> tuple[Call, End, list[str]]:
    """One trial; the same for the same numbers."""
    chance = random.Random(f"{seed}/{number}")
    call = call_of(programs, chance)
    with tempfile.TemporaryDirectory(prefix="options-") as temporary:
        folder = Path(temporary) / "a" / "b"
        folder.mkdir(parents=True)
        laid(folder, chance)
        end = ended(call, folder)
        (folder / "sealed").chmod(0o700)
    return call, end, faults_of(call, end)


def main(arguments: list[str] | None = None) -> int:
    """Run the trials, print the counts; return 1 where a fault was found."""
    parser = Parser(prog="python -m fuzz.options", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--count", type=whole(1), default=1000, help="command lines in all (default: 1000)")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--program", choices=PROGRAMS, action="append", help="only this one; may be repeated")
    parser.add_argument("--say", type=whole(0), metavar="N", help="make this trial alone and print it whole")
    parser.add_argument("--json", action="store_true", help="the counts as JSON")
    add_keep(parser)
    given = parser.parse_args(arguments)
    keeper = Keeper(given.keep, "fuzz.options", "Command lines made of the parsers, a program a row.")
    programs = tuple(given.program or PROGRAMS)
    if given.say is not None:
        call, end, found = trial(programs, given.seed, given.say)
        print(f"{call}\n{end.out}{end.errors}code {end.code}, left {end.left}; {found or 'no fault'}")
        return int(bool(found))
    for program in programs:
        preloaded(program)
    counts: dict[str, Counter[str]] = {program: Counter() for program in programs}
    for number in range(given.count):
        call, end, found = trial(programs, given.seed, number)
        total = counts[call.verb.program]
        total["calls"] += 1
        total["busy" if end.code is None else f"code {end.code}"] += 1
        total.update(found)
        if found:
            said = " | ".join(end.errors.strip().splitlines()[-3:])
            print(
                f"{number}: {', '.join(found)}: {call!s:.400}: code {end.code}: {said:.400} {end.left[:3]}",
                file=sys.stderr,
                flush=True,
            )
    rows = [Tried.of(program, "calls", total, FAULTS, "calls") for program, total in counts.items() if total]
    keeper.keep("", rows, {"count": given.count, "seed": given.seed, "programs": programs})
    if given.json:
        print(json.dumps(counts))
    else:
        heads = ("calls", "code 0", "code 1", "code 2", "busy", *FAULTS)
        print(f"{'':<18}" + "".join(f"{head:>10}" for head in heads))
        for program, total in counts.items():
            print(f"{program:<18}" + "".join(f"{total[head]:>10}" for head in heads))
    return int(any(total[fault] for total in counts.values() for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
