"""Texts and files inside a call: `[0, text]`, or `[1, base64 of zlib]` from 512 bytes on.

Source: facts/node-rpc.json, transport.encodings.compressed.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from ganeti.errors import ParseError

PLAIN, ZLIB_BASE64 = 0, 1
COMPRESSED_FROM_BYTES = 512
LEVEL = 3
LIMIT_BYTES = 64 * 1024 * 1024


def pack(contents: bytes | str) -> tuple[int, str]:
    """The form for the wire. Bytes that are no UTF-8 text are always compressed."""
    plain = contents.encode() if isinstance(contents, str) else contents
    if len(plain) < COMPRESSED_FROM_BYTES:
        try:
            return PLAIN, plain.decode()
        except UnicodeDecodeError:
            pass
    return ZLIB_BASE64, base64.b64encode(zlib.compress(plain, LEVEL)).decode("ascii")


def unpack(packed: tuple[int, str], limit: int = LIMIT_BYTES) -> bytes:
    """The contents; ParseError when the form is wrong or they have more than `limit` bytes."""
    kind, text = packed
    if kind == PLAIN:
        contents = text.encode()
    elif kind == ZLIB_BASE64:
        contents = _inflate(text, limit)
    else:
        raise ParseError(f"packed contents: encoding {kind} is not known")
    if len(contents) > limit:
        raise ParseError(f"packed contents: more than {limit} bytes")
    return contents


def _inflate(text: str, limit: int) -> bytes:
    try:
        inflater = zlib.decompressobj()
        contents = inflater.decompress(base64.b64decode(text, validate=True), limit + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ParseError(f"packed contents: {error}") from error
    if len(contents) <= limit and not inflater.eof:
        raise ParseError("packed contents: cut off")
    return contents
