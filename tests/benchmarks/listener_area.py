"""Which listener's score tells an accented syllable from a plain one, by the area under its curve.

    python tests/benchmarks/listener_area.py [--models FOLDER …] [--data FOLDER] [--demo FOLDER]

The demo's learners carry known accents (foreign_accents.jsonl in --demo), so each way to score a
syllable can be measured: the area is the share of pairs of an accented and a plain syllable in
which the accented one has the lower score; a tie counts as half. tried_scores.py holds the ways.
Needs what ./run.sh writes into demo_output/: the clean manifests and the fine-tuned model. Takes
two minutes.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measuring import DEMO, REPOSITORY
from tried_scores import BY_NATIVES, DEFINITIONS, Definition, Heard, Syllables, gap

from korean_asr.evaluation.intervals import N_DRAWS, SEED, interval, units_of
from korean_asr.letters import Alphabet
from korean_asr.manifest import Utterance, read_manifest

OUTPUT = REPOSITORY / "demo_output"
# Natives' syllables that the mean of all natives weighs as much as, for a syllable or jamo.
N_PRIOR = 5
# An accent of fewer syllables has no row of its own.
N_LEAST = 10
# The accents of each accented syllable of a clip, by its number among the Hangul syllables.
Accents = dict[int, list[str]]


class Scored(NamedTuple):
    """One Hangul syllable of a clip and a score."""

    clip: int
    index: int
    syllable: str
    score: float


def scored(clips: list[Heard], definition: Definition) -> list[Scored]:
    """The syllables that the model can write; index: among all Hangul syllables of the clip."""
    return [
        Scored(number, index, character, scores[label])
        for number, heard in enumerate(clips)
        for scores in [definition(heard)]
        for index, (character, label) in enumerate(heard.characters)
        if label is not None
    ]


def less_natives(
    learners: list[Scored], natives: list[Scored], keys: Callable[[str], tuple]
) -> list[Scored]:
    """Subtract the mean of the natives' scores of the same syllable, or of each of its jamo.

    A rare one counts N_PRIOR times as the mean of all natives.
    """
    overall = np.mean([one.score for one in natives])
    known: dict = defaultdict(list)
    for one in natives:
        for key in keys(one.syllable):
            known[key].append(one.score)
    means = defaultdict(
        lambda: overall,
        {key: (sum(own) + N_PRIOR * overall) / (len(own) + N_PRIOR) for key, own in known.items()},
    )
    return [
        one._replace(score=one.score - sum(means[key] for key in keys(one.syllable)))
        for one in learners
    ]


def areas(scores: np.ndarray, accented: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted areas under the curve; (n_draws,).

    scores: (n,) float, low where accented. accented: (n,) bool. weights: (n_draws, n), how often a
    draw holds each syllable. NaN where a draw has no syllable of one kind.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    weights = weights[:, order]
    low = np.add.reduceat(weights * accented[order], starts, axis=1)
    high = np.add.reduceat(weights * ~accented[order], starts, axis=1)
    n_high = high.sum(1)
    above = n_high[:, None] - np.cumsum(high, 1) + high / 2
    with np.errstate(invalid="ignore"):
        return (low * above).sum(1) / (low.sum(1) * n_high)


def area_with_interval(
    rows: list[Scored], accents: dict[int, Accents], clips: list[Heard]
) -> tuple[float, float, float]:
    """The area, and the interval over clips, or over speakers where enough are known."""
    own = np.array([one.clip for one in rows])
    labels = np.array([one.index in accents[one.clip] for one in rows])
    units = units_of([heard.clip.speaker for heard in clips], [heard.clip.text for heard in clips])
    rng = np.random.default_rng(SEED)
    draws = rng.multinomial(units.n, np.full(units.n, 1 / units.n), N_DRAWS)
    drawn = draws[:, units.of_clip[own]]
    values = np.array([one.score for one in rows])
    (area,) = areas(values, labels, np.ones((1, len(rows))))
    return area, *interval(areas(values, labels, drawn))


def heard_clips(model: str, clips: list[Utterance]) -> list[Heard]:
    import torch

    from korean_asr.audio import read_waveform
    from korean_asr.decoding import frame_logits
    from korean_asr.model import load_recogniser

    recogniser = load_recogniser(model)
    recogniser.model.eval()
    config = recogniser.model.config
    alphabet = Alphabet.of(recogniser.token_texts(), config.pad_token_id, config.vocab_size)
    syllables, heard = Syllables(alphabet, config.vocab_size), []
    with torch.inference_mode():
        for clip in clips:
            logits = frame_logits(recogniser, read_waveform(clip.audio_filepath))
            heard.append(Heard(clip, logits.log_softmax(-1).numpy(), syllables))
    return heard


def by_accent(rows: list[Scored], accents: dict[int, Accents], clips: list[Heard]) -> dict:
    """The number and the area of each accent of at least N_LEAST syllables.

    It is told from the plain syllables of the same first language.
    """
    language = [heard.clip.first_language for heard in clips]
    plain, own = defaultdict(list), defaultdict(list)
    for one in rows:
        found = accents[one.clip].get(one.index, [])
        if not found:
            plain[language[one.clip]].append(one.score)
        for name in found:
            own[language[one.clip], name].append(one.score)
    made = {}
    for (of_language, name), scores in own.items():
        if len(scores) >= N_LEAST:
            every = np.array(scores + plain[of_language])
            is_accented = np.arange(len(every)) < len(scores)
            (area,) = areas(every, is_accented, np.ones((1, len(every))))
            made[f"{of_language}: {name}"] = len(scores), area
    return made


def measured(
    model: str, natives: list[Utterance], learners: list[Utterance], truth: dict[str, Accents]
) -> tuple[dict, dict]:
    """Each definition's area and interval for one model, and by_accent() of the first one."""
    own, others = heard_clips(model, learners), heard_clips(model, natives)
    accents = {number: truth[heard.clip.id] for number, heard in enumerate(own)}
    rows, results = scored(own, gap), {}
    for name, definition in DEFINITIONS.items():
        results[name] = area_with_interval(scored(own, definition), accents, own)
    native_rows = scored(others, gap)
    for name, keys in BY_NATIVES.items():
        results[name] = area_with_interval(less_natives(rows, native_rows, keys), accents, own)
    n_all = sum(len(heard.characters) for heard in own)
    n_accented = sum(one.index in accents[one.clip] for one in rows)
    print(
        f"{model}: {len(rows):,} syllables of {len(own)} clips, {n_accented} with an accent; "
        f"{n_all - len(rows)} more that it cannot write are left out; natives: {len(others)} clips"
    )
    return results, by_accent(rows, accents, own)


def accents_of(line: dict) -> Accents:
    """The accents of each accented syllable of a clip of foreign_accents.jsonl."""
    found = defaultdict(list)
    for sound in line["accented"]:
        heard = sound["heard"] or "nothing"
        found[sound["index"]].append(f"{sound['place']} {sound['jamo']} as {heard}")
    return dict(found)


def print_table(titles: list[str], rows: dict[str, list[str]]) -> None:
    print("\n| " + " | ".join(titles) + " |")
    print("|---" * len(titles) + "|")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    both = [str(DEMO / "base_model"), str(OUTPUT / "wav2vec2_korean_demo")]
    parser.add_argument("--models", nargs="+", default=both)
    parser.add_argument("--data", type=Path, default=OUTPUT / "processed")
    parser.add_argument("--demo", type=Path, default=DEMO, help="holds foreign_accents.jsonl")
    arguments = parser.parse_args()
    lines = (arguments.demo / "foreign_accents.jsonl").read_text(encoding="utf-8").splitlines()
    truth = {line["id"]: accents_of(line) for line in map(json.loads, lines)}
    foreign = arguments.data / "foreign.jsonl"
    for path in (foreign, *map(Path, arguments.models)):
        if not path.exists():
            parser.error(f"{path} is missing: run ./run.sh first, it writes demo_output/")
    learners = [clip for clip in read_manifest(foreign) if clip.id in truth]
    natives = read_manifest(arguments.data / "korean.jsonl")
    of_models = [measured(model, natives, learners, truth) for model in arguments.models]
    names = [Path(model).name for model in arguments.models]
    rows = {
        name: ["{:.3f} ({:.3f} to {:.3f})".format(*areas[name]) for areas, _ in of_models]
        for name in of_models[0][0]
    }
    print_table(["definition", *names], rows)
    rows = {}
    for number, (_, accents) in enumerate(of_models):
        for name, (n, area) in accents.items():
            # Each model leaves out what it cannot write, so their accents may differ.
            rows.setdefault(name, [""] * len(names))[number] = f"{area:.2f} ({n})"
    print_table(["accent, the listener's score", *names], rows)


if __name__ == "__main__":
    main()
