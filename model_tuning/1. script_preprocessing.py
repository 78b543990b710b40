"""Script 1 of 4: corpora on disk -> manifests. · 말뭉치 → 목록 파일

    python "model_tuning/1. script_preprocessing.py" --korean PATH [--foreign PATH] [--output data/processed]

Every transcript is cleaned by the rules of korean_asr/transcripts.py, every clip's audio is looked at, and what cannot be
used is written to rejected.jsonl with its reason. Audio is left where it lies.
"""

import argparse
import os
import sys
from pathlib import Path

from korean_asr.corpora import foreign_utterances, korean_utterances
from korean_asr.errors import exit_status
from korean_asr.preprocessing import Settings, preprocessed, printed_corpus, write_outputs


def main() -> None:
    parser = argparse.ArgumentParser(description="Clean the transcripts of the corpora and write manifests.")
    parser.add_argument("--korean", type=Path, required=True, help="folder of 한국인 대화 음성")
    parser.add_argument("--foreign", type=Path, help="folder of 외국인 한국어 발화")
    parser.add_argument("--output", type=Path, default=Path("data/processed"), help="folder for the manifests")
    parser.add_argument("--side", choices=["A", "B", "auto"], default="A", help="side of (A)/(B) to keep")
    parser.add_argument(
        "--order",
        choices=["spelling-first", "pronunciation-first"],
        default="spelling-first",
        help="which side the corpus writes first; A is always the spelling",
    )
    parser.add_argument("--speaker", choices=["A", "B", "C", "D"], default="A", help="speaker whose turns are kept")
    parser.add_argument(
        "--mixed-turns",
        choices=["select", "reject"],
        default="select",
        help="lines with another speaker's turn too: keep the speaker's own, or reject the line",
    )
    parser.add_argument(
        "--jobs", type=int, default=min(8, os.cpu_count() or 1), help="threads that look at audio files"
    )
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: it must be at least 1")
    settings = Settings(arguments.side, arguments.order, arguments.speaker, arguments.mixed_turns)

    # Both corpora are read before anything is written, so that a wrong folder costs nothing that is already there.
    corpora = {
        "korean": preprocessed(
            arguments.korean, korean_utterances(arguments.korean), settings, arguments.jobs, "korean"
        )
    }
    print(printed_corpus("Korean speakers · 한국어 화자", corpora["korean"]))
    if arguments.foreign:
        corpora["foreign"] = preprocessed(
            arguments.foreign, foreign_utterances(arguments.foreign), settings, arguments.jobs, "foreign"
        )
        print(printed_corpus("Foreign speakers · 외국인 화자", corpora["foreign"]))

    for path in write_outputs(arguments.output, corpora, settings):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
