"""Titles and sentences that are shown twice, in both languages; tables that align Hangul."""

import unicodedata
from collections.abc import Iterable, Sequence

# A title is "English · 한국어". Tables in a terminal show the English half where room is short.
CORPORA = {
    "korean": "Korean speakers · 한국어 화자",
    "foreign": "Foreign speakers of Korean · 외국인 화자",
}
SCORES = {
    "cer": "CER · 글자 오류율",
    "wer": "WER · 어절 오류율",
    "cer_no_punctuation": "CER without punctuation · 문장 부호 제외 CER",
    "wer_no_punctuation": "WER without punctuation · 문장 부호 제외 WER",
    "cer_no_space": "CER without punctuation and spaces · 문장 부호·띄어쓰기 제외 CER",
    "swer": "sWER (spacing of the reference) · 정답 띄어쓰기 기준 WER",
    "jamo": "jamo error rate · 자모 오류율",
}
# The score that leads the report of each corpus: learners' labels have no punctuation.
LEADING = {"korean": "cer", "foreign": "cer_no_punctuation"}
JAMO_POSITIONS = {
    "onset": "onset · 초성",
    "nucleus": "nucleus · 중성",
    "coda": "coda · 종성",
}
JAMO_PLACES = {"onset": "{}-", "nucleus": "-{}-", "coda": "-{}"}
SLICES = {
    "duration": "duration · 길이",
    "first_language": "first language · 모국어",
    "topik_level": "TOPIK level · 토픽 등급",
    "gender": "gender · 성별",
    "age": "age · 나이",
    "residence": "residence · 지역",
    "country": "country · 국가",
    "task": "task · 과제",
    "theme": "theme · 주제",
    "quality": "quality · 음질",
    "speaker": "speaker · 화자",
    "corpus": "corpus · 말뭉치",
}
# What two clips may have in common.
OVERLAP_KINDS = {
    "id": "id · 발화 이름",
    "audio": "audio · 음성",
    "sentence": "sentence · 문장",
    "speaker": "speaker · 화자",
}
# What the bootstrap draws.
RESAMPLED = {
    "speakers": "speakers · 화자",
    "sentences": "sentences · 문장",
    "clips": "clips · 발화",
}
SPACING = "spacing · 띄어쓰기"
NUMBER_FORMAT = "number format · 수치 형식"
SEEN_IN_TRAINING = "seen in training · 학습 데이터와 겹치는 항목"
FEW_CLIPS = "few clips · 표본 적음"
LOWEST_CER = "lowest reachable CER · 이 어휘로 도달할 수 있는 최저 CER"
EXPERIMENTS = "What each experiment brought · 실험별 결과"
INTERVAL = "95 % interval"
DIFFERENCE = "difference · 차이"
REPAIR_RATE = "repair rate · 교정률"
# How a model wrote a slip of a reader.
OUTCOMES = {
    "kept": "kept · 말한 대로 인식",
    "repaired": "repaired · 제시문대로 교정",
    "else": "else · 그 밖",
}
NO_SLIPS = (
    "no clip has a `prompt` that its label differs from · 제시문과 다르게 읽은 발화가 없습니다."
)
BELOW_THRESHOLD = (
    "syllables below the natives' threshold · 청취 점수가 한국어 화자의 기준보다 낮은 음절"
)
# Why there are no shares of syllables.
NO_SHARES = {
    "no natives": "unknown. Run script 3 on this model first. "
    "· 3번 스크립트를 먼저 실행하면 비율을 출력합니다.",
    "few natives": "unknown. Script 3's results have too few syllables with a listener's score; "
    "run script 3 again on more clips. · 3번 스크립트의 결과에 점수가 있는 음절이 부족합니다.",
    "no scores": "unknown. These results hold no listener's scores. "
    "· 이 결과 파일에는 청취 점수가 없습니다.",
}
REPORT_CARDS = "report cards · 화자별 결과"
TOO_CLOSE = "too close to call · 뚜렷한 차이 없음"


def english(title: str) -> str:
    """The English half of a title."""
    return title.partition(" · ")[0]


def korean(title: str) -> str:
    """The Korean half of a title."""
    return title.partition(" · ")[2]


def placed(position: str, jamo: str) -> str:
    """A jamo with its place in the syllable: `ㄱ-` is an onset, `-ㄱ` a coda, `-∅` no coda."""
    return JAMO_PLACES[position].format(jamo or "∅")


def n_columns(text: str) -> int:
    """Count the terminal columns of a text.

    A Hangul syllable takes two columns (Unicode Standard Annex #11).
    """
    return sum(
        2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
        if not unicodedata.combining(character)
    )


def table(rows: Iterable[Sequence[str]], align: str, indent: str = "") -> list[str]:
    """Format rows of cells as lines; two spaces stand between columns.

    align: "<" (left) or ">" (right) for each column. Rows may be shorter than align.
    """
    rows = [list(row) for row in rows]
    widths = [
        max((n_columns(row[i]) for row in rows if i < len(row)), default=0)
        for i in range(len(align))
    ]
    lines = []
    for row in rows:
        cells = []
        for cell, sign, width in zip(row, align, widths, strict=False):
            room = " " * (width - n_columns(cell))
            cells.append(cell + room if sign == "<" else room + cell)
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines
