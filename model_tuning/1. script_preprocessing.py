"""Script 1 of 4: corpora on disk -> manifests. · 1번 스크립트: 말뭉치 → 목록 파일

    python "model_tuning/1. script_preprocessing.py" --korean PATH [--foreign PATH]
        [--output data/processed]

Every transcript is cleaned by the rules of korean_asr/transcripts.py, every clip's audio is
checked, and what cannot be used is written to rejected.jsonl with its reason. Audio stays where it
lies. preprocessing.html shows the result.
"""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path

from korean_asr.arguments import GivenOnce, given_name, given_path
from korean_asr.errors import exit_status
from korean_asr.lock import lock
from korean_asr.messages import CORPORA
from korean_asr.preprocessing.cleaning import RULE_SENTENCES, Settings, preprocessed
from korean_asr.preprocessing.counts import base_alphabet, printed_corpus, write_outputs
from korean_asr.preprocessing.tables import TableOptions
from recipes import V3


def main() -> None:
    arguments = parsed_arguments()
    lock(arguments.output)
    settings = Settings(*(getattr(arguments, choice.name) for choice in fields(Settings)))
    table_options = TableOptions(arguments.split, arguments.text_key, arguments.audio_key)

    # 1. The characters of the base model, to count those of the labels that it cannot write.
    alphabet = None
    if arguments.base_model:
        alphabet = base_alphabet(arguments.base_model, V3.added_tokens)

    # 2. Each corpus: find labels and audio, join them, clean each text and check each clip's audio.
    # Nothing is written before both corpora are read: a wrong folder must not cost earlier files.
    corpora = []
    for name, root in (("korean", arguments.korean), ("foreign", arguments.foreign)):
        if root:
            corpus = preprocessed(
                root, settings, arguments.jobs, name, arguments.output, alphabet, table_options
            )
            print(printed_corpus(CORPORA[name], corpus))
            corpora.append(corpus)

    # 3. The manifests, the rejected lines, the counts, and the page about them.
    for path in write_outputs(arguments.output, corpora, RULE_SENTENCES, alphabet):
        print(f"wrote {path}")


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Clean the transcripts of the corpora and write manifests."
    )
    add = parser.add_argument
    once = {"type": given_path, "action": GivenOnce}
    add("--korean", **once, required=True, help="folder of 한국인 대화 음성, or a manifest")
    add("--foreign", **once, help="folder of 외국인 한국어 발화, or a manifest")
    add("--split", help="split of a table or of a hub data set, such as train (default all)")
    add("--text-key", help="column of a table that holds the transcript (default: by its name)")
    add("--audio-key", help="column of a table that holds the audio (default: by its name)")
    add(
        "--output", type=given_path, default=Path("data/processed"), help="folder for the manifests"
    )
    for choice in fields(Settings):
        add(f"--{choice.name.replace('_', '-')}", default=choice.default, **choice.metadata)
    add(
        "--base-model",
        type=given_name,
        help="hub name or folder: count the characters that it cannot write",
    )
    n_jobs = min(8, os.cpu_count() or 1)
    add("--jobs", type=int, default=n_jobs, help="processes that check the clips")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: it must be at least 1")
    return arguments


if __name__ == "__main__":
    sys.exit(exit_status(main))
