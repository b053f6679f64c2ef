"""Files in the shapes of AI Hub's sets of questions on passages (84, 89, 92, 569, 71565, 71533)."""

from __future__ import annotations

import unicodedata
from typing import Any

from aihub_texts import TEXTS, Files, to_json


def _squad(kind: str, *, impossible: bool = False) -> dict[str, Any]:
    """SQuAD v1, an article a passage."""
    articles = []
    for number, passage in enumerate(TEXTS["passages"]):
        questions = [
            {
                "id": f"{kind}-{number}-{at}",
                "question": question,
                "answers": [{"text": answer, "answer_start": passage["context"].index(answer)}],
                **({"is_impossible": False} if impossible else {}),
            }
            for at, (question, answer) in enumerate(passage["questions"])
        ]
        articles.append(
            {"title": passage["title"], "paragraphs": [{"context": passage["context"], "qas": questions}]}
        )
    return {"version": "1", "creator": "komt", "data": articles}


def aihub_84() -> Files:
    return {"02_squad_질문_답변_제시문_말뭉치/ko_wiki_v1_squad.json": to_json(_squad("84"))}


def aihub_89() -> Files:
    """Three files; of one the passages answer nothing, although answers are noted. NFD names."""
    none = _squad("89n")
    passages = [article["paragraphs"][0]["context"] for article in none["data"]]
    for article, other in zip(none["data"], [*passages[1:], passages[0]], strict=True):
        article["paragraphs"][0]["context"] = other
    clue = _squad("89c")
    asked = clue["data"][0]["paragraphs"][0]["qas"][0]
    asked["question"] = "해솔 등대의 불빛은 무슨 색인가?"
    del asked["answers"]
    names = {"normal": _squad("89"), "noanswer": none, "clue0529": clue}
    folder = unicodedata.normalize("NFD", "기계독해분야")
    return {f"{folder}/ko_nia_{kind}_squad_all.json": to_json(value) for kind, value in names.items()}


def aihub_92() -> Files:
    book = _squad("92", impossible=True)
    first = book["data"][0]
    first["kdc"] = "기술과학"
    asked = {"id": "92-none", "question": "등대의 불빛은 무슨 색인가?", "answers": [], "is_impossible": True}
    first["paragraphs"][0]["qas"].append(asked)
    return {"라벨링데이터/TL_도서.zip/book_220419_add.json": to_json(book)}


def aihub_569() -> Files:
    """`answers` is one object; options, yes and no, own words, and questions without an answer."""
    passage = TEXTS["passages"][2]
    texts = passage["context"]

    def asked(question: str, text: str, **more: Any) -> dict[str, Any]:
        answer = {
            "text": text,
            "answer_start": texts.find(text),
            "clue_text": texts[:20],
            "clue_start": 0,
            "options": None,
        }
        base = {
            "question_id": f"569-{question[:6]}",
            "question": question,
            "qa_type": 1,
            "is_impossible": not text,
        }
        return {**base, "answers": {**answer, **more}}

    qas = [
        *(asked(question, answer) for question, answer in passage["questions"]),
        asked("도서관이 쉬는 날은 언제인가?", "월요일", options=["일요일", "월요일", "화요일", "토요일"]),
        asked("도서관은 구청이 운영하는가?", "아니오"),
        asked("이 도서관은 누가 꾸려 가는가?", "마을에 사는 사람들"),
        asked("도서관의 전화번호는 무엇인가?", ""),
    ]
    documents = [
        {
            "doc_id": "D1",
            "doc_title": passage["title"],
            "doc_class": {"code": "공공행정", "class": "문화"},
            "paragraphs": [{"context_id": "D1-1", "context": texts, "qas": qas}],
        },
        {
            "doc_id": "D2",
            "doc_title": TEXTS["passages"][0]["title"],
            "doc_class": {"code": "관광", "name": "관광"},
            "paragraphs": [{"context_id": "D2-1", "context": TEXTS["passages"][0]["context"], "qas": []}],
        },
    ]
    return {"라벨링데이터/TL_span_extraction.zip/TL_span_extraction.json": to_json({"data": documents})}


_TABLE = (
    "<table><tbody><tr><th>노선</th><th>첫차</th><th>막차</th></tr>"
    "<tr><td>1번</td><td>05:40</td><td>22:30</td></tr>"
    "<tr><td>2번</td><td>06:10</td><td>22:30</td></tr></tbody></table>"
)


def aihub_71565() -> Files:
    qas = [
        {
            "question_id": "T1",
            "question": "1번 버스의 첫차는 몇 시에 떠나는가?",
            "is_impossible": False,
            "answer": {"text": "05:40", "answer_start": _TABLE.index("05:40")},
        },
        {
            "question_id": "T2",
            "question": "2번 버스의 막차 시각은?",
            "is_impossible": False,
            "answer": {"text": "22:30", "answer_start": _TABLE.rindex("22:30")},
        },
        {
            "question_id": "T3",
            "question": "3번 버스의 배차 간격은?",
            "is_impossible": True,
            "answer": {"text": "", "answer_start": -1},
        },
    ]
    paragraph = {"context_id": "T", "table_title": "마을버스 운행 시각", "context": _TABLE, "qas": qas}
    document = {
        "doc_id": "T",
        "doc_title": "해솔시 교통 안내",
        "doc_class": {"code": "1", "name": "교통"},
        "paragraphs": [paragraph],
    }
    return {"02.라벨링데이터/TL_표정보.zip/표.json": to_json({"data": [document]})}


def aihub_71533() -> Files:
    """One document a file; either wording of a question may be empty."""
    passage = TEXTS["passages"][1]
    (first, answer), (second, other) = passage["questions"]
    base = {"question_level": "중", "answer_type": "단답형", "clue": [{"clue_text": answer}]}
    qas = [
        {
            "question_id": "S1",
            "question-1": first,
            "question-2": "두부를 엉기게 하는 재료는?",
            "answer": answer,
            **base,
        },
        {"question_id": "S2", "question-1": "", "question-2": second, "answer": other, **base},
        {
            "question_id": "S3",
            "question-1": "틀에 부은 것을 왜 돌로 누르는가?",
            "question-2": None,
            "answer": "물기를 없애 단단하게 만들려고",
            **base,
        },
        {
            **base,
            "question_id": "S4",
            "question-1": "콩을 물에 불린 다음에 할 일은?",
            "question-2": "",
            "answer": "곱게 갈기",
            "answer_type": "다지선다형",
            "wrong_answer": ["틀에 붓기", "간수 넣기", "돌로 누르기"],
        },
        {
            **base,
            "question_id": "S5",
            "question-1": "비지는 콩물과 함께 끓여 굳히는가?",
            "question-2": "",
            "answer": "아니오",
            "answer_type": "Yes/No 단문형",
        },
    ]
    document = {
        "doc_id": "S",
        "doc_title": {"kor": passage["title"], "eng": "Making tofu"},
        "context_info": [{"context_id": "S-1", "context": f"<p>{passage['context']}</p>", "qas": qas}],
    }
    return {"02.라벨링데이터/TL_기술.zip/S.json": to_json({"dataset": document})}
