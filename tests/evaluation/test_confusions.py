import pytest

from korean_asr.evaluation.confusions import clip_confusions, confusions, kind_of, letter


def heard(reference, hypothesis):
    return dict(clip_confusions(reference, hypothesis)[1])


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wanted"),
    [
        ("서울에 가요.", "서울에 가요", {}),
        ("서울", "소울", {("nucleus", "ㅓ", "ㅗ"): 1}),
        ("말", "만", {("coda", "ㄹ", "ㄴ"): 1}),
        ("가다", "카타", {("onset", "ㄱ", "ㅋ"): 1, ("onset", "ㄷ", "ㅌ"): 1}),
        ("받아", "바다", {("coda", "ㄷ", ""): 1, ("onset", "ㅇ", "ㄷ"): 1}),
        ("바", "밥", {("coda", "", "ㅂ"): 1}),
        ("가아", "간", {}),  # the last ㅏ is aligned to the coda ㄴ, which is no vowel
        ("가나", "가", {}),  # a whole syllable is missing: nothing was confused
        ("가", "⁇", {}),
        ("ㅋ", "ㅎ", {}),
        ("", "", {}),
    ],
)
def test_a_jamo_that_is_heard_as_another_of_its_position_is_a_confusion(
    reference, hypothesis, wanted
):
    assert heard(reference, hypothesis) == wanted


def test_what_was_to_be_heard_is_counted_by_letter_and_position():
    said, _ = clip_confusions("각각 나", "각각 나")
    assert said == {
        ("onset", "ㄱ"): 2,
        ("nucleus", "ㅏ"): 3,
        ("coda", "ㄱ"): 2,
        ("onset", "ㄴ"): 1,
    }


@pytest.mark.parametrize(
    ("jamo", "wanted"),
    [("ᄀ", "ㄱ"), ("ᄁ", "ㄲ"), ("ᅥ", "ㅓ"), ("ᆨ", "ㄱ"), ("ᆻ", "ㅆ"), ("", ""), ("ᅀ", "ㅿ")],
)
def test_a_jamo_is_written_as_it_stands_alone(jamo, wanted):
    assert letter(jamo) == wanted


@pytest.mark.parametrize(
    ("reference", "hypothesis", "kind"),
    [
        ("ㄱ", "ㄲ", "plain heard as tense"),
        ("ㄱ", "ㅋ", "plain heard as aspirated"),
        ("ㅆ", "ㅅ", "tense heard as plain"),
        ("ㅊ", "ㅉ", "aspirated heard as tense"),
        ("ㄱ", "ㄷ", None),
        ("ㅓ", "ㅗ", None),
        ("ㄱ", "", None),
    ],
)
def test_plain_tense_and_aspirated_are_named(reference, hypothesis, kind):
    assert kind_of(reference, hypothesis) == kind


def test_each_first_language_has_its_most_frequent_first_with_three_clips():
    ids = ["v0", "v1", "v2", "v3", "e", "x"]
    languages = ["베트남어"] * 4 + ["영어", None]
    references = ["서울 서울"] * 4 + ["서울 바다", "서울"]
    hypotheses = ["소울 소울", "소울 서울", "소울 서울", "소울 서울", "서울 파다", "소울"]
    found = confusions(ids, languages, list(map(clip_confusions, references, hypotheses)))
    assert list(found) == ["all", "베트남어", "영어"]
    assert found["베트남어"]["nucleus"] == [
        {
            "reference": "ㅓ",
            "hypothesis": "ㅗ",
            "n": 5,
            "of": 8,
            "kind": None,
            "clips": ["v0", "v1", "v2"],
        }
    ]
    assert found["영어"] == {
        "onset": [
            {
                "reference": "ㅂ",
                "hypothesis": "ㅍ",
                "n": 1,
                "of": 1,
                "kind": "plain heard as aspirated",
                "clips": ["e"],
            }
        ],
        "nucleus": [],
        "coda": [],
    }
    assert found["all"]["nucleus"][0]["n"] == 6
    assert confusions([], [], []) == {}
