"""Report cards: how each learner is heard, beside natives' rates of the same sounds."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from korean_asr.evaluation.confusions import most_frequent
from korean_asr.evaluation.intervals import drawn_rates, interval
from korean_asr.evaluation.scores import Evaluation
from korean_asr.metrics import corpus_counts
from korean_asr.rates import stored_rate

# A speaker with fewer clips has no card.
MIN_CLIPS = 5
# Sounds of a card, what each was heard as, and the clips of each.
N_SOUNDS, N_HEARD, N_CLIPS = 3, 3, 3
# Learners' labels have no punctuation.
SCORE = "cer_no_punctuation"

# (position, letter)
Sound = tuple[str, str]


def report_cards(evaluation: Evaluation, natives: Evaluation | None) -> dict[str, Any]:
    """A card for each speaker of at least MIN_CLIPS clips, those with most errors first.

    natives: the same model's evaluation on Korean speakers.
    """
    clips = defaultdict(list)
    for index, utterance in enumerate(evaluation.utterances):
        if utterance.speaker:
            clips[utterance.speaker].append(index)
    usual = Sounds(natives.confused) if natives else None
    cards = [
        _card(evaluation, speaker, indices, usual)
        for speaker, indices in clips.items()
        if len(indices) >= MIN_CLIPS
    ]
    return {
        "min_clips": MIN_CLIPS,
        "score": SCORE,
        "n_speakers": len(clips),
        "natives": {"n_clips": len(natives.utterances), "manifest": natives.manifest}
        if natives
        else None,
        "cards": sorted(cards, key=lambda card: (-card["rate"], card["speaker"])),
    }


def _card(
    evaluation: Evaluation, speaker: str, indices: list[int], natives: "Sounds | None"
) -> dict[str, Any]:
    counts = [{SCORE: evaluation.per_utterance[index][SCORE]} for index in indices]
    total = corpus_counts(counts)[SCORE]
    column = list(evaluation.totals).index(SCORE)
    units = evaluation.units_among(indices)
    drawn = drawn_rates(evaluation.ratios[indices][:, [column]], units)
    first = evaluation.utterances[indices[0]]
    ids = [evaluation.utterances[index].id for index in indices]
    sounds = Sounds((evaluation.confused[index] for index in indices), ids)
    return {
        "speaker": speaker,
        "first_language": first.first_language,
        "topik_level": first.topik_level,
        "n_clips": len(indices),
        "errors": total.errors,
        "reference_length": total.reference_length,
        "rate": stored_rate(total.rate),
        "interval": interval(drawn[:, 0]),
        "drawn": units.drawn,
        "sounds": [
            sounds.row(sound) | {"natives": natives.rate(sound) if natives else None}
            for sound in sounds.worst()
        ],
    }


class Sounds:
    """How often each sound of some clips was said, and how often it was heard otherwise.

    A sound is a letter in a position; what counts as heard otherwise says clip_confusions.
    """

    def __init__(self, clips: Iterable[tuple[Counter, Counter]], ids: list[str] | None = None):
        """Add up what clip_confusions gives of each clip.

        ids: of the clips; only row() needs them.
        """
        self.said: Counter[Sound] = Counter()
        self.heard: Counter[Sound] = Counter()
        self.heard_as: dict[Sound, Counter[str]] = defaultdict(Counter)
        self.clips: dict[Sound, Counter[str]] = defaultdict(Counter)
        for index, (said, heard) in enumerate(clips):
            self.said.update(said)
            for (position, reference, hypothesis), n in heard.items():
                # An added coda is no sound of the reference.
                if reference:
                    sound = position, reference
                    self.heard[sound] += n
                    self.heard_as[sound][hypothesis] += n
                    if ids:
                        self.clips[sound][ids[index]] += n

    def rate(self, sound: Sound) -> dict[str, Any]:
        """How often a sound was heard otherwise; the rate is None if it was never said."""
        n, of = self.heard[sound], self.said[sound]
        return {"n": n, "of": of, "rate": stored_rate(n / of) if of else None}

    def worst(self) -> list[Sound]:
        """The N_SOUNDS that were heard otherwise most often; of equal ones the rarer come first."""
        order = sorted(self.heard, key=lambda sound: (-self.heard[sound], self.said[sound], sound))
        return order[:N_SOUNDS]

    def row(self, sound: Sound) -> dict[str, Any]:
        """One sound of a card: its rate, what it was heard as, and its clips."""
        position, reference = sound
        return {
            "position": position,
            "reference": reference,
            **self.rate(sound),
            "heard_as": [[jamo, n] for jamo, n in most_frequent(self.heard_as[sound])[:N_HEARD]],
            "clips": [clip for clip, _ in most_frequent(self.clips[sound])[:N_CLIPS]],
        }
