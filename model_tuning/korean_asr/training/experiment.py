"""An experiment on disk: its data, its identity and its two folders."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from korean_asr.errors import DataError, UsageError
from korean_asr.files import (
    as_read,
    file_checksum,
    free_name,
    json_value,
    read_json,
    write_json,
)
from korean_asr.lock import lock
from korean_asr.manifest import Utterance, content_checksum, read_manifest, write_manifest
from korean_asr.model_folder import WEIGHT_FILES, settings_checksum
from korean_asr.recipe import VALUES
from korean_asr.training.checkpoints import (
    bytes_on_disk,
    complete_checkpoints,
    last_complete_checkpoint,
    numbered_checkpoints,
    remove_leftovers,
)
from korean_asr.training.final_model import FINAL_VALUES, refuse_missing_checkpoints
from korean_asr.training.learners import wants_learners, with_learners
from korean_asr.training.splits import (
    TRAINING_NAMES,
    VALIDATION_NAMES,
    Split,
    printed_split,
    split_utterances,
)

EXPERIMENT_FILE = "experiment.json"  # in the model folder
SCRIPT = "model_tuning/2. model2_experiment_2.py"
RUN_FILE = "run.json"  # in the checkpoints folder: the experiment that they belong to
# Of base_model; a run of an earlier version did not record them.
NEWER_BASE_VALUES = ("settings_sha256",)
# Without report_to, which is no part of an experiment's identity.
DEFAULT_VALUES = as_read({key: one.default for key, one in VALUES.items() if key != "report_to"})


@dataclass(frozen=True, slots=True)
class Data:
    """The split of a manifest, with the manifest's checksum and the lines to print.

    foreign_manifest_sha256: of foreign.jsonl; None unless the recipe asks for learners' clips.
    """

    split: Split
    manifest_sha256: str
    lines: list[str]
    foreign_manifest_sha256: str | None = None


def read_data(manifest: Path, recipe) -> Data:
    """Read a manifest and split it by a recipe.Recipe, with foreign.jsonl beside it if asked for.

    Raises DataError as splits and learners do, and where foreign.jsonl is missing.
    """
    split = split_utterances(read_manifest(manifest), recipe)
    sha256, foreign_sha256 = file_checksum(manifest), None
    described = [(manifest, sha256)]
    if wants_learners(recipe):
        foreign = manifest.with_name("foreign.jsonl")
        if not foreign.is_file():
            raise DataError(NO_LEARNERS.format(manifest=foreign))
        split = with_learners(split, read_manifest(foreign), recipe)
        foreign_sha256 = file_checksum(foreign)
        described.append((foreign, foreign_sha256))
    changed = [
        CHANGED.format(manifest=file)
        for file, checksum in described
        if not _is_as_described(file, checksum)
    ]
    return Data(split, sha256, [*changed, printed_split(split)], foreign_sha256)


NO_LEARNERS = (
    "{manifest} is missing, and --learner-validation and --learner-train draw learners' clips from "
    "it. Run script 1 with --foreign DIR, or pass 0 for both. "
    "· 1번 스크립트를 --foreign과 함께 실행하세요."
)

CHANGED = (
    "{manifest} is not the file that script 1 described in preprocessing.json: it was edited, or "
    "script 1 was interrupted. Run script 1 again if that was not meant. "
    "· 1번 스크립트가 만든 파일과 다릅니다."
)


def _is_as_described(manifest: Path, sha256: str) -> bool:
    """Whether preprocessing.json has this checksum; True for a manifest it does not list."""
    try:
        summary = read_json(manifest.parent / "preprocessing.json")
        return summary[manifest.stem]["sha256"] == sha256
    except (OSError, ValueError, KeyError, TypeError):
        return True


def run_identity(
    recipe, split: Split, base_model: dict[str, str], n_processes: int
) -> dict[str, Any]:
    """All that two runs must have in common for one to continue from the other's checkpoints.

    recipe: a recipe.Recipe; base_model: its name and checksums. What is reported is no part of it.
    """
    values = asdict(recipe)
    del values["report_to"]
    return {
        "recipe": as_read(values),
        "split": {name: content_checksum(part) for name, part in split.parts().items()},
        "base_model": base_model,
        "n_processes": n_processes,
    }


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment on disk: its command and its run_identity.

    command: the result of recipe_options.training_command. If it is `fresh`, earlier folders are
        renamed.
    """

    command: Any
    identity: dict[str, Any]

    @property
    def output(self) -> Path:
        return self.command.output

    @property
    def checkpoints(self) -> Path:
        return self.command.checkpoints

    @property
    def base_source(self) -> dict[str, str]:
        """Where the base model was read from, for the records of model and checkpoints."""
        return {"base_model_source": public_command([self.command.base_model])[0]}

    def held_folders(self) -> list[Path]:
        """List which of the two folders hold this experiment already; writes nothing.

        Raises DataError if a folder holds another experiment, and UsageError for the current folder
        or one above it, which cannot be renamed.
        """
        _refuse_unusable_folders(self.output, self.checkpoints)
        # A finished model may come from any number of processes; to continue a run, it must be the
        # same number.
        of_output = {key: self.identity[key] for key in self.identity if key != "n_processes"}
        fresh = self.command.fresh
        held = {
            self.output: claim(self.output, EXPERIMENT_FILE, of_output, "--output", fresh),
            self.checkpoints: claim(
                self.checkpoints, RUN_FILE, self.identity, "--checkpoints", fresh
            ),
        }
        return [folder for folder, holds in held.items() if holds]

    def is_finished(self, files: Sequence[str]) -> bool:
        """Whether the model folder has the record of the finished run, and all of these files.

        Never with --fresh or --check, nor where another final model is to be made from the same
        checkpoints, which is printed. But for --check, which writes nothing and prints what is
        wrong with the folders, both are locked first, until the process ends. Raises as
        held_folders and lock.lock do, and DataError if a checkpoint that the other final model
        needs is not there.
        """
        if self.command.check:
            self._tell_unusable_folders()
            return False
        for folder in (self.output, self.checkpoints):
            lock(folder)
        self.held_folders()
        if self.command.fresh or not (self.output / EXPERIMENT_FILE).is_file():
            return False
        record = read_json(self.output / EXPERIMENT_FILE)
        # Only the record of a finished run has `updates`, and it is written last.
        if "updates" not in record or not all((self.output / name).is_file() for name in files):
            return False
        if _final_values(record) == _final_values(self.identity):
            return True
        final_model = self.identity["recipe"]["final_model"]
        refuse_missing_checkpoints(self.checkpoints, final_model, record["updates"])
        print(
            f"{self.output} is finished: another final model is made from {self.checkpoints}, "
            "without training. · 다시 학습하지 않고 체크포인트로 최종 모델을 새로 만듭니다."
        )
        return False

    def _tell_unusable_folders(self) -> None:
        try:
            self.held_folders()
        except (DataError, UsageError) as error:
            print(f"WARNING · 경고: without --check this would stop: {error}")

    def is_trained(self, n_updates: int) -> bool:
        """Whether all updates are made, so that only the final model is left to make."""
        again = self.command.fresh or self.command.check
        return not again and n_updates in complete_checkpoints(self.checkpoints)

    def replaceable_bytes(self) -> int:
        """Size in bytes of the checkpoints that a resumed run replaces; a fresh one keeps them."""
        return 0 if self.command.fresh else bytes_on_disk(self.checkpoints)

    def opened(self, split_files: dict[str, list[Utterance]]) -> Path | None:
        """Claim both folders, write the split into both, and find the last complete checkpoint.

        split_files: file name -> clips. The checkpoints folder gets them too, so that scripts 3 and
            4 know what a checkpoint was trained on.
        Prints what it finds. Returns None if training starts at the beginning. Raises as
        held_folders does, and DataError where the clips of a run that continues sound otherwise.
        """
        held = self.held_folders()
        notes = _set_all_aside(held) if self.command.fresh else []
        if complete_checkpoints(self.checkpoints):
            split_files = _with_known_sounds(self.checkpoints / "split", split_files)
        for folder in (self.output, self.checkpoints):
            for name, clips in split_files.items():
                write_manifest(folder / "split" / name, clips)
        write_json(self.checkpoints / RUN_FILE, {**self.identity, **self.base_source})
        notes += self._claim_output()
        remove_leftovers(self.checkpoints)
        checkpoint, half_written = last_complete_checkpoint(self.checkpoints)
        notes += [f"{path} is only half written, so it is not used." for path in half_written]
        if checkpoint:
            notes.append(f"continuing from {checkpoint} · 이 체크포인트에서 이어갑니다.")
        for note in notes:
            print(note)
        return checkpoint

    def _claim_output(self) -> list[str]:
        """Write the identity into the model folder; the full record of a finished run replaces it.

        The record of another final model goes before its weights do, so that a killed run leaves
        none that tells of other weights. Its results are renamed, which the lines tell.
        """
        path, results = self.output / EXPERIMENT_FILE, self.output / "results"
        notes = []
        if path.exists():
            if _final_values(read_json(path)) == _final_values(self.identity):
                return []
            if results.exists():
                aside = set_aside(results)
                notes.append(f"{results}, of the final model before, was renamed to {aside}.")
        write_json(path, self.identity)
        return notes


def _with_known_sounds(
    folder: Path, split_files: dict[str, list[Utterance]]
) -> dict[str, list[Utterance]]:
    """The split with the sounds that it had before, also of clips that cannot be read now.

    Raises DataError where audio has changed since the split in the folder was written. A changed
    training clip is not the one that a model learned, and scores on changed validation clips cannot
    be compared. A training clip that is gone changes the order of clips, which the checkpoint
    tells. Its sound stays known, for the time when the file is there again.
    """
    known = dict(split_files)
    for name in (f"{part}.jsonl" for part in (*TRAINING_NAMES, *VALIDATION_NAMES)):
        path, clips = folder / name, split_files.get(name, [])
        if not path.is_file():
            continue
        before = {clip.id: clip.audio_sha256 for clip in read_manifest(path)}
        known[name] = [
            replace(clip, audio_sha256=clip.audio_sha256 or before.get(clip.id)) for clip in clips
        ]
        others = [
            clip
            for clip in clips
            if before.get(clip.id) not in (None, clip.audio_sha256)
            and (clip.audio_sha256 or "validation" in name)
        ]
        if others:
            raise DataError(
                f"{path}: the audio of {len(others):,} is not there or not what it was when this "
                f"run began, such as {others[0].id} ({others[0].audio_filepath}). Restore these "
                "files, or start over with --fresh. · 음성 파일이 학습을 시작할 때와 다릅니다. "
                "파일을 되돌리거나 --fresh로 다시 시작하세요."
            )
    return known


def _final_values(record: dict[str, Any]) -> list[Any]:
    """The values of a record's recipe that say which final model is made."""
    values = DEFAULT_VALUES | record["recipe"]
    return [values[key] for key in FINAL_VALUES]


def _of_training(identity: dict[str, Any]) -> dict[str, Any]:
    """The identity without the values that change no update."""
    values = {key: value for key, value in identity["recipe"].items() if key not in FINAL_VALUES}
    return {**identity, "recipe": values}


def identified(
    command, recipe, split: Split, base_model: dict[str, str], n_processes: int
) -> Experiment:
    """The experiment of a command. The other arguments are those of run_identity.

    base_model: name and sha256 of the weights, to which the checksum of its settings is added.
    """
    base_model = base_model | {"settings_sha256": settings_checksum(command.base_model)}
    return Experiment(command, run_identity(recipe, split, base_model, n_processes))


def _refuse_unusable_folders(output: Path, checkpoints: Path) -> None:
    for folder, option in ((output, "--output"), (checkpoints, "--checkpoints")):
        if Path.cwd().is_relative_to(folder.resolve()):
            raise UsageError(
                f"{option} {folder}: name a folder of its own, below or beside this one."
            )
    if output.resolve() == checkpoints.resolve():
        raise UsageError(
            f"--output and --checkpoints are both {output}: give each a folder of its own."
        )
    has_weights = any((output / name).exists() for name in WEIGHT_FILES)
    if has_weights and not (output / EXPERIMENT_FILE).exists():
        raise DataError(
            f"{output} holds a model that script 2 did not make. Pass another --output. "
            "· 2번 스크립트가 만든 모델이 아닙니다."
        )


def claim(
    folder: Path, file_name: str, identity: dict[str, Any], option: str, fresh: bool = False
) -> bool:
    """Whether a folder holds this experiment; False if it holds none.

    Another final model of the same training is the same experiment.
    fresh: accept other values of the same recipe, since the folder will be renamed.
    Raises DataError that names the difference if the folder holds another experiment. Checkpoints
    without a run.json, such as another program's, count as another experiment.
    """
    has_checkpoints = bool(numbered_checkpoints(folder))
    try:
        record = read_json(folder / file_name)
        earlier = {key: json_value(record, key, type(identity[key])) for key in identity}
        before, now = json_value(earlier["recipe"], "name", str), identity["recipe"]["name"]
        # A run of an earlier version lacks the newer values, and did what their defaults do.
        earlier["recipe"] = DEFAULT_VALUES | earlier["recipe"]
        known = {key: identity["base_model"].get(key) for key in NEWER_BASE_VALUES}
        earlier["base_model"] = known | earlier["base_model"]
    except FileNotFoundError:
        if file_name == RUN_FILE and has_checkpoints and not fresh:
            raise DataError(
                f"{folder} holds checkpoints without the {RUN_FILE} that names their experiment. "
                f"Pass another {option}, or --fresh, which renames the folder; nothing was "
                "changed. · 어느 실험의 체크포인트인지 알 수 없습니다."
            ) from None
        return has_checkpoints
    except ValueError as error:
        raise DataError(
            f"{folder / file_name} is damaged ({error}). Rename {folder}, or pass another "
            f"{option}. · 파일이 손상되었습니다."
        ) from None
    if before != now:
        raise DataError(
            f"{folder} belongs to recipe {before}, and this is recipe {now}. Pass {option} "
            f"{folder}_{now}; nothing was changed. · 다른 실험의 폴더입니다."
        )
    changes = [] if fresh else _differences(_of_training(earlier), _of_training(identity))
    if changes:
        more = f"; and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise DataError(
            f"{folder} holds another experiment: {'; '.join(changes[:3])}{more}. Pass another "
            f"--output and --checkpoints, or --fresh, which renames the old folders; nothing was "
            "changed. · 다른 실험의 폴더입니다."
        )
    return True


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changes = []
    for key in {**now, **earlier}:
        before, value = earlier.get(key), now.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            changes += [f"{key} {change}" for change in _differences(before, value)]
        elif before != value:
            changes.append(f"{key} was {str(before)[:12]}, is {str(value)[:12]}")
    return changes


def _set_all_aside(folders: list[Path]) -> list[str]:
    # If one folder is inside the other, rename the inner one first.
    inner_first = sorted(folders, key=lambda folder: len(folder.resolve().parts), reverse=True)
    return [f"{folder} was renamed to {set_aside(folder)} (--fresh)." for folder in inner_first]


def set_aside(folder: Path) -> Path:
    """Rename a folder to the first free name: model.old, model.old2, ..."""
    return folder.rename(free_name(folder.with_name(f"{folder.name}.old")))


def public_command(arguments: list[str]) -> list[str]:
    """The arguments of a command without this machine's folders.

    A path that leads out of the current folder is cut to its last part.
    """
    public = []
    for argument in arguments:
        option, equals, value = "", "", argument
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
        leaves = Path(value).is_absolute() or ".." in Path(value).parts or value.startswith("~")
        public.append(option + equals + (Path(value).name if leaves else value))
    return public
