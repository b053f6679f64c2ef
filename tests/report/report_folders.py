"""Folders of evaluations and judges to report on, small and known."""

import json


def answer(number, value, *, task="sample.qa", metric="f1", group="", text="서울", **more):
    return {
        **{"id": f"{task}:{number}", "task": task, "template": "a", "kind": "plain", "order": "", "shots": 0},
        **{
            "by": "generation",
            "group": group or str(number),
            "prompt": f"{task} 물음 {number} <b>",
            "answer": text,
        },
        **{"references": ["서울"], "ended": True, "contaminated": False, "scores": {metric: value}},
        **more,
    }


def score_row(model, value, *, task="sample.qa", metric="f1", n=20, **more):
    return {
        **{"model": model, "task": task, "split": "test", "shots": 0, "metric": metric, "by": "generation"},
        **{"order": "", "value": value, "low": max(0, value - 0.1), "high": min(1, value + 0.1), "n": n},
        **{"unscored": 0, "ended": n, "contaminated": 0, "comparable": True, "limit": None, "flags": []},
        **more,
    }


def write_evaluation(folder, models, *, rows=()):
    """Answers of models: a list of values each, of one task; scores beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = list(rows)
    for model, values in models.items():
        lines = [
            answer(number, value, text="서울" * (1 + number) if value else "부산" * (1 + number))
            for number, value in enumerate(values)
        ]
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
        (folder / f"answers-{model}.jsonl").write_text(text, encoding="utf-8")
        scores.append(score_row(model, sum(values) / len(values), n=len(values)))
    (folder / "scores.json").write_text(json.dumps(scores, ensure_ascii=False), encoding="utf-8")
    return folder


def judged(question, model, score, **more):
    return {
        **{"question": question, "category": "상식", "turn": 1, "model": model, "other": None, "order": ""},
        **{"rubric": "komt-0-5", "judge": "큰 모델", "repeat": 0, "score": score, "verdict": None},
        **{"reason": "", "reply": f"점수: {score}", "prompt_tokens": 90, "completion_tokens": 10},
        **{"cost": 0.001, "seconds": 0.5, "answer": "답" * (10 + int(question))},
        **more,
    }


def write_judged(folder, models, pairs=(), judge="큰 모델"):
    """A judge's folder: scores of models by question, None for a reply that could not be read."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        judged(str(number), model, value, judge=judge, answer=f"{model}의 답 {number}")
        for model, values in models.items()
        for number, value in enumerate(values)
    ]
    for model, other, verdicts in pairs:
        for number, (first, second) in enumerate(verdicts):
            for order, verdict in (("ab", first), ("ba", second)):
                more = {"other": other, "order": order, "verdict": verdict, "rubric": "pair"}
                more |= {"judge": judge, "answer": f"{model}의 답 {number}"}
                lines.append(judged(str(number), model, None, **more))
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (folder / "judgements.jsonl").write_text(text, encoding="utf-8")
    asked = [
        {"id": str(n), "model": model, "turns": [f"물음 {n}"], "answers": [f"{model}의 답 {n}"]}
        for model, values in models.items()
        for n in range(len(values))
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in asked)
    (folder / "answers.jsonl").write_text(text, encoding="utf-8")
    rows = []
    for model, values in models.items():
        known = [value for value in values if value is not None]
        rows.append(
            {
                **{"model": model, "task": "judge:komt-0-5", "split": "questions", "shots": 0},
                **{"metric": "judge_score", "value": sum(known) / len(known), "low": 2.0, "high": 5.0},
                **{"n": len(known), "unscored": len(values) - len(known), "scale": [0, 5]},
                **{"judge": judge, "by": "judge"},
            }
        )
    (folder / "scores.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return folder


def write_run(folder):
    """A run: training log and manifest beside a report of two models."""
    write_evaluation(folder / "report", {"base": [0.0] * 20, "tuned": [1.0] * 15 + [0.0] * 5})
    (folder / "recipe.yaml").write_text("name: 작은\n", encoding="utf-8")
    (folder / "train").mkdir()
    log = [{"step": n, "loss": 3 - n * 0.1, "lr": 1e-4, "examples_s": 2.0} for n in range(1, 21)]
    (folder / "train" / "log.jsonl").write_text("\n".join(map(json.dumps, log)), encoding="utf-8")
    held_out = [
        {"step": n, "task": task, "loss": 2 - n * 0.05, "accuracy": n / 20, "perplexity": 5.0, "targets": 9}
        for n in (0, 10, 20)
        for task in ("", "sample.qa")
    ]
    (folder / "train" / "held_out.jsonl").write_text("\n".join(map(json.dumps, held_out)), encoding="utf-8")
    (folder / "data").mkdir()
    tasks = {
        "sample.qa": {"examples": 30, "family": "extractive_qa", "origin": "native"},
        "sample.title": {"examples": 10, "family": "title", "origin": "generated"},
    }
    manifest = {"examples": 40, "tasks": tasks, "seed": 0}
    (folder / "data" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder
