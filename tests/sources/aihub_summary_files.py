"""Files in the shapes of AI Hub's sets of summaries and judgments (90, 97, 99, 93, 580)."""

from __future__ import annotations

import json
from typing import Any

from aihub_texts import TEXTS, Files, to_json


def aihub_90() -> Files:
    """The typo `orginal_text`, and mended; patents without `issued_by`; sections only; a list around."""
    papers = TEXTS["papers"]

    def pair(paper: dict[str, str], part: str, key: str) -> list[dict[str, str]]:
        return [{key: paper[part], "summary_text": paper[f"{part}_summary"]}]

    base = [
        {"doc_id": f"P{at}", "title": paper["title"], "date": "20310401"} for at, paper in enumerate(papers)
    ]
    paper = {
        "doc_type": "논문",
        **base[0],
        "issued_by": papers[0]["publisher"],
        "summary_entire": pair(papers[0], "entire", "orginal_text"),
        "summary_section": pair(papers[0], "section", "orginal_text"),
    }
    patent = {
        "doc_type": "특허",
        **base[1],
        "summary_entire": pair(papers[1], "entire", "original_text"),
        "summary_section": pair(papers[1], "section", "original_text"),
    }
    only = {"doc_type": "논문", **base[0], "doc_id": "P9", "summary_section": paper["summary_section"]}
    return {
        "라벨링데이터/[라벨]논문요약.zip/논문요약.json": to_json({"data": [paper]}),
        "라벨링데이터/[라벨]특허요약.zip/특허요약.json": to_json([{"data": [patent]}]),
        "라벨링데이터/[라벨]섹션만.zip/섹션만.json": to_json({"data": [only]}),
    }


def _documents(kind: str) -> list[dict[str, Any]]:
    made = []
    for number, item in enumerate(TEXTS[kind]):
        at = iter(range(99))
        text = [
            [{"index": next(at), "sentence": sentence, "highlight_indices": ""} for sentence in paragraph]
            for paragraph in item["paragraphs"]
        ]
        count = sum(len(sentence) for paragraph in item["paragraphs"] for sentence in paragraph)
        made.append(
            {
                "id": str(330000 + number),
                "category": {"documents": "종합", "law": "민사"}[kind],
                "media_name": "해솔신문",
                "size": "small",
                # A number in one release, a text in another.
                "char_count": count if number else f"{count:,}",
                "title": item["title"],
                "text": text,
                # One index in the data is null.
                "extractive": [*item["marked"], None],
                "abstractive": [item["summary"]],
            }
        )
    return made


def aihub_97() -> Files:
    """A list; one under `documents`; the older release in JSON Lines."""
    item = TEXTS["documents"][1]
    old = {
        "media": "느티신문",
        "id": "old-1",
        "article_original": [sentence for paragraph in item["paragraphs"] for sentence in paragraph],
        "abstractive": item["summary"],
        "extractive": item["marked"],
    }
    lines = [old, {**old, "id": "old-2", "article_original": old["article_original"][::-1]}]
    return {
        "라벨링데이터/[라벨]신문기사.zip/news.json": to_json({"documents": _documents("documents")}),
        "라벨링데이터/[라벨]사설.zip/editorial.json": to_json(_documents("documents")[:1]),
        "옛날/train.json": b"\n".join(map(to_json, lines)) + b"\n",
    }


def aihub_99() -> Files:
    return {"라벨링데이터/법률_요약.json": json.dumps(_documents("law"), ensure_ascii=False).encode("cp949")}


def aihub_93() -> Files:
    return {
        f"라벨링데이터/{book['subject']}/{number}.json": to_json(
            {
                "passage_id": f"B{number}",
                "metadata": {
                    "doc_name": book["title"],
                    "author": "김하늘",
                    "publisher": "느티출판",
                    "kdc_label": book["subject"],
                },
                "chapter": f"{number + 1}장",
                "passage": book["passage"],
                "summary": book["summary"],
            }
        )
        for number, book in enumerate(TEXTS["books"])
    }


def aihub_580() -> Files:
    return {
        f"라벨링데이터/판결문/{number}.json": to_json(
            {
                "info": {
                    "caseField": "1",
                    "caseNm": item["case"],
                    "courtNm": f"{item['court']} ",
                    "caseNo": item["number"],
                },
                "disposal": {"disposalform": "1", "disposalcontent": item["order"]},
                "mentionedItems": {"rqestObjet": item["claim"]},
                "assrs": {"acusrAssrs": item["plaintiff"], "dedatAssrs": item["defendant"]},
                "facts": {"bsisFacts": item["facts"]},
                "dcss": {"courtDcss": item["reasoning"]},
                "close": {"cnclsns": item["conclusion"]},
            }
        )
        for number, item in enumerate(TEXTS["judgments"])
    }
