"""The names under which β is written in libraries and papers: what is said of one before computer algebra is loaded.

What stands behind a name is in :mod:`gpo_analysis.analysis.convention_rows`.
"""

from __future__ import annotations

import difflib
import re

from gpo_analysis.loss_names import OF_MARGINS, OF_TWO_RATIOS, some_of

#: Of other libraries and of papers, in the dictionary's order, each with its aliases.
OF_OTHERS: dict[str, tuple[str, ...]] = {
    "trl:sigmoid": ("trl:dpo",),
    "trl:hinge": ("trl:slic",),
    "trl:ipo": (),
    "trl:robust": (),
    "trl:exo_pair": ("trl:exo",),
    "trl:discopop": (),
    "trl:sigmoid_norm": ("trl:dpo_norm",),
    "trl:nca_pair": (),
    "trl:bco_pair": (),
    "trl:sppo_hard": (),
    "trl:apo_zero": (),
    "trl:apo_down": (),
    "trl:sft": (),
    "trl:aot": (),
    "trl:aot_unpaired": (),
    "openrlhf:dpo": ("openrlhf:sigmoid",),
    "openrlhf:ipo": (),
    "torchtune:dpo": ("torchtune:sigmoid",),
    "torchtune:rso": ("torchtune:hinge", "torchtune:slic"),
    "torchtune:ipo": (),
    "llama-factory:sigmoid": ("llama-factory:dpo",),
    "llama-factory:hinge": ("llama-factory:slic",),
    "llama-factory:ipo": (),
    "axolotl:dpo": ("axolotl:sigmoid",),
    "axolotl:ipo": (),
    "unsloth:dpo": ("unsloth:sigmoid",),
    "unsloth:ipo": (),
    "verl:dpo": ("verl:sigmoid",),
    "verl:ipo": (),
    "nemo-rl:dpo": ("nemo-rl:sigmoid", "nemo:dpo"),
    "nemo-rl:dpo-average": (),
    "halos:dpo": (),
    "halos:cdpo": (),
    "dpo-reference:dpo": ("dpo-paper:beta", "arxiv:2305.18290"),
    "dpo-reference:ipo": (),
    "ipo-paper:tau": ("ipo:tau", "arxiv:2310.12036"),
    "arxiv:2405.08448": ("online-offline:ipo",),
    "bandit:ipo": (),
}


def convention_names() -> dict[str, tuple[str, ...]]:
    """Every convention with its aliases, GPO's own of the losses of the catalogue first.

    Examples
    --------
    >>> convention_names()["gpo:hinge"], convention_names()["trl:sigmoid"]
    (('gpo:slic',), ('trl:dpo',))
    """
    own = {**OF_MARGINS, **OF_TWO_RATIOS}
    return {**{f"gpo:{name}": tuple(f"gpo:{one}" for one in more) for name, more in own.items()}, **OF_OTHERS}


def find_convention(name: object) -> str | None:
    """The convention of that name or alias; None for what may be an expression in z, or in a and b.

    Parameters
    ----------
    name : str

    Raises
    ------
    ValueError
        For another name, with the nearest; for a library without its loss, with its losses.

    Examples
    --------
    >>> find_convention("DPO"), find_convention("trl:dpo"), find_convention("log(cosh(1-z))")
    ('gpo:logistic', 'trl:sigmoid', None)
    """
    names = convention_names()
    known = {alias: proper for proper, aliases in names.items() for alias in (proper, *aliases)}
    key = name.strip().lower().replace(" ", "") if isinstance(name, str) else ""
    for candidate in (key, key.replace("_", "-"), key.replace("-", "_")):
        for written in (candidate, f"gpo:{candidate}"):
            if written in known:
                return known[written]
    if ":" not in key and re.search(r"(?<![a-z_])[abz](?![a-z_])", key):
        return None
    of_library = [proper for proper in names if proper.startswith(f"{key}:")]
    if of_library:
        raise ValueError(f"{name!r} is a library; accepted are its losses: {', '.join(of_library)}")
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown convention {name!r}{hint} (known: {some_of(names, 'gpo conventions')})")
