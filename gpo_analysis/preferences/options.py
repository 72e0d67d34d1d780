"""What one may say of a table of comparisons, and which of its columns are of use for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from gpo_analysis.preferences.layouts import Layout, layout_of, looks_like, side_name
from gpo_analysis.reading import in_words

COLUMNS = (
    "columns winner, loser and optionally count or votes, tie, prompt "
    "(or model_a, model_b, winner; response_a, response_b, winner; chosen, rejected)"
)


class ReadOptions(TypedDict, total=False):
    """How a table of comparisons is to be read: see :func:`gpo_analysis.preferences.read_comparisons`."""

    across_prompts: bool | None
    columns: Mapping[str, str] | None
    ignore: Sequence[str]
    separator: str | None
    covariates: Sequence[str]
    cluster: str
    position: str
    implicit_prompts: bool | None


class Asked:
    """The options, with what follows from them."""

    def __init__(self, options: ReadOptions) -> None:
        self.own = dict(options.get("columns") or {})
        self.across = options.get("across_prompts")
        self.implicit = options.get("implicit_prompts")
        self.cluster = options.get("cluster", "").strip().lower()
        self.covariates = tuple(name.strip().lower() for name in options.get("covariates", ()))
        self.position = options.get("position", "").strip().lower()
        self.ignored = {name.strip().lower() for name in options.get("ignore", ())}

    def within(self, layout: Layout) -> bool:
        """Whether items are compared within a prompt, if there are prompts."""
        return layout.within_prompts if self.across is None else not self.across

    def read(self, layout: Layout) -> set[str]:
        """Columns that are read, beside those of covariates."""
        prompt = {layout.prompt} if layout.prompt and (self.within(layout) or self.cluster == "prompt") else set()
        return {*layout.used, *prompt, *(name for name in (self.cluster, self.position) if name)} - {"row"}

    def kept(self, columns: Sequence[str]) -> set[str] | None:
        """Columns that are of use, or None where the layout is not known."""
        layout = layout_of(columns)
        if layout is None:
            return None
        known = self.read(layout)
        sides = {name for covariate in self.covariates for name in sides_of(covariate, layout, columns) or ()}
        return known | sides | {name for name in columns if name not in known and looks_like(name, layout)}


def sides_of(covariate: str, layout: Layout, columns: Sequence[str]) -> tuple[str, ...] | None:
    """The column of a covariate, or those of its first and second side; None where there is none.

    Examples
    --------
    >>> layout = layout_of(["model_a", "model_b", "winner"])
    >>> sides_of("tokens", layout, ["tokens_a", "tokens_b"]), sides_of("x", layout, ["x"])
    (('tokens_a', 'tokens_b'), ('x',))
    """
    have = {in_words_whole(name): name for name in reversed(list(columns))}
    if covariate in columns:
        return (covariate,)
    stem = in_words_whole(covariate)
    for one, two in ((layout.first, layout.second), (side_name(layout.first), side_name(layout.second))):
        for form in ("{stem}_{side}", "{side}_{stem}"):
            pair = tuple(have.get(form.format(stem=stem, side=side), "") for side in (one, two))
            if all(pair):
                return pair
    return None


def in_words_whole(name: str) -> str:
    """A column's name with _ between its parts, numbers at its end kept."""
    return in_words(f"{name}_x")[:-2]
