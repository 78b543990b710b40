"""Put the scores of scripts 3 and 4 on the cards of the models that script 2 made."""

from functools import partial
from pathlib import Path

from korean_asr.card_file import CARD_FILE, CARD_SCORES, CardResult, renew, with_result
from korean_asr.errors import printable
from korean_asr.evaluation.scores import Evaluation
from korean_asr.manifest import Utterance, content_checksum, read_manifest
from korean_asr.model_folder import results_folder


def renew_cards(
    sources: list[str], evaluations: list[Evaluation], manifest: Path, results: Path
) -> None:
    """Renew the card of each model that script 2 made, and print what became of it.

    sources: folder or hub name of each model. results: the folder of the files of results; where
    --output chose another than the model's, nothing in a model folder is written. Scores on clips
    of the training data do not get onto a card. Only the first process writes.
    """
    from korean_asr.hardware import is_first

    if not is_first() or results != results_folder(sources):
        return
    for source, evaluation in zip(sources, evaluations, strict=True):
        folder = Path(source)
        # As script 2 leaves it. Another's model may have a card, too.
        is_ours = (folder / "experiment.json").is_file() and (folder / "split").is_dir()
        if not is_ours or evaluation.overlap or not (folder / CARD_FILE).is_file():
            continue
        rates = {name: evaluation.totals[name].rate for name in CARD_SCORES}
        shown = _shown(manifest, evaluation.utterances, folder)
        # A line end in a name would be one in the table.
        shown, name = printable(shown), printable(folder.resolve().name)
        result = CardResult(evaluation.corpus, shown, len(evaluation.utterances), rates)
        why = renew(folder, partial(with_result, name=name, result=result))
        path = printable(str(folder / CARD_FILE))
        print(
            f"WARNING · 경고: {path} stays as it is, because {printable(why)}. The scores are in "
            f"{printable(str(results))}. · 모델 카드를 갱신하지 못했습니다."
            if why
            else f"wrote {path}"
        )


def _shown(manifest: Path, clips: list[Utterance], folder: Path) -> str:
    """The clips' file on the card: one of the model's own split, or the name of another.

    A model that is scored beside another one has the other's manifest, often of the same clips.
    """
    own = folder / "split" / manifest.name
    is_own = manifest.resolve() == own.resolve() or (
        own.is_file() and content_checksum(read_manifest(own)) == content_checksum(clips)
    )
    return f"split/{manifest.name}" if is_own else manifest.name
