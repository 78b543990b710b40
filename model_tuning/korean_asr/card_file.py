"""README.md of a model folder, the model card: its metadata, and the blocks that scripts renew.

Script 2 writes the card. Scripts 3 and 4 add their scores, and touch nothing that a user wrote.
"""

import copy
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korean_asr.files import whole_file
from korean_asr.messages import CORPORA, english
from korean_asr.metrics import RULE
from korean_asr.rates import shown_rate, stored_rate

# huggingface_hub is imported where it is called: it takes a quarter of a second.

CARD_FILE = "README.md"
TASK = "automatic-speech-recognition"
MODEL_INDEX = "model-index"
# Error rates on the card: as metrics.py names them -> kind and title of the hub's metric.
CARD_SCORES = {
    "cer": ("cer", "CER"),
    "wer": ("wer", "WER"),
    "cer_no_punctuation": ("cer", "CER without punctuation"),
}
# As the hub's server finds the metadata.
_METADATA = re.compile(r"\A(\s*---\n)([\S\s]*?)(\n---[ \t]*(?:\n|\Z))")
BLOCKS = {
    "scores": "scripts 3 and 4 write anew what stands between these two lines",
    "license": "script 2 with --license writes anew what stands between these two lines",
}
NOT_UNDERSTOOD = "its metadata are written in a form that is not understood"
# What the hub calls a licence that it has no name for.
OTHER_LICENSE = {
    "license": "other",
    "license_name": "terms-of-the-training-data",
    "license_link": "https://aihub.or.kr",
}


@dataclass(frozen=True, slots=True)
class CardResult:
    """Error rates of a model on some clips, as its card tells them.

    corpus: a key of CORPORA. manifest: the file of the clips, without folders of this machine.
    rates: by the names of CARD_SCORES; others are left out.
    """

    corpus: str
    manifest: str
    n_clips: int
    rates: dict[str, float]

    @property
    def split(self) -> str:
        return "validation" if "validation" in Path(self.manifest).stem else "test"


class UnusableCard(ValueError):
    """A card that cannot be renewed; the message says why, in words that follow `because`."""


def block(name: str, lines: list[str]) -> str:
    """A part of the text that can be written anew, between two HTML comments."""
    return "\n".join([f"<!-- {name}: {BLOCKS[name]} -->", *lines, f"<!-- end of {name} -->"])


def license_values(license: str | None) -> dict[str, str | None]:
    """The metadata about the licence; None is a value that is not there."""
    given = {"license": license, "license_name": None, "license_link": None}
    return given if license else dict(OTHER_LICENSE)


def license_block(license: str | None) -> str:
    """The text about the licence. license: the hub's id, or None for that of the data."""
    if license:
        return block("license", [f"License: `{license}`."])
    lines = [
        "Whoever published the training data decides what may become of a model that learned from",
        "them: AI Hub's data have [terms of their own](https://aihub.or.kr), and publishing this",
        "model has to follow them. `--license` of script 2 names a license here.",
        "이 모델의 공개와 이용은 학습 데이터(AI Hub 등)의 이용 조건을 따라야 합니다.",
    ]
    return block("license", lines)


def model_index(name: str, results: list[CardResult]) -> list[dict[str, Any]]:
    """The `model-index` of the metadata, as the hub wants it."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    found = [
        EvalResult(
            task_type=TASK,
            task_name="Automatic Speech Recognition",
            dataset_type=result.corpus,
            dataset_name=f"{english(CORPORA[result.corpus])}, {result.manifest}",
            dataset_config=result.manifest,
            dataset_split=result.split,
            dataset_args={"n_clips": result.n_clips, "rule": RULE},
            metric_type=CARD_SCORES[score][0],
            metric_name=CARD_SCORES[score][1],
            metric_value=stored_rate(result.rates[score]),
        )
        for result in results
        for score in CARD_SCORES
        if score in result.rates
    ]
    return eval_results_to_model_index(name, found)


def scores_block(index: list[dict[str, Any]]) -> str:
    """The table of all results in a model-index that our scripts wrote."""
    titles = [title for _, title in CARD_SCORES.values()]
    lines = [
        f"| clips | number | rule | {' | '.join(titles)} |",
        f"|---|--:|---|{'--:|' * len(titles)}",
    ]
    for row in (row for model in index for row in model["results"] if _is_ours(row)):
        rates = {metric.get("name"): metric["value"] for metric in row["metrics"]}
        shown = [shown_rate(rates[title]) if title in rates else "–" for title in titles]
        data = row["dataset"]
        name = data["name"].replace("|", r"\|").replace("<", "&lt;")
        cells = [name, f"{data['args']['n_clips']:,}", data["args"]["rule"], *shown]
        lines.append(f"| {' | '.join(cells)} |")
    return block("scores", lines)


def _is_ours(row: dict[str, Any]) -> bool:
    """Whether a result of a model-index is one of ours; users may add those of other data."""
    data = row.get("dataset") or {}
    args = data.get("args")
    return data.get("type") in CORPORA and isinstance(args, dict) and {"n_clips", "rule"} <= {*args}


def new_card(metadata: dict[str, Any], text: str) -> str:
    """A card of metadata, by the hub's names, and text. Raises ValueError as the hub's class."""
    from huggingface_hub import ModelCard, ModelCardData

    known = {key: value for key, value in metadata.items() if value is not None}
    return str(ModelCard(f"---\n{ModelCardData(**known).to_yaml()}\n---\n{text}"))


def with_result(card: str, name: str, result: CardResult) -> str:
    """A card with the result of some clips; it replaces an earlier one of the same clips' file.

    name: of the model, where the metadata do not tell it. All else stays as it is.
    Raises UnusableCard.
    """
    (new,) = model_index(name, [result])
    earlier = _metadata(card).get(MODEL_INDEX) or [{"name": name, "results": []}]
    index = copy.deepcopy(earlier)
    try:
        place = ("type", "config", "split")
        same = [new["results"][0]["dataset"][key] for key in place]
        kept = [
            row
            for row in index[0]["results"]
            if not (_is_ours(row) and [row["dataset"].get(key) for key in place] == same)
        ]
        index[0]["results"] = kept + new["results"]
        shown = scores_block(index)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        raise UnusableCard(f"its {MODEL_INDEX} is damaged") from None
    return with_values(with_block(card, "scores", shown), {MODEL_INDEX: index})


def with_license(card: str, license: str) -> str:
    """A card with another licence. Raises UnusableCard."""
    return with_values(with_block(card, "license", license_block(license)), license_values(license))


def with_block(card: str, name: str, new: str) -> str:
    """A card with other blocks of that name. Raises UnusableCard where it has none."""
    # Not up to the end of a later block: what stands between them is the user's.
    others = rf"(?!<!-- (?:{'|'.join(BLOCKS)}):|<!-- end of {name} -->)[^\n]*\n"
    whole = rf"<!-- {name}:[^\n]*-->\n(?:{others})*<!-- end of {name} -->"
    # A block that someone doubled must not go on telling the old values.
    card, n_found = re.subn(whole, lambda _: new, card)
    if not n_found:
        raise UnusableCard(f"it lacks the two comments around its {name}")
    return card


def with_values(card: str, values: dict[str, Any]) -> str:
    """A card with other values in its metadata, each of whose other lines stays as it is.

    values: None removes a value. Raises UnusableCard.
    """
    from huggingface_hub.repocard_data import CardData

    wanted = _metadata(card)
    for key, value in values.items():
        wanted.pop(key, None)
        lines = _METADATA.match(card)[2].split("\n")
        first, end = _lines_of(lines, key)
        lines[first:end] = CardData(**{key: value}).to_yaml().split("\n") if value else []
        start, stop = _METADATA.match(card).span(2)
        card = card[:start] + "\n".join(lines) + card[stop:]
    wanted |= {key: value for key, value in values.items() if value}
    if _metadata(card) != wanted:
        raise UnusableCard(NOT_UNDERSTOOD)
    return card


def _metadata(card: str) -> dict[str, Any]:
    """The metadata of a card that the hub's class accepts. Raises UnusableCard."""
    import yaml
    from huggingface_hub import ModelCard

    found = _METADATA.match(card)
    if not found:
        raise UnusableCard("it does not begin with metadata between two lines of ---")
    try:
        ModelCard(card)
        return yaml.safe_load(found[2]) or {}
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UnusableCard(f"its metadata are damaged ({reason})") from None


def _lines_of(lines: list[str], key: str) -> tuple[int, int]:
    """First line of a value in the metadata, and the one behind it; both the end if it has none.

    Blank lines and comments behind it are not part of it. Raises UnusableCard for `{a: 1}`.
    """
    import yaml

    root = yaml.compose("\n".join(lines))
    values = root.value if root else []
    if root and root.flow_style:
        raise UnusableCard(NOT_UNDERSTOOD)
    starts = [*(name.start_mark.line for name, _ in values), len(lines)]
    for index, (name, _) in enumerate(values):
        if name.value == key:
            first, end = starts[index : index + 2]
            while end > first + 1 and re.match(r"\s*(#|$)", lines[end - 1]):
                end -= 1
            return first, end
    return len(lines), len(lines)


def renew(folder: Path, change: Callable[[str], str]) -> str | None:
    """Change the card of a model folder that script 2 made; returns why it could not be, or None.

    change: a function from the card to the new one, which may raise UnusableCard. A card that
    cannot be renewed stays as it is. Where there is no card none is written.
    """
    path = folder / CARD_FILE
    try:
        with _alone_with(path):
            text = path.read_bytes().decode("utf-8")
            # A card from Windows keeps its line ends; where they differ, all become those of most.
            end = "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"
            new = change(text.removeprefix("\ufeff").replace("\r\n", "\n")).replace("\n", end)
            if new != text:
                with whole_file(path) as file:
                    file.buffer.write(new.encode(errors="backslashreplace"))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return "its bytes are not UTF-8"
    except UnusableCard as error:
        return str(error)
    except OSError as error:
        return f"it cannot be written: {error.strerror or error}"
    return None


@contextmanager
def _alone_with(path: Path) -> Iterator[None]:
    """Wait until no other process changes a file: scripts 3 and 4 may end at one time."""
    while True:
        with path.open("r+b") as file:
            # Some network disks know no locks.
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever had it has put a new file in its place.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield
                return
