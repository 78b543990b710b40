"""Run every benchmark and print one table: ./run.sh bench

    python tests/benchmarks/bench.py [--full] [--device cuda] [--output tests/benchmarks/results]

Takes under 20 minutes on two cores, and an hour or more with --full. Writes cpu.json with date,
machine, versions and commit, and prints the table of tests/benchmarks/README.md; `--table cpu.json`
prints it again. `--device cuda` runs gpu.py instead, in five minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import machine, table

HERE = Path(__file__).resolve().parent
BENCHMARKS = (
    "training_speed",
    "decoding_speed",
    "preprocessing_speed",
    "head_resized",
    "processes_speed",
    "growth",
)


def report(record: dict[str, Any]) -> str:
    """The results as Markdown: the machine, a row for each comparison, other facts."""
    here = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    lines = [
        f"{here['gpu'] or here['cpu']}, {here['threads']} threads, "
        f"AVX512-BF16: {'yes' if here['has_avx512_bf16'] else 'no'}; {versions}; "
        f"{here['date']}, commit {here['commit']}; {record['minutes']} minutes. "
        "Median of the rounds (lowest to highest).",
        "",
        table([row for made in record["benchmarks"].values() for row in made["rows"]]),
        "",
    ]
    facts = [
        (name, fact)
        for made in record["benchmarks"].values()
        for name, fact in made["facts"].items()
    ]
    lines += [f"- {name}: {_plain(fact)}" for name, fact in facts]
    return "\n".join(lines)


def _plain(fact: Any) -> str:
    return (
        ", ".join(f"{key} {value}" for key, value in fact.items())
        if isinstance(fact, dict)
        else str(fact)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--full", action="store_true", help="more clips and rounds: an hour or more"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--output", type=Path, default=HERE / "results", help="folder of the JSON file"
    )
    parser.add_argument(
        "--table", type=Path, help="print the table of a JSON file from an earlier run"
    )
    arguments = parser.parse_args()
    if arguments.table:
        try:
            shown = report(json.loads(arguments.table.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            parser.error(
                f"--table {arguments.table}: not a file that ./run.sh bench wrote "
                f"({type(error).__name__})."
            )
        print(shown)
        return

    if arguments.device == "cuda":
        if arguments.full:
            parser.error("--full is for the CPU: --device cuda always measures the same.")
        gpu = [sys.executable, str(HERE / "gpu.py"), "--output", str(arguments.output)]
        os.execv(sys.executable, gpu)

    import torch

    started, made, here = time.monotonic(), {}, machine("cpu", torch.get_num_threads())
    path = arguments.output / "cpu.json"
    part = path.with_suffix(".part")
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
        part.write_text("")
    except OSError as error:
        parser.error(
            f"--output {arguments.output}: {error.strerror}. Name a folder that can be written to."
        )
    with tempfile.TemporaryDirectory() as folder:
        for name in BENCHMARKS:
            print(f"\n>>> {name}", flush=True)
            written = Path(folder) / f"{name}.json"
            command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(written)]
            status = subprocess.run([*command, *(["--full"] if arguments.full else [])]).returncode
            if status:
                before = (
                    f"What was measured before it is in {part}"
                    if made
                    else "Nothing was measured before it."
                )
                sys.exit(f"{name} ended with status {status}. {before}")
            made[name] = json.loads(written.read_text(encoding="utf-8"))
            minutes = round((time.monotonic() - started) / 60, 1)
            record = {
                "machine": here,
                "minutes": minutes,
                "full": arguments.full,
                "benchmarks": made,
            }
            part.write_text(
                json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
    part.replace(path)
    print(f"\n{report(record)}\n\nwritten to {path}")


if __name__ == "__main__":
    main()
