"""A self-contained HTML page: template, style, figures and their viewer in one file that opens offline.

Belongs here: what the report and the validation page share. Does not belong here: what a page shows.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from elv_pipeline.publishing.pages.content import NOT_AVAILABLE

Facts = TypeVar("Facts", bound=Sized)

START_FIGURES = """
const specs = JSON.parse(document.getElementById("figure-specs").textContent);
const theme = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
const options = {mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: {theme}};
for (const [key, spec] of Object.entries(specs)) {
  const place = document.getElementById("figure-" + key);
  const limit = spec.config.axisY.labelLimit;  // long names must leave room for the figure on a telephone
  spec.config.axisY.labelLimit = Math.min(limit, Math.round(place.clientWidth * 0.42));
  const room = spec.config.axisY.labelLimit / 6.6;
  for (const param of spec.params || []) {
    if (param.name === "label_characters") param.value = Math.max(12, Math.floor(room));
  }
  spec.config.legend.columns = place.clientWidth < 400 ? 1 : place.clientWidth < 560 ? 2 : 3;
  spec.config.font = getComputedStyle(place).fontFamily;
  vegaEmbed(place, spec, options).catch((error) => { place.textContent = "This figure failed: " + error.message; });
}
addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details")) part.open = true; });
"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure for the template; ``spec`` is None where it is not available and ``subtitle`` then says why."""

    key: str
    title: str
    subtitle: str
    spec: dict[str, Any] | None


def rendered_page(template: str, figures: Mapping[str, Figure], **parts: Any) -> str:
    """One HTML document that loads nothing from anywhere; same parts, same text."""
    specs = {key: figure.spec for key, figure in figures.items() if figure.spec is not None}
    environment = _environment()
    return environment.get_template(template).render(
        figures=figures,
        specs=Markup(_harmless(json.dumps(specs, sort_keys=True, separators=(",", ":"), allow_nan=False))),
        scripts=[Markup(script) for script in (viewer(), START_FIGURES)],
        script_hashes=[_digest(script) for script in (viewer(), START_FIGURES)],
        style=Markup(environment.get_template("report.css").render()),
        **parts,
    )


def drawn(key: str, name: str, facts: Facts | None, draw: Callable[[Facts], alt.Chart], *, reason: str) -> Figure:
    """A figure of a page, or why it is not there."""
    if facts is None or not len(facts):
        return Figure(key=key, title=f"{name}: {NOT_AVAILABLE}", subtitle=f"Because: {reason}.", spec=None)
    spec = draw(facts).to_dict(validate=False)  # the tests validate; doing it here would double the time
    title = spec.pop("title")  # becomes a heading of the page, where it wraps on a telephone
    del spec["$schema"]
    spec |= {"width": "container", "background": "transparent", "autosize": {"type": "fit-x", "contains": "padding"}}
    return Figure(key=key, title=title["text"], subtitle=title["subtitle"], spec=spec)


@cache
def viewer() -> str:
    """The Vega viewer as one script, which takes a second to build; it sets ``window.vegaEmbed``."""
    return str(vl_convert.javascript_bundle())  # type: ignore[call-arg]  # its stub forgets the default


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("elv_pipeline.publishing.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _digest(script: str) -> str:
    """Hash for the content security policy: only these very scripts may run, so no name in the data ever can."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _harmless(document: str) -> str:
    """JSON that can neither end its script element nor open a comment, whatever the names in it are."""
    return document.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
