"""Formulas as MathML, which browsers draw by themselves: no script, no fonts, nothing fetched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes
from latex2mathml.converter import convert

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def _inline(self, node: nodes.math) -> None:
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _display(self, node: nodes.math_block) -> None:
    label = f' id="{node["ids"][0]}"' if node.get("ids") else ""
    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    self.body.append(f'<div class="math"{label}>{number}{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _of_outputs(_app: Sphinx, doctree: nodes.document, _name: str) -> None:
    """Tables that objects show of themselves have formulas between dollars, which a notebook's page would draw."""
    for node in doctree.findall(nodes.raw):
        if node.get("format") == "html" and "$" in node.astext():
            text = re.sub(r"\$([^$]+)\$", lambda found: convert(found.group(1)), node.astext())
            node.replace_self(nodes.raw("", text, format="html"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.connect("doctree-resolved", _of_outputs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
