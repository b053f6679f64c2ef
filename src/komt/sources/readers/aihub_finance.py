"""AIHub 71782, financial texts translated: `{meta, sents[].{source_original, source_cleaned, mt, mtpe}}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from komt.sources.readers import Content, Reader, ReaderOptions, Rejected, Row, row_or_rejected
from komt.sources.readers.json_objects import json_objects, objects_in, part, texts

# Codes and names as sets of this publisher write them.
_LANGUAGES = {
    "한국어": ("ko", "kor", "kr", "korean", "한국어", "한글"),
    "영어": ("en", "eng", "english", "영어"),
    "일본어": ("ja", "jp", "jpn", "japanese", "일본어"),
    "중국어": ("zh", "cn", "zho", "chi", "chinese", "중국어"),
    "베트남어": ("vi", "vn", "vie", "vietnamese", "베트남어"),
    "인도네시아어": ("id", "in", "ind", "indonesian", "인도네시아어"),
    "태국어": ("th", "tha", "thai", "태국어"),
    "러시아어": ("ru", "rus", "russian", "러시아어"),
    "프랑스어": ("fr", "fra", "fre", "french", "프랑스어"),
    "독일어": ("de", "deu", "ger", "german", "독일어"),
    "스페인어": ("es", "spa", "spanish", "스페인어"),
}
_NAMES = {code: name for name, codes in _LANGUAGES.items() for code in codes}


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a sentence.

    Fields: `source_language, target_language` (their Korean names), `source` (cleaned, where that is given),
    `target` (`mtpe`, which a person has edited; `mt`, the machine's, is not read), and, between Korean and
    English, `ko` and `en` (else empty). A sentence without an edited translation is rejected as
    `no_post_edit`; one in a language that is not known as `unknown_language`.

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("sents",), encoding=options.encoding):
        if isinstance(found, Rejected):
            yield found
            continue
        where, item = found
        languages = [_language(part(item, "meta", f"{side}_language")) for side in ("source", "target")]
        for number, sentence in enumerate(objects_in(item["sents"]), start=1):
            yield _pair(sentence, languages, f"{where}.{number}")


def _pair(sentence: dict[str, Any], languages: list[str], where: str) -> Row | Rejected:
    source = texts(sentence.get("source_cleaned")) or texts(sentence.get("source_original"))
    target = texts(sentence.get("mtpe"))
    values: dict[str, Any] = {
        "source_language": languages[0],
        "target_language": languages[1],
        "source": " ".join(source),
        "target": " ".join(target),
    }
    by_name = dict(zip(languages, (values["source"], values["target"]), strict=True))
    both = {"한국어", "영어"} == by_name.keys()
    values |= {key: by_name[name] if both else "" for key, name in (("ko", "한국어"), ("en", "영어"))}
    if not all(languages):
        return Rejected("unknown_language", where, sentence)
    if not source or not target:
        return Rejected("no_post_edit" if source else "empty_source", where, values)
    return row_or_rejected(values, where)


def _language(value: Any) -> str:
    """The Korean name of a language: of `ko`, `ko-KR`, `Korean`; "" where it is not known."""
    name = str(value or "").strip().lower()
    return _NAMES.get(name) or _NAMES.get(name.replace("_", "-").partition("-")[0], "")


READER = Reader(Options, read)
