"""Results of long runs that are committed: one small record an experiment, apart from what a run makes afresh.

``python -m experiments keep NAME`` copies the latest record of an experiment from the folder of fresh records to
``results/``, in place of the one kept before. Figures and report say of everything drawn from there that it is a
committed result, with commit, device and versions.

``python -m experiments recheck NAME`` decides the claims of a kept record anew, from its own table by the checks of
today: nothing is computed again but verdicts and the paragraph. Where they come out otherwise the record is written
anew, and says that, and by which commit; where they do not it stays as it is, under the key that it has.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.framework.discovery import Experiment
from gpo_analysis.provenance import code_hash
from gpo_analysis.records import Record, find_records, record_key
from gpo_analysis.runs import latest_record, replace_record

RESULTS = Path("results")
MOST_BYTES = 1_000_000
"""Size of the largest record that may be committed."""
MOST_BYTES_IN_ALL = 20_000_000
"""Size that all of them together may have."""


class TooLarge(ValueError):
    """A record is not fit to be committed; the message says by how much."""


class NotClean(ValueError):
    """A record was made from files that no commit holds."""


def keep_result(name: str, records: Path, results: Path = RESULTS) -> tuple[Record, Path]:
    """Copy the latest record of an experiment to the committed results; return it and its folder.

    Parameters
    ----------
    name : str
        Name of the experiment.
    records : path
        Folder of fresh records.
    results : path
        Folder of committed ones.

    Raises
    ------
    RecordError
        Where there is no record, or it is damaged.
    TooLarge
        Where it, or all committed records with it, would be too large; what was committed before then stays.
    NotClean
        Where the record was made from uncommitted changes: nobody could make it again from the commit it names.
    """
    record = latest_record(records, name)
    git = record.meta.get("git")
    if isinstance(git, dict) and git.get("dirty"):
        raise NotClean(
            f"the record of {name} was made with uncommitted changes over {str(git.get('commit'))[:10]}; commit them "
            "and run it again"
        )
    older = find_records(results, name)
    size = _size(records / name / record.key)
    if size > MOST_BYTES:
        raise TooLarge(f"the record of {name} has {size:,} bytes; at most {MOST_BYTES:,} are committed")
    others = sum(_size(folder) for folder in find_records(results) if folder not in older)
    if others + size > MOST_BYTES_IN_ALL:
        raise TooLarge(f"with {name} {results} would hold {others + size:,} bytes; at most {MOST_BYTES_IN_ALL:,}")
    return record, replace_record(record, results)


def recheck_result(experiment: Experiment, results: Path, git: Mapping[str, Any]) -> tuple[Record, Path]:
    """Decide the claims of a committed result anew, from its table; return the record and its folder.

    Table, configuration, seed, versions, commit, device and times of the run stay; ``meta["checked"]`` says by which
    commit and when the claims were decided. Where claims, verdicts and the paragraph are those that the record has,
    it is left as it is, whatever code came since.

    Parameters
    ----------
    experiment : Experiment
    results : path
        Folder of committed results.
    git : mapping
        Commit and state of the checks (`gpo_analysis.provenance.git_state`), before the first record was written.

    Raises
    ------
    RecordError
        Where there is no record, or it is damaged.
    NotClean
        Where the checks have changes that no commit holds.
    ValueError
        Where the record's configuration is not one of today's experiment, or its table lacks what a check needs.
    """
    record = latest_record(results, experiment.name)
    module = experiment.load()
    if git.get("dirty"):
        at = str(git["commit"])[:10]
        raise NotClean(
            f"the checkout has untracked files or uncommitted changes over {at}: the checks of {experiment.name} would "
            "be those of no commit"
        )
    config = _config_of(module.Config, record.config, experiment.name)
    try:
        checks = [check.to_json() for check in module.check(config, record.table)]
        summary = " ".join(module.summary(config, record.table).split())
    except (KeyError, IndexError) as error:
        raise ValueError(
            f"the table of {experiment.name} lacks what its checks need ({error}); run it again"
        ) from error
    decided = {"claim": module.CLAIM, "figure": module.FIGURE, "checks": checks, "summary": summary}
    if _told(decided) == _told({name: record.meta.get(name) for name in decided}):
        return record, results / record.name / record.key
    code = code_hash(experiment.module_name)
    now = {"finished": datetime.now(UTC).isoformat(timespec="seconds")}
    of_run = str(record.meta.get("code_hash_of_run") or record.meta.get("code_hash", ""))
    meta = {
        **record.meta, **decided, "checked": {"git": dict(git), **now}, "code_hash": record_key(of_run, code),
        "code_hash_of_run": of_run,
    }  # fmt: skip
    new = Record(record.name, record.config, record.table, meta)
    return new, replace_record(new, results)


def _told(value: Any) -> Any:
    """As JSON reads it back, without what is empty: a field that is new since says nothing of an older claim."""
    value = json.loads(json.dumps(value))
    if isinstance(value, dict):
        return {name: told for name, one in value.items() if (told := _told(one)) not in ("", None, [])}
    return [_told(one) for one in value] if isinstance(value, list) else value


def _config_of(kind: type[Any], values: Mapping[str, Any], name: str) -> Any:
    """A configuration from the plain values of a record; fields that it has not have today's defaults."""
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"the record of {name} has the fields {', '.join(unknown)}, which its Config has not")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
