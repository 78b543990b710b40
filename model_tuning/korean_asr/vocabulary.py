"""Tokenizer expansion; text as label ids, and label ids as text; and the characters that a model cannot write."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from korean_asr.errors import DataError
from korean_asr.metrics import UNKNOWN
from korean_asr.model_folder import VOCABULARY_FILES, one_line, vocabulary_folder

DELIMITER = "|"  # wav2vec2's token for a space
WORTH_ADVICE = (
    0.01  # of the lowest reachable CER below it the vocabulary is not what limits a model
)
N_MOST_FREQUENT = 10


def add_tokens(tokenizer, characters: Iterable[str]) -> list[str]:
    """Give a CTC tokenizer one token for each character it cannot write yet; returns those that were new, in order.

    The new ids lie behind `len(tokenizer)`, so behind `<s>` and `</s>`, which the base tokenizer has outside its head.
    """
    known = tokenizer.get_vocab()
    new = [character for character in dict.fromkeys(characters) if character not in known]
    tokenizer.add_tokens(new)
    return new


def token_texts(tokenizer) -> dict[int, str]:
    """What each label id writes: `|` a space, [UNK] one `⁇`, and `<s> </s> [PAD]` nothing."""
    texts = {index: token for token, index in tokenizer.get_vocab().items()}
    texts[tokenizer.word_delimiter_token_id] = " "
    for index in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        texts[index] = ""
    texts[tokenizer.unk_token_id] = UNKNOWN
    return texts


def label_ids(text: str, ids: dict[str, int], delimiter_id: int, unknown_id: int) -> list[int]:
    """One label id a character: a space is `|`, a character outside the vocabulary is [UNK]."""
    return [
        delimiter_id if character == " " else ids.get(character, unknown_id) for character in text
    ]


def writable_characters(tokenizer) -> frozenset[str]:
    """The single characters that a model with this tokenizer can write, the space among them."""
    return frozenset(text for text in token_texts(tokenizer).values() if len(text) == 1) - {UNKNOWN}


def base_vocabulary(source: str) -> frozenset[str]:
    """The single characters that a base model can write, the space among them, read without transformers.

    source: a local folder or a hub name, of which only the tokenizer's small files are fetched. `|`, [UNK], [PAD], `<s>`,
    `</s>` and longer tokens are no characters. Raises DataError, as loading the model would.
    """
    folder = vocabulary_folder(source)
    tokens: set[str] = set()
    try:
        for name in VOCABULARY_FILES:
            if (folder / name).is_file():
                ids = json.loads((folder / name).read_text(encoding="utf-8"))
                if not all(isinstance(index, int) for index in ids.values()):
                    raise ValueError(f"{name} holds more than one id for each token")
                tokens.update(ids)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder} is not a wav2vec2-CTC model: its tokenizer cannot be read ({one_line(error)})."
        ) from None
    return frozenset(token for token in tokens if len(token) == 1) - {DELIMITER, UNKNOWN} | {" "}


@dataclass(slots=True)
class Outside:
    """Characters of labels that a model cannot write.

    Labels are normalised text, as a manifest holds it, so that characters are counted as `cer` counts them: spaces and
    punctuation are characters too. Counts of parts, from worker processes for instance, add up by `update`.
    """

    writable: frozenset[str]  # single characters; a space is always writable
    n_labels: int = 0  # labels looked at
    n_touched: int = 0  # labels that hold some
    n_characters: int = 0  # of all labels
    characters: Counter[str] = field(
        default_factory=Counter
    )  # how often each unwritable character occurs
    touched: Counter[str] = field(default_factory=Counter)  # how many labels each one touches

    def __post_init__(self) -> None:
        self.writable = frozenset(self.writable) | {" "}

    def add(self, text: str) -> None:
        """Count one label."""
        self.n_labels += 1
        self.n_characters += len(text)
        if self.writable.issuperset(text):  # nearly every label, and no set is built for it
            return
        found = [character for character in text if character not in self.writable]
        self.n_touched += 1
        self.characters.update(found)
        self.touched.update(set(found))

    def update(self, other: "Outside") -> None:
        """Add what another counted, of other labels and the same writable characters."""
        self.n_labels += other.n_labels
        self.n_touched += other.n_touched
        self.n_characters += other.n_characters
        self.characters.update(other.characters)
        self.touched.update(other.touched)

    @property
    def n_outside(self) -> int:
        """Occurrences of unwritable characters."""
        return self.characters.total()

    @property
    def lowest_cer(self) -> float:
        """The `cer` of a perfect listener who writes only the model's characters: design.md's lowest reachable CER.

        Each unwritable character costs at least one edit, since no hypothesis holds an equal one, and substituting it costs
        exactly one. 0 where there is no label.
        """
        return self.n_outside / self.n_characters if self.n_characters else 0.0

    def most_frequent(self) -> list[tuple[str, int]]:
        """Each unwritable character and how often it occurs, most frequent first, equals by code point."""
        return sorted(self.characters.items(), key=lambda item: (-item[1], item[0]))


def outside_vocabulary(texts: Iterable[str], writable: frozenset[str]) -> Outside:
    """What of these labels lies outside a vocabulary."""
    outside = Outside(writable)
    for text in texts:
        outside.add(text)
    return outside


TITLE = "labels with characters outside the vocabulary"
ADVICE = (
    "A model can only miss what it cannot write. '--side auto' of script 1 takes numbers and English as they are spoken; "
    "'--extra-tokens 5' of script 2 adds each character that the training labels hold 5 times. "
    "· 쓸 수 없는 글자는 맞힐 수 없으니, 1번의 --side auto 또는 2번의 --extra-tokens 5를 쓰세요."
)


def printed_outside(outside: Outside) -> list[str]:
    """The lines about one corpus, with advice where the vocabulary alone costs more than 1 % CER."""
    if not outside.n_touched:
        return [f"{TITLE}: none of {outside.n_labels:,} · 모든 글자를 쓸 수 있습니다"]
    lines = [
        f"{TITLE}: {_share(outside)} · 어휘에 없는 글자",
        f"  most frequent: {_most_frequent(outside)}",
        f"  lowest reachable CER {outside.lowest_cer:.4f}",
    ]
    return lines + [f"  {ADVICE}"] * (outside.lowest_cer > WORTH_ADVICE)


def printed_outside_of_parts(parts: dict[str, Outside]) -> list[str]:
    """The same of train, validation and test: a line each, and the advice once."""
    if not any(outside.n_touched for outside in parts.values()):
        n_labels = sum(outside.n_labels for outside in parts.values())
        return [f"{TITLE}: none of {n_labels:,} · 모든 글자를 쓸 수 있습니다"]
    lines = [f"{TITLE} · 어휘에 없는 글자"]
    for name, outside in parts.items():
        found = (
            f"  lowest reachable CER {outside.lowest_cer:.4f}  {_most_frequent(outside)}"
            if outside.n_touched
            else ""
        )
        lines.append(f"  {name:<11}{_share(outside)}{found}")
    if any(outside.lowest_cer > WORTH_ADVICE for outside in parts.values()):
        lines.append(f"  {ADVICE}")
    return lines


def _share(outside: Outside) -> str:
    share = 100 * outside.n_touched / max(1, outside.n_labels)
    return f"{outside.n_touched:,} of {outside.n_labels:,} ({share:.1f} %)"


def _most_frequent(outside: Outside) -> str:
    """`'1' 120, '%' 31`: at most ten characters with their counts; one that no terminal shows, by its code point."""
    found = outside.most_frequent()[:N_MOST_FREQUENT]
    return ", ".join(
        f"'{c}' {n:,}" if c.isprintable() else f"U+{ord(c):04X} {n:,}" for c, n in found
    )


def outside_record(outside: Outside) -> dict[str, Any]:
    """The same numbers for JSON."""
    return {
        "n_labels": outside.n_labels,
        "n_touched": outside.n_touched,
        "n_characters": outside.n_characters,
        "n_outside": outside.n_outside,
        "lowest_cer": round(outside.lowest_cer, 6),
        "characters": dict(outside.most_frequent()),
    }
