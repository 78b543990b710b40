"""Script 1 of 4: corpora on disk -> manifests. · 1번 스크립트: 말뭉치 → 목록 파일

    python "model_tuning/1. script_preprocessing.py" --korean PATH [--korean PATH …]
        [--foreign PATH …] [--output data/processed]

Every transcript is cleaned by the rules of korean_asr/transcripts.py, every clip's audio is
checked, and what cannot be used is written to rejected.jsonl with its reason. Audio stays where it
lies. preprocessing.html shows the result. Several corpora of one option become one manifest.
"""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path

from korean_asr.arguments import given_name, given_path
from korean_asr.errors import exit_status
from korean_asr.lock import lock
from korean_asr.messages import CORPORA
from korean_asr.preprocessing.cleaning import RULE_SENTENCES, Settings, preprocessed
from korean_asr.preprocessing.corpus_names import named_corpora
from korean_asr.preprocessing.counts import base_alphabet, printed_group
from korean_asr.preprocessing.json_labels import LabelKeys, given_key, refuse_unused_keys
from korean_asr.preprocessing.outputs import refuse_inputs_among_outputs, write_outputs
from recipes import V3


def main() -> None:
    arguments = parsed_arguments()
    roots = {name: named_corpora(getattr(arguments, name)) for name in ("korean", "foreign")}
    refuse_inputs_among_outputs(arguments.output, [*arguments.korean, *arguments.foreign])
    lock(arguments.output)
    settings = Settings(*(getattr(arguments, choice.name) for choice in fields(Settings)))
    keys = LabelKeys(arguments.text_key, arguments.audio_key)

    # 1. The characters of the base model, to count those of the labels that it cannot write.
    alphabet = None
    if arguments.base_model:
        alphabet = base_alphabet(arguments.base_model, V3.added_tokens)

    # 2. Each corpus: find labels and audio, join them, clean each text and check each clip's audio.
    # Nothing is written before all corpora are read: a wrong folder must not cost earlier files.
    groups = []
    for name, corpora in roots.items():
        if corpora:
            group = preprocessed(
                corpora,
                settings,
                arguments.jobs,
                name,
                arguments.output,
                alphabet,
                keys,
                arguments.split,
            )
            print(printed_group(CORPORA[name], group))
            groups.append(group)

    corpora = [corpus for group in groups for corpus in group.corpora]
    if all(corpus.lacks_keys for corpus in corpora):
        refuse_unused_keys(keys, [str(corpus.root) for corpus in corpora])

    # 3. The manifests, the rejected lines, the counts, and the page about them.
    for path in write_outputs(arguments.output, groups, RULE_SENTENCES, alphabet):
        print(f"wrote {path}")


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Clean the transcripts of the corpora and write manifests."
    )
    add = parser.add_argument
    several = {"type": given_path, "action": "append", "default": []}
    what = "an archive, a manifest, a table or hf:NAME; give it again for another corpus"
    add("--korean", **several, required=True, help=f"folder of 한국인 대화 음성, {what}")
    add("--foreign", **several, help=f"folder of 외국인 한국어 발화, {what}")
    add("--split", help="split of a table or of a hub data set, such as train (default all)")
    add(
        "--output", type=given_path, default=Path("data/processed"), help="folder for the manifests"
    )
    for choice in fields(Settings):
        add(f"--{choice.name.replace('_', '-')}", default=choice.default, **choice.metadata)
    key = {"type": given_key, "default": (), "metavar": "KEY"}
    add("--text-key", **key, help="where other JSON has the text, such as 전사정보.LabelText")
    add("--audio-key", **key, help="where it has the audio's name; without it, the label file's")
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
