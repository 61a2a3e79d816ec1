"""Answers as bytes: JSON, compressed when asked for, kept while many clients ask for the same."""

import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

_ENCODER = msgspec.json.Encoder()
_KEPT = 16
_WORTH_COMPRESSING = 1400  # bytes; below, Consul's own compression does not start either
_GZIP = 16 + zlib.MAX_WBITS


class Bodies:
    """The last bodies of expensive answers, each in the encodings it was asked for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, dict[str, bytes]] = OrderedDict()

    def response(
        self, request: web.Request, value: Callable[[], Any], headers: dict[str, str], key: object = None
    ) -> web.Response:
        """Return an answer; one with a key is made once."""
        kept = self._kept.get(key) if key is not None else None
        if kept is None:
            kept = {"identity": _ENCODER.encode(value())}
            if key is not None:
                self._kept[key] = kept
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        body, headers = kept["identity"], {**headers, "Vary": "Accept-Encoding"}
        if "pretty" in request.query:
            body = msgspec.json.format(body, indent=4) + b"\n"
        elif len(body) >= _WORTH_COMPRESSING and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = kept.get("gzip") or kept.setdefault("gzip", _compressed(body))
        return web.Response(body=body, content_type="application/json", headers=headers)


def _compressed(body: bytes) -> bytes:
    compressor = zlib.compressobj(level=1, wbits=_GZIP)
    return compressor.compress(body) + compressor.flush()
