"""How good answers are: metrics, intervals, score tables."""

from komt.evaluate.choose import choose_examples
from komt.evaluate.run import Answered, score
from komt.evaluate.scores import gain_of, scores_of, write_answers, write_scores
from komt.evaluate.table import table

__all__ = [
    "Answered",
    "choose_examples",
    "gain_of",
    "score",
    "scores_of",
    "table",
    "write_answers",
    "write_scores",
]
