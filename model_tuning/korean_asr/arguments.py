"""What options of the scripts may hold: a path that is named, and a value that is given once."""

import argparse
from pathlib import Path


class GivenOnce(argparse.Action):
    """An option with one value: of two, one would be left out without a word."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        if getattr(namespace, self.dest) is not self.default:
            raise argparse.ArgumentError(self, "it was given twice, and takes one value")
        setattr(namespace, self.dest, values)


def given_path(text: str) -> Path:
    """A path. Raises ArgumentTypeError for an empty one, which would be the current folder."""
    return Path(given_name(text))


def given_name(text: str) -> str:
    """A path or a hub name as it was given. Raises ArgumentTypeError for an empty one."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"'{text}' is empty, and a path or a name is wanted")
    return text
