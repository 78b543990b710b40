"""Add tokens, turn text into token ids and back, count characters that a model cannot write."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from korean_asr.messages import table
from korean_asr.rates import shown_rate, stored_rate

# U+2047, as SentencePiece writes an unknown token. It equals no character of a label, and its
# Unicode category is punctuation.
UNKNOWN = "⁇"
# wav2vec2's token for a space.
DELIMITER = "|"
# Below this lowest reachable CER the vocabulary is not the bottleneck.
WORTH_ADVICE = 0.01
N_MOST_FREQUENT = 10


def add_tokens(tokenizer, characters: Iterable[str]) -> list[str]:
    """Add one token for each character that a CTC tokenizer lacks; return the new ones in order.

    New ids start at `len(tokenizer)`, behind those of `<s>` and `</s>`. The base model's head has
    no rows for any of them.
    """
    known = tokenizer.get_vocab()
    new = [character for character in dict.fromkeys(characters) if character not in known]
    tokenizer.add_tokens(new)
    return new


def token_texts(tokenizer) -> dict[int, str]:
    """The text of each token id: `|` is a space, [UNK] `⁇`, and `<s> </s> [PAD]` are empty."""
    texts = {index: token for token, index in tokenizer.get_vocab().items()}
    texts[tokenizer.word_delimiter_token_id] = " "
    for index in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        texts[index] = ""
    texts[tokenizer.unk_token_id] = UNKNOWN
    return texts


def label_ids(text: str, ids: dict[str, int], delimiter_id: int, unknown_id: int) -> list[int]:
    """One token id for each character; a space is `|`, an unknown character is [UNK]."""
    return [
        delimiter_id if character == " " else ids.get(character, unknown_id) for character in text
    ]


def writable_characters(tokenizer) -> frozenset[str]:
    """The single characters, space included, that a model with this tokenizer can write."""
    return frozenset(text for text in token_texts(tokenizer).values() if len(text) == 1) - {UNKNOWN}


def characters_of(tokens: Iterable[str]) -> frozenset[str]:
    """The single characters, space included, that a model with these tokens can write.

    tokens: as model_folder.vocabulary_tokens reads them, without transformers. `|`, [UNK], [PAD],
    `<s>`, `</s>` and longer tokens are not characters.
    """
    characters = frozenset(token for token in tokens if len(token) == 1)
    return characters - {DELIMITER, UNKNOWN} | {" "}


@dataclass(slots=True)
class Outside:
    """Counts of the characters in labels that a model cannot write.

    Labels are normalised text, as in a manifest. Spaces and punctuation count as characters, as in
    `cer`. `update` adds up counts, for example those of worker processes.

    writable: single characters; a space is always writable.
    n_labels, n_characters: how many there are in all.
    n_touched: how many labels have an unwritable character.
    characters: how often each unwritable character occurs.
    touched: in how many labels each of them occurs.
    side_auto_helps: whether a label would have fewer digits or Latin letters under `--side auto`;
        known to script 1 alone, which sees the duals.
    """

    writable: frozenset[str]
    n_labels: int = 0
    n_touched: int = 0
    n_characters: int = 0
    characters: Counter[str] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    side_auto_helps: bool = False

    def __post_init__(self) -> None:
        self.writable = frozenset(self.writable) | {" "}

    def add(self, text: str) -> None:
        """Count one label."""
        self.n_labels += 1
        self.n_characters += len(text)
        # The usual case, and fast: issuperset() builds no set.
        if self.writable.issuperset(text):
            return
        found = [character for character in text if character not in self.writable]
        self.n_touched += 1
        self.characters.update(found)
        self.touched.update(set(found))

    def update(self, other: "Outside") -> None:
        """Add the counts of other labels, for the same writable characters."""
        self.n_labels += other.n_labels
        self.n_touched += other.n_touched
        self.n_characters += other.n_characters
        self.characters.update(other.characters)
        self.touched.update(other.touched)
        self.side_auto_helps |= other.side_auto_helps

    @property
    def n_outside(self) -> int:
        """How often unwritable characters occur."""
        return self.characters.total()

    @property
    def lowest_cer(self) -> float:
        """The lowest reachable CER: that of a perfect model with the same characters.

        Each unwritable character costs one edit: nothing equals it, and one substitution is enough.
        0 without labels.
        """
        return self.n_outside / self.n_characters if self.n_characters else 0.0

    def most_frequent(self) -> list[tuple[str, int]]:
        """(character, count), the most frequent first; equal counts in the order of code points."""
        return sorted(self.characters.items(), key=lambda item: (-item[1], item[0]))


def outside_vocabulary(texts: Iterable[str], writable: frozenset[str]) -> Outside:
    """Count the characters of these labels that lie outside a vocabulary."""
    outside = Outside(writable)
    for text in texts:
        outside.add(text)
    return outside


TITLE = "labels with characters outside the vocabulary"
_CANNOT = "A model cannot recognise a character that it cannot write."
_ADD_TOKENS = (
    "'--extra-tokens 5' of script 2 adds each character that the training labels hold at least 5 "
    "times."
)
ADVICE = (
    f"{_CANNOT} {_ADD_TOKENS} "
    "· 어휘에 없는 글자는 인식할 수 없습니다. 2번 스크립트의 --extra-tokens 5를 사용해 보세요."
)
ADVICE_WITH_DUALS = (
    f"{_CANNOT} '--side auto' of script 1 keeps numbers and English as they were spoken; "
    f"{_ADD_TOKENS} "
    "· 어휘에 없는 글자는 인식할 수 없습니다. 1번 스크립트의 --side auto나 "
    "2번 스크립트의 --extra-tokens 5를 사용해 보세요."
)


def advice(outsides: Iterable[Outside]) -> str | None:
    """What helps where the vocabulary alone costs over 1 % CER; None where it costs less."""
    costly = [outside for outside in outsides if outside.lowest_cer > WORTH_ADVICE]
    if not costly:
        return None
    return ADVICE_WITH_DUALS if any(outside.side_auto_helps for outside in costly) else ADVICE


def printed_outside(outside: Outside) -> list[str]:
    """Format the counts of one corpus, with advice if the vocabulary alone costs over 1 % CER."""
    if not outside.n_touched:
        return [_none_outside(outside.n_labels)]
    lines = [
        f"{TITLE}: {_share(outside)} · 어휘에 없는 글자",
        f"  most frequent: {_most_frequent(outside)}",
        f"  lowest reachable CER {shown_rate(outside.lowest_cer)}",
    ]
    return lines + _printed_advice([outside])


def printed_outside_of_parts(parts: dict[str, Outside], advises: bool = True) -> list[str]:
    """Format a table of train, validation and test, with the advice once.

    advises: False where its tokens are added already.
    """
    if not any(outside.n_touched for outside in parts.values()):
        return [_none_outside(sum(outside.n_labels for outside in parts.values()))]
    rows = []
    for name, outside in parts.items():
        row = [name, _share(outside)]
        if outside.n_touched:
            row += [
                f"lowest reachable CER {shown_rate(outside.lowest_cer)}",
                _most_frequent(outside),
            ]
        rows.append(row)
    return [
        f"{TITLE} · 어휘에 없는 글자",
        *table(rows, "<<<<", "  "),
        *(_printed_advice(parts.values()) if advises else []),
    ]


def _none_outside(n_labels: int) -> str:
    return f"{TITLE}: none of {n_labels:,} · 모든 글자를 출력할 수 있습니다"


def _printed_advice(outsides: Iterable[Outside]) -> list[str]:
    words = advice(outsides)
    return [f"  {words}"] if words else []


def _share(outside: Outside) -> str:
    share = 100 * outside.n_touched / max(1, outside.n_labels)
    return f"{outside.n_touched:,} of {outside.n_labels:,} ({share:.1f} %)"


def _most_frequent(outside: Outside) -> str:
    """At most ten characters with their counts: `'1' 120, '%' 31`.

    A character that a terminal cannot show is named by its code point.
    """
    return ", ".join(
        f"'{character}' {n:,}" if character.isprintable() else f"U+{ord(character):04X} {n:,}"
        for character, n in outside.most_frequent()[:N_MOST_FREQUENT]
    )


def outside_record(outside: Outside) -> dict[str, Any]:
    """The same counts, for JSON."""
    return {
        "n_labels": outside.n_labels,
        "n_touched": outside.n_touched,
        "n_characters": outside.n_characters,
        "n_outside": outside.n_outside,
        "lowest_cer": stored_rate(outside.lowest_cer),
        "characters": dict(outside.most_frequent()),
    }
