from __future__ import annotations

import unicodedata

import pytest

from komt.mix.clean import holds_code, is_mojibake, remove_html, remove_unseen, to_nfc

KOREAN = "안녕하세요, 반갑습니다. 경제와 마음을 이야기해요."


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("보\u200b이지 않는\ufeff 글\u00ad자", "보이지 않는 글자"),
        ("한 줄\r\n두 줄\r세 줄\u2028네 줄\x0b끝", "한 줄\n두 줄\n세 줄\n네 줄\n끝"),
        ("띄어\u00a0쓰기와\u3000칸\u2003들", "띄어 쓰기와 칸 들"),
        ("칸\x1c사이 벨\x07소리", "칸 사이 벨소리"),
        ("영화 ㅤㅂㅘㅅ는데 ㅤㄱㅏㅤ요 ㅤ 빈칸", "영화 봣는데 가요   빈칸"),
        ("가족 👨\u200d👩\u200d👧와 가\u200d나", "가족 👨\u200d👩\u200d👧와 가나"),
        ("탭\t과 줄\n은 남는다 ♥ ㅋㅋ", "탭\t과 줄\n은 남는다 ♥ ㅋㅋ"),
    ],
)
def test_what_nobody_sees_goes(text: str, clean: str) -> None:
    assert remove_unseen(text) == clean
    assert remove_unseen(clean) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("첫째 줄<br>둘째 줄<BR/>셋째<br />끝", "첫째 줄\n둘째 줄\n셋째\n끝"),
        ("<p>문단 하나</p><p class='a'>문단 둘</p>", "문단 하나\n문단 둘\n"),
        ("<div><b>굵은</b> <i>글씨</i>와 <span style='x'>글</span></div>", "굵은 글씨와 글\n"),
        ('<a href="http://a.kr">여기</a>를 누르세요', "여기를 누르세요"),
        ("H<sub>2</sub>O", "H2O"),
        ("물&nbsp;한 잔 &amp; 빵 &quot;둘&quot; &#9829;", '물\u00a0한 잔 & 빵 "둘" ♥'),
        ("앞<script>alert(1)</script><!-- 메모 -->뒤", "앞뒤"),
        # Titles, names, faces and comparisons are no tags.
        ("영화 <기생충>과 <A>씨, <A:PS>, <B>와 <Titanic>", "영화 <기생충>과 <A>씨, <A:PS>, <B>와 <Titanic>"),
        ("3 < 5 이고 7 > 2, (>_<) R&D; AT&T", "3 < 5 이고 7 > 2, (>_<) R&D; AT&T"),
        ("&unknown; &#xD800;", "&unknown; &#xD800;"),
    ],
)
def test_html_goes_and_brackets_stay(text: str, clean: str) -> None:
    assert remove_html(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "```\n<p>안녕</p>\n```",
        "<!DOCTYPE html><html><body>안녕</body></html>",
        "<br> 태그로 줄을 바꿉니다",
        "이 HTML을 고쳐 주세요: <b>글</b>",
        "| 항목 | 값 |\n| 가 | 하나<br>둘 |",
        "for (int i = 0; i < n; i++) { sum += i; }",
    ],
)
def test_code_and_tables_are_known(text: str) -> None:
    assert holds_code(text)


def test_ordinary_text_is_no_code() -> None:
    assert not holds_code("첫째 줄<br>둘째 줄 &amp; 셋째; {괄호}")


def test_nfd_becomes_nfc() -> None:
    assert to_nfc(unicodedata.normalize("NFD", KOREAN)) == KOREAN
    assert to_nfc("\uf9e1") == "李"


@pytest.mark.parametrize(
    "text",
    [
        KOREAN.encode().decode("latin-1"),
        KOREAN.encode().decode("cp1252", "replace"),
        KOREAN.encode().decode("cp949", "replace"),
        KOREAN.encode("cp949").decode("latin-1"),
        KOREAN.encode("cp949").decode("utf-8", "replace"),
        "경제 마음".encode().decode("cp949"),
        "모토로라충전로".encode().decode("cp949", "ignore"),
        "인사: " + "안녕하세요".encode().decode("cp949", "replace").replace("\ufffd", "?"),
        "où l’été".encode().decode("latin-1"),
        "깨진 글\ufffd자",
    ],
)
def test_mojibake_is_known(text: str) -> None:
    assert is_mojibake(text)
    assert is_mojibake(f"앞에는 멀쩡한 글이 있고 {text}")


@pytest.mark.parametrize(
    "text",
    [
        KOREAN,
        "«CAFÉ» à Séoul, où l’été… ÀÉÈ naïve Ångström Ødegård",
        "뷁! 아햏햏 핳핳핳핳 왃 더 훸 꺡꺠꺢꺢 똠양꿍",
        "大韓民國 憲法 第1條, 李承晩과 金九",
        "안녕?뭐해?밥은?먹었어?",
        "日本語とカタカナ, Привет, مرحبا",
        "½ ± × ÷ ° § ¿Qué? ¡Sí!",
        "plain ascii?",
    ],
)
def test_rare_letters_are_no_mojibake(text: str) -> None:
    assert not is_mojibake(text)
