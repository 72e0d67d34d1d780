"""Fields read from the text are those of the modules; what `list` and `describe` print of them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.framework.discovery import find_experiments, get_experiments
from experiments.framework.written import fields_written


@pytest.mark.parametrize("experiment", find_experiments(), ids=lambda experiment: experiment.name)
def test_the_text_says_what_the_module_holds(experiment) -> None:  # type: ignore[no-untyped-def]
    module = experiment.load()
    assert fields_written(experiment.module_name) == [field.name for field in dataclasses.fields(module.Config)]


def test_the_list_loads_no_experiment() -> None:
    code = """
import sys
from experiments.__main__ import main
from experiments.framework.discovery import find_experiments

main(["list"])
print([one.name for one in find_experiments() if one.module_name in sys.modules])
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_name_that_is_not_there() -> None:
    assert fields_written("experiments.losses", "Confug") == []


def test_the_list_says_which_take_losses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for experiment in find_experiments():
        (line,) = [line for line in printed.splitlines() if line.startswith(f"{experiment.name} ")]
        has = {field.name for field in dataclasses.fields(experiment.load().Config)}
        assert (" losses" in line[24:38]) == ("losses" in has), line
    main(["list", "--json"])
    first = json.loads(capsys.readouterr().out)[0]
    assert {"name", "claim", "figure", "fields"} <= set(first)


def test_fields_with_one_text_stand_together(capsys: pytest.CaptureFixture[str]) -> None:
    main(["describe", "kl-and-mu-square"])
    printed = capsys.readouterr().out
    assert printed.count("Time of the regularizing descent") == 1
    assert "regularizing_duration, learning_rate : float\n    Time of the" in printed
    assert "    quick  30.0, 0.05\n" in printed
    main(["describe", "kl-and-mu-square", "--json"])
    fields = {field["name"]: field for field in json.loads(capsys.readouterr().out)["fields"]}
    assert fields["learning_rate"]["together"] == ["regularizing_duration", "learning_rate"]
    assert "together" not in fields["beta"]
    assert get_experiments(["kl-and-mu-square"])[0].load().Config.__doc__ is not None
