"""How much of the base model is blended into the final one: shares scored, chosen and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korean_asr.messages import table
from korean_asr.rates import shown_rate, stored_rate

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # that base_share "choose" tries
PICTURE_FILE = "base_shares.png"  # in the model folder


@dataclass(frozen=True, slots=True)
class ScoredShare:
    """The error on validation of a model that is this share the base and the rest fine-tuned."""

    share: float  # 0 to 1
    cer: float  # of natives
    learner_cer: float | None  # cer_no_punctuation of learners; None without their clips

    @classmethod
    def of_rates(
        cls, share: float, natives: dict[str, float], learners: dict[str, float] | None
    ) -> "ScoredShare":
        """Take the scores that count from the rates of decoding.error_rates."""
        learner_cer = None if learners is None else learners["cer_no_punctuation"]
        return cls(share, natives["cer"], learner_cer)

    @property
    def sum(self) -> float:
        """What the chosen share has least of; without learners' clips, natives' error alone."""
        return self.cer + (self.learner_cer or 0.0)

    def record(self) -> dict[str, Any]:
        """The row of experiment.json."""
        learner_cer = None if self.learner_cer is None else stored_rate(self.learner_cer)
        return {
            "share": self.share,
            "cer": stored_rate(self.cer),
            "learner_cer_no_punctuation": learner_cer,
        }


def chosen_share(scored: Sequence[ScoredShare]) -> ScoredShare:
    """The one with the lowest sum of both errors; of equal ones that with less of the base."""
    return min(scored, key=lambda one: (one.sum, one.share))


def printed_shares(scored: Sequence[ScoredShare], chosen: float) -> list[str]:
    """The shares as lines of a table, `*` behind the chosen one."""
    rows = [["base's share", "natives' CER", "learners' CER without punctuation", ""]]
    for one in scored:
        learners = "–" if one.learner_cer is None else shown_rate(one.learner_cer)
        mark = "*" if one.share == chosen else ""
        rows.append([f"{one.share:g}", shown_rate(one.cer), learners, mark])
    title = "blended with the base model, on validation · 기본 모델과 가중치 혼합"
    return [title, *table(rows, ">>><", indent="  ")]


def draw_shares(rows: Sequence[dict[str, Any]], chosen: float, path: Path) -> None:
    """Draw natives' error against learners', a point for each share, as a PNG.

    rows: of ScoredShare.record(), with learners' error.
    """
    # It takes a second to import, and only the end of script 2 needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 5.5), layout="constrained")
    axes = figure.subplots()
    natives = [row["cer"] for row in rows]
    learners = [row["learner_cer_no_punctuation"] for row in rows]
    axes.plot(natives, learners, marker="o", color="0.6", markerfacecolor="C0", zorder=1)
    for row, x, y in zip(rows, natives, learners, strict=True):
        axes.annotate(f"{row['share']:g}", (x, y), (7, 5), textcoords="offset points")
        if row["share"] == chosen:
            axes.scatter([x], [y], s=130, color="C3", zorder=2, label=f"chosen: {chosen:g}")
    axes.set_title("Share of the base model's weights")
    axes.set_xlabel("natives: CER on validation")
    axes.set_ylabel("learners: CER without punctuation on validation")
    axes.margins(0.12)
    axes.grid(alpha=0.3)
    axes.legend()
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, dpi=110, format="png")
    part.replace(path)
