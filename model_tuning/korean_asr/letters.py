"""When each letter of a reference and of a hypothesis was said, and how sure the model was of it.

A letter here is any character but a space: marks, digits and the unknown sign too.
"""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from korean_asr.audio import ENCODER_LAYERS, SAMPLE_RATE
from korean_asr.forced_alignment import Evidence, best_paths, label_frames, listener_scores
from korean_asr.vocabulary import UNKNOWN

FRAME_S = math.prod(stride for _, stride in ENCODER_LAYERS) / SAMPLE_RATE
# Batches change a log posterior by 0.000002 on average, and so the last digit of three letters in
# ten thousand; with four digits it would be that of three in a hundred.
SCORE_DIGITS, POSTERIOR_DIGITS = 2, 3
# [character, start_s, end_s, score or posterior]
Letter = list[Any]
# `reference` and `hypothesis`
Letters = dict[str, list[Letter]]


def no_letters() -> Letters:
    """The letters of a clip that was not decoded."""
    return {"reference": [], "hypothesis": []}


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference text in the tokens of a model.

    tokens: (n_tokens,) int64, the blank, then each other token of the text once.
    labels: (n_labels,) int, the index in `tokens` of each character that the model can write,
        spaces included.
    characters: the letters in order, each with its index in `labels`, or None if the model cannot
        write it.
    """

    tokens: np.ndarray
    labels: np.ndarray
    characters: list[tuple[str, int | None]]


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What the tokens of a model write.

    texts: of each token id, as vocabulary.token_texts gives them.
    ids: token id of each single character, the space included.
    silent_ids: the ids that write no letter: the blank, the space, `<s>`, `</s>`.
    """

    texts: Mapping[int, str]
    blank_id: int
    ids: dict[str, int]
    silent_ids: list[int]

    @classmethod
    def of(cls, texts: Mapping[int, str], blank_id: int, n_tokens: int) -> "Alphabet":
        """Read texts of token ids; n_tokens: rows of the model's head, which may be fewer."""
        written = {i: text for i, text in sorted(texts.items()) if i < n_tokens and i != blank_id}
        ids = {text: i for i, text in written.items() if len(text) == 1 and text != UNKNOWN}
        silent = [i for i in range(n_tokens) if not written.get(i, "").strip()]
        return cls(texts, blank_id, ids, silent)

    def reference(self, text: str) -> Reference:
        """Spell a normalised text."""
        tokens, labels, characters = {self.blank_id: 0}, [], []
        for character in text:
            token = self.ids.get(character)
            if character != " ":
                characters.append((character, None if token is None else len(labels)))
            if token is not None:
                labels.append(tokens.setdefault(token, len(tokens)))
        return Reference(np.array([*tokens], np.int64), np.array(labels, np.intp), characters)


def reference_letters(
    references: Sequence[Reference], evidences: Sequence[Evidence]
) -> list[list[Letter]]:
    """Align clips to their references; give each letter its times and its listener's score.

    A letter that the model cannot write has three nulls, and so has each letter of a text that does
    not fit into the clip's frames.
    """
    labels = [reference.labels for reference in references]
    paths = best_paths([evidence.log_posteriors for evidence in evidences], labels)
    return [_timed(*clip) for clip in zip(references, evidences, paths, strict=True)]


def _timed(reference: Reference, evidence: Evidence, path: np.ndarray | None) -> list[Letter]:
    if path is None:
        return [[character, None, None, None] for character, _ in reference.characters]
    labels = reference.labels
    firsts, ends = label_frames(path, len(labels))
    scores = listener_scores(evidence, labels, reference.tokens[labels], firsts, ends)
    values = list(zip(firsts.tolist(), ends.tolist(), scores.tolist(), strict=True))
    return [
        _letter(character, *values[label], SCORE_DIGITS)
        if label is not None
        else [character, None, None, None]
        for character, label in reference.characters
    ]


def _letter(character: str, first: int, end: int, value: float, n_digits: int) -> Letter:
    # Adding 0 turns -0.0 into 0.0, which is written without a sign.
    times = round(first * FRAME_S, 2), round(end * FRAME_S, 2)
    return [character, *times, round(value, n_digits) + 0.0]


def hypothesis_letters(
    labels: np.ndarray, posteriors: np.ndarray, alphabet: Alphabet
) -> list[Letter]:
    """The written letters with the times of their frames and their highest posterior there.

    labels: (n_frames,) int, the likeliest token of each frame; at least one frame.
    posteriors: (n_frames,) float, of these tokens.
    """
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    ends = np.append(starts[1:], len(labels))
    highest = np.maximum.reduceat(posteriors, starts)
    runs = zip(
        labels[starts].tolist(), starts.tolist(), ends.tolist(), highest.tolist(), strict=True
    )
    letters = [
        _letter(character, first, end, posterior, POSTERIOR_DIGITS)
        for token, first, end, posterior in runs
        if token != alphabet.blank_id
        for character in alphabet.texts[token]
    ]
    if not unicodedata.is_normalized("NFC", "".join(letter[0] for letter in letters)):
        letters = _composed(letters)
    return [letter for letter in letters if not letter[0].isspace()]


def _composed(letters: list[Letter]) -> list[Letter]:
    """Compose to NFC, as in the text. A letter of several tokens has the lowest posterior."""
    groups: list[list[Letter]] = []
    for letter in letters:
        before = "".join(character for character, *_ in groups[-1]) if groups else ""
        apart = unicodedata.normalize("NFC", before) + unicodedata.normalize("NFC", letter[0])
        together = unicodedata.normalize("NFC", before + letter[0])
        # A combining mark may compose with the next but one.
        if groups and (together != apart or unicodedata.combining(letter[0])):
            groups[-1].append(letter)
        else:
            groups.append([letter])
    return [
        [character, group[0][1], group[-1][2], min(letter[3] for letter in group)]
        for group in groups
        for character in unicodedata.normalize("NFC", "".join(letter[0] for letter in group))
    ]


def known_letters(value: Any, text: str, pred_text: str) -> Letters | None:
    """The `letters` of a row of results; None where they are missing or are not of these texts."""
    if not isinstance(value, dict) or set(value) != set(no_letters()):
        return None
    if value == no_letters():
        return no_letters()
    whole = _are_letters(value["reference"], text) and _are_letters(value["hypothesis"], pred_text)
    return value if whole else None


def _are_letters(letters: Any, text: str) -> bool:
    characters = [character for character in text if character != " "]
    return (
        isinstance(letters, list)
        and all(isinstance(letter, list) and len(letter) == 4 for letter in letters)
        and [letter[0] for letter in letters] == characters
        and all(_are_numbers(letter[1:]) for letter in letters)
    )


def _are_numbers(values: list[Any]) -> bool:
    if values == [None, None, None]:
        return True
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)
