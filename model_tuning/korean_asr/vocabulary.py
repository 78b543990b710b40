"""Tokenizer expansion; text as label ids, and label ids as text."""

from .metrics import UNKNOWN


def add_tokens(tokenizer, characters: str) -> list[str]:
    """Give a CTC tokenizer one token for each character it cannot write yet; returns those that were new, in order.

    The new ids lie behind `len(tokenizer)`, so behind `<s>` and `</s>`, which the base tokenizer has outside its head.
    """
    known = tokenizer.get_vocab()
    new = [character for character in dict.fromkeys(characters) if character not in known]
    tokenizer.add_tokens(new)
    return new


def token_texts(tokenizer) -> dict[int, str]:
    """What each label id writes: `|` a space, [UNK] one `⁇`, and `<s> </s> [PAD]` nothing."""
    texts = {index: token for token, index in tokenizer.get_vocab().items()}
    texts[tokenizer.word_delimiter_token_id] = " "
    for index in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        texts[index] = ""
    texts[tokenizer.unk_token_id] = UNKNOWN
    return texts


def label_ids(text: str, ids: dict[str, int], delimiter_id: int, unknown_id: int) -> list[int]:
    """One label id a character: a space is `|`, a character outside the vocabulary is [UNK]."""
    return [delimiter_id if character == " " else ids.get(character, unknown_id) for character in text]
