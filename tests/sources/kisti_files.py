"""Files in the shapes of KISTI's sets of papers."""

from __future__ import annotations

from aihub_texts import TEXTS, Files, to_json


def kisti_qa() -> Files:
    """A tree of journal, year and paper."""
    return {
        f"느티골학회지/20{30 + number}/paper{number}.json": to_json(
            {
                "doc_id": f"K{number}",
                "title": {"ko": passage["title"], "en": ""},
                "context": passage["context"],
                "qas": [
                    {
                        "level": ("하", "중")[at],
                        "question": question,
                        "answer": {"answer_text": answer, "answer_start": passage["context"].index(answer)},
                    }
                    for at, (question, answer) in enumerate(passage["questions"])
                ],
            }
        )
        for number, passage in enumerate(TEXTS["passages"])
    }


def kisti_papers() -> Files:
    """One paper in both languages, one with plain texts, one in English only."""
    body = TEXTS["paper_sections"]
    paper = {
        "doc_id": "JA1",
        "title": {
            "ko": "마을버스의 배차 간격이 이용객 수에 미치는 영향",
            "en": "Effects of Headway on Village Bus Ridership",
        },
        "authors": ["김하늘"],
        "keywords": {
            "ko": ["마을버스", "배차 간격", "이용객 수"],
            "en": ["village bus", "headway", "ridership"],
        },
        "abstract": {
            "ko": TEXTS["abstracts"][0],
            "en": TEXTS["abstracts"][1],
        },
        "body_text": body,
    }
    plain = {
        "doc_id": "JA2",
        "title": "두부의 간수 농도와 단단함",
        "keywords": "두부; 간수; 단단함",
        "abstract": TEXTS["abstracts"][2],
        "body_text": [{"section": "재료", "text": ["국산 콩 1킬로그램과 천일염 간수를 썼다."]}],
    }
    english = {**paper, "doc_id": "JA3"}
    for key in ("title", "keywords", "abstract"):
        english[key] = {"ko": [] if key == "keywords" else "", "en": paper[key]["en"]}
    return {f"논문전문/2031/{item['doc_id']}.json": to_json(item) for item in (paper, plain, english)}


def kisti_tags() -> Files:
    rows = [
        {
            "doc_id": "JA1",
            "sentence": item["sentence"],
            "tag": item["tag"],
            "keysentence": "yes" if at % 3 == 0 else "no",
        }
        for at, item in enumerate(TEXTS["tagged"])
    ]
    return {"tagging_train.json": to_json(rows)}
