import pytest
from transformers import Wav2Vec2CTCTokenizer

from korean_asr.metrics import UNKNOWN
from korean_asr.vocabulary import add_tokens, label_ids, token_texts


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


@pytest.mark.parametrize("text", ["가나 다라.", "밥, 국? 물!", "가.나", "쀍 밥", ". 가", "밥 .", "가나다"])
def test_label_ids_are_those_of_the_tokenizer(tokenizer, text):
    add_tokens(tokenizer, ".,?!")
    ours = label_ids(text, tokenizer.get_vocab(), tokenizer.word_delimiter_token_id, tokenizer.unk_token_id)
    assert ours == tokenizer(text).input_ids


def test_a_mark_is_unknown_before_the_expansion_and_itself_after(tokenizer):
    def ids(text):
        return label_ids(text, tokenizer.get_vocab(), tokenizer.word_delimiter_token_id, tokenizer.unk_token_id)

    assert ids("가?")[1] == tokenizer.unk_token_id
    add_tokens(tokenizer, "?")
    assert token_texts(tokenizer)[ids("가?")[1]] == "?"


def test_a_space_an_unknown_and_specials_are_written_as_such(tokenizer):
    texts = token_texts(tokenizer)
    assert texts[tokenizer.word_delimiter_token_id] == " "
    assert texts[tokenizer.unk_token_id] == UNKNOWN
    assert texts[tokenizer.pad_token_id] == texts[tokenizer.bos_token_id] == texts[tokenizer.eos_token_id] == ""
