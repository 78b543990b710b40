"""Script 1 of 4: corpora on disk -> manifests. · 말뭉치 → 목록 파일

    python "model_tuning/1. script_preprocessing.py" --korean PATH [--foreign PATH] [--output data/processed]

Every transcript is cleaned by the rules of korean_asr/transcripts.py, every clip's audio is looked at, and what cannot be
used is written to rejected.jsonl with its reason. Audio is left where it lies. preprocessing.html shows it all.
"""

import argparse
import os
import sys
from pathlib import Path

from korean_asr import transcripts
from korean_asr.errors import exit_status
from korean_asr.model_folder import public_name, vocabulary_tokens
from korean_asr.preprocessing.cleaning import (
    Alphabet,
    Settings,
    preprocessed,
    printed_corpus,
    write_outputs,
)
from korean_asr.vocabulary import characters_of
from recipes import V3

TITLES = {"korean": "Korean speakers · 한국어 화자", "foreign": "Foreign speakers · 외국인 화자"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Clean the transcripts of the corpora and write manifests."
    )
    parser.add_argument(
        "--korean", type=Path, required=True, help="folder of 한국인 대화 음성, or a manifest"
    )
    parser.add_argument("--foreign", type=Path, help="folder of 외국인 한국어 발화, or a manifest")
    parser.add_argument(
        "--output", type=Path, default=Path("data/processed"), help="folder for the manifests"
    )
    parser.add_argument(
        "--side", choices=transcripts.SIDES, default="A", help="side of (A)/(B) to keep"
    )
    parser.add_argument(
        "--order",
        choices=transcripts.ORDERS,
        default="spelling-first",
        help="which side the corpus writes first; A is always the spelling",
    )
    parser.add_argument(
        "--speaker", choices=transcripts.SPEAKERS, default="A", help="speaker whose turns are kept"
    )
    parser.add_argument(
        "--mixed-turns",
        choices=transcripts.MIXED_TURNS,
        default="select",
        help="lines with another speaker's turn too: keep the speaker's own, or reject the line",
    )
    parser.add_argument(
        "--base-model",
        help="hub name or folder: says which characters of the labels it cannot write",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=min(8, os.cpu_count() or 1),
        help="processes that look at the clips",
    )
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: it must be at least 1")
    settings = Settings(arguments.side, arguments.order, arguments.speaker, arguments.mixed_turns)
    alphabet = None
    if arguments.base_model:
        added = V3.added_tokens
        alphabet = Alphabet(
            public_name(arguments.base_model),
            characters_of(vocabulary_tokens(arguments.base_model)),
            added,
        )

    # Both corpora are read before anything is written, so that a wrong folder costs nothing that is already there.
    corpora = []
    for name, place in (("korean", arguments.korean), ("foreign", arguments.foreign)):
        if place:
            corpora.append(
                preprocessed(place, settings, arguments.jobs, name, arguments.output, alphabet)
            )
            print(printed_corpus(TITLES[name], corpora[-1]))

    for path in write_outputs(arguments.output, corpora, alphabet):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
