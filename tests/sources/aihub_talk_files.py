"""Files in the shapes of AI Hub's dialogues (86, 98, 117), instructions (71844), translation (126, 71782)."""

from __future__ import annotations

import io
from typing import Any

from aihub_texts import TEXTS, Files, to_json


def aihub_86() -> Files:
    """Exchanges that are not there are empty texts."""
    keys = ("HS01", "SS01", "HS02", "SS02", "HS03", "SS03")
    talks = [
        {
            "profile": {
                "persona-id": f"Pro_{number}",
                "persona": {"persona-id": "A02_G01_C01", "human": ["A02", "G01"], "computer": ["C01"]},
                "emotion": {
                    "emotion-id": f"S06_D02_{talk['code']}",
                    "type": talk["code"],
                    "situation": ["S06", "D02"],
                },
            },
            "talk": {
                "id": {"profile-id": f"Pro_{number}", "talk-id": f"Pro_{number}_1"},
                "content": dict(zip(keys, talk["said"], strict=True)),
            },
        }
        for number, talk in enumerate(TEXTS["talks"])
    ]
    return {"라벨링데이터/감성대화말뭉치(최종데이터)_Training.json": b"\xef\xbb\xbf" + to_json(talks)}


def aihub_117() -> Files:
    """Dialogues with a summary; the SNS set, whose body is the list of utterances itself."""
    made: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for number, chat in enumerate(TEXTS["chats"]):
        said = [
            {"utteranceID": f"U{at}", "participantID": who, "utterance": text}
            for at, (who, text) in enumerate(chat["turns"])
        ]
        header = {
            "dialogueInfo": {"dialogueID": f"dialogue-{number}", "topic": chat["topic"], "type": "일상 대화"},
            "participantsInfo": [
                {"participantID": who, "age": "20대"} for who in sorted({who for who, _ in chat["turns"]})
            ],
        }
        body: Any = {"dialogue": said, "summary": chat["summary"]} if chat["summary"] else said
        made[bool(chat["summary"])].append({"header": header, "body": body})
    return {
        "라벨링데이터/[라벨]한국어대화요약_train.zip/여가생활.json": to_json(
            {"numberOfItems": 2, "data": made[True]}
        ),
        "라벨링데이터/한국어SNS.zip/일과직업.json": to_json({"numberOfItems": 1, "data": made[False]}),
    }


def call_sentences() -> list[dict[str, str]]:
    """Sentences of calls in the order of speaking."""
    return [
        {
            "도메인": "해솔콜센터",
            "카테고리": call["category"],
            "대화셋일련번호": f"C{number}",
            "화자": speaker,
            "문장번호": str(at),
            "QA": "q" if "질문" in key else "a",
            **dict.fromkeys(("고객질문(요청)", "상담사질문(요청)", "고객답변", "상담사답변"), ""),
            key: text,
            "개체명 ": "버스, 우산" if at == 1 else "",
            "지식베이스": "유실물" if at == 1 else "",
        }
        for number, call in enumerate(TEXTS["calls"])
        for at, (speaker, key, text) in enumerate(call["sentences"], start=1)
    ]


def aihub_98() -> Files:
    """Calls that stand one in the other, their sentences out of order; 10 comes after 9 as a number only."""
    items = call_sentences()
    for item in items[5:]:
        item["문장번호"] = str(int(item["문장번호"]) + 7)
    mixed = [items[2], items[8], items[0], items[5], items[1], items[7], items[4], items[6], items[3]]
    return {"라벨링데이터/해솔콜센터.zip/교통.json": to_json(mixed)}


def aihub_71844() -> Files:
    files = {}
    for number, item in enumerate(TEXTS["complaints"]):
        task = {
            "instruction_case": item["case"],
            "instruction": item["instruction"],
            "output": item["output"],
            "sentences": [],
        }
        if item["input"]:
            task["input"] = item["input"]
        files[f"02.라벨링데이터/TL_민원/{number}.json"] = to_json({"info": {"id": number}, "taskinfo": task})
    return files


def aihub_126() -> Files:
    """The older files are xlsx with Korean headings, the newer csv with ko and en."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["SID", "원문", "번역문"])
    for number, pair in enumerate(TEXTS["pairs"][:2], start=1):
        sheet.append([number, pair["ko"], pair["en"]])
    held = io.BytesIO()
    book.save(held)
    lines = [
        "sn,ko,en",
        *(f'{at},"{pair["ko"]}","{pair["en"]}"' for at, pair in enumerate(TEXTS["pairs"][2:])),
    ]
    return {"1_구어체(1).xlsx": held.getvalue(), "2_기술과학.csv": "\r\n".join(lines).encode("utf-8-sig")}


def aihub_71782() -> Files:
    """`mt` is what a machine wrote, `mtpe` what a person made of it; one sentence nobody has edited."""
    sents = [
        {
            "source_original": f"  {item['ko']}",
            "source_cleaned": item["ko"],
            "mt": item["mt"],
            "mtpe": item["mtpe"],
        }
        for item in TEXTS["finance"]
    ]
    sents.append({"source_original": "금리가 올랐다.", "source_cleaned": "", "mt": "Rate up.", "mtpe": ""})
    meta = {"source_language": "ko", "target_language": "en", "domain": "금융"}
    back = [
        {"source_original": item["mtpe"], "source_cleaned": "", "mt": "…", "mtpe": item["ko"]}
        for item in TEXTS["finance"]
    ]
    return {
        "02.라벨링데이터/TL_한영.zip/ko-en.json": to_json({"meta": meta, "sents": sents}),
        "02.라벨링데이터/TL_영한.zip/en-ko.json": to_json(
            {"meta": {"source_language": "EN", "target_language": "ko-KR"}, "sents": back}
        ),
    }
