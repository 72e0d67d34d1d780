"""Which faults are made, what is left out, and that their names and order stay what they are."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from mutation.faults import mutated_source
from mutation.mutants import drawn, mutants_of


def faults(source: str, folder: Path) -> set[str]:
    """Lines that the faults of a file put in."""
    (folder / "one.py").write_text(source, encoding="utf-8")
    found = set()
    for mutant in mutants_of("one.py", folder):
        after = mutated_source(mutant, folder)
        lines = difflib.unified_diff(source.splitlines(), after.splitlines(), n=0, lineterm="")
        found.add("\n".join(line[1:].strip() for line in lines if line[0] == "+" and not line.startswith("+++")))
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a, b):\n    return a + b\n", {"return a - b"}),
        ("def f(a):\n    return a <= 3\n", {"return a < 3", "return a <= 4"}),
        ("def f(a):\n    if not a:\n        return 'key'\n", {"if a:", "return 'XXkeyXX'", "return 'KEY'"}),
        ("def f(a, b):\n    a += b\n", {"a = b", "a -= b"}),
        ("def f(a, b=2):\n    return g(a, axis=b)\n", {"def f(a, b=3):", "return g(a, )"}),
        ("@cached\ndef f(a):\n    return a * 2\n", {"return a / 2", "return a * 3"}),
        ("class A:\n    size: int = 4\n", {"size: int = 5", "size: int = None"}),
        ("N = 4\n", {"N = 5", "N = None"}),
        (
            "def f(a):\n    match a:\n        case b if (\n            b > g(\n                1\n            )\n"
            "        ):\n            pass\n",
            {"b >= g(", "2"},
        ),
    ],
)
def test_every_place_that_counts_is_given_its_faults(source: str, expected: set[str], tmp_path: Path) -> None:
    assert faults(source, tmp_path) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""Text."""\nimport a.b as c\n__all__ = ["f"]\n',
        "def f(a: 'int' = A, *, b: Literal['x', 'y']) -> dict[str, 'T'] | None:\n    'text'\n    return g(a)\n",
        "def f(a):\n    raise ValueError('text')\n",
        "def f(a):\n    raise ValueError('text ' + a, cause=f'{a}') from None\n",
        "def f(a):\n    warnings.warn('text', stacklevel=2)\n",
        "def f(a):\n    return g(a, 'two words of text', help='text')\n",
        "def f(a, b):\n    return zip(a, b, strict=True)\n",
        "def f(a):\n    return cast('list[int]', a)\n",
        "if TYPE_CHECKING:\n    A = 1\nif __name__ == '__main__':\n    main(1)\n",
        "@given(a=1)\ndef f():\n    return g()\n",
        "@overload\ndef f(a=1): ...\n",
        "class A(Protocol):\n    a = 1\n",
        "def f(a):\n    return g(a, h(a))\n",
    ],
)
def test_what_no_test_should_fix_is_left_alone(source: str, tmp_path: Path) -> None:
    assert faults(source, tmp_path) - {"raise ValueError('text ' - a, cause=f'{a}') from None"} == set()


def test_names_outlive_changes_of_other_functions_and_samples_are_prefixes(tmp_path: Path) -> None:
    before = "def f(a):\n    return a + 1\n\n\ndef g(a):\n    return a * 2 if a > 3 else -a\n"
    (tmp_path / "one.py").write_text(before)
    first = drawn(mutants_of("one.py", tmp_path), 7)
    (tmp_path / "one.py").write_text(before.replace("return a + 1", "b = a + 1\n    return b * 3"))
    names = [mutant.name for mutant in drawn(mutants_of("one.py", tmp_path), 7)]
    of_g = [mutant.name for mutant in first if "::g::" in mutant.name]
    assert [name for name in names if "::g::" in name] == of_g
    assert len(of_g) >= 6
    assert of_g != sorted(of_g)
    assert names != [mutant.name for mutant in drawn(mutants_of("one.py", tmp_path), 8)]


def test_faults_know_the_lines_that_a_test_must_execute(tmp_path: Path) -> None:
    source = (
        "X = 1\n\n\ndef f(\n    a=2,\n):\n    if (\n        a > 3\n    ):\n        return g(\n            5\n        )"
    )
    (tmp_path / "one.py").write_text(source)
    found = {mutant.name.split("::", 1)[1]: (mutant.lines, mutant.inside) for mutant in mutants_of("one.py", tmp_path)}
    assert found["module::number::1"] == ((1, 1), False)
    assert found["f::number::1"] == ((4, 12), True)  # a default: any test of the function
    assert found["f::swap_op::1"] == ((7, 9), True)
    assert found["f::number::3"] == ((10, 12), True)
