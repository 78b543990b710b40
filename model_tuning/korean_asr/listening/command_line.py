"""The command line of listen.py: its options, and what is wrong usage."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from korean_asr.arguments import GivenOnce, given_name, given_path
from korean_asr.errors import DataError, UsageError, printable
from korean_asr.listening.outputs import refuse_unusable_output
from korean_asr.listening.recordings import found_recordings
from korean_asr.listening.sentence import UnusableSentence, cleaned_sentence
from korean_asr.lock import lock
from korean_asr.model_folder import model_folder
from korean_asr.model_kinds import WHISPER, chosen_language, kind_of, refuse_other_kind


@dataclass(frozen=True, slots=True)
class Request:
    """What a command line asks for.

    sentence: what was read aloud in the one recording, cleaned. language: in the model's own word,
        None for one that writes one alone.
    """

    model: str
    recordings: list[Path]
    sentence: str | None
    output: Path | None
    precision: str
    page: bool
    language: str | None


def listening_options() -> argparse.ArgumentParser:
    """Make the parser of listen.py."""
    parser = argparse.ArgumentParser(
        description="Write what a model hears in recordings, when, and how sure it is.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    model = {"type": given_name, "action": GivenOnce}
    add("--model", **model, required=True, help="model folder or hub name")
    add(
        "recordings",
        type=given_path,
        nargs="*",
        metavar="RECORDING",
        help="audio file, or a folder of them: wav, flac, mp3, ogg; m4a, mp4, webm and others with "
        "requirements-optional.txt",
    )
    what = "what was read aloud: tells what was heard instead"
    add(
        "--page",
        action="store_true",
        help="open a page of this machine alone: record or choose a recording, hear each letter",
    )
    add("--sentence", action=GivenOnce, metavar="TEXT", help=what)
    add(
        "--output",
        type=given_path,
        action=GivenOnce,
        metavar="FILE",
        help="write a file, by its ending .csv (Excel), .jsonl (letters with times), .srt "
        "(subtitles) or .txt",
    )
    add(
        "--language",
        type=given_name,
        action=GivenOnce,
        help="of a model that writes several, such as MMS: kor",
    )
    add(
        "--precision",
        action=GivenOnce,
        default="float32",
        help="number format of the network: float32 (if not given), bf16 or fp16",
    )
    return parser


def request_of(arguments: argparse.Namespace) -> Request:
    """Check a command line before torch is imported and the model loaded.

    The output is locked until the process ends. Raises UsageError for wrong usage; DataError for a
    recording, a folder or a model that is not there, and an output that another run writes; OSError
    that names the folder where --output cannot be written.
    """
    if arguments.page:
        _refuse_what_the_page_asks_for(arguments)
    elif not arguments.recordings:
        raise UsageError(
            "no recording is given. Pass files or folders, or --page. "
            "· 녹음 파일이나 폴더를 지정하세요."
        )
    sentence = _cleaned(arguments.sentence)
    recordings = found_recordings(arguments.recordings)
    if sentence is not None and len(recordings) > 1:
        raise UsageError(
            f"--sentence is of one recording, and {len(recordings):,} are given. Pass one. "
            "· --sentence는 녹음 하나에만 사용할 수 있습니다."
        )
    if arguments.output:
        refuse_unusable_output(arguments.output, recordings)
        lock(arguments.output.parent, arguments.output.name)
    language = _language(arguments.model, arguments.language)
    return Request(
        arguments.model,
        recordings,
        sentence,
        arguments.output,
        arguments.precision,
        arguments.page,
        language,
    )


def _language(source: str, wanted: str | None) -> str | None:
    """The language that the model is to write, as model_kinds.chosen_language has it.

    Raises DataError for a model that lacks files or has no times, UsageError for --language.
    """
    refuse_other_kind(Path(source))
    folder = model_folder(source)
    refuse_other_kind(folder)
    if kind_of(folder) == WHISPER:
        raise DataError(
            f"{source} is a {WHISPER} model; listen.py takes models with a CTC head, whose letters "
            "have times. Script 3 scores this one. "
            "· listen.py는 CTC 모델만 사용할 수 있습니다."
        )
    language = chosen_language(folder, wanted)
    if wanted and not language:
        raise UsageError(
            f"--language {printable(wanted)}: {source} writes one language alone. Leave the option "
            "out. · 언어를 고를 수 없는 모델입니다. --language를 빼세요."
        )
    model_folder(source, language)
    return language


def _cleaned(sentence: str | None) -> str | None:
    try:
        return None if sentence is None else cleaned_sentence(sentence)
    except UnusableSentence as error:
        raise UsageError(f"--sentence {error}") from None


def _refuse_what_the_page_asks_for(arguments: argparse.Namespace) -> None:
    given = {
        "a recording": arguments.recordings,
        "--sentence": arguments.sentence is not None,
        "--output": arguments.output,
    }
    if names := [name for name, value in given.items() if value]:
        raise UsageError(
            f"{names[0]} does not go with --page, which asks for recordings and sentences itself. "
            "· --page에서는 녹음과 문장을 화면에서 지정합니다."
        )
    from korean_asr.listening.page import refuse_missing_gradio

    refuse_missing_gradio()
