"""Which tests are tried on a fault."""

from __future__ import annotations

from mutation.faults import Mutant
from mutation.selection import Chosen, Contexts


def contexts() -> Contexts:
    """Of three tests the first executes line 1 of a module, the others none of it."""
    found = object.__new__(Contexts)
    found.lines = {"library/words.py": {1: 0b001}}
    found.tests = [
        Chosen("tests/other/test_use.py::test_use", "tests/other/test_use.py", 0.1),
        Chosen("tests/library/test_words.py::test_table", "tests/library/test_words.py", 0.1),
        Chosen("tests/other/test_far.py::test_far", "tests/other/test_far.py", 0.1),
    ]
    return found


def fault(*, inside: bool) -> Mutant:
    return Mutant("library/words.py::module::string::1", "library/words.py", "string", (1, 1), inside, (0, "a", "b"))


def test_a_table_is_tried_by_the_test_file_of_its_module_too() -> None:
    tried = [test.test for test in contexts().tests_of(fault(inside=False))]
    assert sorted(tried) == ["tests/library/test_words.py::test_table", "tests/other/test_use.py::test_use"]


def test_a_statement_is_tried_by_the_files_whose_tests_execute_it() -> None:
    tried = [test.test for test in contexts().tests_of(fault(inside=True))]
    assert tried == ["tests/other/test_use.py::test_use"]
