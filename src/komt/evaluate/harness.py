"""Tasks of lm-evaluation-harness on komt's engines: `komt eval MODEL --harness TASKS`."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from komt.errors import DataError, KomtError, MissingExtra, UsageError, did_you_mean, need
from komt.evaluate.harness_rows import rows_of
from komt.models.quiet import quiet
from komt.progress import status

Row = dict[str, Any]
# What a Korean model is measured by; names verified against the installed harness by a test.
KOREAN_SUITE = {
    "kobest": "KoBEST: BoolQ, COPA, HellaSwag, SentiNeg, WiC",
    "kmmlu": "KMMLU: examinations in 45 subjects, by likelihood",
    "kmmlu_direct": "KMMLU, the letter written by the model",
    "haerae": "HAE-RAE Bench: vocabulary, history, general knowledge",
    "click": "CLIcK: culture and language",
}
_SUITE_FOLDERS = ("kobest", "kmmlu", "haerae", "click")
# For the few metrics whose interval the harness itself must find by resampling.
_RESAMPLES = 100
_FETCHING = {"huggingface_hub", "httpx", "httpcore", "requests", "urllib3", "aiohttp"}


def run_harness(
    engine: Any,
    tasks: Sequence[str],
    *,
    name: str = "model",
    limit: int | None = None,
    shots: int | None = None,
    include_path: Path | None = None,
    chat: bool | None = None,
    seed: int = 0,
) -> list[Row]:
    """Run tasks of the harness and return rows of `scores.json`.

    KoBEST reads the rows of komt's own sources where they are here; other tasks come from the hub.

    Args:
        engine: what is asked; likelihoods need an engine that tells them.
        tasks: names of tasks, groups or tags; globs; paths of task files.
        name: the model's name in score tables.
        limit: at most so many rows of each task.
        shots: solved examples before each; None: as each task says.
        include_path: a folder with further tasks, such as `komt build --format lm-eval` writes.
        chat: whether prompts go through the model's chat template; None: only where the engine takes nothing
            else.
        seed: of the intervals' resamples.

    Raises:
        MissingExtra: lm_eval, or a package that a task needs, is not installed.
        UsageError: no such task.
        DataError: a task's rows cannot be had (offline, or not there).
        ModelError: the engine cannot do what a task asks for.
    """
    if include_path and not include_path.is_dir():
        raise UsageError(f"--include-path: no such folder: {include_path}", cure="check the path")
    lm_eval = need("lm_eval", extra="eval")
    from komt.evaluate.harness_kobest import write_kobest
    from komt.evaluate.harness_model import EngineLM

    model = EngineLM(engine)
    with tempfile.TemporaryDirectory(prefix="komt-harness-") as place, _calm():
        write_kobest(Path(place))
        manager = _manager(tasks, [place, *([str(include_path)] if include_path else [])])
        loaded = [one for task in tasks for one in _load(manager, task)]
        with _refusals(tasks):
            found = lm_eval.simple_evaluate(
                model=model,
                tasks=loaded,
                num_fewshot=shots,
                limit=limit,
                bootstrap_iters=_RESAMPLES,
                apply_chat_template=model.tokenizer is None if chat is None else chat,
                task_manager=manager,
            )
    return rows_of(found, name=name, limit=limit, seed=seed)


def _manager(tasks: Sequence[str], folders: Sequence[str]) -> Any:
    """The harness's index of task files: of few folders, where these hold all that is named, else of all.

    Reading all of its files takes half a minute. Later folders go before earlier ones.
    """
    managers = need("lm_eval.tasks", extra="eval")
    own = Path(str(managers.__file__)).parent
    with status("reading the harness's task files"):
        for more in ([], [str(own / name) for name in _SUITE_FOLDERS]):
            manager = managers.TaskManager(include_path=[*more, *folders], include_defaults=False)
            if all(manager.match_tasks([task]) or Path(task).is_file() for task in tasks):
                return manager
        return managers.TaskManager(include_path=list(folders))


def _load(manager: Any, wanted: str) -> list[Any]:
    """Tasks, or the group, of one name; a glob names tasks only, so that none comes twice."""
    if wanted in manager.all_tasks or Path(wanted).is_file():
        names = [wanted]
    else:
        names = [name for name in manager.match_tasks([wanted]) if name in set(manager.all_subtasks)]
    if not names:
        raise UsageError(
            f"lm-evaluation-harness has no task '{wanted}'{did_you_mean(wanted, manager.all_tasks)}",
            cure="lm_eval ls tasks prints its tasks; a folder with others is given by --include-path",
        )
    found: list[Any] = []
    with _refusals([wanted]):
        for name in names:
            loaded = manager.load([name])
            group = loaded["groups"].get(name)
            found += [group] if group is not None else list(loaded["tasks"].values())
    return found


@contextlib.contextmanager
def _refusals(tasks: Sequence[str]) -> Iterator[None]:
    """What goes wrong inside the harness, said so that a person can mend it."""
    where = f"--harness {','.join(tasks)}"
    try:
        yield
    except KomtError:
        raise
    except ImportError as error:
        missing = error.name or str(error)
        raise MissingExtra(
            f"a task of lm-evaluation-harness needs the package '{missing}'",
            where=where,
            cure=f"pip install {missing.partition('.')[0]}",
        ) from error
    except Exception as error:  # a task file may fail in any way, the hub's client in many
        lines = str(error).strip().splitlines() or [repr(error)]
        if _is_of_the_hub(error):
            raise DataError(
                f"the rows of these tasks are on the hub, which cannot be reached: {lines[0]}",
                where=where,
                cure="go online once (the rows are then kept), or take tasks whose rows are here: KoBEST "
                "(komt sources fetch), or a folder of `komt build --format lm-eval` (--include-path)",
            ) from error
        raise DataError(
            f"lm-evaluation-harness cannot run these tasks: {type(error).__name__}: {lines[0]}", where=where
        ) from error


def _is_of_the_hub(error: BaseException | None) -> bool:
    """Whether a failure comes from fetching rows, by the packages that fetch them."""
    while error is not None:
        if isinstance(error, ConnectionError) or type(error).__module__.partition(".")[0] in _FETCHING:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Without the log lines and bars of the harness and of what it loads rows with."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub", "evaluate")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    datasets = need("datasets", extra="eval")
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    # It asks git for a commit of the folder that one works in; outside a repository git complains aloud.
    evaluator: Any = need("lm_eval.evaluator", extra="eval")
    commit, evaluator.get_git_commit_hash = evaluator.get_git_commit_hash, lambda: None
    try:
        with quiet():
            yield
    finally:
        evaluator.get_git_commit_hash = commit
        if bars:
            datasets.enable_progress_bars()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
