"""What the tests of figures ask of a still picture."""

from __future__ import annotations

import base64
import struct

import altair as alt

from elv_pipeline.publishing.pages.stills import still_picture


def size_of_still(chart: alt.Chart) -> tuple[int, int]:
    """Width and height of a chart's still picture, which is a PNG small enough to travel inside metadata."""
    uri = still_picture(chart)
    assert len(uri) < 60_000
    header = base64.b64decode(uri.removeprefix("data:image/png;base64,"))[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:24])
    return width, height
