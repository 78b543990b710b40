"""The model card: metadata that the hub's classes read, and blocks that scripts renew."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from korean_asr.card_file import (
    CardResult,
    UnusableCard,
    license_block,
    license_values,
    model_index,
    new_card,
    renew,
    scores_block,
    with_license,
    with_result,
)
from korean_asr.rates import shown_bounds, shown_rate, stored_rate

VALIDATION = CardResult("korean", "split/validation.jsonl", 24, {"cer": 0.25, "wer": 0.5})
TEST = CardResult("korean", "split/test.jsonl", 1200, {"cer": 0.12344996, "wer": 0.75})
LEARNERS = CardResult("foreign", "foreign.jsonl", 7, {"cer": 0.5, "cer_no_punctuation": 0.4})


@pytest.fixture
def card():
    index = model_index("m", [VALIDATION])
    text = f"# m\n\n{scores_block(index)}\n\n{license_block(None)}\n"
    return new_card({"language": "ko", **license_values(None), "model-index": index}, text)


def results_of(card):
    """(dataset, metric) -> value, as the hub's classes read them."""
    found = ModelCard(card).data.eval_results
    return {(one.dataset_config, one.metric_name): one.metric_value for one in found}


def test_scores_of_several_scripts_stand_in_metadata_and_table(card):
    card = with_result(with_result(card, "m", TEST), "m", LEARNERS)
    assert results_of(card) == {
        ("split/validation.jsonl", "CER"): 0.25,
        ("split/validation.jsonl", "WER"): 0.5,
        ("split/test.jsonl", "CER"): 0.12345,
        ("split/test.jsonl", "WER"): 0.75,
        ("foreign.jsonl", "CER"): 0.5,
        ("foreign.jsonl", "CER without punctuation"): 0.4,
    }
    assert "| Korean speakers, split/test.jsonl | 1,200 | ko-1 | 0.1235 | 0.7500 | – |" in card
    assert "| Foreign speakers of Korean, foreign.jsonl | 7 | ko-1 | 0.5000 | – | 0.4000 |" in card


def test_new_scores_of_the_same_clips_replace_the_old_ones_and_equal_ones_change_nothing(card):
    once = with_result(card, "m", TEST)
    assert with_result(once, "m", TEST) == once
    better = CardResult("korean", "split/test.jsonl", 1200, {"cer": 0.1, "wer": 0.2})
    again = with_result(once, "m", better)
    assert results_of(again)["split/test.jsonl", "CER"] == 0.1
    assert again.count("Korean speakers, split/test.jsonl |") == 1 and "0.1235" not in again


def test_the_metadata_survive_the_hubs_classes(card):
    card = with_result(card, "m", TEST)
    data = ModelCard(card).data
    again = ModelCardData(**yaml.safe_load(data.to_yaml()))
    assert again.to_dict() == data.to_dict()
    assert data.license == "other" and data.license_name == "terms-of-the-training-data"


def test_what_a_user_wrote_by_hand_stays_to_the_letter(card):
    theirs = (
        "- task: {type: automatic-speech-recognition}\n"
        "    dataset: {name: KsponSpeech, type: kspon}\n"
        "    metrics: [{type: cer, value: 0.07}]\n"
    )
    card = card.replace("  results:\n", f"  results:\n  {theirs}")
    card = card.replace("language: ko\n", "language:   ko  # spoken\nco2:\n- 1\n\n")
    # Between the scores and what follows them.
    index_end = "\n---\n# m"
    card = card.replace(index_end, "\n# of my own\n\nthanks: you" + index_end)
    card = card.replace("# m\n", "# My model\n\n\tHere I tell of it. <!-- a note -->\n")
    new = with_result(card, "m", TEST)
    assert "language:   ko  # spoken\nco2:\n- 1\n\n" in new
    assert "# My model\n\n\tHere I tell of it. <!-- a note -->\n" in new
    assert "\n# of my own\n\nthanks: you\n---\n" in new
    found = {(one.dataset_name, one.metric_value) for one in ModelCard(new).data.eval_results}
    assert ("KsponSpeech", 0.07) in found and len(found) == 5
    # Without the new result it is the card that it was, but for the form of its model-index.
    kept = [
        line for line in card.splitlines() if "dataset: {" not in line and "task: {" not in line
    ]
    assert [line for line in kept if line not in new.splitlines()] == [
        "    metrics: [{type: cer, value: 0.07}]"
    ]


def test_a_card_without_model_index_gets_one_under_the_models_name(card):
    start, end = card.index("model-index:"), card.index("\n---\n# m")
    new = with_result(card[:start] + "mine: 1 # note" + card[end:], "my name", TEST)
    data = ModelCard(new).data
    assert data.model_name == "my name" and len(data.eval_results) == 2 and data["mine"] == 1
    assert "mine: 1 # note\n" in new


def test_a_license_replaces_the_terms_in_metadata_and_text(card):
    new = with_license(card, "cc-by-nc-4.0")
    data = ModelCard(new).data
    assert (data.license, data.license_name, data.license_link) == ("cc-by-nc-4.0", None, None)
    assert "License: `cc-by-nc-4.0`." in new and "aihub" not in new
    assert with_license(with_license(new, "mit"), "cc-by-nc-4.0") == new


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda card: card.partition("---\n#")[2], "does not begin with metadata"),
        (lambda card: card.replace("license: other", "license: [a"), "metadata are damaged"),
        (lambda card: card.replace("language: ko", "1: ko"), "metadata are damaged"),
        (lambda card: card.replace("type: korean", "kind: korean"), "metadata are damaged"),
        (lambda card: card.replace("value: 0.25", "value: a quarter"), "model-index is damaged"),
        (lambda card: card.replace("<!-- end of scores -->", ""), "the two comments around its sc"),
        (lambda card: "---\n{a: 1}\n---\n" + card.partition("---\n#")[2], "not understood"),
        (lambda card: card.replace("language", "model-index: []\nlanguage"), "not understood"),
        (lambda card: "---\n- a\n---\n" + card.partition("---\n#")[2], "metadata are damaged"),
    ],
)  # fmt: skip
def test_a_damaged_card_is_told_and_stays_as_it_is(card, tmp_path, change, told):
    damaged = change(card)
    assert damaged != card
    (tmp_path / "README.md").write_text(damaged, encoding="utf-8")
    assert told in renew(tmp_path, lambda text: with_result(text, "m", TEST))
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == damaged


def test_a_card_that_is_not_there_is_not_made_and_other_bytes_are_told(tmp_path):
    assert renew(tmp_path, lambda text: text) is None
    assert [*tmp_path.iterdir()] == []
    (tmp_path / "README.md").write_bytes(b"---\n\xff\n---\n")
    assert renew(tmp_path, lambda text: text) == "its bytes are not UTF-8"


def test_a_card_that_cannot_be_written_is_told_and_whole(card, tmp_path):
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    # Where the new card would be written first.
    (tmp_path / ".README.md.part").mkdir()
    with pytest.raises(OSError):
        (tmp_path / ".README.md.part").write_text("")
    assert "it cannot be written: " in renew(tmp_path, lambda text: with_license(text, "mit"))
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card


def test_scripts_that_end_at_one_time_lose_no_score_of_each_other(card, tmp_path):
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    results = [dataclasses.replace(TEST, manifest=f"split/{n}.jsonl") for n in range(8)]

    def renewed(result):
        def changed(text):
            # Long enough for the others to read the card, too.
            time.sleep(0.02)
            return with_result(text, "m", result)

        return renew(tmp_path, changed)

    with ThreadPoolExecutor(len(results)) as scripts:
        assert [*scripts.map(renewed, results)] == [None] * len(results)
    known = {one for one, _ in results_of((tmp_path / "README.md").read_text(encoding="utf-8"))}
    assert known == {"split/validation.jsonl", *(one.manifest for one in results)}


def test_line_ends_of_windows_stay(card, tmp_path):
    (tmp_path / "README.md").write_bytes(card.replace("\n", "\r\n").encode())
    assert renew(tmp_path, lambda text: with_result(text, "m", TEST)) is None
    new = (tmp_path / "README.md").read_bytes().decode()
    assert new.replace("\r\n", "\n") == with_result(card, "m", TEST)
    assert new.count("\n") == new.count("\r\n")


def test_one_line_end_of_another_kind_does_not_change_the_others(card, tmp_path):
    (tmp_path / "README.md").write_bytes(f"{card}\nmine\r\n".encode())
    assert renew(tmp_path, lambda text: with_result(text, "m", TEST)) is None
    assert b"\r" not in (tmp_path / "README.md").read_bytes()


def test_a_block_that_someone_doubled_is_renewed_twice(card):
    start, end = card.index("<!-- scores:"), card.index("<!-- end of scores -->")
    doubled = f"{card}\n{card[start:end]}<!-- end of scores -->\nmine\n"
    new = with_result(doubled, "m", TEST)
    assert new.count(shown_rate(TEST.rates["cer"])) == 2 and new.endswith("\nmine\n")


def test_a_rate_is_the_same_text_before_and_after_it_was_stored():
    # Rounded twice, 0.12344996 is 0.1235, and once it is 0.1234.
    assert f"{0.12344996:.4f}" != f"{round(0.12344996, 6):.4f}"
    rates = [n / 10_000 + 0.00005 + step for n in range(0, 10_000, 7) for step in (-4e-8, 0, 4e-8)]
    assert all(shown_rate(rate) == shown_rate(stored_rate(rate)) for rate in rates)
    assert shown_rate(0.12344996) == "0.1235" and shown_rate(0.1, "+") == "+0.1000"


def test_a_card_without_a_block_is_refused_by_name(card):
    with pytest.raises(UnusableCard, match="the two comments around its license"):
        with_license(card.replace("<!-- license:", "<!-- licence:"), "mit")


def test_an_interval_is_shown_by_both_ends_and_none_by_a_dash():
    assert shown_bounds([0.12344996, 0.2]) == "0.1235–0.2000"
    assert shown_bounds(None) == "–"


def test_a_block_whose_end_was_lost_does_not_swallow_what_follows_it(card):
    start, _, rest = card.partition("<!-- end of scores -->")
    torn = f"{start}Mine.{rest}\n{scores_block(model_index('m', [VALIDATION]))}\n"
    new = with_result(torn, "m", TEST)
    # The whole block is renewed.
    before, whole = new.split("Mine.")
    assert "split/test.jsonl |" not in before.rpartition("---\n")[2]
    assert "split/test.jsonl |" in whole and license_block(None) in whole
    with pytest.raises(UnusableCard, match="the two comments around its scores"):
        with_result(f"{start}Mine.{rest}\n<!-- end of scores -->\n", "m", TEST)


def test_a_name_is_no_markup_in_the_table(card):
    new = with_result(card, "m", CardResult("korean", "a|b<i>.jsonl", 3, {"cer": 0.5}))
    assert "| Korean speakers, a\\|b&lt;i>.jsonl | 3 | ko-1 | 0.5000 | – | – |" in new


def test_a_card_with_a_byte_order_mark_is_renewed(card, tmp_path):
    (tmp_path / "README.md").write_text(card, encoding="utf-8-sig")
    assert renew(tmp_path, lambda text: with_result(text, "m", TEST)) is None
    new = (tmp_path / "README.md").read_text(encoding="utf-8-sig")
    assert new == with_result(card, "m", TEST)
