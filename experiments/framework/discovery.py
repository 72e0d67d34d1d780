"""Find the experiments: every module, or package of parts, in ``experiments/`` that makes a claim."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import experiments

FRAMEWORK = "framework"
"""The package beside the experiments that runs them."""
CLAIMS = "claims"
"""The index of claims, which are no experiments: ``experiments.framework.claims`` finds them."""
PARTS = ("CLAIM", "FIGURE", "PRESETS", "cells", "run", "check")


class UnknownExperiment(ValueError):
    """No experiment of that name; the message names the nearest."""


@dataclass(frozen=True)
class Experiment:
    """An experiment module, found by name and loaded when needed."""

    name: str
    module_name: str

    def load(self) -> ModuleType:
        """Import the module and check that it has every part of an experiment."""
        module = importlib.import_module(self.module_name)
        missing = [part for part in PARTS if not hasattr(module, part)]
        if missing:
            raise ValueError(f"{self.module_name} lacks {', '.join(missing)}; an experiment has {', '.join(PARTS)}")
        return module

    def config(self, preset: str) -> Any:
        """Return the configuration of ``preset``."""
        presets = self.load().PRESETS
        if preset not in presets:
            raise ValueError(f"experiment {self.name} has no preset {preset!r}; it has {', '.join(presets)}")
        config = presets[preset]
        if not is_dataclass(config):
            raise ValueError(f"preset {preset!r} of {self.name} is a {type(config).__name__}; accepted is a dataclass")
        return config

    def describe(self) -> dict[str, str]:
        """Return name, claim and figure, read from the text where they stand in it, without what the module imports.

        One that cannot be read or loaded says so in its claim.
        """
        try:
            written = _texts(self.module_name)
            if not {"CLAIM", "FIGURE"} <= set(written):
                module = self.load()
                written = {"CLAIM": module.CLAIM, "FIGURE": module.FIGURE}
        except Exception as error:  # one broken module must not hide the others
            return {"name": self.name, "claim": f"(cannot be loaded: {error})", "figure": ""}
        return {"name": self.name, "claim": written["CLAIM"], "figure": written["FIGURE"]}


def _texts(module_name: str) -> dict[str, str]:
    """Names at the top of a module that are given a literal text, and the texts."""
    where = importlib.util.find_spec(module_name)
    if where is None or where.origin is None or not where.origin.endswith(".py"):
        return {}
    body = ast.parse(Path(where.origin).read_bytes(), where.origin).body
    return {
        target.id: statement.value.value
        for statement in body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        if isinstance(statement.value.value, str)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


def find_experiments() -> tuple[Experiment, ...]:
    """Return every experiment, by name."""
    found = [
        Experiment(info.name.replace("_", "-"), f"experiments.{info.name}")
        for info in pkgutil.iter_modules(experiments.__path__)
        if info.name not in (FRAMEWORK, CLAIMS) and not info.name.startswith("_")
    ]
    return tuple(sorted(found, key=lambda experiment: experiment.name))


def get_experiments(names: list[str]) -> tuple[Experiment, ...]:
    """Return the named experiments, each once, in the order given.

    Raises
    ------
    UnknownExperiment
        For the first unknown name, with the nearest known one.
    """
    known = {experiment.name: experiment for experiment in find_experiments()}
    for name in names:
        if name.replace("_", "-") not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"accepted are {', '.join(known)}"
            raise UnknownExperiment(f"no experiment {name!r}; {hint}")
    return tuple({name.replace("_", "-"): known[name.replace("_", "-")] for name in names}.values())


def figure_module(name: str) -> ModuleType:
    """The module of a figure, found by its name as experiments are: a record's figure is a name, nothing more."""
    return importlib.import_module(f"figures.{name.replace('-', '_')}")
