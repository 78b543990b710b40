"""The command line of scripts 3 and 4, and the steps that both take."""

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from korean_asr.arguments import GivenOnce, given_name, given_path
from korean_asr.audio_container import with_remedy
from korean_asr.errors import SharedError, printable
from korean_asr.evaluation.clip_notes import duration_notes
from korean_asr.evaluation.comparison import (
    comparison,
    gap,
    refuse_different_clips,
    side_by_side,
)
from korean_asr.evaluation.experiment_report import (
    experiment_lines,
    shown_experiments,
    write_experiments,
)
from korean_asr.evaluation.experiment_table import ExperimentTable
from korean_asr.evaluation.learners import summary_with_learners
from korean_asr.evaluation.natives import natives_of, rescored
from korean_asr.evaluation.report import Report, comparison_lines, report_lines, write_reports
from korean_asr.evaluation.result_files import set_aside, stems_in_model, stems_of
from korean_asr.evaluation.scores import Evaluation
from korean_asr.lock import lock
from korean_asr.manifest import Utterance, read_manifest
from korean_asr.metrics import Hypothesis
from korean_asr.model_folder import (
    base_of,
    default_foreign_manifest,
    default_manifest,
    owner,
    results_folder,
)
from korean_asr.overlap import Seen, seen_in_training

# Modules that import torch (hardware, model, decoding) are imported where they are called, so that
# --help answers at once.

SAMPLE_SEED = 42
OPTIONS_OF_A_MODEL = ("manifest", "with_base", "language", "allow_overlap", "precision")
OPTIONS_OF_REPORTS = (*OPTIONS_OF_A_MODEL, "embed_audio")


def evaluation_options(description: str, manifest_help: str) -> argparse.ArgumentParser:
    """Make a parser of the options that both scripts have."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)

    add = parser.add_argument
    models = {"type": given_name, "action": "append", "default": []}
    add("--model", **models, help="model folder or hub name; may be repeated")
    add("--manifest", type=given_path, action=GivenOnce, help=manifest_help)
    add(
        "--output",
        type=given_path,
        help="folder for the results; the model's results/ if not given",
    )
    add("--with-base", action="store_true", help="also score the base of the first model")
    add(
        "--language",
        type=given_name,
        action=GivenOnce,
        help="language of a model that writes one of several: kor for MMS; ko for Whisper if not "
        "given",
    )
    add(
        "--allow-overlap",
        action="store_true",
        help="score clips of the training data too, with a warning",
    )
    add(
        "--precision",
        default="float32",
        help="number format of the network: float32 (if not given), bf16 or fp16",
    )
    add(
        "--embed-audio",
        action="store_true",
        help="put every clip into the page, which then is large",
    )
    add(
        "--rescore",
        type=given_path,
        action="append",
        default=[],
        metavar="RESULTS.jsonl",
        help="score a file of results, of this or another system, without a model; may be repeated",
    )
    return parser


def evaluation_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; wrong usage ends the script with status 2."""
    arguments = parser.parse_args()
    # Script 4 has no --experiments.
    given = [name for name in ("model", "rescore", "experiments") if getattr(arguments, name, None)]
    if len(given) != 1:
        other = " or --experiments FOLDER" if "experiments" in arguments else ""
        parser.error(f"give either --model MODEL or --rescore RESULTS.jsonl{other}")
    refused = {"model": (), "rescore": OPTIONS_OF_A_MODEL}.get(given[0], OPTIONS_OF_REPORTS)
    for name in refused:
        if getattr(arguments, name) != parser.get_default(name):
            option = name.replace("_", "-")
            parser.error(f"--{option} goes with --model: --{given[0]} takes results as they are")
    if arguments.model:
        # Wrong usage comes first, before models and manifests are looked for.
        from korean_asr.hardware import device_here, refuse_unavailable, refuse_unusable_cards

        refuse_unusable_cards()
        refuse_unavailable(arguments.precision, device_here())
    return arguments


@dataclass(frozen=True, slots=True)
class Plan:
    """Models, and the clips that all of them are scored on.

    results: the folder for the files.
    owner: index of the model that this folder belongs to.
    notes: sentences for the report.
    """

    corpus: str
    models: list[str]
    manifest: Path
    utterances: list[Utterance]
    results: Path = Path()
    owner: int = 0
    notes: tuple[str, ...] = ()
    precision: str = "float32"
    allow_overlap: bool = False
    language: str | None = None


def evaluation_plan(
    arguments: argparse.Namespace, corpus: str, foreign: Path | None = None
) -> Plan:
    """Read the manifest, by default the test split of the first model that has one.

    foreign: the manifest of learners' clips, of which the default is the learners' test split, or
        else this manifest.
    Raises OSError now, before the long work, if the results folder cannot be written, and DataError
    if another run is writing this corpus's files there.
    """
    from korean_asr.hardware import is_first

    models = list(arguments.model)
    if arguments.with_base:
        models.append(base_of(models[0]))
    manifest = arguments.manifest or (
        default_foreign_manifest(models, foreign) if foreign else default_manifest(models)
    )
    results = arguments.output or results_folder(models)
    if is_first():
        lock(results, corpus)
    utterances = read_manifest(manifest)
    return Plan(
        corpus,
        models,
        manifest,
        utterances,
        results,
        owner(models),
        precision=arguments.precision,
        allow_overlap=arguments.allow_overlap,
        language=arguments.language,
    )


def sampled(plan: Plan, limit: int) -> Plan:
    """Keep at most `limit` clips, and note it."""
    n_clips = len(plan.utterances)
    if n_clips <= limit:
        return plan
    note = (
        f"{limit:,} of {n_clips:,} clips, spread over first languages, then speakers "
        "(--all scores all)"
    )
    sample = spread_sample(plan.utterances, limit)
    return replace(plan, utterances=sample, notes=(*plan.notes, note))


def spread_sample(utterances: list[Utterance], limit: int) -> list[Utterance]:
    """Draw at most `limit` clips, spread evenly over first languages, then over speakers.

    The sample depends on the clips alone, not on their order.
    """
    shuffled = sorted(utterances, key=lambda utterance: utterance.id)
    random.Random(SAMPLE_SEED).shuffle(shuffled)
    speakers: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
    for utterance in shuffled:
        speakers[utterance.first_language or ""][utterance.speaker or ""].append(utterance)
    languages = [
        _round_robin(list(by_speaker.values())) for _, by_speaker in sorted(speakers.items())
    ]
    return sorted(_round_robin(languages)[:limit], key=lambda utterance: utterance.id)


def _round_robin(queues: list[list[Utterance]]) -> list[Utterance]:
    """Take one of each queue in turn, until all are empty."""
    depth = max(map(len, queues), default=0)
    return [queue[i] for i in range(depth) for queue in queues if i < len(queue)]


def evaluate(plan: Plan) -> list[Evaluation]:
    """Decode and score the clips with every model; under torchrun all processes share the clips.

    Raises SharedError if a model was trained on one of the clips and the plan does not allow it,
    and UsageError for a number format that the device does not have, or a language that a model
    does not.
    """
    from korean_asr.evaluation.recognisers import refuse_unusable
    from korean_asr.hardware import (
        from_first,
        is_first,
        join_processes,
        on_one_gpu_unless_torchrun,
    )

    if note := on_one_gpu_unless_torchrun():
        print(note)
    # Before the processes join, and before the long work.
    refuse_unusable(plan.models, plan.language)
    join_processes()
    found = from_first(
        [seen_in_training(source, plan.utterances) for source in plan.models]
        if is_first()
        else None
    )
    if not plan.allow_overlap:
        for source, seen in zip(plan.models, found, strict=True):
            refuse_seen(source, plan.utterances, seen)
    return [_evaluated(plan, source, seen) for source, seen in zip(plan.models, found, strict=True)]


def refuse_seen(source: str, utterances: list[Utterance], seen: Seen) -> None:
    """Raise SharedError if the model was trained on some of the clips; it names the first one."""
    if not seen.overlap:
        return
    first = utterances[min(seen.overlap)]
    raise SharedError(
        f"{seen.warning(source)}; the first: {first.id}. Their scores would be meaningless. Take "
        "them out of the manifest, or pass --allow-overlap, and the report will say so on its "
        "first line. · 학습에 사용한 발화는 평가할 수 없습니다. 목록에서 빼거나 "
        "--allow-overlap을 지정하세요."
    )


def _evaluated(plan: Plan, source: str, seen: Seen) -> Evaluation:
    """Decode the clips with one model."""
    from korean_asr.evaluation.recognisers import decoded_clips, facts_of, loaded

    recogniser, clips = loaded(source, plan.language), plan.utterances
    title = f"decoding with {recogniser.name}"
    decoded = decoded_clips(recogniser, clips, title, plan.precision)
    _refuse_none_decoded(plan, source, decoded.hypotheses)
    notes = (*plan.notes, *duration_notes(clips, decoded.clip_seconds), *seen.notes)
    return Evaluation(
        corpus=plan.corpus,
        model=recogniser.name,
        manifest=str(plan.manifest),
        utterances=clips,
        hypotheses=decoded.hypotheses,
        seen=seen.indices,
        overlap=frozenset(seen.overlap),
        facts=facts_of(recogniser, source, plan.language, decoded, clips),
        notes=notes,
        warning=seen.warning(recogniser.name),
    )


def _refuse_none_decoded(plan: Plan, source: str, hypotheses: list[Hypothesis]) -> None:
    """Raise SharedError, which says whether sound or model is at fault, if no clip was decoded."""
    from korean_asr.decoding import NOT_FINITE

    problems, clips = [hypothesis.problem for hypothesis in hypotheses], plan.utterances
    if not all(problems):
        return
    if NOT_FINITE in problems:
        raise SharedError(
            f"{source} computes NaN or infinity in {plan.precision} for "
            f"{problems.count(NOT_FINITE)} of {len(clips)} clips, and no clip could be "
            "decoded. Pass --precision float32; if it is float32, take an earlier checkpoint or "
            "copy the model again. · 모델의 출력이 NaN입니다. --precision float32를 지정하거나 "
            "다른 모델을 사용하세요."
        )
    first = with_remedy(problems[0])
    raise SharedError(
        f"none of the {len(clips)} clips of {plan.manifest} can be read (the first: {first}, "
        f"{clips[0].audio_filepath}). Were they moved? Run script 1 again. "
        "· 읽을 수 있는 음성이 없습니다. 1번 스크립트를 다시 실행하세요."
    )


def add_gaps_to_korean(plan: Plan, evaluations: list[Evaluation]) -> None:
    """Add to each evaluation the gap to Korean speakers, from the model's results of script 3.

    These results are the fact `natives` too, the yardstick of the learners.
    """
    from korean_asr.hardware import is_first

    if not is_first():
        return
    # Script 3 writes the results of several models into one folder, the first one's.
    shared = [plan.results, results_folder(plan.models)]
    for model, evaluation in zip(plan.models, evaluations, strict=True):
        natives = natives_of(evaluation, [*shared, results_folder([model])])
        found = gap(evaluation, natives) if natives else None
        evaluation.facts.update(natives=natives, gap_to_korean=found)


def show_rescored(arguments: argparse.Namespace, corpus: str, by_speaker: bool = False) -> None:
    """Score files of results again and print the reports; files are written only to --output.

    by_speaker: as for show().
    Raises UsageError where they would replace the results of a model.
    """
    from korean_asr.hardware import is_first

    if is_first():
        output, stems = arguments.output, []
        if output:
            stems = stems_in_model(arguments.rescore, output, corpus)
            lock(output, corpus)
        # Script 3 writes the results of several models into one folder, the first one's.
        folders = [path.parent for path in arguments.rescore]
        if output:
            folders.append(output)
        evaluations = [rescored(path, corpus, folders) for path in arguments.rescore]
        show(evaluations, output, 0, arguments.embed_audio, by_speaker, stems=stems)


def show(
    evaluations: list[Evaluation],
    folder: Path | None,
    owner: int = 0,
    embed_audio: bool = False,
    by_speaker: bool = False,
    experiments: ExperimentTable | None = None,
    stems: Sequence[str] = (),
) -> None:
    """Write the files if a folder is given, then print the reports; only in the first process.

    owner: index of the model that the plain file names belong to.
    by_speaker: make a report card of each learner.
    experiments: the result of experiment_report.compared_experiments().
    stems: names of the files of each report; stems_of() makes them if they are not given.
    Raises DataError where the evaluations are not of the same clips.
    """
    from korean_asr.hardware import is_first

    if not is_first():
        return
    refuse_different_clips(evaluations)
    reports = reports_of(evaluations, folder or Path(), owner, by_speaker)
    # Written first: a reader such as `| head`, which closes the output, must not lose the files.
    shown = shown_experiments(experiments) if experiments else None
    told, written = [], []
    if folder:
        stems = stems or stems_of([report.summary for report in reports], owner)
        for stem, report in zip(stems, reports, strict=True):
            told += set_aside(folder, stem, report.summary)
        written = write_reports(reports, folder, owner, embed_audio, shown, stems)
    lines = [line for report in reports for line in report_lines(report)]
    if len(reports) > 1:
        others = [comparison(evaluations[0], other) for other in evaluations[1:]]
        lines += comparison_lines(reports, others)
    if experiments:
        written += write_experiments(experiments, folder) if folder else []
        lines += experiment_lines(experiments)
    lines += [*told, *(f"wrote {path}" for path in written)]
    for line in lines:
        # Names and texts may hold line ends and escape sequences of a terminal.
        print(printable(line))


def reports_of(
    evaluations: list[Evaluation], folder: Path, owner: int = 0, by_speaker: bool = False
) -> list[Report]:
    """Make a report of each evaluation; those of other models are compared with the owner's.

    folder: where the files will be; paths of audio may be relative to it.
    by_speaker: as for show().
    """
    summaries = [summary_with_learners(evaluation, by_speaker) for evaluation in evaluations]
    first = evaluations[owner]
    compared = [None if other is first else comparison(first, other) for other in evaluations]
    if len(evaluations) > 1 and first.corpus == "foreign":
        rows = side_by_side(summaries, compared)
        summaries = [summary | {"side_by_side": rows} for summary in summaries]
    reports = []
    for evaluation, summary, found in zip(evaluations, summaries, compared, strict=True):
        whole = {**summary, "compared_with": found} if found else summary
        reports.append(Report(whole, evaluation.rows(folder), evaluation.clip_counts()))
    return reports
