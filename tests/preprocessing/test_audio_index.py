import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr.preprocessing.audio_index import AudioIndex, Claim, parts_of, stem_of

ROOT = "/corpus"


def index(*paths):
    made = AudioIndex(ROOT)
    for path in paths:
        folder, _, name = f"{ROOT}/{path}".rpartition("/")
        made.add(folder, name)
    return made


def agreement(folder, wanted):
    """The obvious way: folders that agree from the last one upwards, then in all."""
    length = 0
    while length < min(len(folder), len(wanted)) and folder[-1 - length] == wanted[-1 - length]:
        length += 1
    return length, len({*folder} & {*wanted})


folders = st.lists(st.sampled_from(["a", "b", "c", "001", "002"]), min_size=1, max_size=4).map(
    "/".join
)


@settings(derandomize=True, max_examples=400, deadline=None, database=None)
@given(st.lists(folders, min_size=1, max_size=12, unique=True), folders)
def test_of_clips_with_one_name_the_label_means_the_one_whose_folders_agree_best(places, wanted):
    claim = index(*(f"{place}/x.wav" for place in places)).claim(f"/{wanted}/x.wav")
    parts = {place: ["corpus", *place.split("/")] for place in places}
    best = max(agreement(parts[place], wanted.split("/")) for place in places)
    first = min(
        f"{ROOT}/{place}" for place in places if agreement(parts[place], wanted.split("/")) == best
    )
    assert claim == Claim("x", f"{first}/x.wav", None)


@settings(derandomize=True, max_examples=200, deadline=None, database=None)
@given(st.lists(folders, min_size=1, max_size=4, unique=True), st.data())
def test_each_part_of_each_file_is_claimed_once_and_no_id_is_given_twice(places, data):
    made = index(*(f"{place}/x.wav" for place in places))
    parts = st.tuples(st.sampled_from(places), st.sampled_from(["", "_0-1", "_1-2"]))
    asked = data.draw(st.lists(parts, max_size=12))
    claims = [made.claim_file(f"{ROOT}/{place}", "x.wav", cut) for place, cut in asked]
    given = [claim.id for claim in claims if claim.reason is None]
    assert len(given) == len(set(given)) == len(set(asked))
    used = {f"{ROOT}/{place}/x.wav" for place, _ in asked}
    assert {claim.audio for claim in claims if claim.reason is None} == used
    left = {path for _, path, _ in made.unclaimed()}
    assert left == {f"{ROOT}/{place}/x.wav" for place in places} - used


@settings(derandomize=True, max_examples=200, deadline=None, database=None)
@given(
    st.lists(st.tuples(folders, st.sampled_from(["x.wav", "x.pcm", "y.wav"])), unique=True),
    st.data(),
)
def test_every_file_is_claimed_once_or_told_and_no_id_is_given_twice(files, data):
    made = index(*(f"{folder}/{name}" for folder, name in files))
    asked = data.draw(
        st.lists(st.tuples(folders, st.sampled_from(["x.wav", "y.wav", "z.wav"])), max_size=12)
    )
    claims = [made.claim(f"{folder}/{name}") for folder, name in asked]
    claimed = [claim.audio for claim in claims if claim.reason is None]
    left = [path for _, path, _ in made.unclaimed()]
    assert sorted(claimed + left) == sorted(f"{ROOT}/{folder}/{name}" for folder, name in files)
    ids = [claim.id for claim in claims if claim.reason is None]
    assert len(set(ids)) == len(ids)
    assert {claim.reason for claim in claims} <= {None, "no audio", "duplicate id"}


def test_a_second_label_of_a_clip_is_a_duplicate_also_where_the_name_repeats_elsewhere():
    made = index("train/001/x.wav", "valid/001/x.wav")
    assert [made.claim("train/001/x.wav").reason for _ in range(2)] == [None, "duplicate id"]
    assert made.claim("valid/001/x.wav") == Claim("valid/001/x", f"{ROOT}/valid/001/x.wav", None)


def test_a_second_label_knows_the_file_and_the_place_of_the_first():
    made = index("a/x.wav", "b/x.wav")
    for made.claimant in ("spelling", "sound"):
        claims = [made.claim("a/x.wav"), made.claim("b/x.wav")]
    assert [(claim.audio, claim.rivals) for claim in claims] == [
        (f"{ROOT}/a/x.wav", ("spelling", "sound")),
        (f"{ROOT}/b/x.wav", ("spelling", "sound")),
    ]


@pytest.mark.parametrize("other", ["m4a", "MP4", "opus"])
def test_a_label_gets_a_type_that_is_surely_read_even_if_it_names_another(other):
    made = index(f"x.{other}", "x.flac")
    assert made.claim(f"x.{other}").audio == f"{ROOT}/x.flac"
    assert list(made.unclaimed()) == [("x", f"{ROOT}/x.{other}", "audio copy")]


def test_facts_belong_to_the_clip_whose_folders_they_name():
    made = index("train/001/x.wav", "valid/001/x.wav", "y.wav")
    for name, gender in (
        ("/train/001/x.wav", "M"),
        ("/valid/001/x.wav", "F"),
        ("/moved/y.wav", "F"),
    ):
        made.describe(name, (("gender", gender),))
    claims = [made.claim(name) for name in ("/valid/001/x.wav", "/train/001/x.wav", "y.wav")]
    assert [dict(claim.facts)["gender"] for claim in claims] == ["F", "M", "F"]


def test_facts_of_a_clip_stay_with_it_when_its_name_repeats():
    made = index("a/x.wav")
    made.describe("x.wav", (("gender", "F"),))
    made.add(f"{ROOT}/b", "x.wav")
    assert [made.claim(name).facts for name in ("a/x.wav", "b/x.wav")] == [(("gender", "F"),), ()]


def test_the_file_that_a_manifest_names_is_claimed_found_before_or_not():
    made = index("a/x.wav")
    assert made.claim_file(f"{ROOT}/a", "x.wav") == Claim("x", f"{ROOT}/a/x.wav", None)
    assert made.claim_file("/elsewhere", "x.wav") == Claim("/elsewhere/x", "/elsewhere/x.wav", None)
    assert made.claim_file("/elsewhere", "x.wav").reason == "duplicate id"
    assert list(made.unclaimed()) == []


# Comparing each with each would take minutes.
def test_twenty_thousand_clips_of_one_name_are_told_apart():
    made = index(*(f"{n:05}/wav/1.wav" for n in range(20_000)))
    assert [made.claim(f"/{n:05}/wav/1.wav").audio for n in (7, 19_999)] == [
        f"{ROOT}/00007/wav/1.wav",
        f"{ROOT}/19999/wav/1.wav",
    ]
    claims = [made.claim(f"/{n:05}/wav/1.wav") for n in range(20_000)]
    assert sum(claim.reason is None for claim in claims) == 19_998


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("/1.Training/dialog_1.wav", "dialog_1"),
        ("dialog_1.pcm", "dialog_1"),
        (" a.b.wav ", "a.b"),
        ("D:\\x\\y.wav", "y"),
        (".hidden", ".hidden"),
        ("no_suffix", "no_suffix"),
        ("", ""),
        ("/", ""),
        ("\u1100\u1161.wav", "가"),
    ],
)
def test_a_stem_is_the_name_without_folders_and_suffix(name, stem):
    assert stem_of(name) == stem


def test_parts_leave_out_what_is_no_folder():
    assert parts_of("//a/./b.wav") == ["a", "b.wav"]
