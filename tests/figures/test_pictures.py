"""A picture passes for no other: after every interrupted or failed drawing, and whatever is on disk in its place."""

from __future__ import annotations

import dataclasses
import errno
import os
import random
import re
from pathlib import Path

import pandas as pd
import pytest

from figures.framework import pictures
from figures.framework.pictures import Drawn, NotShown, read_picture, write_picture
from figures.framework.report import to_html, write_report
from gpo_analysis.records import Record, read_record, write_record
from gpo_analysis.runs import RunStatus, write_catalogue, write_status

PNG = b"\x89PNG\r\n\x1a\n"


def written(out: Path, value: int) -> Record:
    meta = {"claim": "c", "figure": "fig", "checks": [], "code_hash": str(value)}
    record = Record("demo", {"value": 1}, pd.DataFrame({"x": [value]}), meta)
    found = read_record(write_record(record, out))
    write_status(RunStatus("demo", "quick", "complete", key=found.key), out)
    return found


def draw(record: Record, out: Path) -> bytes:
    """Draw a stand-in for a picture: its bytes say which record it shows."""
    png = PNG + f"value {record.table.x[0]}".encode()
    write_picture("fig", {"png": png, "pdf": b"%PDF"}, "A caption", {"demo": record}, out, committed=False)
    return png


def shown(page: str, out: Path) -> list[bytes]:
    """The pictures of a report: no other file lies beside it, and it reaches for no other."""
    names = re.findall(r'src="([^"]*)"', page)
    assert sorted(names) == sorted(f"report_pictures/{path.name}" for path in (out / "report_pictures").glob("*"))
    return [(out / name).read_bytes() for name in names]


def report_on(records: Path, out: Path) -> str:
    write_report(records, out / "figures", out)
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("failing", [*range(4), None])
def test_a_drawing_that_stops_anywhere_leaves_no_picture_beside_another_table(
    tmp_path: Path, failing: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, out = tmp_path / "records", tmp_path
    old = draw(written(records, 1), out / "figures")
    assert shown(report_on(records, out), out) == [old]
    newer = written(records, 2)
    assert shown(report_on(records, out), out) == []
    calls = []
    write_whole = pictures.write_whole

    def stopping(path: Path, data: bytes, folder: Path) -> None:
        calls.append(path)
        if len(calls) - 1 == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_whole(path, data, folder)

    monkeypatch.setattr(pictures, "write_whole", stopping)
    if failing is None:
        new = draw(newer, out / "figures")
        assert [path.suffix for path in calls] == [".txt", ".png", ".pdf", ".json"]
        assert shown(report_on(records, out), out) == [new]
    else:
        with pytest.raises(OSError, match="No space left"):
            draw(newer, out / "figures")
        page = report_on(records, out)
        assert shown(page, out) == []
        assert "python -m figures draw fig" in page


def damaged(folder: Path, what: str) -> None:
    png, sidecar = folder / "fig.png", folder / "fig.json"
    if what == "flipped":
        data = bytearray(png.read_bytes())
        data[random.Random(0).randrange(len(data))] ^= 4
        png.write_bytes(bytes(data))
    elif what == "another's":
        png.write_bytes(PNG + b"another")
    elif what == "caption":
        sidecar.write_bytes(sidecar.read_bytes().replace(b"A caption", b"B caption"))
    elif what == "renamed":
        for ending in ("png", "json"):
            (folder / f"fig.{ending}").rename(folder / f"other.{ending}")
    elif what == "no sidecar":
        sidecar.unlink()
    else:
        png.unlink()


@pytest.mark.parametrize(
    ("what", "name", "message"),
    [
        ("flipped", "fig", "is not the picture that was drawn last"),
        ("another's", "fig", "is not the picture that was drawn last"),
        ("caption", "fig", "cannot be read back"),
        ("renamed", "other", "is another figure"),
        ("no sidecar", "fig", "is not drawn"),
        ("no picture", "fig", "is not drawn"),
    ],
)
def test_what_is_not_this_picture_is_not_shown(tmp_path: Path, what: str, name: str, message: str) -> None:
    record = written(tmp_path / "records", 1)
    png = draw(record, tmp_path)
    assert read_picture("fig", {"demo": record}, tmp_path) == Drawn(
        "fig", "A caption", {"demo": record.key}, False, png
    )
    damaged(tmp_path, what)
    with pytest.raises(NotShown, match=message):
        read_picture(name, {"demo": record}, tmp_path)


def test_a_picture_of_another_state_or_kind_is_not_shown(tmp_path: Path) -> None:
    record = written(tmp_path / "records", 1)
    draw(record, tmp_path)
    with pytest.raises(NotShown, match="an earlier state of the record"):
        read_picture("fig", {"demo": dataclasses.replace(record, seal="0" * 64)}, tmp_path)
    with pytest.raises(NotShown, match="is another figure"):
        read_picture("fig", {"demo": record}, tmp_path, committed=True)
    with pytest.raises(NotShown, match="is not drawn"):
        read_picture("../fig", {"demo": record}, tmp_path / "below")


NAMES = [
    "![x](</etc/hostname>)",
    "x](/etc/hostname) ![y](<secret.png>",
    "a\n\n![x](secret.png)\n\n# b",
    "&lt;img src=x&gt;",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_embeds_a_file_or_makes_a_heading(tmp_path: Path, name: str) -> None:
    records = tmp_path / "records"
    (tmp_path / "secret.png").write_bytes(b"secret")
    record = written(records, 1)
    check = {
        "claim": f"loss {name}",
        "predicted": name,
        "computed": 1.0,
        "tolerance": None,
        "holds": True,
        "note": name,
    }
    meta = {**record.meta, "checks": [check], "summary": name, "preset": name, "code_hash": "names"}
    again = read_record(write_record(Record("demo", {}, record.table, meta), records))
    write_status(RunStatus("demo", "quick", "failed", name, key=again.key), records)
    listed = [("demo", name, "fig"), (name, name, name), ("never", name, name)]
    write_catalogue([dict(zip(("name", "claim", "figure"), item, strict=True)) for item in listed], records)
    draw(again, tmp_path / "figures")
    page = report_on(records, tmp_path)
    assert shown(page, tmp_path) == [PNG + b"value 1"]
    assert page.count("<img") == 1
    assert len(re.findall("<h[12]", page)) == 1 + 8 + len(listed)  # the title, the first page, an experiment each


def test_a_link_to_what_is_no_picture_of_the_report_stays_text(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    page = to_html("![what *it* shows](secret.png) ![fig](a.png)", {"a.png": "report_pictures/a-1.png"})
    assert re.findall(r'src="([^"]*)"', page) == ["report_pictures/a-1.png"]
    assert "what *it* shows" in page


def test_the_report_clears_away_what_a_killed_drawing_left(tmp_path: Path) -> None:
    draw(written(tmp_path / "records", 1), tmp_path / "figures")
    left = tmp_path / "figures" / ".tmp" / "left"
    left.mkdir()
    (left / "fig.png").write_bytes(PNG)
    report_on(tmp_path / "records", tmp_path)
    assert not left.exists()
