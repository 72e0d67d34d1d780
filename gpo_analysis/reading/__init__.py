"""Files that people bring: opened, decoded and cut into rows in one place, for every verb.

`text_of` opens (gzip, byte-order marks, encodings), `read_table` finds the rows of CSV and JSON with their lines,
`settings_in` reads YAML and TOML, `number_in` and `text_in` take single values strictly, `Names` says which spellings
are one name, and a `ReadReport` tells what was left out, joined or not used. Whatever is refused is refused with file,
line and what is accepted.
"""

from gpo_analysis.reading.files import text_of
from gpo_analysis.reading.names import Names
from gpo_analysis.reading.report import Joined, LeftOut, ReadReport
from gpo_analysis.reading.settings import setting_of, settings_in, yaml_of
from gpo_analysis.reading.tables import OneDocument, Row, Table, in_words, json_decoder, read_table
from gpo_analysis.reading.values import in_short, is_blank, is_finite, number_in, number_of, text_in
from gpo_analysis.reading.visible import on_one_line, shown, visible

__all__ = [
    "Joined",
    "LeftOut",
    "Names",
    "OneDocument",
    "ReadReport",
    "Row",
    "Table",
    "in_short",
    "in_words",
    "is_blank",
    "is_finite",
    "json_decoder",
    "number_in",
    "number_of",
    "on_one_line",
    "read_table",
    "setting_of",
    "settings_in",
    "shown",
    "text_in",
    "text_of",
    "visible",
    "yaml_of",
]
