"""Which weights the final model has: means and blends made by hand, and of checkpoints."""

import dataclasses
import json
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.decoding import decoded, error_rates
from korean_asr.errors import DataError, SharedError, UsageError
from korean_asr.model import expanded_base_model, load_recogniser
from korean_asr.recipe import batch_plan
from korean_asr.training.base_shares import SHARES, ScoredShare, chosen_share
from korean_asr.training.checkpoints import complete_checkpoints, write_checkpoint
from korean_asr.training.final_model import (
    blended_state,
    mean_state,
    ranked_updates,
    refuse_missing_checkpoints,
)
from korean_asr.training.loop import new_optimizer, prepared_job, train
from korean_asr.training.progress import Progress
from recipes import RECIPES

FROZEN = torch.tensor([0.1, -1 / 3, 1e-40, 3e38])
# Twelve clips make three updates.
VALUES = {
    "batch_per_gpu": 4, "epochs": 1.0, "eval_steps": 1, "save_steps": 1, "checkpoints_kept": 3,
    "final_model": "average",
}  # fmt: skip


def states():
    """Three state dicts of two weights, a frozen one, and two buffers of integers."""
    return [
        {
            "head": torch.tensor(head),
            "bias": torch.tensor(bias),
            "frozen": FROZEN,
            "n_batches": torch.tensor(n_batches),
            "is_on": torch.tensor(is_on),
        }
        for head, bias, n_batches, is_on in (
            ([[1.0, 2.0], [0.5, -8.0]], [0.1, 3.0], 7, True),
            ([[2.0, 4.0], [0.25, 8.0]], [0.2, -3.0], 8, False),
            ([[6.0, 0.0], [0.0, 0.375]], [0.4, 1e-3], 9, False),
        )
    ]


def test_a_mean_of_three_states_is_the_one_made_by_hand():
    mean = mean_state(iter(states()))
    assert mean["head"].tolist() == [[3.0, 2.0], [0.25, 0.125]]
    # 0.1, 0.2 and 0.4 as float32 has them; the mean is rounded once.
    tenths = [Fraction(one["bias"][0].item()) for one in states()]
    assert mean["bias"][0].item() == torch.tensor(float(sum(tenths) / 3)).item()
    assert torch.equal(mean["frozen"], FROZEN)
    # What is counted or switched is no mean of anything: it is the first one's.
    assert (mean["n_batches"].item(), mean["is_on"].item()) == (7, True)
    assert {name: values.dtype for name, values in mean.items()} == {
        name: values.dtype for name, values in states()[0].items()
    }


def test_a_mean_changes_no_state_that_it_was_made_of():
    given_states = states()
    mean = mean_state(given_states)
    for values in mean.values():
        values.zero_()
    for one, before in zip(given_states, states(), strict=True):
        assert all(torch.equal(one[name], before[name]) for name in before)


SINGLE = st.floats(-(2.0**99), 2.0**99, width=32)


@settings(derandomize=True, database=None, max_examples=60, deadline=None)
@given(st.lists(SINGLE, min_size=1, max_size=5), st.integers(1, 7))
def test_a_mean_is_the_exact_one_rounded_and_equal_weights_stay(values, n_equal):
    mean = mean_state({"w": torch.tensor([value])} for value in values)["w"].item()
    exact = sum(map(Fraction, values)) / len(values)
    scale = max(map(abs, values))
    assert abs(Fraction(mean) - exact) <= Fraction(scale) / 2**24 + Fraction(1, 2**149)
    same = mean_state({"w": torch.tensor(values)} for _ in range(n_equal))["w"]
    assert torch.equal(same, torch.tensor(values))


def base_and_tuned():
    base = {
        "wav2vec2.weight": torch.tensor([[1.0, 0.0], [4.0, -2.0]]),
        "wav2vec2.frozen": FROZEN,
        "wav2vec2.masked_spec_embed": torch.tensor([9.0]),
        "wav2vec2.n_batches": torch.tensor(100),
        "lm_head.weight": torch.tensor([[8.0, 0.0]]),
        "lm_head.bias": torch.tensor([0.0]),
    }
    tuned = {
        "wav2vec2.weight": torch.tensor([[5.0, 8.0], [4.0, 2.0]]),
        "wav2vec2.frozen": FROZEN,
        "wav2vec2.masked_spec_embed": torch.tensor([1.0]),
        "wav2vec2.n_batches": torch.tensor(3),
        "lm_head.weight": torch.tensor([[4.0, 2.0], [7.0, 7.0]]),
        "lm_head.bias": torch.tensor([2.0, 7.0]),
        "wav2vec2.adapter": torch.tensor([6.0]),
    }
    return base, tuned


def test_a_blend_is_the_one_made_by_hand_and_new_rows_are_left_as_they_are():
    base, tuned = base_and_tuned()
    blend = blended_state(tuned, base, 0.25, "resize")
    assert {name: values.tolist() for name, values in blend.items()} == {
        "wav2vec2.weight": [[4.0, 6.0], [4.0, 1.0]],
        "wav2vec2.frozen": FROZEN.tolist(),
        # Where the base lacks this one, each load draws another.
        "wav2vec2.masked_spec_embed": [1.0],
        "wav2vec2.n_batches": 3,
        "lm_head.weight": [[5.0, 1.5], [7.0, 7.0]],
        "lm_head.bias": [1.5, 7.0],
        "wav2vec2.adapter": [6.0],
    }
    assert {name: values.dtype for name, values in blend.items()} == {
        name: values.dtype for name, values in tuned.items()
    }
    # The arguments are read again for the next share.
    assert all(torch.equal(tuned[name], base_and_tuned()[1][name]) for name in tuned)


def test_a_head_that_started_anew_has_no_row_of_the_base_and_is_not_blended():
    base, tuned = base_and_tuned()
    blend = blended_state(tuned, base, 0.25, "reinitialise")
    assert blend["wav2vec2.weight"].tolist() == [[4.0, 6.0], [4.0, 1.0]]
    assert torch.equal(blend["lm_head.weight"], tuned["lm_head.weight"])
    assert torch.equal(blend["lm_head.bias"], tuned["lm_head.bias"])


def test_the_shares_0_and_1_are_the_tuned_and_the_base_weights():
    base, tuned = base_and_tuned()
    none = blended_state(tuned, base, 0.0, "resize")
    assert all(torch.equal(none[name], tuned[name]) for name in tuned)
    all_of_it = blended_state(tuned, base, 1.0, "resize")
    assert torch.equal(all_of_it["wav2vec2.weight"], base["wav2vec2.weight"])
    assert all_of_it["lm_head.weight"].tolist() == [[8.0, 0.0], [7.0, 7.0]]


@settings(derandomize=True, database=None, max_examples=60, deadline=None)
@given(SINGLE, SINGLE, st.floats(0, 1))
def test_a_blend_is_the_formula_rounded_and_equal_weights_stay(tuned, base, share):
    blend = blended_state(
        {"w": torch.tensor([tuned])}, {"w": torch.tensor([base])}, share, "resize"
    )
    exact = Fraction(share) * Fraction(base) + (1 - Fraction(share)) * Fraction(tuned)
    scale = Fraction(max(abs(tuned), abs(base)))
    assert abs(Fraction(blend["w"].item()) - exact) <= scale / 2**24 + Fraction(1, 2**149)
    same = blended_state(
        {"w": torch.tensor([tuned])}, {"w": torch.tensor([tuned])}, share, "resize"
    )
    assert same["w"].item() == tuned


def evaluations(**rates):
    rows = [{"step": int(step[1:]), "eval_cer": rate} for step, rate in rates.items()]
    return [{"step": 1, "loss": 3.0}, *rows]


@pytest.mark.parametrize(
    ("log", "save_steps", "ranked"),
    [
        (evaluations(u2=0.5, u4=0.2, u6=0.3), 2, [4, 6, 2]),
        # Of equal ones the first, as the best checkpoint is chosen.
        (evaluations(u2=0.2, u4=0.2, u6=0.1), 2, [6, 2, 4]),
        # Scored, but not saved: 2 and 6. The last is saved whatever its number.
        (evaluations(u2=0.1, u4=0.4, u6=0.2, u8=0.5, u9=0.3), 4, [9, 4, 8]),
        (evaluations(), 4, []),
    ],
)
def test_checkpoints_are_ranked_by_their_validation_cer(log, save_steps, ranked):
    assert ranked_updates(log, save_steps, n_updates=9) == ranked


def job(tiny_base, utterances, learners=False, **values):
    """Three updates of a tiny model, scored by what its base writes: the base makes no error."""
    recipe = dataclasses.replace(RECIPES["demo"], **{**VALUES, **values})
    recogniser, _ = expanded_base_model(str(tiny_base), recipe)
    clips = [
        dataclasses.replace(clip, text=made.text)
        for clip, made in zip(utterances, decoded(recogniser, utterances).hypotheses, strict=True)
    ]
    assert all(clip.text for clip in clips)
    plan = batch_plan(recipe, 1)
    made = prepared_job(recogniser, utterances, clips[:6], recipe, plan, "float32")
    return dataclasses.replace(made, learner_validation=clips[6:] if learners else [])


def saved(wanted, folder, steps):
    """Write a checkpoint of each update, scored as in training; returns the last one.

    steps: how far each goes from the base, all in one direction.
    """
    recogniser, progress = wanted.recogniser, Progress(wanted.clips_sha256)
    start, generator = weights(recogniser), torch.Generator().manual_seed(1)
    way = {name: torch.randn(values.shape, generator=generator) for name, values in start.items()}
    for update, step in enumerate(steps, 1):
        moved = {
            name: values + step * way[name] if "lm_head" in name else values
            for name, values in start.items()
        }
        recogniser.model.load_state_dict(moved)
        rates = error_rates(recogniser, wanted.validation)
        progress.update = update
        row = {f"eval_{name}": rate for name, rate in rates.items()}
        progress.log.append({"step": update, "epoch": update / 3, **row})
        progress.note_checkpoint(rates["cer"])
        optimizer = new_optimizer(recogniser.model, 1e-4, 0.0)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        checkpoint = write_checkpoint(folder, recogniser, optimizer, scaler, progress)
    recogniser.model.load_state_dict(start)
    return checkpoint


def finished(wanted, checkpoint):
    """The run from its last checkpoint on: only the final model is left to make."""
    return train(wanted, checkpoint.parent, lambda log: None, checkpoint)


def weights(recogniser):
    return {name: values.clone() for name, values in recogniser.model.state_dict().items()}


def weights_of(folder):
    return weights(load_recogniser(str(folder)))


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_the_mean_of_the_best_is_the_final_model_where_it_is_better(
    tiny_base, utterances, tmp_path, capsys
):
    # They lie around the base, which wrote the labels.
    wanted = job(tiny_base, utterances)
    result = finished(wanted, saved(wanted, tmp_path, (2.0, -1.0, -1.0)))
    mean = mean_state(weights_of(tmp_path / f"checkpoint-{update}") for update in (1, 2, 3))
    assert_equal(weights(wanted.recogniser), mean)
    best = result.progress.best_cer
    assert best > 0.1
    assert result.final == {"best": round(best, 6), "average": 0.0, "averaged": [1, 2, 3]}
    assert (result.final_update, result.validation["cer"]) == (None, 0.0)
    printed = capsys.readouterr().out
    assert f"validation CER {best:.4f} of the best checkpoint (update" in printed
    assert "0.0000 of the mean of 3 checkpoints (updates 1, 2, 3)" in printed
    assert "final model: mean of 3 checkpoints (updates 1, 2, 3), validation CER 0.0000" in printed


def test_the_best_checkpoint_is_the_final_model_where_the_mean_is_no_better(
    tiny_base, utterances, tmp_path, capsys
):
    wanted = job(tiny_base, utterances)
    result = finished(wanted, saved(wanted, tmp_path, (0.0, 1.0, 9.0)))
    assert_equal(weights(wanted.recogniser), weights_of(tmp_path / "checkpoint-1"))
    assert result.final["best"] == 0.0 < result.final["average"]
    assert result.final["averaged"] == [1, 2, 3]
    assert (result.final_update, result.validation["cer"]) == (1, 0.0)
    assert "final model: update 1 of 3 (average), validation CER 0.0000" in capsys.readouterr().out


def test_an_average_takes_the_checkpoints_that_are_there_and_says_which_are_not(
    tiny_base, utterances, tmp_path, capsys
):
    # Trained for the best, an older one that is second is not kept.
    wanted = job(tiny_base, utterances, checkpoints_kept=2)
    last = saved(wanted, tmp_path, (1.0, -1.0, 9.0))
    second = ranked_updates(json.loads((last / "progress.json").read_text())["log"], 1, 3)[1]
    (tmp_path / f"checkpoint-{second}" / "complete").unlink()
    result = finished(wanted, last)
    assert result.final["averaged"] == sorted({1, 2, 3} - {second})
    gone = f"no longer on disk, of the 2 best: 1 checkpoint (update {second})"
    assert gone in capsys.readouterr().out


def test_the_best_so_many_and_the_last_so_many_stay_on_disk(tiny_base, utterances, tmp_path):
    values = {"epochs": 3.0, "checkpoints_kept": 2, "learning_rate": 1e-12}
    wanted = job(tiny_base, utterances, **values)
    result = train(wanted, tmp_path, lambda log: None)
    # All score alike, so the first ones are the best.
    assert ranked_updates(result.progress.log, 1, 9)[:2] == [1, 2]
    assert complete_checkpoints(tmp_path).keys() == {1, 2, 8, 9}


@pytest.mark.parametrize(
    "values",
    [
        {"base_share": 0.3},
        {"final_model": "best", "base_share": 0.5},
        {"final_model": "last", "base_share": "choose"},
    ],
)
def test_a_final_model_that_is_made_again_is_the_same(tiny_base, utterances, tmp_path, values):
    made = []
    for _ in range(2):
        wanted = job(tiny_base, utterances, learners=True, **values)
        if not made:
            last = saved(wanted, tmp_path, (1.0, -1.0, 0.5))
        result = finished(wanted, last)
        made.append((weights(wanted.recogniser), result.final, result.final_update))
    assert_equal(made[0][0], made[1][0])
    assert made[0][1:] == made[1][1:]


def test_a_share_of_the_base_is_blended_into_the_final_model_and_scored(
    tiny_base, utterances, tmp_path, capsys
):
    wanted = job(tiny_base, utterances, final_model="best", base_share=0.75)
    result = finished(wanted, saved(wanted, tmp_path, (9.0, 1.0, 8.0)))
    best, base = weights_of(tmp_path / "checkpoint-2"), weights_of(tiny_base)
    blend = weights(wanted.recogniser)
    assert_equal(blend, blended_state(best, base, 0.75, "resize"))
    n_old = len(base["lm_head.bias"])
    assert torch.equal(blend["lm_head.weight"][n_old:], best["lm_head.weight"][n_old:])
    assert not torch.equal(blend["lm_head.weight"][:n_old], best["lm_head.weight"][:n_old])
    assert result.validation == error_rates(wanted.recogniser, wanted.validation)
    best_cer = result.progress.best_cer
    assert result.validation["cer"] < best_cer
    scores = [(0.0, best_cer), (0.75, result.validation["cer"])]
    assert result.final == {
        "best": round(best_cer, 6),
        "base_share": 0.75,
        "shares": [
            {"share": share, "cer": round(cer, 6), "learner_cer_no_punctuation": None}
            for share, cer in scores
        ],
    }
    assert result.final_update == 2
    printed = capsys.readouterr().out
    assert "final model: update 2 of 3 (best) with 0.75 of the base's weights" in printed


def test_the_chosen_share_is_that_of_the_lowest_errors_of_natives_and_learners(
    tiny_base, utterances, tmp_path, capsys
):
    wanted = job(tiny_base, utterances, learners=True, base_share="choose", final_model="last")
    result = finished(wanted, saved(wanted, tmp_path, (1.0, -1.0, 0.5)))
    last, base = weights_of(tmp_path / "checkpoint-3"), weights_of(tiny_base)
    probe, scored = job(tiny_base, utterances).recogniser, []
    for share in SHARES:
        probe.model.load_state_dict(blended_state(last, base, share, "resize"))
        rates = [
            error_rates(probe, clips) for clips in (wanted.validation, wanted.learner_validation)
        ]
        scored.append(ScoredShare.of_rates(share, *rates))
    assert result.final["shares"] == [one.record() for one in scored]
    chosen = chosen_share(scored)
    # All labels are the base's.
    assert result.final["base_share"] == chosen.share > 0
    assert result.validation["cer"] == chosen.cer
    assert_equal(weights(wanted.recogniser), blended_state(last, base, chosen.share, "resize"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("*")] == [f"{chosen.share:g}"]


def test_a_share_cannot_be_chosen_without_learners(tiny_base, utterances, tmp_path):
    wanted = job(tiny_base, utterances, base_share="choose")
    with pytest.raises(UsageError, match="Pass --learner-validation"):
        finished(wanted, saved(wanted, tmp_path, (0.0, 0.0, 0.0)))


def test_a_base_that_has_changed_is_not_blended(tiny_base, utterances, tmp_path):
    wanted = job(tiny_base, utterances, base_share=0.3)
    last = saved(wanted, tmp_path, (0.0, 0.0, 0.0))
    other = dataclasses.replace(wanted.recogniser, weights_sha256="0" * 64)
    with pytest.raises(SharedError, match="the base model .*tiny_base has changed"):
        finished(dataclasses.replace(wanted, recogniser=other), last)


def test_a_final_model_is_not_made_anew_without_the_checkpoints_that_it_needs(
    tiny_base, utterances, tmp_path
):
    wanted = job(tiny_base, utterances)
    last = saved(wanted, tmp_path, (0.0, 1.0, 9.0))
    for final_model in ("best", "last", "average"):
        refuse_missing_checkpoints(tmp_path, final_model, 3)
    (tmp_path / "checkpoint-1" / "complete").unlink()
    refuse_missing_checkpoints(tmp_path, "last", 3)
    for final_model in ("best", "average"):
        with pytest.raises(DataError, match="checkpoint-1 is not there, or not whole"):
            refuse_missing_checkpoints(tmp_path, final_model, 3)
    with pytest.raises(DataError, match="checkpoint-4 is not there"):
        refuse_missing_checkpoints(tmp_path, "last", 4)
    (last / "progress.json").write_bytes(b"x" * (last / "progress.json").stat().st_size)
    with pytest.raises(DataError, match="checkpoint-3 cannot be read"):
        refuse_missing_checkpoints(tmp_path, "best", 3)
