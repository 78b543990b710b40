"""Measure training, decoding and memory on one GPU, at the size of the real base model.

    python tests/benchmarks/gpu.py [--device cuda|cpu] [--tiny]
                                   [--sections training,profile,decoding,memory]
                                   [--output tests/benchmarks/results] [--table FILE]

The model has random weights and 24 layers of 1,024; its 1,205 labels are 1,211 in our training.
Clips last as long as the corpus', and 20 s in the section about memory. Five minutes on an H100, by
arithmetic from a run of nine that measured more. Each section prints its table, and is kept in
results/<card>.json when it is done: where one fails, the others run, and `--sections` repeats it
alone. `--device cpu --tiny` tries every section with a small model in under a minute, and writes
nothing unless --output is given. `--table FILE` prints a JSON file again.

The Trainer needs accelerate and datasets; without them its rows say so.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from gpu_sections import FULL, SECTIONS, TINY, Bench, Rows, Scale
from measuring import corpus_durations, machine, random_base, spoken

HERE = Path(__file__).resolve().parent


def table(rows: Rows) -> str:
    """Rows as Markdown, a column a key."""
    titles = list(rows[0])
    lines = [titles, ["---"] * len(titles)]
    lines += [[_cell(row[title]) for title in titles] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def section_report(name: str, made: dict[str, Any]) -> str:
    head = f"### {name}: {made['seconds']} s, {made['date']}, commit {made['commit']}"
    return "\n".join([head, "", table(made["rows"]), "", *(f"- {note}" for note in made["notes"])])


def report(record: dict[str, Any]) -> str:
    """All finished sections as Markdown, below the machine."""
    here = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    head = f"{here['gpu'] or here['cpu']}, {record['scale']}; {versions}."
    parts = [section_report(name, made) for name, made in record["sections"].items()]
    return "\n\n".join([head, *parts])


def run_sections(
    names: list[str], bench: Bench, record: dict[str, Any], path: Path | None
) -> list[str]:
    """Run sections, print and keep each; returns the names of those that failed."""
    failed = []
    for name in names:
        print(f"\n>>> {name}", flush=True)
        started = time.monotonic()
        try:
            rows, notes = SECTIONS[name](bench)
        # The next section may work, and what is measured must not be lost.
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        seconds, here = round(time.monotonic() - started), record["machine"]
        stamp = {"seconds": seconds, "date": here["date"], "commit": here["commit"]}
        record["sections"][name] = {**stamp, "rows": rows, "notes": notes}
        print(section_report(name, record["sections"][name]), flush=True)
        if path:
            write(path, record)
    return failed


def write(path: Path, record: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def results_name(device: str, scale: Scale) -> str:
    """Name of the JSON file: the card's, in small letters with hyphens."""
    import torch

    card = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    slug = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    return f"{slug}{'-tiny' if scale is TINY else ''}.json"


def record_of(path: Path | None, here: dict[str, Any], scale: Scale) -> dict[str, Any]:
    """A new record, with the sections that an earlier run left in the file."""
    sections = {}
    if path and path.exists():
        sections = json.loads(path.read_text(encoding="utf-8"))["sections"]
    return {"machine": here, "scale": scale.name, "sections": sections}


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small model and few short clips")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="some of these, by commas")
    parser.add_argument("--output", type=Path, help="folder of the JSON file")
    parser.add_argument("--table", type=Path, help="print a JSON file of an earlier run")
    arguments = parser.parse_args()
    arguments.sections = arguments.sections.split(",")
    unknown = [name for name in arguments.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"--sections {','.join(unknown)}: choose among {', '.join(SECTIONS)}.")
    if arguments.device == "cpu" and not arguments.tiny:
        parser.error("--device cpu goes with --tiny: the real size takes hours on a CPU.")
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not arguments.table:
        import torch

        if not torch.cuda.is_available():
            parser.error("torch sees no GPU here. '--device cpu --tiny' tries the sections.")
    if not (arguments.output or arguments.tiny):
        arguments.output = HERE / "results"
    return arguments


def main() -> None:
    arguments = parsed_arguments()
    if arguments.table:
        print(report(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    import torch
    import transformers

    from korean_asr.hardware import on_one_gpu_unless_torchrun

    # The Trainer would split its batch over all GPUs.
    on_one_gpu_unless_torchrun()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if arguments.device == "cpu":
        # Tensors are small, and on a busy machine threads would wait for each other.
        torch.set_num_threads(1)
    started, scale, path = time.monotonic(), TINY if arguments.tiny else FULL, None
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        path = arguments.output / results_name(arguments.device, scale)
    record = record_of(path, machine(arguments.device, torch.get_num_threads()), scale)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        durations = [scale.shrink * seconds for seconds in corpus_durations(scale.n_clips)]
        clips = spoken(folder / "clips", durations)
        base = random_base(folder / "base", scale.size)
        bench = Bench(scale, arguments.device, base, clips, folder)
        failed = run_sections(arguments.sections, bench, record, path)
    print(f"\n{time.monotonic() - started:.0f} s in all{f', written to {path}' if path else ''}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}. Again: --sections {','.join(failed)}")


if __name__ == "__main__":
    main()
