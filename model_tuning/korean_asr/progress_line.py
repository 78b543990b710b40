"""Progress of long work: a bar on a terminal, a line a minute in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

# Work that takes less than a minute leaves nothing in a log file.
LINE_EVERY_S = 60.0


class ProgressLine:
    """How far some work is, on stderr.

    A bar is drawn by returns to the start of its line. In a file those make one endless line, so
    where stderr is no terminal, whole lines are written.
    """

    def __init__(
        self,
        title: str | None,
        total: int | None = None,
        unit: str = "clips",
        n_done: int = 0,
        delay_s: float = 2.0,
    ) -> None:
        """title: None shows nothing. n_done: done before. delay_s: until a bar appears."""
        self.title, self.total, self.unit = title, total, unit
        self.first, self.n_done, self.facts = n_done, n_done, ""
        on_terminal = sys.stderr.isatty()
        self.writes_lines = title is not None and not on_terminal
        self.started = self.written = time.monotonic()
        self.bar = tqdm(
            desc=title,
            total=total,
            initial=n_done,
            unit=f" {unit}",
            delay=delay_s,
            mininterval=0.5,
            disable=title is None or not on_terminal,
        )

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        """Count n more as done."""
        self.n_done += n
        self.bar.update(n)
        if self.writes_lines and time.monotonic() - self.written >= LINE_EVERY_S:
            self.written = time.monotonic()
            print(self.line(self.written - self.started), file=sys.stderr, flush=True)

    def show(self, facts: str) -> None:
        """Set what stands behind the numbers from now on."""
        self.facts = facts
        self.bar.set_postfix_str(facts, refresh=False)

    def line(self, elapsed_s: float) -> str:
        """The line of a log file: `training: 120 of 1,000 updates, 02:00 gone, 14:40 left`."""
        of_total, left = "", []
        n_new = self.n_done - self.first
        if self.total and self.n_done <= self.total:
            of_total = f" of {self.total:,}"
            if n_new > 0:
                seconds = elapsed_s / n_new * (self.total - self.n_done)
                left = [f"{tqdm.format_interval(seconds)} left"]
        done = f"{self.title}: {self.n_done:,}{of_total} {self.unit}"
        gone = f"{tqdm.format_interval(elapsed_s)} gone"
        return ", ".join([done, gone, *left, *filter(None, [self.facts])])

    def say(self, line: str) -> None:
        """Print a line on stdout, above the bar, at once also where stdout is a file."""
        if self.bar.disable:
            print(line, flush=True)
        else:
            tqdm.write(line, file=sys.stdout)

    def close(self) -> None:
        """Leave a bar as it stands, and go to the next line."""
        self.bar.close()


def counted(
    items: Iterable[Any], title: str, total: int | None = None, unit: str = "clips"
) -> Iterator[Any]:
    """Yield the items, and show how many are done. total: their number, if it is known."""
    with ProgressLine(title, total, unit) as progress:
        for item in items:
            yield item
            progress.update()
