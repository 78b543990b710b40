"""Transcript rules as tables: a raw line, and each side's text, worked out by hand."""

import ast
import pickle
import re
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korean_asr import transcript_patterns, transcript_rewrites, transcripts
from korean_asr.transcript_patterns import ALLOWED_CHARACTERS
from korean_asr.transcripts import REASONS, RULES, Rejected, clean_transcript

QUICK = settings(max_examples=150, derandomize=True, deadline=None, database=None)


def outcome(raw: str, **choices) -> str:
    """The cleaned text, or `<REJECT:reason>`."""
    try:
        return clean_transcript(raw, **choices)
    except Rejected as rejection:
        return f"<REJECT:{rejection.reason}>"


# --- Duals: raw, side A, side B ---

DUALS = [
    # One dual, alone and in company.
    ("(2월)/(이 월)", "2월", "이 월"),
    ("(11시)/(열한 시)에 보자", "11시에 보자", "열한 시에 보자"),
    ("내일 (15일)/(십오 일)이야.", "내일 15일이야.", "내일 십오 일이야."),
    ("약(40분)/(사십 분)쯤", "약40분쯤", "약사십 분쯤"),
    ("(6층)/(육 층) (7층)/(칠 층) 다 막혔어", "6층 7층 다 막혔어", "육 층 칠 층 다 막혔어"),
    ("(3)/(삼)(4)/(사)", "34", "삼사"),
    ("(요기)/(여기) 앉아", "요기 앉아", "여기 앉아"),
    ("(사백 원)/(400원) 남았네", "사백 원 남았네", "400원 남았네"),
    ("'(99)/(구십구)'번", "99번", "구십구번"),
    ("[(5호선)/(오 호선)] 타", "5호선 타", "오 호선 타"),
    # What is inside a side goes through the later rules.
    ("(0.5%)/(영 점 오 퍼센트) 올랐대", "0.5% 올랐대", "영 점 오 퍼센트 올랐대"),
    ("(R&D)/(알 앤 디) 부서", "R&D 부서", "알 앤 디 부서"),
    ("(K-POP)/(케이 팝) 좋아해", "K-POP 좋아해", "케이 팝 좋아해"),
    ("(2:15)/(두 시 십오 분)에 출발", "2:15에 출발", "두 시 십오 분에 출발"),
    ("(6*8)/(육 곱하기 팔)은", "6*8은", "육 곱하기 팔은"),
    ("(1/4)/(사분의 일)만 줘", "1/4만 줘", "사분의 일만 줘"),
    ("(10~15명)/(열 명에서 열다섯 명) 와", "10 15명 와", "열 명에서 열다섯 명 와"),
    ("(2,300원)/(이천삼백 원)!", "2,300원!", "이천삼백 원!"),
    ("(그렇지)/(그치*) 뭐", "그렇지 뭐", "그치 뭐"),
    ("(무엇을+)/(뭘+) 샀어", "무엇을 샀어", "뭘 샀어"),
    ("(8시/)/(여덟 시/) 반", "8시 반", "여덟 시 반"),
    ("(9, 10월)/(구+ 시월)", "9, 10월", "구 시월"),
    ("(b/ 저기)/(쩌기) 봐", "저기 봐", "쩌기 봐"),
    ("(50개 )/( 오십 개 )", "50개", "오십 개"),
    ("(8월 )/(팔 월 )에", "8월 에", "팔 월 에"),
    ("(영  삼)/(공 삼)", "영 삼", "공 삼"),
    ("(“7번”)/(칠 번) 버스", "7번 버스", "칠 번 버스"),
    ("(이천이십년...)/(2020년) 봄", "이천이십년 봄", "2020년 봄"),
    ("(３대)/(세 대)", "3대", "세 대"),
    # Markers, tags and marks directly behind.
    ("(4번)/(네 번)+ (4번)/(네 번) 불렀어", "4번 4번 불렀어", "네 번 네 번 불렀어"),
    ("(저거)/(저고)/ 있잖아", "저거 있잖아", "저고 있잖아"),
    ("(저거)/(저고)/ (2개)/(두 개)", "저거 2개", "저고 두 개"),
    ("(저거)/(저고)/? 응", "저거? 응", "저고? 응"),
    ("(PC)/(피씨)* 켜 놔", "PC 켜 놔", "피씨 켜 놔"),
    ("(1등)/(일 등)n/ 했어", "1등 했어", "일 등 했어"),
    ("(60%)/(육십 퍼센트)+할인", "60% 할인", "육십 퍼센트 할인"),
    ("(2잔)/(두 잔), 주세요?", "2잔, 주세요?", "두 잔, 주세요?"),
    ("(5등)/(오 등)/(cough) 했지", "5등 했지", "오 등 했지"),
    ("l/(3반)/(삼 반)b/", "3반", "삼 반"),
    ("(MBC)/(엠비씨)n/ 봤어?", "MBC 봤어?", "엠비씨 봤어?"),
    ("(엠비씨)/(MBC)b/", "엠비씨", "MBC"),
    ("(4G)/(포 지)un/ 써", "4G 써", "포 지 써"),
    ("(UN)/(유엔)sn/b/ 총회", "UN 총회", "유엔 총회"),
    ("(비)/(b)/ 음", "비 음", "b 음"),
    ("(비)/(b)/.", "비.", "b."),
    ("(엘)/(L)n/(엠)/(M)", "엘 엠", "L M"),
    # Latin on the second side is no event.
    ("(유튜브)/(YouTube) 봐", "유튜브 봐", "YouTube 봐"),
    ("/(laugh) (에이아이)/(AI) 시대", "에이아이 시대", "AI 시대"),
    ("(A)/(에이)/(B)/(비)", "A B", "에이 비"),
    ("/(noise)/(cough)(C)/(씨) 가자", "C 가자", "씨 가자"),
    # Events inside.
    ("((FP:어) 2시)/(어 두 시)", "어 2시", "어 두 시"),
    ("(/(cough) 2시)/(두 시)", "2시", "두 시"),
    ("(7월@웃음)/(칠 월) 말", "7월 말", "칠 월 말"),
    # A side that cannot be written.
    ("(5㎛)/(오 마이크로미터)쯤", "<REJECT:unwritable>", "오 마이크로미터쯤"),
    ("(€20)/(이십 유로) 냈어", "<REJECT:unwritable>", "이십 유로 냈어"),
    ("(20)/(스무 개)€ 냈어", "<REJECT:unwritable>", "스무 개 냈어"),
    ("(α)/(알파) 값", "<REJECT:unwritable>", "알파 값"),
    ("(日本)/(일본) 가자", "<REJECT:unwritable>", "일본 가자"),
    ("(스시)/(すし) 먹자", "스시 먹자", "<REJECT:unwritable>"),
    ("(℃)/(섭씨)로", "<REJECT:unwritable>", "섭씨로"),
    ("(<cough> 7시)/(일곱 시)", "7시", "일곱 시"),
]


# --- Duals with a slip of the typist: raw, side A, side B ---

REPAIRED = [
    # A second pair of brackets, or half of one.
    ("((8개)/(여덟 개)) 남았어", "8개 남았어", "여덟 개 남았어"),
    ("((8개)/(여덟 개) 남았어", "8개 남았어", "여덟 개 남았어"),
    ("(8개)/(여덟 개)) 남았어", "8개 남았어", "여덟 개 남았어"),
    ("((뭐)/(모))랑 ((왜)/(외))", "뭐랑 왜", "모랑 외"),
    ("((8개)/(여덟 개)) 중 (3개)/(세 개)", "8개 중 3개", "여덟 개 중 세 개"),
    # A bracket typed twice.
    ("(택시))/(택씨) 타", "택시 타", "택씨 타"),
    ("(15층)(/(십오 층)이야", "15층이야", "십오 층이야"),
    ("(7.5%)/((칠 점 오 퍼센트) 올라", "7.5% 올라", "칠 점 오 퍼센트 올라"),
    ("(6만 원)/)(육만 원)은", "6만 원은", "육만 원은"),
    ("(6만 원))/((육만 원)은", "6만 원은", "육만 원은"),
    ("((6만 원))/((육만 원))은", "6만 원은", "육만 원은"),
    # The other way round.
    (")Q&A)/(큐 앤 에이) 시간", "Q&A 시간", "큐 앤 에이 시간"),
    ("우리 )TV)/(티브이) 봐", "우리 TV 봐", "우리 티브이 봐"),
    ("(11월)/(십일 월(", "11월", "십일 월"),
    ("(11월)/(십일 월( 말에", "11월 말에", "십일 월 말에"),
    ("(11월(/(십일 월) 말에", "11월 말에", "십일 월 말에"),
    ("(KT)/(케이티(n/ 다녀", "KT 다녀", "케이티 다녀"),
    ("(11월)/)십일 월) 말에", "11월 말에", "십일 월 말에"),
    # Not there.
    ("(30만/(삼십 만) 명", "30만 명", "삼십 만 명"),
    ("(9회)/구 회) 말", "9회 말", "구 회 말"),
    ("(1/2/(이분의 일)만", "1/2만", "이분의 일만"),
    # Spaces around the slash.
    ("(8시) /(여덟 시) 반", "8시 반", "여덟 시 반"),
    ("(8시)/ (여덟 시) 반", "8시 반", "여덟 시 반"),
    ("(8시)  /  (여덟 시) 반", "8시 반", "여덟 시 반"),
    ("(8시 )/ (여덟 시 )반", "8시 반", "여덟 시 반"),
    ("(8시) / (여덟 시)) 반", "8시 반", "여덟 시 반"),
    # Something else typed at the slash.
    ("(4판)?(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판):(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)!(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)+(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)/+(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)?/(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)//(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)/?(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)/!(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)/:(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)!/(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판):/(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)+/(네 판) 시켜", "4판 시켜", "네 판 시켜"),
    ("(4판)?(네 판)? (2병)!(두 병)!", "4판? 2병!", "네 판? 두 병!"),
    ("(4판 )?/( 네 판)", "4판", "네 판"),
    # No slash.
    ("(9조)(구 조) 원", "9조 원", "구 조 원"),
    ("(9조)((구 조)) 원", "9조 원", "구 조 원"),
    ("(3/4)(사분의 삼) 컵", "3/4 컵", "사분의 삼 컵"),
    ("(1)(일)(2)(이)", "12", "일이"),
    # One bracket.
    ("(두 병/2병) 줘", "두 병 줘", "2병 줘"),
    ("(2병/두 병)+ 줘", "2병 줘", "두 병 줘"),
    ("(두 병 / 2병) 줘", "두 병 줘", "2병 줘"),
    ("(두 병/ 2병) 줘", "두 병 줘", "2병 줘"),
    ("(무엇/뭐) 줘", "무엇 줘", "뭐 줘"),
    ("(6/여섯) 개", "6 개", "여섯 개"),
    ("(2/3/삼분의 이)쯤", "2/3쯤", "삼분의 이쯤"),
    # Latin on the second side is no event, and an event behind a dual is no side.
    ("(인스타) /(Insta) 해", "인스타 해", "Insta 해"),
    ("(인스타/(Insta) 해", "인스타 해", "Insta 해"),
    (")인스타)/(Insta) 해", "인스타 해", "Insta 해"),
    ("((인스타)/(Insta)) 해 /(cough)", "인스타 해", "Insta 해"),
    ("(8시) /(여덟 시) /(cough) 반", "8시 반", "여덟 시 반"),
    # What is inside goes through the later rules.
    ("(b/ 8시))/(여덟+ 시*)", "8시", "여덟 시"),
    ("（8시）　／（여덟 시）", "8시", "여덟 시"),
    # A side that cannot be written.
    ("((5㎛)/(오 마이크로))쯤", "<REJECT:unwritable>", "오 마이크로쯤"),
    ("(40℃/(사십 도)래", "<REJECT:unwritable>", "사십 도래"),
    ("(日本/일본) 가자", "<REJECT:unwritable>", "일본 가자"),
]


# --- Everything else: raw, the text of both sides ---

TEXTS = [
    # Fillers, repeats, unclear words.
    ("음/ 글쎄 뭐/ 잘 모르겠네", "음 글쎄 뭐 잘 모르겠네"),
    ("오+ 오+ 오늘은 쉬자", "오 오 오늘은 쉬자"),
    ("어제* 누가* 왔대", "어제 누가 왔대"),
    ("저/, 그러니까요", "저, 그러니까요"),
    ("그래*+ 알았어", "그래 알았어"),
    ("그/+ 그거 말이야", "그 그거 말이야"),
    ("했+했어", "했 했어"),
    ("형++형이 그랬어", "형 형이 그랬어"),
    ("어/저기요", "어 저기요"),
    ("*이건 뭐지", "이건 뭐지"),
    ("+ 가자", "가자"),
    ("/ 가자 /", "가자"),
    ("가자 * 가자", "가자 가자"),
    ("누나가*.", "누나가."),
    ("ㅋㅋ+ㅋㅋ", "ㅋㅋ ㅋㅋ"),
    ("OK+ 알겠어", "OK 알겠어"),
    ("A/B 테스트", "A B 테스트"),
    ("10대/20대 모두", "10대 20대 모두"),
    ("하나+2", "하나 2"),
    ("3+하나", "3 하나"),
    ("MP3/MP4 파일", "MP3 MP4 파일"),
    # Signs between digits.
    ("5*5는 25", "5*5는 25"),
    ("1+1 행사래", "1+1 행사래"),
    ("9/10 점", "9/10 점"),
    ("2024/3/1 맞지", "2024/3/1 맞지"),
    ("3* 4* 5", "3 4 5"),
    ("3 / 4", "3 4"),
    ("3++4", "3 4"),
    ("3/+4", "3 4"),
    ("7/ 그거", "7 그거"),
    ("+7 그거", "7 그거"),
    # Tags.
    ("b/ 자 l/ 시작하자 o/", "자 시작하자"),
    ("u/ 뭐라 했어 n/?", "뭐라 했어?"),
    ("피곤해.l/", "피곤해."),
    ("아니o/ 그게 아니라", "아니 그게 아니라"),
    ("그러니까n/말이지", "그러니까 말이지"),
    ("우리는 un/ 학교에 sn/ 갔습니다", "우리는 학교에 갔습니다"),
    ("친구un/ 만났어요sn/", "친구 만났어요"),
    ("b/n/l/ 됐다", "됐다"),
    ("5n/ 6", "5 6"),
    ("3b/4", "3 4"),
    ("pub/ 갔다가 fun/ 하게", "pub 갔다가 fun 하게"),
    ("hotel/ 앞에서", "hotel 앞에서"),
    ("bun/ 먹고 sun/ 보고", "bun 먹고 sun 보고"),
    ("radio/ 켜 봐", "radio 켜 봐"),
    ("caféb/ 가자", "caféb 가자"),
    ("B/ 등급", "B 등급"),
    ("x/ y/", "x y"),
    ("n/.", "<REJECT:empty>"),
    # Percent and signs inside words.
    ("30% 넘어", "30% 넘어"),
    ("백% 확실해", "백% 확실해"),
    ("30 % 넘어", "30% 넘어"),
    ("30 n/ % 넘어", "30% 넘어"),
    ("삼십 % 넘어", "삼십% 넘어"),
    ("%라고 써", "라고 써"),
    ("30%% 넘어", "30% 넘어"),
    ("50%~60%예요", "50% 60%예요"),
    ("M&A 얘기", "M&A 얘기"),
    ("너 & 나", "너 나"),
    ("와이-파이 켜", "와이-파이 켜"),
    ("e-mail 보내", "e-mail 보내"),
    ("- 첫째, 둘째 -", "첫째, 둘째"),
    ("Wi‑Fi 돼?", "Wi-Fi 돼?"),
    ("I'm fine 이래", "I'm fine 이래"),
    ("I’m fine 이래", "I'm fine 이래"),
    ("비율은 2:1 이야", "비율은 2:1 이야"),
    ("오후 4:50 차", "오후 4:50 차"),
    ("4:50 차", "4:50 차"),
    ("결론: 없음", "결론 없음"),
    ("가--나", "가 나"),
    ("가-~나", "가 나"),
    ("10~-20", "10 20"),
    # Symbols.
    ("5~6개쯤", "5 6개쯤"),
    ("와~ 예쁘다~", "와 예쁘다"),
    ("예쁘다~!", "예쁘다!"),
    ("대구·광주", "대구 광주"),
    ("대구ㆍ광주", "대구 광주"),
    ("a_b 파일", "a b 파일"),
    ("이거=저거", "이거 저거"),
    ("좋아요♥♥", "좋아요"),
    ("좋아요😀정말", "좋아요 정말"),
    ("<하늘> 봤어", "하늘 봤어"),
    ("위;아래", "위 아래"),
    ("경로\\이름", "경로 이름"),
    ("어디|여기", "어디 여기"),
    # Square brackets and braces.
    ("[하나 둘*] 셋", "하나 둘 셋"),
    ("{오늘} 와", "오늘 와"),
    ("[엄마]가 그랬어", "엄마가 그랬어"),
    ("]뭐야[", "뭐야"),
    ("[OB]b/ 모임", "OB 모임"),
    ("“LA”l/ 갈래", "LA 갈래"),
    ('"LA"sn/ 갈래', "LA 갈래"),
    ("엄마}가 와", "엄마가 와"),
    ("【공지】 봐", "공지 봐"),
    # Punctuation and spaces.
    ("진짜??", "진짜?"),
    ("진짜?! 와", "진짜? 와"),
    ("진짜 ! ? 와", "진짜! 와"),
    ("갔어 , 그래서", "갔어, 그래서"),
    ("신난다 !", "신난다!"),
    (", 그래서 갔어", "그래서 갔어"),
    ("?!. 뭐", "뭐"),
    ("응.그래", "응.그래"),
    ("갈게 b/ . n/ ?", "갈게."),
    ("  많이   띄었네  ", "많이 띄었네"),
    ("탭\t사이\r", "탭 사이"),
    ("줄\r\n바꿈\n", "줄 바꿈"),
    ("앞\r뒤\v옆\x85끝", "앞 뒤 옆 끝"),
    ("빈\u00a0칸\u3000둘", "빈 칸 둘"),
    ("12.5 3,400", "12.5 3,400"),
    # Ellipses and quotes.
    ("글쎄…", "글쎄."),
    ("글쎄...", "글쎄."),
    ("글쎄..", "글쎄."),
    ("글쎄‥ 뭐", "글쎄 뭐"),
    ("음..... 그건 좀", "음 그건 좀"),
    ("어…그게", "어 그게"),
    ("10..20", "10 20"),
    ("왜…?", "왜?"),
    ("왜?…", "왜?"),
    ("… 네", "네"),
    ("그래.… 어", "그래 어"),
    ('"네" 하고 "아니요"', "네 하고 아니요"),
    ('"떡"이랑 "국"을', "떡이랑 국을"),
    ("‘떡’이랑 ‘국’을", "떡이랑 국을"),
    ("'떡'이랑 '국'을", "떡이랑 국을"),
    ("''떡''을", "떡을"),
    ("I'm 'ok' 라고", "I'm ok 라고"),
    ("'tis I'm", "tis I'm"),
    ("`떡`을", "떡을"),
    ("「떡」과 『국』, 《책》은", "떡과 국, 책은"),
    ("“응…”", "응."),
    # Character forms.
    (unicodedata.normalize("NFD", "값을 깎았네"), "값을 깎았네"),
    ("\ufeff처음부터", "처음부터"),
    ("보\u200b이지 않\u00ad는\u2060 글", "보이지 않는 글"),
    ("널\x00 글자\x1f", "널 글자"),
    ("하\U000e0100늘", "하늘"),
    ("ＡＢＣ　１２３％", "ABC 123%"),
    ("뭐？！ 네，네．", "뭐? 네,네."),
    ("그래﹐ 뭐﹖", "그래, 뭐?"),
    ("네。그래、응", "네.그래,응"),
    ("５＊５", "5*5"),
    ("ㅎㅎ 그래ㅠ", "ㅎㅎ 그래ㅠ"),
    ("\u1112\u1112 웃겨", "ㅎㅎ 웃겨"),
    ("ﾡﾢ", "ㄱㄲ"),
    ("80㎞ 달려", "80km 달려"),
    ("Ⅲ부", "III부"),
    ("cafe\u0301 가자", "café 가자"),
    ("\u1100\u200b\u1161요", "가요"),
    ("반쪽\ud800글", "반쪽글"),
    # Events and the intent label.
    ("(NO:) 조용히 (SN:문소리)", "조용히"),
    ("(SN:기침 소리)네", "네"),
    ("어제(NO:)갔어", "어제 갔어"),
    ("(FP:음) 글쎄 (FP:그)", "음 글쎄 그"),
    ("밥(FP:어)먹자", "밥 어 먹자"),
    ("（NO：） 조용히", "조용히"),
    ("(NO:)b/ 쉿", "쉿"),
    ("그만 /(noise) 해", "그만 해"),
    ("그만/(music)해 /(door slam)", "그만 해"),
    ("@박수 축하해 @노래", "축하해"),
    ("큰일이야@목청.", "큰일이야."),
    ("재밌다 @웃음@박수", "재밌다"),
    ("재밌다 @웃음b/ 응", "재밌다 응"),
    ("문 좀 열어 줘. | [요구]", "문 좀 열어 줘."),
    ("문 열었어… | [진술]\r", "문 열었어."),
    ("문 열었어|[진술]", "문 열었어"),
    ("문 | [큰] 열었어", "문 큰 열었어"),
    # Events in braces, in angle brackets and between stars.
    ("어 {clearing} 저기", "어 저기"),
    ("밥{laughing}먹자", "밥 먹자"),
    ("{ door slam }b/ 밥 {door_slam}.", "밥."),
    ("<cough>밥</cough>", "밥"),
    ("＜cough＞ 밥", "밥"),
    ("{TV}랑 <KBS>를 봐", "TV랑 KBS를 봐"),
    ("{Tom} 밥", "Tom 밥"),
    ("{laughing 밥", "laughing 밥"),
    ("{음악} 밥", "음악 밥"),
    ("*기침* 밥 먹자", "밥 먹자"),
    ("＊기침＊ 밥 먹자", "밥 먹자"),
    ("b/ *cough* n/ *웃음* 밥", "밥"),
    ("A: *기침* 밥. B: 국", "밥."),
    ("*문 소리* 밥", "문 소리 밥"),
    ("밥 *정말* 국", "밥 정말 국"),
    ("*기침*밥 먹자", "기침 밥 먹자"),
    # Signs that were not spoken, or are not letters.
    ("3ㆍ1절", "3 1절"),
    ("대구\u119e광주", "대구 광주"),
    ("ㆍ 첫째", "첫째"),
    ("글쎄ㆍㆍㆍ 뭐", "글쎄 뭐"),
    ("① 첫째", "첫째"),
    ("㈜ 하늘", "하늘"),
    ("빈\u3164칸", "빈 칸"),
    ("와ー 예쁘다", "와 예쁘다"),
    ("눈ː이 와", "눈 이 와"),
    ("$표시가 있어", "표시가 있어"),
    ("5㎏ 6㎡ 7㏄", "5kg 6m2 7cc"),
    ("○ 그래 □ 아니", "그래 아니"),
    ("정*말*", "정 말"),
    ("네** 그래", "네 그래"),
    # Titles.
    ("‹봄날›을 들어", "봄날을 들어"),
    ("≪봄날≫을 들어", "봄날을 들어"),
    ("<<봄날>>을 들어", "봄날을 들어"),
    ("나는<봄날>을 들어", "나는 봄날을 들어"),
    ("봄날>을 들어", "봄날 을 들어"),
    ("3<5, 7>가", "3 5, 7 가"),
    ("서울->부산", "서울 부산"),
    # The space moves behind a mark.
    ("밥 ,국 ,물 줘 .응", "밥, 국, 물 줘. 응"),
    ("밥 ?!응", "밥? 응"),
    ("밥 , ,국", "밥, 국"),
    ("밥, ,국", "밥, 국"),
    ("밥n/,국", "밥, 국"),
    ("30% ,밥", "30%, 밥"),
    ("OK ,밥", "OK, 밥"),
    ("밥 ,3", "밥, 3"),
    ("3 ,밥", "3, 밥"),
    ("3 .5랑 2 ,300", "3.5랑 2,300"),
    ("3, .5", "3, 5"),
    ("밥 ，국", "밥, 국"),
]


REJECTED = [
    # Masked: the audio has words that the text has not.
    ("#이 왔어", "masked"),
    ("전화는 ＃＃＃＃ 이야", "masked"),
    ("@이름 씨", "masked"),
    ("어제 @상호3에서", "masked"),
    ("@웃음소리", "masked"),
    ("me@site.kr", "masked"),
    ("&name3& 왔어", "masked"),
    ("여기는&address1&이야", "masked"),
    ("&tel-num2&", "masked"),
    ("&이름2& 왔어", "masked"),
    ("&address& 쪽이야", "masked"),
    ("나 (()) 갔어", "masked"),
    ("(()) 갔어", "masked"),
    ("(( )) 갔어", "masked"),
    ("B: (()) 갔어", "masked"),
    ("(2개)/(##)", "masked"),
    ("○○ 은행", "masked"),
    ("홍◯◯ 씨", "masked"),
    ("□□□ 병원", "masked"),
    ("●■ 씨", "masked"),
    ("×× 놈", "masked"),
    ("＊＊ 씨", "masked"),
    ("○\u200b○ 씨", "masked"),
    ("△△ 씨", "masked"),
    ("***랑 갔어", "masked"),
    ("*＊*랑 갔어", "masked"),
    ("(○○)/(공공) 회사", "masked"),
    # Spoken, and not to be written.
    ("漢字는 몰라", "unwritable"),
    ("한국語요", "unwritable"),
    ("스시 すし 먹자", "unwritable"),
    ("ｽｼ 먹자", "unwritable"),
    ("γ선", "unwritable"),
    ("Привет 했어", "unwritable"),
    ("१ 번", "unwritable"),
    ("½ 컵", "unwritable"),
    ("10m² 넓이", "unwritable"),
    ("ᄒᆞᆫ저 옵서예", "unwritable"),
    ("ㅎㆍㄴ저 옵서예", "unwritable"),
    ("반ㅿ이", "unwritable"),
    ("$50 냈어", "unwritable"),
    ("＄ 50 냈어", "unwritable"),
    ("50 n/ $ 냈어", "unwritable"),
    ("오백$ 냈어", "unwritable"),
    ("￦50 냈어", "unwritable"),
    ("50€ 냈어", "unwritable"),
    ("영하 5℃래", "unwritable"),
    ("영하 5  ℃래", "unwritable"),
    ("직각은 90°야", "unwritable"),
    ("№7 방", "unwritable"),
    ("초속 5㎧", "unwritable"),
    ("5㎛ 두께", "unwritable"),
    # Nothing was said, or nothing that is known.
    ("", "empty"),
    ("   ", "empty"),
    ("(()) ", "empty"),
    ("(( ))", "empty"),
    ("b/ (()).", "empty"),
    ("A: (())", "empty"),
    ("(()) (())", "empty"),
    ("l/ o/ u/", "empty"),
    ("un/ sn/", "empty"),
    ("?!", "empty"),
    ("...", "empty"),
    ("(NO:) (SN:박수)", "empty"),
    ("@웃음", "empty"),
    ("+ * /", "empty"),
    ("♪~", "empty"),
    ("“”", "empty"),
    ("| [인사]", "empty"),
    ("A:", "empty"),
    ("\u200b\ufeff", "empty"),
    # Somebody else.
    ("B: 안녕", "other speaker"),
    ("A: B: 안녕", "other speaker"),
    ("화자2: 안녕 화자3: 네", "other speaker"),
    # Brackets that are no dual, or one whose sides nobody can be sure of.
    ("(4월)", "bracket"),
    ("4월) 초", "bracket"),
    ("10월)/(시 월)", "bracket"),
    ("내년)10월)/(시 월)", "bracket"),
    ("내년 ) 10월)/(시 월)", "bracket"),
    ("(10월)/(시 월 (초에", "bracket"),
    ("(10월)/(시 월0", "bracket"),
    ("(10월)/(시 월 초에", "bracket"),
    ("(10월)/(시 월 (2일)/(이 일)", "bracket"),
    ("(10월)/(시 월(2일)/(이 일)", "bracket"),
    ("(10월)/시 월 (2일)/(이 일)", "bracket"),
    ("(10월) (시 월)", "bracket"),
    ("(10월)? (시 월)", "bracket"),
    ("(10월)*(시 월)", "bracket"),
    ("(10월)/ 시 월)", "bracket"),
    ("()/(시 월)", "bracket"),
    ("(?)/(시 월)", "bracket"),
    ("(10월)/(…)", "bracket"),
    ("10월 )//(시 월)", "bracket"),
    ("(음/.) 그래", "bracket"),
    ("(10월)/( )", "bracket"),
    ("(10월)/(시 월)/(구 월)", "bracket"),
    ("(가 (10월)/(시 월))", "bracket"),
    ("((가 (10월)/(시 월)", "bracket"),
    ("(((10월)/(시 월)))", "bracket"),
    ("(3/4) 남았어", "bracket"),
    ("(3 / 4) 남았어", "bracket"),
    ("(아/ 맞다)", "bracket"),
    ("(n/ 맞다)", "bracket"),
    ("(b/맞다)", "bracket"),
    ("(가/나/다)", "bracket"),
    ("(/가)", "bracket"),
    ("(가/)", "bracket"),
    ("[(10월)", "bracket"),
    ("좋아 :)", "bracket"),
    ("(SN:박수", "bracket"),
    ("/(박수)", "bracket"),
    ("((네)) 그래", "bracket"),
    ("（４월）", "bracket"),
]


@pytest.mark.parametrize(("raw", "side_a", "side_b"), DUALS)
def test_a_proper_dual_gives_the_chosen_side(raw, side_a, side_b):
    assert (outcome(raw, side="A"), outcome(raw, side="B")) == (side_a, side_b)


@pytest.mark.parametrize(("raw", "side_a", "side_b"), REPAIRED)
def test_a_dual_with_a_slip_gives_the_chosen_side_unless_the_corpus_has_no_duals(
    raw, side_a, side_b
):
    assert (outcome(raw, side="A"), outcome(raw, side="B")) == (side_a, side_b)
    assert {outcome(raw, side=side, repair=False) for side in ("A", "B", "auto")} == {
        "<REJECT:bracket>"
    }


@pytest.mark.parametrize("raw", ["(日本)/(일본) 가자", "(α)/(알파) 값", "(오백$)/(오백 달러) 냈어"])
def test_side_auto_takes_the_side_that_can_be_written(raw):
    assert outcome(raw, side="auto") == outcome(raw, side="B") != "<REJECT:unwritable>"


def test_a_proper_dual_counts_where_nothing_is_repaired():
    assert outcome("(2월)/(이 월)부터", side="B", repair=False) == "이 월부터"


@pytest.mark.parametrize(("raw", "text"), TEXTS)
def test_text_without_a_dual_is_the_same_on_both_sides(raw, text):
    assert {outcome(raw, side=side) for side in ("A", "B", "auto")} == {text}


@pytest.mark.parametrize(("raw", "reason"), REJECTED)
def test_a_line_without_a_certain_text_is_rejected_with_its_reason(raw, reason):
    assert {outcome(raw, side=side) for side in ("A", "B", "auto")} == {f"<REJECT:{reason}>"}


# --- Choices ---


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("(3월)/(삼월)", "삼월"),
        ("(TV)/(티브이) 켜", "티브이 켜"),
        ("(그러면)/(그럼) 가자", "그러면 가자"),
        ("(20명)/(스무 명)이 (무엇을)/(뭘) 해", "스무 명이 무엇을 해"),
        ("(b/ 이것은)/(이건) 뭐야", "이것은 뭐야"),
    ],
)
def test_side_auto_takes_the_pronunciation_only_where_the_spelling_needs_to_be_read_out(raw, text):
    assert clean_transcript(raw, side="auto") == text


@pytest.mark.parametrize(
    ("side", "text"),
    [("A", "DVD 3장을"), ("B", "디브이디 세 장을"), ("auto", "디브이디 세 장을")],
)
def test_the_order_of_a_corpus_swaps_what_its_brackets_mean_not_what_a_side_means(side, text):
    raw = "(디브이디)/(DVD) (세 장)/(3장)을"
    assert clean_transcript(raw, side=side, order="pronunciation-first") == text


TWO_SPEAKERS = "A: 어디 가? B: 시장에. A: 같이 가!"


@pytest.mark.parametrize(
    ("raw", "speaker", "text"),
    [
        (TWO_SPEAKERS, "A", "어디 가? 같이 가!"),
        (TWO_SPEAKERS, "B", "시장에."),
        (TWO_SPEAKERS, "C", "<REJECT:other speaker>"),
        ("A： 잘 자. B： 너도.", "B", "너도."),
        ("A:잘 자. B:너도.", "A", "잘 자."),
        ("화자1: 잘 자. 화자2: 너도.", "A", "잘 자."),
        ("화자 1: 잘 자. 화자 2: 너도.", "B", "너도."),
        ("화자 1 : 잘 자. 화자 2 : 너도.", "B", "너도."),
        ("A : 잘 자. B ： 너도.", "A", "잘 자."),
        ("화자1： 잘 자. 화자 3： 그래.", "C", "그래."),
        ("화자4: 저요.", "D", "저요."),
        ("화자5: 저요.", "D", "<REJECT:other speaker>"),
        ("잘 자. B: 너도.", "A", "잘 자."),
        ("잘 자. B: 너도.", "B", "너도."),
        ("C: 네. D: 아뇨.", "D", "아뇨."),
        ("표시가 없는 줄", "B", "표시가 없는 줄"),
        ("지금 3:30 이야", "B", "지금 3:30 이야"),
        ("비타민A:과일", "A", "비타민A:과일"),
        ("AB: 혈액형", "B", "AB 혈액형"),
        ("E: 다섯째", "A", "E 다섯째"),
        ("B: (2시)/(두 시)야? A: (3시)/(세 시)야.", "A", "3시야."),
        ("“A: 잘 자.” B: 너도.", "A", "잘 자."),
        ("A: b/ B: 너도.", "A", "<REJECT:empty>"),
        ("A: 그래… B: 응…", "A", "그래"),
        ("A: 밥 줘. B: 韓國, $5", "A", "밥 줘."),
        ("A: 밥 줘. B: 韓國, $5", "B", "<REJECT:unwritable>"),
    ],
)
def test_only_the_chosen_speakers_turns_are_kept(raw, speaker, text):
    assert outcome(raw, speaker=speaker) == text


@pytest.mark.parametrize(
    ("raw", "speaker", "selected", "strict"),
    [
        (TWO_SPEAKERS, "A", "어디 가? 같이 가!", "<REJECT:mixed turns>"),
        (TWO_SPEAKERS, "C", "<REJECT:other speaker>", "<REJECT:other speaker>"),
        ("잘 자. 화자2: 너도.", "B", "너도.", "<REJECT:mixed turns>"),
        ("A: 잘 자. A: 내일 봐.", "A", "잘 자. 내일 봐.", "잘 자. 내일 봐."),
        ("잘 자. A: 내일 봐.", "A", "잘 자. 내일 봐.", "잘 자. 내일 봐."),
        ("A: 잘 자. B:", "A", "잘 자.", "잘 자."),
        ("혼자 하는 말", "A", "혼자 하는 말", "혼자 하는 말"),
    ],
)
def test_a_line_of_two_speakers_is_counted_and_can_be_rejected(raw, speaker, selected, strict):
    changes = []
    assert outcome(raw, speaker=speaker, changes=changes) == selected
    assert outcome(raw, speaker=speaker, mixed_turns="reject") == strict
    assert ("mixed turns" in {name for name, _, _ in changes}) == (strict == "<REJECT:mixed turns>")


@pytest.mark.parametrize(
    "choice",
    [
        {"side": "C"},
        {"order": "a-first"},
        {"speaker": "E"},
        {"speaker": "a"},
        {"mixed_turns": "keep"},
    ],
)
def test_an_unknown_choice_is_an_error_that_names_it_and_is_no_rejection(choice):
    (name, value), *_ = choice.items()
    with pytest.raises(ValueError, match=f"{name} must be one of .*not '{value}'") as error:
        clean_transcript("네", **choice)
    assert not isinstance(error.value, Rejected)


def test_a_rejection_keeps_its_reason_between_processes():
    assert pickle.loads(pickle.dumps(Rejected("masked"))).reason == "masked"


# --- The table of rules ---


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_example_of_each_rule_is_true_and_shows_that_rule_at_work(rule):
    changes = []
    assert outcome(rule.example_before, changes=changes) == rule.example_after
    assert rule.name in {name for name, _, _ in changes}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_example_comes_out_right_without_its_rule(rule, monkeypatch):
    for table in ("RULES", "RULES_OF_COMMON_LINES"):
        others = tuple(other for other in getattr(transcripts, table) if other is not rule)
        monkeypatch.setattr(transcripts, table, others)
    # A dual of the guidelines is also found by the rules that repair one, where they are used.
    assert outcome(rule.example_before, repair=rule.name != "dual") != rule.example_after


def test_every_rule_has_a_name_of_its_own():
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_has_a_sentence_for_users_in_both_languages(rule):
    english, korean = rule.sentence.split(" · ")
    assert re.fullmatch(r"[A-Z`].*\.", english)
    assert re.search("[가-힣]", korean) and korean.endswith("다.") or "다(" in korean


def test_no_sentence_for_users_speaks_of_expressions():
    assert [rule.name for rule in RULES if re.search(r"[\\^$]|regex|NFC", rule.sentence)] == []


def test_each_rule_that_changed_a_line_is_told_with_the_text_before_and_after():
    changes = []
    clean_transcript("b/ 우+ 우리 (2명)/(두 명)", changes=changes)
    assert changes == [
        ("dual", "b/ 우+ 우리 (2명)/(두 명)", "b/ 우+ 우리 2명"),
        ("tag", "b/ 우+ 우리 2명", "  우+ 우리 2명"),
        ("marker", "  우+ 우리 2명", "  우 우리 2명"),
        ("spaces", "  우 우리 2명", "우 우리 2명"),
    ]


def test_the_rule_that_rejects_a_line_is_told_and_those_before_it():
    changes = []
    assert outcome("n/ ...", changes=changes) == "<REJECT:empty>"
    assert [name for name, _, _ in changes] == [
        "ellipsis",
        "tag",
        "spaces",
        "marks at the start",
        "empty",
    ]
    assert changes[-1] == ("empty", "", "<REJECT:empty>")


def test_a_clean_line_tells_no_change():
    changes = []
    clean_transcript("3월 2일, 9:30에 R&D 팀 30%가 왔다.", changes=changes)
    assert changes == []


@pytest.mark.parametrize("module", [transcripts, transcript_patterns, transcript_rewrites])
def test_a_module_imports_the_standard_library_and_its_neighbours_alone(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } - {"korean_asr.transcript_patterns", "korean_asr.transcript_rewrites"}
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)


# --- Any input ---

MARKUP = [
    *"()/+*'’‘“.…,?!%&-:|[]~@#_AB310bae가나éㅋ韓？：\u0301\u1100\u1161\u11a8\u200b\ufeff\u3000\ud800\n",
    *" " * 8,
]
MARKUP += [
    "..",
    "A:",
    "B:",
    "화자",
    "화자1:",
    "b/",
    "un/",
    "((",
    "))",
    ")/(",
    "(())",
    "(NO:)",
    "(SN:",
    "(FP:",
    "다시",
]
MARKUP += [
    *"{}<>○＊$℃%韓βㆍㅎ\u119eː①½‹›",
    " ,",
    " .",
    "***",
    "{laughing}",
    "<noise>",
    "*침묵*",
    "<책>로",
]
MARKUP += ["@웃음", "&name1&", "name1", "/(cough)", "(가)/(나)", "(B)/(비)", "| [의도]"]
messy_lines = st.one_of(
    st.lists(st.sampled_from(MARKUP), max_size=14).map("".join), st.text(max_size=20)
)
any_choices = st.fixed_dictionaries(
    {
        "side": st.sampled_from(transcripts.SIDES),
        "order": st.sampled_from(transcripts.ORDERS),
        "speaker": st.sampled_from(transcripts.SPEAKERS),
        "mixed_turns": st.sampled_from(transcripts.MIXED_TURNS),
        "repair": st.booleans(),
    }
)


@settings(QUICK, max_examples=500)
@given(messy_lines, any_choices)
def test_any_line_gives_a_tidy_text_that_a_second_cleaning_leaves_alone_or_a_known_reason(
    raw, choices
):
    try:
        text = clean_transcript(raw, **choices)
    except Rejected as rejection:
        assert rejection.reason in REASONS
        return
    assert re.fullmatch(f"{ALLOWED_CHARACTERS}+", text)
    assert unicodedata.is_normalized("NFC", text)
    assert not re.search(r"  | [.,?!]|[.,?!]{2}|^[ .,?!]| $", text)
    assert clean_transcript(text, **choices) == text


@QUICK
@given(messy_lines)
def test_skipping_rules_that_a_line_does_not_need_changes_nothing(raw):
    choices = transcripts.Choices("A", "spelling-first", "A", "select", True)
    for rule in RULES:
        if not any(sign in raw for sign in rule.needs):
            assert rule.apply(raw, choices) == raw


@QUICK
@given(
    st.lists(
        st.sampled_from([*"가힣 39.,?!/+*bnlusAZ", "n/", "un/", "*가*", " ,"]), max_size=14
    ).map("".join)
)
def test_a_line_of_common_characters_needs_no_other_rule(raw):
    choices = transcripts.Choices("A", "spelling-first", "A", "select", True)
    text, every_rule = outcome(raw), raw
    try:
        for rule in RULES:
            every_rule = rule.apply(every_rule, choices)
    except Rejected as rejection:
        every_rule = f"<REJECT:{rejection.reason}>"
    assert text == every_rule


# Each piece is (raw, what was spoken).
letters = st.sampled_from([*"밥국3RéㅋßЯжαβ韓日すカกאب½²ㅿ\ua960\u1113𝐀ℓºµ"]).map(lambda c: (c, c))
not_letters = st.sampled_from(
    [" {laughing} ", " <door slam> ", "(SN:기침)", "@웃음 ", " b/ ", *" .~ㆍ"]
).map(lambda sign: (sign, ""))


@settings(QUICK, max_examples=400)
@given(st.lists(letters | not_letters, max_size=6))
def test_no_letter_of_any_script_is_lost_in_silence(parts):
    text = outcome("".join(raw for raw, _ in parts))
    spoken = "".join(letter for _, letter in parts)
    assert (
        text == "<REJECT:unwritable>"
        or spoken == "".join(filter(str.isalnum, text))
        or (text == "<REJECT:empty>" and not spoken)
    )


def hangul(text: str) -> str:
    return "".join(re.findall("[가-힣]", text))


words = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1, max_size=4)
harmless = st.sampled_from(
    [*"/+*~%-'\"’.,?!…[]{}_=·3A", "b/", "un/", "10/20", " /(cough) ", " (NO:) ", " ", " ", "\u200b"]
)
broken = st.sampled_from(
    [
        "(({})/({}))",
        "({}))/({})",
        "({})/(({})",
        "){})/({})",
        "({})/({}(",
        "({}/({})",
        "({})/{})",
        "({}) / ({})",
    ]
    + ["({})?({})", "({})/+({})", "({})({})", "({}/{})"]
)
# Each piece is (raw, what must be left of it on side A, and on side B).
pieces = st.one_of(
    words.map(lambda word: (word, word, word)),
    harmless.map(lambda sign: (sign, "", "")),
    st.tuples(words, words).map(lambda dual: (f"({dual[0]})/({dual[1]})", dual[0], dual[1])),
    st.tuples(words, words).map(lambda dual: (f"({dual[0]}* 5)/({dual[1]} b/)+", dual[0], dual[1])),
    st.tuples(words, words, broken).map(
        lambda dual: (
            f" 앞 {dual[2].format(*dual)} 뒤 ",
            f"앞{dual[0]}뒤",
            f"앞{dual[1]}뒤",
        )  # two slips in a row may be taken for a third
    ),
    words.map(lambda word: (f"(FP:{word})", word, word)),
    words.map(lambda word: (f" (SN:{word}) @박수 ", "", "")),
)


@settings(QUICK, max_examples=300)
@given(st.lists(pieces, min_size=1, max_size=8), words, st.booleans())
def test_no_syllable_is_lost_outside_events_and_the_other_side(parts, last_word, decomposed):
    raw = "".join(raw for raw, _, _ in parts) + last_word
    raw = unicodedata.normalize("NFD", raw) if decomposed else raw
    assert hangul(clean_transcript(raw, side="A")) == "".join(a for _, a, _ in parts) + last_word
    assert hangul(clean_transcript(raw, side="B")) == "".join(b for _, _, b in parts) + last_word


@QUICK
@given(
    st.lists(st.tuples(st.sampled_from("ABCD"), words), min_size=1, max_size=6),
    st.sampled_from("ABCD"),
)
def test_no_syllable_of_the_chosen_speaker_is_lost(turns, speaker):
    raw = " ".join(f"{name}: {word}." for name, word in turns)
    spoken = "".join(word for name, word in turns if name == speaker)
    assert hangul(outcome(raw, speaker=speaker)) == spoken


def test_characters_without_width_leave_no_gap():
    invisible = [
        chr(c) for c in range(0x10000) if unicodedata.category(chr(c)) in ("Cf", "Mn", "Cs")
    ]
    assert {clean_transcript(f"전{character}화") for character in invisible} == {"전화"}


def test_ten_thousand_nested_brackets_are_rejected():
    assert outcome("(" * 10_000 + "네" + ")" * 10_000) == "<REJECT:bracket>"


# Quadratic time would take minutes for these, linear time takes 0.1 s.
@pytest.mark.parametrize(
    "unit",
    [
        "(",
        "(가",
        "(가)/",
        "(가)/(나",
        "(가)(",
        "(가/",
        "((가",
        "(가)?",
        "(가) ",
        " )가",
        ")(",
        "(1/",
        "(가)/(나) ",
    ]
    + [
        "<",
        "<가",
        "{a",
        "<a ",
        "$ ",
        " %",
        "3 ",
        "*가",
        "*가* ",
        " A: ",
        "○ ",
        "**",
        " ,",
        " ,3",
        "韓",
        "ㆍ",
    ]
    + ["/(a ", "(NO:", "((", " 'a", "‘a'a", ".. x", "| [", "&a", "화자 ", "A:", " A:"]
    + [
        "b/",
        "가+",
        "/*",
        "%",
        "3%",
        "가-",
        "가%~",
        " ",
        ".",
        "? ",
        "\u0301\u0316",
        "\u1100",
        "\U0001e8d0\U0001d185",
        "\U0001d165\U0001d16d",
    ],
)
def test_time_is_linear_in_the_length_of_a_hostile_line(unit):
    started = time.perf_counter()
    outcome("가 " + unit * (120_000 // len(unit)) + "나", side="auto")
    assert time.perf_counter() - started < 2.0
