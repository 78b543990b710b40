"""The ways that listener_area.py tries to score how a listener heard each letter of a text.

Each definition takes a clip as a model heard it and returns a score for each label of its text: low
where the model heard another sound, NaN for a label that is no syllable where only syllables have
one. Logarithms are natural.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from korean_asr.forced_alignment import Evidence, best_paths, label_frames, listener_scores
from korean_asr.letters import Alphabet
from korean_asr.manifest import Utterance

# A posterior below this is as good as none.
LEAST_LOG = -12.0
# Jamo that learners of Korean are known to take for each other, in their place.
CONFUSED_ONSETS = ("ㄱㄲㅋ", "ㄷㄸㅌ", "ㅂㅃㅍ", "ㅈㅉㅊ", "ㅅㅆ")
CONFUSED_NUCLEI = ("ㅓㅗㅡㅜ", "ㅕㅛ", "ㅐㅔ")
# How a coda is said, for each letter that is not said as itself.
SPOKEN_CODAS = {
    **dict.fromkeys("ㄲㅋㄳㄺ", "ㄱ"),
    **dict.fromkeys("ㅌㅅㅆㅈㅊㅎ", "ㄷ"),
    **dict.fromkeys("ㅍㅄㄿ", "ㅂ"),
    **dict.fromkeys("ㄵㄶ", "ㄴ"),
    **dict.fromkeys("ㄼㄽㄾㅀ", "ㄹ"),
    "ㄻ": "ㅁ",
}
ONSETS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
NUCLEI = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
CODAS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")


class Jamo(NamedTuple):
    """The sounds of a syllable; coda "" where there is none."""

    onset: str
    nucleus: str
    coda: str


def is_syllable(character: str) -> bool:
    return "가" <= character <= "힣"


def jamo_of(syllable: str) -> Jamo:
    rest, coda = divmod(ord(syllable) - ord("가"), len(CODAS))
    onset, nucleus = divmod(rest, len(NUCLEI))
    return Jamo(ONSETS[onset], NUCLEI[nucleus], SPOKEN_CODAS.get(CODAS[coda], CODAS[coda]))


def log_sum(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    return np.logaddexp.reduce(values, axis=axis)


class Syllables:
    """The syllables that a model can write.

    letters: (n_letters,) int, the tokens of n_tokens that write a letter. blank: the token id of
    the blank. ids: (n_syllables,) int, the syllables' tokens. number: of each of these tokens its
    index in ids.
    jamo: place -> (n_syllables,) str.
    """

    def __init__(self, alphabet: Alphabet, n_tokens: int):
        self.alphabet, self.blank = alphabet, alphabet.blank_id
        silent = {*alphabet.silent_ids}
        self.letters = np.array([i for i in range(n_tokens) if i not in silent])
        texts = [text for text in alphabet.ids if is_syllable(text)]
        self.ids = np.array([alphabet.ids[text] for text in texts])
        self.number = {token: index for index, token in enumerate(self.ids.tolist())}
        places = zip(*map(jamo_of, texts), strict=True)
        self.jamo = {place: np.array(own) for place, own in zip(Jamo._fields, places, strict=True)}

    def alike(self, index: int, place: str) -> np.ndarray:
        """(n_syllables,) bool: which share the jamo of a syllable in a place."""
        return self.jamo[place] == self.jamo[place][index]

    def confused(self, index: int, place: str) -> np.ndarray:
        """(n_syllables,) bool: which have a jamo there that learners confuse with its own."""
        if place == "coda":
            return ~self.alike(index, place)
        groups = CONFUSED_ONSETS if place == "onset" else CONFUSED_NUCLEI
        own = self.jamo[place][index]
        others = {jamo for group in groups if own in group for jamo in group} - {own}
        return np.isin(self.jamo[place], sorted(others))


class Heard:
    """A clip as a model heard it, aligned to its text.

    log_posteriors: (n_frames, n_tokens) float64. labels: (n_labels,) int, token ids of the text.
    characters: each Hangul syllable of the text with its index in labels, or None if the model
    cannot write it. firsts, ends: (n_labels,) int, frames.
    Raises ValueError where the text does not fit into the frames; no clip of the demo is so short.
    """

    def __init__(self, clip: Utterance, log_posteriors: np.ndarray, syllables: Syllables):
        reference = syllables.alphabet.reference(clip.text)
        self.clip, self.syllables = clip, syllables
        self.log_posteriors = log_posteriors.astype(np.float64)
        self.characters = [pair for pair in reference.characters if is_syllable(pair[0])]
        self.columns, self.tokens = reference.labels, reference.tokens
        self.labels = reference.tokens[reference.labels]
        (path,) = best_paths([log_posteriors[:, reference.tokens]], [reference.labels])
        if path is None:
            raise ValueError(f"{clip.id}: its text does not fit into {len(log_posteriors)} frames")
        self.firsts, self.ends = label_frames(path, len(self.labels))

    def spans(self) -> Iterator[tuple[int, np.ndarray]]:
        """The token of each label and the log posteriors in its frames, (n_frames, n_tokens)."""
        for label, first, end in zip(self.labels.tolist(), self.firsts, self.ends, strict=True):
            yield label, self.log_posteriors[first:end]

    @cached_property
    def instead(self) -> tuple[np.ndarray, np.ndarray]:
        """Log likelihoods of the text with another syllable, or none, in place of each label.

        Returns (n_labels, n_syllables), where the alternatives are syllables.ids, and (n_labels,)
        without the label. All paths count. The idea is that of an alignment-free
        goodness of pronunciation (Cao et al., A Framework for Phoneme-Level Pronunciation
        Assessment Using CTC, 2024).
        """
        ids, blank = self.syllables.ids, self.syllables.blank
        before = forward(self.log_posteriors, self.labels, blank)
        after = forward(self.log_posteriors[::-1], self.labels[::-1], blank)[::-1, ::-1]
        others = [
            replaced(self.log_posteriors, self.labels, i, ids, before, after)
            for i in range(len(self.labels))
        ]
        without = []
        for i in range(len(self.labels)):
            scores = forward(self.log_posteriors, np.delete(self.labels, i), blank)
            without.append(log_sum(scores[-1, -2:]))
        return np.array(others), np.array(without)


def forward(log_posteriors: np.ndarray, labels: np.ndarray, blank: int) -> np.ndarray:
    """Log likelihood of the frames so far that ends in each state, (n_frames, 2 n_labels + 1).

    States are the labels with blanks around them (Graves et al., Connectionist Temporal
    Classification, 2006).
    """
    tokens = np.full(2 * len(labels) + 1, blank)
    tokens[1::2] = labels
    skips = np.zeros(len(tokens), bool)
    skips[2:] = (tokens[2:] != tokens[:-2]) & (tokens[2:] != blank)
    emitted = log_posteriors[:, tokens]
    scores = np.full((len(log_posteriors), len(tokens)), -np.inf)
    scores[0, :2] = emitted[0, :2]
    for frame in range(1, len(scores)):
        old, new = scores[frame - 1], scores[frame]
        new[:] = old
        new[1:] = np.logaddexp(old[1:], old[:-1])
        new[2:] = np.where(skips[2:], np.logaddexp(new[2:], old[:-2]), new[2:])
        new += emitted[frame]
    return scores


def replaced(
    log_posteriors: np.ndarray,
    labels: np.ndarray,
    index: int,
    ids: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> np.ndarray:
    """Log likelihood of the labels with each of ids at an index; (n_ids,).

    before, after: forward() of the labels and of the labels and frames from behind.
    """
    n_frames, state = len(log_posteriors), 2 * index + 1
    enter = np.full((n_frames, len(ids)), -np.inf)
    leave = np.full((n_frames, len(ids)), -np.inf)
    for to, states, neighbour, first in (
        (enter[1:], before[:-1], index - 1, enter[0]),
        (leave[:-1], after[1:], index + 1, leave[-1]),
    ):
        step = 1 if neighbour > index else -1
        blank = states[:, state + step]
        if 0 <= neighbour < len(labels):
            # Equal neighbours need a blank between them.
            both = np.logaddexp(blank, states[:, state + 2 * step])
            to[:] = np.where(ids == labels[neighbour], blank[:, None], both[:, None])
        else:
            to[:] = blank[:, None]
            first[:] = 0
    inside, found = np.full((2, len(ids)), -np.inf)
    for frame in range(n_frames):
        inside = np.logaddexp(inside, enter[frame]) + log_posteriors[frame, ids]
        found = np.logaddexp(found, inside + leave[frame])
    return found


def gap(heard: Heard) -> np.ndarray:
    """The listener's score itself, by the functions that write it into results."""
    letters = heard.log_posteriors[:, heard.syllables.letters]
    two = np.argsort(letters, axis=1)[:, :-3:-1]
    evidence = Evidence(
        heard.log_posteriors[:, heard.tokens],
        np.take_along_axis(letters, two, 1),
        heard.syllables.letters[two[:, 0]],
    )
    return listener_scores(evidence, heard.columns, heard.labels, heard.firsts, heard.ends)


def highest(heard: Heard) -> np.ndarray:
    return np.array([span[:, label].max() for label, span in heard.spans()])


def mean_gap(heard: Heard) -> np.ndarray:
    letters = heard.syllables.letters
    return np.array(
        [
            (span[:, label] - span[:, letters[letters != label]].max(1)).mean()
            for label, span in heard.spans()
        ]
    )


def against_all(heard: Heard, with_blank: bool) -> np.ndarray:
    """The highest log posterior less that of all other letters together, frame by frame."""
    tokens = heard.syllables.letters
    if with_blank:
        tokens = np.append(tokens, heard.syllables.blank)
    return np.array(
        [
            (span[:, label] - log_sum(span[:, tokens[tokens != label]], 1)).max()
            for label, span in heard.spans()
        ]
    )


def goodness(heard: Heard) -> np.ndarray:
    """Mean over the frames, blanks included, less the best token (GOP of Witt and Young 2000)."""
    return np.array([(span[:, label] - span.max(1)).mean() for label, span in heard.spans()])


def least_of_neighbours(heard: Heard) -> np.ndarray:
    scores = gap(heard)
    padded = np.concatenate([[np.inf], scores, [np.inf]])
    return np.minimum(np.minimum(padded[:-2], padded[2:]), scores)


def jamo_in_frames(heard: Heard) -> np.ndarray:
    """The least of three: the highest posterior of syllables with the jamo, less that without."""
    syllables = heard.syllables
    scores = np.full(len(heard.labels), np.nan)
    for i, (label, span) in enumerate(heard.spans()):
        if label not in syllables.number:
            continue
        posteriors = np.maximum(span[:, syllables.ids], LEAST_LOG)
        alike = [syllables.alike(syllables.number[label], place) for place in Jamo._fields]
        scores[i] = min(
            log_sum(posteriors[:, own], 1).max() - log_sum(posteriors[:, ~own], 1).max()
            for own in alike
        )
    return scores


def text_likelihood(heard: Heard) -> np.ndarray:
    """The text's share in all texts with another syllable, or none, in this place; as log odds."""
    others, without = heard.instead
    scores = np.full(len(heard.labels), np.nan)
    number = heard.syllables.number
    for i, label in enumerate(heard.labels.tolist()):
        if label in number:
            own = others[i, number[label]]
            rest = np.logaddexp(log_sum(np.delete(others[i], number[label])), without[i])
            scores[i] = own - rest
    return scores


def loss_without(heard: Heard) -> np.ndarray:
    """By how much the CTC loss rises where the letter is left out of the text."""
    scores = forward(heard.log_posteriors, heard.labels, heard.syllables.blank)
    return log_sum(scores[-1, -2:]) - heard.instead[1]


def jamo_of_texts(
    heard: Heard, combine: Callable[[list[float]], float], confused: bool = False
) -> np.ndarray:
    """Texts with the jamo in this place against those without it, as log odds, of three places.

    confused: against those alone whose jamo learners confuse with it.
    """
    others, _ = heard.instead
    syllables = heard.syllables
    scores = np.full(len(heard.labels), np.nan)
    for i, label in enumerate(heard.labels.tolist()):
        if label not in syllables.number:
            continue
        own, odds = syllables.number[label], []
        for place in Jamo._fields:
            alike = syllables.alike(own, place)
            against = syllables.confused(own, place) if confused else ~alike
            least = others[i, own] + LEAST_LOG
            rest = np.logaddexp(log_sum(others[i, against]) if against.any() else least, least)
            odds.append(log_sum(others[i, alike]) - rest)
        scores[i] = combine(odds)
    return scores


Definition = Callable[[Heard], np.ndarray]
DEFINITIONS: dict[str, Definition] = {
    "the listener's score": gap,
    "mean over the frames, not the highest": mean_gap,
    "highest log posterior, no rival": highest,
    "against all other letters together": lambda heard: against_all(heard, False),
    "the same, the blank too": lambda heard: against_all(heard, True),
    "mean less the best token (GOP)": goodness,
    "least of the letter and its neighbours": least_of_neighbours,
    "jamo in the frames, least of three": jamo_in_frames,
    "CTC loss without the letter": loss_without,
    "text against another syllable here": text_likelihood,
    "jamo of such texts, least of three": lambda heard: jamo_of_texts(heard, min),
    "jamo of such texts, sum of three": lambda heard: jamo_of_texts(heard, sum),
    "the same, against confused jamo": lambda heard: jamo_of_texts(heard, sum, confused=True),
}
BY_NATIVES = {
    "listener's score less natives' of the syllable": lambda syllable: (syllable,),
    "listener's score less natives' of its jamo": lambda syllable: tuple(
        enumerate(jamo_of(syllable))
    ),
}
