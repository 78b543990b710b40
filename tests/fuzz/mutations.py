"""Damage to bytes, fields of headers and values of JSON: what a broken disk or program writes.

Nothing here knows a fault of this project. Every function draws from the rng that it is given, so
that a seed gives the same damage again.
"""

import json
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

MAGICS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3\x03", b"riff", b"\0\0\0\0")
# From the start of a FLAC file, in bits: magic, block header, STREAMINFO (RFC 9639, section 8.2).
FLAC_WIDTHS = (32, 1, 7, 24, 16, 16, 24, 24, 20, 3, 5, 36, 64, 64)
FMT_WIDTHS = (16, 16, 32, 32, 16, 16)
# The deepest nesting, and the most digits and characters, that one value gets.
MAX_DEPTH, MAX_DIGITS, MAX_CHARACTERS = 200_000, 10_000, 4_000_000


@dataclass(frozen=True, slots=True)
class Field:
    """A number in a header. first_bit counts from the start of the file."""

    first_bit: int
    n_bits: int
    order: str  # "little" or "big"; "little" begins and ends at whole bytes


def odd_number(rng: random.Random, n_bits: int, value: int) -> int:
    """Return a value of n_bits at a limit, near the present value, or anything."""
    top = (1 << n_bits) - 1
    near = value + rng.choice((-1, 1)) * rng.choice((1, 2, rng.randint(3, 5000)))
    limits = (0, 1, top, top >> 1, (top >> 1) + 1, top - rng.randint(0, 0x2000))
    return rng.choice((*limits, near, near, value // 2, value * 2, rng.randint(0, top))) & top


def log_uniform(rng: random.Random, top: int) -> int:
    """Return a number from 1 to top, each order of magnitude as likely as another."""
    return int(top ** rng.random())


# --- Bytes ---


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Damage bytes in one of the ways of DAMAGES."""
    return rng.choice(DAMAGES)(rng, content)


def _slice(rng: random.Random, content: bytes) -> tuple[int, int]:
    """The start and the end of a slice; headers are hit as often as the rest."""
    start = rng.randint(0, rng.choice((min(64, len(content)), len(content))))
    return start, min(len(content), start + log_uniform(rng, max(1, len(content))))


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randint(0, len(content))]


def _cut_a_little(rng: random.Random, content: bytes) -> bytes:
    return content[: -log_uniform(rng, 5000)]


def _overwritten(rng: random.Random, content: bytes) -> bytes:
    start, end = _slice(rng, content)
    fill = rng.choice((bytes(end - start), b"\xff" * (end - start), rng.randbytes(end - start)))
    return content[:start] + fill + content[end:]


def _one_byte(rng: random.Random, content: bytes) -> bytes:
    start, _ = _slice(rng, content)
    return content[:start] + rng.randbytes(1) + content[start + 1 :]


def _removed(rng: random.Random, content: bytes) -> bytes:
    start, end = _slice(rng, content)
    return content[:start] + content[end:]


def _repeated(rng: random.Random, content: bytes) -> bytes:
    start, end = _slice(rng, content)
    return content[:end] + content[start:]


def _inserted(rng: random.Random, content: bytes) -> bytes:
    start, _ = _slice(rng, content)
    return content[:start] + rng.randbytes(log_uniform(rng, 300)) + content[start:]


def _more_at_the_end(rng: random.Random, content: bytes) -> bytes:
    n_bytes = log_uniform(rng, 5000)
    return content + rng.choice((bytes(n_bytes), rng.randbytes(n_bytes)))


def _other_magic(rng: random.Random, content: bytes) -> bytes:
    return rng.choice(MAGICS) + content[4:]


DAMAGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _cut, _cut_a_little, _overwritten, _one_byte, _removed, _repeated, _inserted,
    _more_at_the_end, _other_magic,
)  # fmt: skip


# --- Headers ---


def with_an_odd_field(rng: random.Random, content: bytes) -> bytes:
    """Set one number of a header to an odd value; in a format not known here, any number."""
    if content[:4] == b"fLaC":
        fields = list(_flac_fields())
    elif content[:4] in (b"RIFF", b"RF64"):
        fields = list(_riff_fields(content))
    else:
        fields = [_any_field(rng)]
    field = rng.choice(fields)
    return _with_field(content, field, lambda value: odd_number(rng, field.n_bits, value))


def _flac_fields() -> Iterator[Field]:
    first_bit = 0
    for n_bits in FLAC_WIDTHS:
        yield Field(first_bit, n_bits, "big")
        first_bit += n_bits


def _riff_fields(content: bytes) -> Iterator[Field]:
    yield Field(32, 32, "little")
    start = 12
    while start + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, start)
        yield Field(8 * start + 32, 32, "little")
        if name == b"fmt ":
            first_bit = 8 * (start + 8)
            for n_bits in FMT_WIDTHS:
                yield Field(first_bit, n_bits, "little")
                first_bit += n_bits
        start += 8 + size + size % 2


def _any_field(rng: random.Random) -> Field:
    return Field(
        8 * rng.randint(0, 100), rng.choice((8, 16, 32, 64)), rng.choice(("little", "big"))
    )


def _with_field(content: bytes, field: Field, changed: Callable[[int], int]) -> bytes:
    """Replace a field's value by changed(value); a field behind the end is left."""
    start, end = field.first_bit // 8, -(-(field.first_bit + field.n_bits) // 8)
    if end > len(content):
        return content
    whole = int.from_bytes(content[start:end], field.order)
    shift = 8 * end - field.first_bit - field.n_bits
    mask = (1 << field.n_bits) - 1
    value = changed(whole >> shift & mask)
    whole = whole & ~(mask << shift) | value << shift
    return content[:start] + whole.to_bytes(end - start, field.order) + content[end:]


# --- JSON ---


def odd_value(rng: random.Random, value: Any) -> Any:
    """Return a value that a program might write by mistake, or a person with intent."""
    text = value if isinstance(value, str) else str(value)
    return rng.choice(
        (
            None, True, False, 0, -1, -0.0, 0.01, 1e-300, 1e9, 1.79e308, -1.79e308,
            float("nan"), float("inf"), float("-inf"),
            "", " ", "0", "1.5", "NaN", "null", [], {}, [value], {"": value}, {"text": value},
            text, text.upper(), text + "\0", text[:3] + "\0" + text, "\ud800" + text,
            text + "\udcff",
            "../" + text, "/" + text, text + "/", text + "/.", " " + text + "\n", "\u202e" + text,
            Raw("[" * (depth := log_uniform(rng, MAX_DEPTH)) + "]" * depth),
            Raw('{"a":' * (depth := log_uniform(rng, MAX_DEPTH)) + "0" + "}" * depth),
            Raw("9" * log_uniform(rng, MAX_DIGITS)),
            (text or " ") * (log_uniform(rng, 2000) // max(1, len(text)) + 1),
            long_text(rng),
        )
    )  # fmt: skip


def long_text(rng: random.Random) -> str:
    """Return syllables, drawn or repeated; seldom millions of them."""
    n_characters = log_uniform(rng, MAX_CHARACTERS)
    drawn = [chr(rng.randint(0xAC00, 0xD7A3)) for _ in range(min(n_characters, 997))] + [" "]
    return ("".join(drawn) * (n_characters // len(drawn) + 1))[:n_characters]


@dataclass(frozen=True, slots=True)
class Raw:
    """JSON as it stands, for what json.dumps cannot write."""

    json: str


def with_an_odd_value(rng: random.Random, row: dict[str, Any]) -> dict[str, Any]:
    """Drop, rename, add or change a key of an object, at any depth."""
    key = rng.choice(list(row) or [""])
    value = row.get(key)
    if isinstance(value, dict) and rng.random() < 0.7:
        return {**row, key: with_an_odd_value(rng, value)}
    way = rng.randrange(8)
    if way == 0:
        return {other: row[other] for other in row if other != key}
    if way == 1:
        renamed = rng.choice((key.upper(), key + " ", "", key + "_"))
        return {renamed if other == key else other: row[other] for other in row}
    if way == 2:
        return {**row, rng.choice(("extra", "", "id", "offset", "\0")): odd_value(rng, value)}
    return {**row, key: odd_value(rng, value)}


def json_bytes(row: Any) -> bytes:
    """JSON in UTF-8; NaN, Infinity and lone surrogates are written as Python does."""
    raw: list[str] = []

    def marked(value: Any) -> Any:
        if isinstance(value, Raw):
            raw.append(value.json)
            return f"@raw{len(raw) - 1}@"
        if isinstance(value, dict):
            return {key: marked(inner) for key, inner in value.items()}
        return [marked(inner) for inner in value] if isinstance(value, list) else value

    text = json.dumps(marked(row), ensure_ascii=False)
    for index, inner in enumerate(raw):
        text = text.replace(f'"@raw{index}@"', inner)
    # A lone surrogate has no UTF-8: it stays an escape.
    return text.encode("utf-8", "backslashreplace")
