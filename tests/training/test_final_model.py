"""Which weights the final model has: hand-made means and blends, and runs of a tiny model."""

import dataclasses
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.decoding import error_rates
from korean_asr.errors import DataError, SharedError, UsageError
from korean_asr.model import expanded_base_model, load_recogniser
from korean_asr.recipe import batch_plan
from korean_asr.training.base_shares import SHARES, ScoredShare, chosen_share
from korean_asr.training.checkpoints import complete_checkpoints
from korean_asr.training.final_model import (
    blended_state,
    mean_state,
    ranked_updates,
    refuse_missing_checkpoints,
)
from korean_asr.training.loop import prepared_job, train
from recipes import RECIPES

FROZEN = torch.tensor([0.1, -1 / 3, 1e-40, 3e38])
# Twelve clips make three updates an epoch. In so short a run of an untrained model the mean is
# sometimes better than the best checkpoint, and sometimes not.
VALUES = {
    "batch_per_gpu": 4, "epochs": 3.0, "learning_rate": 0.02, "warmup_ratio": 0.0,
    "eval_steps": 1, "save_steps": 1, "checkpoints_kept": 3, "final_model": "average",
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


SINGLE = st.floats(-1e30, 1e30, width=32)


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
    blend = blended_state({"w": torch.tensor([tuned])}, {"w": torch.tensor([base])}, share, "resize")
    exact = Fraction(share) * Fraction(base) + (1 - Fraction(share)) * Fraction(tuned)
    scale = Fraction(max(abs(tuned), abs(base)))
    assert abs(Fraction(blend["w"].item()) - exact) <= scale / 2**24 + Fraction(1, 2**149)
    same = blended_state({"w": torch.tensor([tuned])}, {"w": torch.tensor([tuned])}, share, "resize")
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


def job(tiny_base, utterances, learners=(), **values):
    recipe = dataclasses.replace(RECIPES["demo"], **{**VALUES, **values})
    recogniser, _ = expanded_base_model(str(tiny_base), recipe)
    plan = batch_plan(recipe, 1)
    made = prepared_job(recogniser, utterances, utterances[:4], recipe, plan, "float32")
    return dataclasses.replace(made, learner_validation=list(learners))


def trained(wanted, folder, checkpoint=None):
    return train(wanted, folder, lambda log: None, checkpoint)


def weights(recogniser):
    return {name: values.clone() for name, values in recogniser.model.state_dict().items()}


def weights_of(folder):
    return weights(load_recogniser(str(folder)))


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_the_final_model_is_the_mean_of_the_best_where_that_is_better(
    tiny_base, utterances, tmp_path, capsys
):
    outcomes = set()
    for seed in range(6):
        folder = tmp_path / str(seed)
        wanted = job(tiny_base, utterances, seed=seed)
        result = trained(wanted, folder)
        ranked = ranked_updates(result.progress.log, 1, 9)
        assert result.final["averaged"] == sorted(ranked[:3])
        mean = mean_state(weights_of(folder / f"checkpoint-{update}") for update in ranked[:3])
        best = weights_of(folder / f"checkpoint-{ranked[0]}")
        averaged = job(tiny_base, utterances)
        averaged.recogniser.model.load_state_dict(mean)
        rates = error_rates(averaged.recogniser, utterances[:4])
        scores = rates["cer"], result.progress.best_cer
        assert (result.final["average"], result.final["best"]) == tuple(
            round(cer, 6) for cer in scores
        )
        wins = scores[0] < scores[1]
        outcomes.add(wins)
        assert_equal(weights(wanted.recogniser), mean if wins else best)
        assert result.final_update == (None if wins else ranked[0])
        assert result.validation["cer"] == min(scores)
        printed = capsys.readouterr().out
        numbers = ", ".join(map(str, sorted(ranked[:3])))
        assert f"{rates['cer']:.4f} of the mean of 3 checkpoints (updates {numbers})" in printed
        final = f"mean of 3 checkpoints (updates {numbers})"
        if not wins:
            final = f"update {ranked[0]} of 9 (average)"
        assert f"final model: {final}, validation CER {min(scores):.4f}" in printed
    assert outcomes == {True, False}


def test_the_best_so_many_and_the_last_so_many_stay_on_disk(tiny_base, utterances, tmp_path):
    wanted = job(tiny_base, utterances, checkpoints_kept=2)
    result = trained(wanted, tmp_path)
    ranked = ranked_updates(result.progress.log, 1, 9)
    assert complete_checkpoints(tmp_path).keys() == {8, 9, *ranked[:2]}


def test_an_average_takes_the_checkpoints_that_are_there_and_says_which_are_not(
    tiny_base, utterances, tmp_path, capsys
):
    # Trained for the best, so of the others only the last two are kept.
    wanted = job(tiny_base, utterances, checkpoints_kept=2, final_model="best", seed=2)
    result = trained(wanted, tmp_path)
    ranked = ranked_updates(result.progress.log, 1, 9)
    there = [update for update in ranked if update in {8, 9, ranked[0]}][:2]
    gone = [update for update in ranked[:2] if update not in there]
    assert gone
    capsys.readouterr()
    again = job(tiny_base, utterances, checkpoints_kept=2, seed=2)
    averaged = trained(again, tmp_path, tmp_path / "checkpoint-9")
    assert averaged.final["averaged"] == sorted(there)
    assert f"no longer on disk, of the 2 best: 1 checkpoint (update {gone[0]})" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "values",
    [
        {"final_model": "average"},
        {"final_model": "average", "base_share": 0.3},
        {"final_model": "best", "base_share": 0.5},
        {"final_model": "last", "base_share": "choose"},
    ],
)
def test_a_resumed_run_makes_the_final_model_of_an_uninterrupted_one(
    tiny_base, utterances, tmp_path, values
):
    learners = utterances[4:8]
    whole = job(tiny_base, utterances, learners, layerdrop=0.5, checkpoints_kept=9, **values)
    uninterrupted = trained(whole, tmp_path)
    # From the last one nothing is trained: so it is after a kill while the final model is made.
    for number in (4, 9):
        again = job(tiny_base, utterances, learners, layerdrop=0.5, checkpoints_kept=9, **values)
        result = trained(again, tmp_path, tmp_path / f"checkpoint-{number}")
        assert_equal(weights(again.recogniser), weights(whole.recogniser))
        assert (result.final, result.final_update) == (
            uninterrupted.final,
            uninterrupted.final_update,
        )


def test_a_share_of_the_base_is_blended_into_the_final_model_and_scored(
    tiny_base, utterances, tmp_path, capsys
):
    wanted = job(tiny_base, utterances, final_model="best", base_share=0.3)
    result = trained(wanted, tmp_path)
    best = weights_of(tmp_path / f"checkpoint-{result.progress.best_update}")
    base = weights_of(tiny_base)
    blend = weights(wanted.recogniser)
    assert_equal(blend, blended_state(best, base, 0.3, "resize"))
    n_old = len(base["lm_head.bias"])
    assert torch.equal(blend["lm_head.weight"][n_old:], best["lm_head.weight"][n_old:])
    assert not torch.equal(blend["lm_head.weight"][:n_old], best["lm_head.weight"][:n_old])
    assert result.validation == error_rates(wanted.recogniser, utterances[:4])
    tuned, blended = result.final["shares"]
    assert tuned == {
        "share": 0.0,
        "cer": round(result.progress.best_cer, 6),
        "learner_cer_no_punctuation": None,
    }
    assert blended["cer"] == round(result.validation["cer"], 6)
    assert result.final["base_share"] == 0.3
    printed = capsys.readouterr().out
    assert f"update {result.final_update} of 9 (best) with 0.3 of the base's weights" in printed


def test_the_chosen_share_is_that_of_the_lowest_errors_of_natives_and_learners(
    tiny_base, utterances, tmp_path
):
    learners = utterances[8:]
    wanted = job(tiny_base, utterances, learners, base_share="choose", final_model="last")
    result = trained(wanted, tmp_path)
    last, base = weights_of(tmp_path / "checkpoint-9"), weights_of(tiny_base)
    scored = []
    probe = job(tiny_base, utterances).recogniser
    for share in SHARES:
        probe.model.load_state_dict(blended_state(last, base, share, "resize"))
        rates = error_rates(probe, utterances[:4]), error_rates(probe, learners)
        scored.append(ScoredShare.of_rates(share, *rates))
    assert result.final["shares"] == [one.record() for one in scored]
    chosen = chosen_share(scored)
    assert result.final["base_share"] == chosen.share
    assert result.validation["cer"] == chosen.cer
    assert_equal(weights(wanted.recogniser), blended_state(last, base, chosen.share, "resize"))


def test_a_share_cannot_be_chosen_without_learners(tiny_base, utterances, tmp_path):
    with pytest.raises(UsageError, match="Pass --learner-validation"):
        trained(job(tiny_base, utterances, base_share="choose"), tmp_path)


def test_a_base_that_has_changed_is_not_blended(tiny_base, utterances, tmp_path):
    wanted = job(tiny_base, utterances, base_share=0.3)
    other = dataclasses.replace(wanted.recogniser, weights_sha256="0" * 64)
    with pytest.raises(SharedError, match="the base model .*tiny_base has changed"):
        trained(dataclasses.replace(wanted, recogniser=other), tmp_path)


def test_a_final_model_is_not_made_anew_without_the_checkpoints_that_it_needs(
    tiny_base, utterances, tmp_path
):
    result = trained(job(tiny_base, utterances, seed=2), tmp_path)
    best = result.progress.best_update
    assert best != 9
    for final_model in ("best", "last", "average"):
        refuse_missing_checkpoints(tmp_path, final_model, 9)
    (tmp_path / f"checkpoint-{best}" / "complete").unlink()
    refuse_missing_checkpoints(tmp_path, "last", 9)
    for final_model in ("best", "average"):
        with pytest.raises(DataError, match=f"checkpoint-{best} is not there, or not whole"):
            refuse_missing_checkpoints(tmp_path, final_model, 9)
    with pytest.raises(DataError, match="checkpoint-10 is not there"):
        refuse_missing_checkpoints(tmp_path, "last", 10)
    (tmp_path / "checkpoint-9" / "progress.json").write_text("x" * 99)
