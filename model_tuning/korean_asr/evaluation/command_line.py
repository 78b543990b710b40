"""The options that scripts 3 and 4 share."""

import argparse
from pathlib import Path

from korean_asr.recipe import PRECISIONS


def evaluation_options(
    description: str, manifest: Path | None, manifest_help: str
) -> argparse.ArgumentParser:
    """A parser of the shared options; evaluation_arguments() reads them."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument(
        "--model", action="append", default=[], help="model folder or hub name; may be repeated"
    )
    parser.add_argument("--manifest", type=Path, default=manifest, help=manifest_help)
    parser.add_argument(
        "--output", type=Path, help="folder for the results; the model's results/ if not given"
    )
    parser.add_argument(
        "--with-base",
        action="store_true",
        help="also score the base of the first model, side by side",
    )
    parser.add_argument(
        "--allow-overlap",
        action="store_true",
        help="score clips of the training data, with a warning",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of the network; float32 if not given",
    )
    parser.add_argument(
        "--embed-audio",
        action="store_true",
        help="put every clip into the page, which then is large",
    )
    parser.add_argument(
        "--rescore", type=Path, action="append", default=[], metavar="RESULTS.jsonl",
        help="score a file of results again, ours or another system's, without a model; may be repeated",
    )  # fmt: skip
    return parser


def evaluation_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The parsed command line; a wrong one ends the script with status 2."""
    arguments = parser.parse_args()
    if bool(arguments.model) == bool(arguments.rescore):
        parser.error("give either --model MODEL or --rescore RESULTS.jsonl")
    of_a_model = ("manifest", "with_base", "allow_overlap", "precision")
    given = [name for name in of_a_model if getattr(arguments, name) != parser.get_default(name)]
    if arguments.rescore and given:
        parser.error(
            f"--{given[0].replace('_', '-')} goes with --model: --rescore takes a file of results as it is"
        )
    return arguments
