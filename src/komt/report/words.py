"""What the page says in Korean and English; names of metrics."""

from __future__ import annotations

from collections.abc import Sequence

from komt.evaluate.table import interval, title_of
from komt.report.compare import Comparison
from komt.report.read import Row

METRICS = {
    "exact_match": "완전 일치",
    "f1": "F1",
    "accuracy": "정확도",
    "macro_f1": "매크로 F1",
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "bleu": "BLEU",
    "pearson": "피어슨 상관 계수",
    "perplexity": "혼란도",
    "judge_score": "심사 점수",
    "win_rate": "승률",
    "pair_accuracy": "선호 쌍 정확도",
    "pair_accuracy_norm": "선호 쌍 정확도(토큰당)",
    "reward_accuracy": "보상 정확도",
    "reward_margin": "보상 차이",
    "pair_loss": "선호 쌍 손실",
    "chosen_log_prob": "선호 답의 로그 확률",
    "rejected_log_prob": "비선호 답의 로그 확률",
    "chosen_log_prob_norm": "선호 답의 로그 확률(토큰당)",
    "rejected_log_prob_norm": "비선호 답의 로그 확률(토큰당)",
}
VERDICTS = {
    "better": ("나아짐", "better"),
    "worse": ("나빠짐", "worse"),
    "unclear": ("차이가 드러나지 않음", "no difference shown"),
    "incomparable": ("짝지어 비교할 수 없음", "not paired"),
}
_MOST_NAMES = 8


def flag_lines(scores: Sequence[Row]) -> list[tuple[str, str]]:
    """What flags (resplit, contaminated, limited) say of these scores, in Korean and English."""
    lines: list[tuple[str, str]] = []
    redivided = _tasks(row for row in scores if not row.get("comparable", True))
    if redivided:
        korean = "공식 평가 집합을 다시 나눈 것이어서 공개된 점수와 비교할 수 없습니다"
        english = "resplit: a redivided official set, not comparable with published results"
        lines.append((f"{korean}: {_few(redivided)}", f"{english}: {_few(redivided)}"))
    for row in scores:
        if row.get("contaminated"):
            who, count = f"{title_of(row)}, {row['model']}", f"{row['contaminated']:,}"
            korean = f"{who}: 평가 예제 {count}개가 학습 데이터에 들어 있습니다"
            english = f"contaminated: {who}: {count} examples stand in the training data"
            if clean := row.get("clean"):
                value = f"{row['metric']} {clean['value']:.3f} {interval(clean)}"
                korean += f". 이 예제를 빼면 {value}"
                english += f"; without them {value}"
            lines.append((korean, english))
    limits: dict[int, list[str]] = {}
    for row in scores:
        if row.get("limit") and row["task"] not in limits.setdefault(int(row["limit"]), []):
            limits[int(row["limit"])].append(row["task"])
    for limit, tasks in limits.items():
        korean = f"과제마다 평가 집합의 일부인 {limit:,}개만 채점했습니다"
        english = f"limited: {limit:,} rows each, not all there are"
        lines.append((f"{korean}: {_few(tasks)}", f"{english}: {_few(tasks)}"))
    return list(dict.fromkeys(lines))


def chance_in_words(comparison: Comparison) -> tuple[str, str]:
    """How many differences would look real by chance alone, in Korean and English."""
    n = sum(change.verdict != "incomparable" for change in comparison.changes)
    return (
        f"{n}가지를 짝지어 비교했습니다. 실제로 차이가 전혀 없더라도 이만큼 비교하면 그 가운데 약 "
        f"{n * 0.05:.1f}가지는 우연히 구간이 0을 벗어납니다.",
        f"{n} paired comparisons: of as many where nothing differs about {n * 0.05:.1f} would leave out 0 "
        "by chance.",
    )


def _tasks(rows: object) -> list[str]:
    return list(dict.fromkeys(row["task"] for row in rows))  # type: ignore[attr-defined]


def _few(names: Sequence[str]) -> str:
    more = f" … +{len(names) - _MOST_NAMES}" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
