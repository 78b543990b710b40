import json
import pickle
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2CTCTokenizer

from korean_asr.errors import DataError
from korean_asr.metrics import edit_counts, first_code_reference, normalised
from korean_asr.model_folder import model_folder, vocabulary_tokens
from korean_asr.vocabulary import (
    UNKNOWN,
    Outside,
    add_tokens,
    characters_of,
    label_ids,
    outside_record,
    outside_vocabulary,
    printed_outside,
    printed_outside_of_parts,
    token_texts,
    writable_characters,
)

KNOWN = frozenset("가나다라.")


@pytest.fixture
def tokenizer(tiny_base):
    return Wav2Vec2CTCTokenizer.from_pretrained(tiny_base)


def test_new_tokens_lie_behind_the_whole_tokenizer_in_the_order_given(tokenizer):
    size = len(tokenizer)
    assert add_tokens(tokenizer, ".,?!") == list(".,?!")
    assert tokenizer.convert_tokens_to_ids(list(".,?!")) == [size, size + 1, size + 2, size + 3]
    assert len(tokenizer) == size + 4


def test_a_token_that_is_known_is_not_added_again(tokenizer):
    assert add_tokens(tokenizer, "가.가.") == ["."]
    assert add_tokens(tokenizer, ".") == []


def test_every_trained_token_keeps_its_id(tokenizer):
    before = tokenizer.get_vocab()
    add_tokens(tokenizer, ".,?!")
    after = tokenizer.get_vocab()
    assert {token: after[token] for token in before} == before


@pytest.mark.parametrize(
    "text", ["가나 다라.", "밥, 국? 물!", "가.나", "쀍 밥", ". 가", "밥 .", "가나다"]
)
def test_label_ids_are_those_of_the_tokenizer(tokenizer, text):
    add_tokens(tokenizer, ".,?!")
    ours = label_ids(
        text, tokenizer.get_vocab(), tokenizer.word_delimiter_token_id, tokenizer.unk_token_id
    )
    assert ours == tokenizer(text).input_ids


def test_a_mark_is_unknown_before_the_expansion_and_itself_after(tokenizer):
    def ids(text):
        return label_ids(
            text, tokenizer.get_vocab(), tokenizer.word_delimiter_token_id, tokenizer.unk_token_id
        )

    assert ids("가?")[1] == tokenizer.unk_token_id
    add_tokens(tokenizer, "?")
    assert token_texts(tokenizer)[ids("가?")[1]] == "?"


def test_a_space_an_unknown_and_specials_are_written_as_such(tokenizer):
    texts = token_texts(tokenizer)
    assert texts[tokenizer.word_delimiter_token_id] == " "
    assert texts[tokenizer.unk_token_id] == UNKNOWN
    assert (
        texts[tokenizer.pad_token_id]
        == texts[tokenizer.bos_token_id]
        == texts[tokenizer.eos_token_id]
        == ""
    )


@settings(max_examples=60, derandomize=True, database=None)
@given(
    text=st.text(alphabet="가나밥국 .,3쀍", max_size=20).map(normalised),
    added=st.sampled_from(["", ".,"]),
    n_padded=st.integers(0, 2),
)
def test_the_original_codes_reference_is_what_the_tokenizer_decodes_from_the_labels(
    tiny_base, text, added, n_padded
):
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(tiny_base)
    add_tokens(tokenizer, added)
    # The original code fills the labels of a batch with padding before it decodes them.
    labels = tokenizer(text).input_ids + [tokenizer.pad_token_id] * n_padded
    decoded = tokenizer.decode(labels, skip_special_tokens=True)
    assert first_code_reference(text, writable_characters(tokenizer)) == decoded


def test_longer_tokens_the_delimiter_and_the_unknown_are_no_characters():
    assert characters_of(["가", "|", UNKNOWN, "[PAD]", "<s>", "가나", "%"]) == {"가", "%", " "}
    assert characters_of([]) == {" "}


def test_a_tokenizer_writes_its_single_characters_and_the_space(tokenizer):
    before = writable_characters(tokenizer)
    assert before == {*"가나다라마바사아자차카타파하밥국물말", " "}
    add_tokens(tokenizer, ".%")
    assert writable_characters(tokenizer) == before | {".", "%"}


def test_the_vocabulary_read_from_the_files_is_that_of_the_tokenizer(
    tiny_base, tokenizer, tmp_path
):
    assert characters_of(vocabulary_tokens(str(tiny_base))) == writable_characters(tokenizer)
    add_tokens(tokenizer, ".%")
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_bytes((tiny_base / "vocab.json").read_bytes())
    ids = {"<s>": 21, "</s>": 22, ".": 23, "%": 24}
    # transformers 5 may write none.
    (tmp_path / "added_tokens.json").write_text(json.dumps(ids))
    assert characters_of(vocabulary_tokens(str(tmp_path))) == writable_characters(tokenizer)


def test_only_the_vocabulary_of_a_folder_is_needed(tiny_base, tmp_path):
    (tmp_path / "vocab.json").write_bytes((tiny_base / "vocab.json").read_bytes())
    assert vocabulary_tokens(str(tmp_path)) == vocabulary_tokens(str(tiny_base))


@pytest.mark.parametrize("source", ["nowhere", "a..b/c", "nobody/no-such-model"])
def test_a_missing_vocabulary_has_the_message_of_a_missing_model(source, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    messages = []
    for wanted in (vocabulary_tokens, model_folder):
        with pytest.raises(DataError) as failure:
            wanted(source)
        messages.append(str(failure.value))
    assert messages[0] == messages[1] and "\n" not in messages[0]


@pytest.mark.parametrize("content", ["{", "[1]", '{"eng": {"a": 1}}', "\udcff"])
def test_a_damaged_vocabulary_gives_one_line_that_names_its_folder(tmp_path, content):
    (tmp_path / "vocab.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(
        DataError, match=f"{tmp_path} is not a wav2vec2-CTC model: vocab.json"
    ) as failure:
        vocabulary_tokens(str(tmp_path))
    assert "\n" not in str(failure.value)


def test_a_folder_without_a_vocabulary_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"lacks vocab\.json"):
        vocabulary_tokens(str(tmp_path))


@pytest.mark.parametrize(
    ("texts", "n_touched", "n_characters", "characters", "touched"),
    [
        ([], 0, 0, {}, {}),
        ([""], 0, 0, {}, {}),
        (["가 나.", "다라"], 0, 6, {}, {}),
        (["가 30%", "3.3", "나"], 2, 9, {"3": 3, "0": 1, "%": 1}, {"3": 2, "0": 1, "%": 1}),
        (["가나, 다", "가,나,"], 2, 9, {",": 3}, {",": 2}),
        ([UNKNOWN, "|"], 2, 2, {UNKNOWN: 1, "|": 1}, {UNKNOWN: 1, "|": 1}),
    ],
)
def test_labels_and_characters_outside_are_counted(
    texts, n_touched, n_characters, characters, touched
):
    outside = outside_vocabulary(texts, KNOWN)
    assert (outside.n_labels, outside.n_touched, outside.n_characters) == (
        len(texts),
        n_touched,
        n_characters,
    )
    assert outside.characters == characters and outside.touched == touched
    assert outside.n_outside == sum(characters.values())
    assert outside.lowest_cer == (sum(characters.values()) / n_characters if n_characters else 0.0)


LABELS = st.lists(st.text("가나다라. 3%AB", max_size=12), max_size=12)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(LABELS)
def test_the_lowest_cer_is_that_of_the_reference_with_each_unwritable_character_replaced(texts):
    outside = outside_vocabulary(texts, KNOWN)
    best = ["".join(c if c in KNOWN | {" "} else "가" for c in text) for text in texts]
    errors = sum(
        edit_counts(text, hypothesis).errors for text, hypothesis in zip(texts, best, strict=True)
    )
    assert errors == outside.n_outside
    assert outside.lowest_cer == pytest.approx(errors / max(1, sum(map(len, texts))))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.text("가나3%", max_size=6), st.text("가나 ", max_size=8))
def test_no_hypothesis_of_writable_characters_does_better(text, hypothesis):
    assert (
        edit_counts(text, hypothesis).errors
        >= outside_vocabulary([text], frozenset("가나")).n_outside
    )


@settings(derandomize=True, max_examples=60, deadline=None)
@given(LABELS, LABELS)
def test_counts_of_parts_add_up_to_those_of_the_whole_also_from_another_process(one, other):
    total = outside_vocabulary(one, KNOWN)
    total.update(pickle.loads(pickle.dumps(outside_vocabulary(other, KNOWN))))
    assert total == outside_vocabulary(one + other, KNOWN)


def test_most_frequent_is_first_and_equals_go_by_code_point():
    outside = Outside(KNOWN, characters=Counter({"B": 2, "A": 2, "%": 5}))
    assert outside.most_frequent() == [("%", 5), ("A", 2), ("B", 2)]
    assert list(outside_record(outside)["characters"]) == ["%", "A", "B"]


def test_what_is_outside_is_printed_with_the_lowest_cer_and_advice_above_one_percent():
    texts = ["가나다라" * 5] * 7 + ["3%, 3", "\u200b"]
    assert printed_outside(outside_vocabulary(texts, KNOWN))[:3] == [
        "labels with characters outside the vocabulary: 2 of 9 (22.2 %) · 어휘에 없는 글자",
        "  most frequent: '3' 2, '%' 1, ',' 1, U+200B 1",
        # 5 of 146 characters.
        "  lowest reachable CER 0.0342",
    ]
    assert "--extra-tokens 5" in printed_outside(outside_vocabulary(texts, KNOWN))[3]
    half_a_percent = printed_outside(outside_vocabulary(["가" * 100, "나" * 99 + "%"], KNOWN))
    assert half_a_percent[2:] == ["  lowest reachable CER 0.0050"]
    (none,) = printed_outside(outside_vocabulary(["가", "나."], KNOWN))
    assert none.startswith("labels with characters outside the vocabulary: none of 2")


def test_side_auto_is_advised_only_where_a_part_of_the_corpus_was_seen_to_gain_by_it():
    outside, other = (outside_vocabulary(["가 3"], KNOWN) for _ in range(2))
    assert "--side auto" not in printed_outside(outside)[3]
    other.side_auto_helps = True
    outside.update(other)
    advice = printed_outside(outside)[3]
    assert "--side auto" in advice and "--extra-tokens 5" in advice


def test_at_most_ten_characters_are_printed():
    printed = printed_outside(outside_vocabulary(["abcdefghijklmn"], KNOWN))[1]
    assert "'j' 1" in printed and "'k'" not in printed


def test_three_splits_are_printed_a_line_each_with_the_advice_once():
    def parts(*texts):
        return {
            name: outside_vocabulary(labels, KNOWN)
            for name, labels in zip(("train", "validation", "test"), texts, strict=True)
        }

    lines = printed_outside_of_parts(parts(["가 3", "나 3%"], ["가"], ["%"]))
    assert lines[1:4] == [
        "  train       2 of 2 (100.0 %)  lowest reachable CER 0.4286  '3' 2, '%' 1",
        "  validation  0 of 1 (0.0 %)",
        "  test        1 of 1 (100.0 %)  lowest reachable CER 1.0000  '%' 1",
    ]
    assert len(lines) == 5 and "--extra-tokens 5" in lines[4]
    assert printed_outside_of_parts(parts(["가 3", "나 3%"], ["가"], ["%"]), False) == lines[:4]
    assert len(printed_outside_of_parts(parts(["가" * 200 + "%"], ["가"], []))) == 4
    assert len(printed_outside_of_parts(parts(["가"], ["나"], ["다."]))) == 1


def test_the_record_holds_the_numbers_that_were_printed():
    assert outside_record(outside_vocabulary(["가 30%", "나"], KNOWN)) == {
        "n_labels": 2,
        "n_touched": 1,
        "n_characters": 6,
        "n_outside": 3,
        "lowest_cer": 0.5,
        "characters": {"%": 1, "0": 1, "3": 1},
    }
