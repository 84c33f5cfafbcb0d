"""Still pictures of charts, small enough to travel inside metadata.

Belongs here: rendering a chart to a picture. Does not belong here: the charts.
"""

from __future__ import annotations

import base64
import struct
import zlib

import altair as alt
import numpy as np
import vl_convert

STILL_LIMIT_BYTES = 60_000


def still_picture(chart: alt.Chart) -> str:
    """A PNG data URI on white of less than 60 kB, for places that show no interactive figure."""
    spec = chart.to_dict(validate=False)  # the tests validate; doing it here would double the time
    for scale in (1.5, 1.25, 1.0, 0.75, 0.5, 0.25):
        picture = vl_convert.vegalite_to_png(spec, scale=scale, config={"background": "white", "padding": 12})
        text = base64.b64encode(_palette_png(picture)).decode("ascii")
        if len(text) < STILL_LIMIT_BYTES - 100:
            break
    return f"data:image/png;base64,{text}"


def _palette_png(picture: bytes) -> bytes:
    """The same opaque picture in its few colours: about a tenth of what the renderer writes.

    The renderer compresses for speed and predicts every pixel from its left neighbour (filter 1 of the PNG standard,
    ISO 15948); a picture written in another way is returned as it is.
    """
    width, height = struct.unpack(">II", picture[16:24])
    at, packed = 8, b""
    while at < len(picture):
        length = struct.unpack(">I", picture[at : at + 4])[0]
        packed += picture[at + 8 : at + 8 + length] if picture[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + length
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 4 * width)
    if (lines[:, 0] != 1).any():
        return picture
    pixels = np.cumsum(lines[:, 1:].reshape(height, width, 4), axis=1, dtype=np.uint8) >> 4
    codes = pixels[..., 0].astype(np.uint16) << 8 | pixels[..., 1].astype(np.uint16) << 4 | pixels[..., 2]
    present = np.bincount(codes.ravel(), minlength=1 << 12) > 0  # a picture has many pixels: not worth sorting
    colours = np.flatnonzero(present)
    if len(colours) > 256:
        return picture
    body = np.zeros((height, 1 + width), np.uint8)  # the leading zero of each line: no prediction
    body[:, 1:] = (np.cumsum(present) - 1).astype(np.uint8)[codes]
    palette = np.stack([colours >> 8, colours >> 4 & 15, colours & 15], axis=1).astype(np.uint8) * 17
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(body.tobytes(), 9)),
        (b"IEND", b""),
    )
    return picture[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
