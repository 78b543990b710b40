"""The characters of a transcript, and the expressions that the rules of transcripts.py look for.

In the expressions that are searched most, a character class comes first and the lookbehind after
it: Python's engine scans for a leading class several times as fast.
"""

import re
import unicodedata
from functools import cache

# --- Characters ---

LATIN = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ"
# Every jamo is written as one of these 51 compatibility jamo. U+318D is not among them: people type
# it as a middle dot.
LETTERS = "가-힣ㄱ-ㅣ" + LATIN
WORD = LETTERS + "0-9"
MARKS = ".,?!"
# Signs that are spoken or belong to the spelling, where the marker and symbol rules let them stand.
SIGNS = "%&':/+*-"
# A cleaned text holds nothing else.
ALLOWED_CHARACTERS = f"[{WORD} {MARKS}{SIGNS}]"

ACCENTS = range(0x0300, 0x0370)
COMPATIBILITY_JAMO = range(0x3131, 0x3164)
CONJOINING_JAMO, HALF_WIDTH_JAMO = range(0x1100, 0x1200), range(0xFFA1, 0xFFDD)
FULL_WIDTH, SMALL_FORMS = range(0xFF01, 0xFF5F), range(0xFE50, 0xFE6C)
ROMAN_NUMERALS, SQUARED_UNITS = range(0x2160, 0x2180), range(0x3371, 0x33E0)
FULL_WIDTH_STAR = "＊"
INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Mn", "Me")
SPACE_CATEGORIES = ("Zs", "Zl", "Zp")


def _jamo_without_position() -> dict[int, int]:
    """Map half-width and conjoining jamo to the compatibility jamo of the same name."""
    jamo = {}
    for code in (*CONJOINING_JAMO, *HALF_WIDTH_JAMO):
        kind_and_name = unicodedata.name(chr(code), "").partition("HANGUL ")[2]
        try:
            same = ord(unicodedata.lookup("HANGUL LETTER " + kind_and_name.partition(" ")[2]))
        except KeyError:
            continue
        if same in COMPATIBILITY_JAMO:
            jamo[code] = same
    return jamo


@cache
def plain_characters() -> dict[int, int | str | None]:
    """Map characters to the ASCII or space they are written as; those mapped to None go.

    Made when a line first needs it, so that --help does not wait for it.
    """
    plain: dict[int, int | str | None] = {}
    for code in (*range(0x20000), *range(0xE0000, 0xE0200)):
        category = unicodedata.category(chr(code))
        if category in INVISIBLE_CATEGORIES or unicodedata.combining(chr(code)):
            plain[code] = None
        elif category in SPACE_CATEGORIES:
            plain[code] = " "
    for code in ACCENTS:
        del plain[code]
    for code in (*FULL_WIDTH, *SMALL_FORMS, *ROMAN_NUMERALS, *SQUARED_UNITS):
        ascii_form = unicodedata.normalize("NFKC", chr(code))
        if ascii_form.isascii():
            plain[code] = ascii_form
    plain |= str.maketrans(dict.fromkeys("\t\n\v\f\r\x85", " "))
    # Two of these in a row hide a name, two plain stars do not.
    del plain[ord(FULL_WIDTH_STAR)]
    plain |= str.maketrans("。｡、､‐‑−’´ʼ【】〔〕〖〗≪≫⟨⟩⟪⟫", "..,,---'''[][][]<><><>")
    plain |= str.maketrans({"…": "...", "⋯": "...", "‥": ".."})
    return plain | str.maketrans("", "", '"“”„‟«»‹›「」『』〈〉《》〝〞〟＂`｀')


# NFC composes jamo and accents; these are what it leaves.
LEFT_BY_NFC = _jamo_without_position() | dict.fromkeys(ACCENTS)
FIFTH_ACCENT_AND_ON = re.compile("[\u0300-\u036f](?<=[\u0300-\u036f]{5})[\u0300-\u036f]*")
# Most lines hold none of these: they are Hangul, letters, digits, marks, and signs of tags.
UNCOMMON = re.compile(f"[^가-힣A-Za-z0-9 {MARKS}/+*]")
UNUSUAL_CHARACTER = re.compile("[^ !#-_a-~가-힣ㄱ-ㅣ]")

# --- What was spoken and cannot be written ---

# Most lines hold none of these, of which `$` is one: it is spoken beside a number.
NOT_ORDINARY = re.compile("[^ -#%-~가-힣ㄱ-ㅣ]")
# Letters and numbers to Unicode, but not spoken: circled numbers of a list, Hangul fillers, the
# prolonging ー, 〇 and length marks.
_CIRCLED_NUMBERS = "①-⒛⓪-⓿❶-➓㈠-㈩㉈-㉟㊀-㊉㊱-㊿🄀-🄌"
_NOT_SPOKEN = f"{_CIRCLED_NUMBERS}\u115f\u1160\u3164\uffa0ーｰ〇ʰ-˿"
_ARAE_A = "ㆍ\u119e"
# Han, Greek, kana, Cyrillic, old Hangul …, also ½, ² and ℓ.
_FOREIGN_LETTER = rf"[^ -~{WORD}{_NOT_SPOKEN}{_ARAE_A}](?<=\w)"
# Old Hangul spells its vowel ㆍ beside a jamo. Anywhere else people type it as a middle dot.
_JAMO = "ㄱ-ㅣ\u3165-\u318c\u318e\u1100-\u115e\u1161-\u119d\u119f-\u11ff\ua960-\ua97c\ud7b0-\ud7fb"
_OLD_VOWEL = f"[{_ARAE_A}](?:(?<=[{_JAMO}].)|(?=[{_JAMO}]))"
# Units that have no ASCII form: ℃ ℉, squared kana, months, hours, ㎧ ㏀ ㍿ …
_UNIT = "[℃℉㋀-㋏㌀-㏿]"
# Currencies, degrees, per mille and numero. `%` is no symbol.
_SIGN = "[$¢-¥֏؋৲৳฿៛₠-\u20cf￠￡￥￦°˚‰‱№]"
_NUMBER = "[0-9십백천만억조]"
UNWRITABLE = re.compile(
    f"{_FOREIGN_LETTER}|{_OLD_VOWEL}|{_UNIT}|{_SIGN} *[0-9]|{_SIGN}(?<={_NUMBER}.)|[0-9] +{_SIGN}"
)
SPOKEN = f"(?:[{WORD}]|{_FOREIGN_LETTER}|{_OLD_VOWEL}|{_UNIT})"

# --- Words, tags and speakers ---

WORD_START = re.compile(f"[{WORD}]")
WORD_END = re.compile(f"[{WORD}%]")
DIGIT_OR_LATIN = re.compile(f"[0-9{LATIN}]")
_TAG_NAME = "[blnou]|[su]n"
# un/ sn/ b/ l/ o/ n/ u/, not behind a Latin letter, so that `pub/` keeps its b. Without \b: Hangul
# is a word character to it, and `하지만n/` would keep its n.
TAG = re.compile(f"[blnosu](?<![{LATIN}].)(?:(?<!s)|(?<=[su])n)/")
TAG_BEHIND_BRACKET = re.compile(
    rf'([()\]}}"”（）］])(?:(?:{_TAG_NAME})/|/(?=[ .,?!]|\Z)(?![ .,?!]*\())'
)
_SPEAKER = "[A-D]|화자 *[0-9]+"
SPEAKER_MARK = re.compile(f"(?<![^ ])({_SPEAKER}) ?:")
SPEAKER_MARKS_LEFT = re.compile(f"(?<![^ ])(?:(?:{_SPEAKER}):)+")

# --- Quotes, events and masks ---

INTENT = re.compile(r"\| *\[[^\[\]|]*\] *\Z")
_OPENING_QUOTE = f"(?:‘|(?<![{WORD}])')"
_CLOSING_QUOTE = "(?:(?<![A-Za-z])'|'(?![A-Za-z]))"
_APOSTROPHE = "(?<=[A-Za-z])'(?=[A-Za-z])"
QUOTED = re.compile(f"{_OPENING_QUOTE}([^'‘]*(?:{_APOSTROPHE}[^'‘]*)*){_CLOSING_QUOTE}")
# Group 1 matches only at the end of the text.
ELLIPSIS = re.compile(r"\.\.+( *\Z)?")
EVENT = re.compile(r"\((?:NO|SN):[^()]*\)")
FILLER_EVENT = re.compile(r"\(FP:([^()]*)\)")
# The corpora of NIKL write `{laughing}` and `<noise>`. A name is written in capitals (`<SBS>`).
EVENT_IN_BRACKETS = re.compile(r"\{ *[a-z][a-z _-]*\}|< */?[a-z][a-z _-]*/?>")
# `*침묵*` at the start of a turn, where tags and other such events may stand before it.
EVENT_BETWEEN_STARS = re.compile(
    rf"((?:\A|(?<![^ ])(?:{_SPEAKER}) ?:)(?: |(?:{_TAG_NAME})/)*)"
    rf"(?:\*[{LETTERS}]+\*(?![{WORD}*])(?: |(?:{_TAG_NAME})/)*)+"
)
# A tag may follow directly; any other letter makes it another word.
VOICE_EVENT = re.compile(f"@(?:웃음|목청|박수|노래)(?!(?!(?:{_TAG_NAME})/)[{WORD}])")
# △ stands for a name as ○ does; ◯ and 〇 look like it.
MASKED_SIGNS = re.compile(r"[○●◯〇□■×△▲＊*](?:(?<!\*)[○●◯〇□■×△▲＊]|(?<=[*＊])[*＊]{2})")
STAR_OF_FULL_WIDTH = re.compile(FULL_WIDTH_STAR)
MASKED_DIGITS = re.compile("#")
MASKED_WORD = re.compile(r"@\w")
# Capitals without a number (`R&D&I`) are a name that is spoken so.
MASKED_NAME = re.compile(r"&(?:[^\W\d_][\w-]*\d|[a-z][a-z-]+)&")
NOT_UNDERSTOOD = re.compile(r"\(\( *\)\)")

# --- Duals: (spelling)/(pronunciation) ---

# A side holds something that is spoken.
_A, _B = (rf"(?P<{side}>(?=[^()]*?{SPOKEN})[^()]+)" for side in "ab")
# Typing slips: a bracket typed twice, or the wrong way round. `)` counts as an opening bracket only
# where a word starts, and `(` as a closing bracket only where a word ends.
_TWICE_OPENED = r"(?<=\()\(?"
_OPENED_BY_CLOSING = r"(?<=\))(?<![^ ].)(?! )"
_OPENED = rf"[()](?:{_TWICE_OPENED}|{_OPENED_BY_CLOSING})"
_CLOSED = r"(?:\)\)?|(?<! )\()"
# The brackets on one side of the slash.
_AT_SLASH = "[()][()]?"

DUAL = re.compile(rf"\({_A}\)/\({_B}\)")
DUAL_IN_DOUBLE_BRACKETS = re.compile(rf"(?P<outer>\()?\({_A}\)/\({_B}\)(?(outer)\)?|\))")
DUAL_WITH_WRONG_BRACKET = re.compile(rf"{_OPENED}{_A}{_AT_SLASH}/{_AT_SLASH}{_B}{_CLOSED}")
_SLASH_NOT_CLOSED = f"(?<! )/{_AT_SLASH}"
_SLASH_NOT_OPENED = f"{_AT_SLASH}/(?=[{WORD}])"
DUAL_WITHOUT_BRACKET = re.compile(
    f"{_OPENED}{_A}(?:{_SLASH_NOT_CLOSED}|{_SLASH_NOT_OPENED}){_B}{_CLOSED}"
)
DUAL_WITH_SPACED_SLASH = re.compile(
    rf"{_OPENED}{_A}{_AT_SLASH}(?: +/ *|/ +){_AT_SLASH}{_B}{_CLOSED}"
)
# `? : ! +` lie beside the slash on the keyboard, or under the same finger.
DUAL_WITH_MISTYPED_SLASH = re.compile(
    rf"{_OPENED}{_A}{_AT_SLASH}(?:/?[?:!+]/?|//){_AT_SLASH}{_B}{_CLOSED}"
)
DUAL_WITHOUT_SLASH = re.compile(rf"{_OPENED}{_A}\)\)?\(\(?{_B}{_CLOSED}")

# A dual in one bracket, such as `(두 달/2달)`. It does not start with a tag, as `(b/ …)` does. It
# has a digit, a Latin letter, a space before a slash or none behind it; a filler such as
# `(어/ 그래)` has none of these.
_NO_TAG_NEXT = f"(?!(?:{_TAG_NAME})/)"
_NO_FILLER_ALONE = f"(?=[^()]*(?:[0-9{LATIN}]| /|/(?! )))"
_SIDE_WITHOUT_SLASH = f"(?=[^()/]*?{SPOKEN})"
_FRACTION_SLASH = "(?<=[0-9])/(?=[0-9])"
_SLASH_BETWEEN_SIDES = "/(?:(?<![0-9]/)(?<![0-9] /)|(?! ?[0-9]))"
DUAL_IN_ONE_BRACKET = re.compile(
    rf"\({_NO_TAG_NEXT}{_NO_FILLER_ALONE}"
    rf"(?P<a>{_SIDE_WITHOUT_SLASH}(?:[^()/]|{_FRACTION_SLASH})+)"
    rf"{_SLASH_BETWEEN_SIDES}"
    rf"(?P<b>{_SIDE_WITHOUT_SLASH}[^()/]+)\)"
)

# `/(noise)`, but not the `/(B)` of `(A)/(에이)/(B)/(비)`, whose slash is a filler marker, nor the
# Latin side of a dual. A dual matches as group 1, which is put back unchanged.
_NOISE = rf"/\([{LATIN}][{LATIN} _-]*\)(?!/\((?![{LATIN} _-]+\)))"
_ANY_SLASH = rf"(?:{_AT_SLASH}(?:[ /?:!+]*{_AT_SLASH}|/)|/{_AT_SLASH})"
DUAL_OR_NOISE = re.compile(rf"({_OPENED}[^()]+{_ANY_SLASH}[^()]+{_CLOSED})|{_NOISE}")

# --- What is left ---

SQUARE_BRACKET = re.compile(r"[\[\]{}]")
SPACED_PERCENT = re.compile(f"(?<={_NUMBER}) +%")
# A title in front of its particle. Behind a digit, `<` may be a sign (`3<5, 7>4`).
TITLE = re.compile("<(?<![0-9].)([^<>]*)>+(?=[가-힣])")
ROUND_BRACKET = re.compile("[()]")
# A single marker between two digits is a sign and stays.
MARKER = re.compile("[/+*](?:[/+*]+|(?<![0-9].)|(?![0-9]))")
# `%` stays behind a letter or digit, `& - ' :` between two.
_SYMBOL = f"[^{WORD} {MARKS}/+*](?<![{WORD}]%)(?<![{WORD}][&':-](?=[{WORD}]))"
SYMBOLS = re.compile(f"{_SYMBOL}(?:{_SYMBOL})*")
SPACES = re.compile("  +")
SPACE_BEFORE_MARK = re.compile(f" [{MARKS}]")
MARKS_AND_SPACES = re.compile(f"[ {MARKS}]{{2,}}")
REPEATED_MARKS = re.compile(f"([{MARKS}])[{MARKS}]+")
MARKS_AT_START = re.compile(rf"\A[ {MARKS}]+")
NOTHING = re.compile(r"\A\Z")
