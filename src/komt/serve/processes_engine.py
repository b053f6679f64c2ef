"""One small model in several processes, a thread each: faster on a CPU than threads of one process."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Literal

from komt.errors import KomtError, ModelError, UsageError, one_line
from komt.example import Message
from komt.models.load import load_tokenizer
from komt.models.resolve import resolve
from komt.pack.encode import prompt_ids
from komt.process import cores, end_with_parent
from komt.serve.engine import Completion, EngineByIds, Settings
from komt.serve.likelihood import Asked, Likelihood

Bits = Literal[4, 8, 16, 32]
# Bytes of weights up to which a process of its own costs less than threads that wait for each other.
_SMALL_BYTES = 2 << 30


def fitting_processes(name: str) -> int:
    """How many processes suit a model on this machine: one a core, or 1 for a large model or with a GPU."""
    import torch

    folder = resolve(name).folder
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return 1 if torch.cuda.is_available() or size > _SMALL_BYTES else cores()


class ProcessesEngine(EngineByIds):
    """A model that is loaded in each of several processes; what is asked from as many threads runs at once.

    Attributes:
        lanes: how many processes.
        tokenizer: the model's.
    """

    def __init__(self, name: str, bits: Bits, lanes: int, *, remote_code: bool = False) -> None:
        """Args:
        name: catalogue name, hub id or folder.
        bits: how the base's weights are held.
        lanes: how many processes.
        remote_code: whether the model's own Python code may run.
        """
        self.lanes = lanes
        self.tokenizer = load_tokenizer(resolve(name, remote_code=remote_code))
        context = multiprocessing.get_context("spawn")
        threads = max(1, cores() // lanes)
        self._free: SimpleQueue[Any] = SimpleQueue()
        self._workers = []
        for _ in range(lanes):
            here, there = context.Pipe()
            worker = context.Process(
                target=_work, args=(there, name, bits, remote_code, threads), daemon=True
            )
            worker.start()
            there.close()
            self._workers.append((worker, here))
            self._free.put(here)

    @property
    def loglikelihood(self) -> Any:
        """As `TransformersEngine.loglikelihood`."""
        return lambda ids, continuations: [
            list(one.tokens) for one in self.loglikelihoods([(ids, continuations)])[0]
        ]

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation."""
        return prompt_ids(self.tokenizer, messages)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        batch_tokens: int = 4096,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """As `TransformersEngine.generate`, by the next process that is free."""
        options = {"max_new_tokens": max_new_tokens, "batch_tokens": batch_tokens}
        return self._ask("generate", prompts, options, on_done)  # type: ignore[no-any-return]

    def loglikelihoods(
        self, asked: Sequence[Asked], *, on_done: Callable[[int], None] | None = None
    ) -> list[list[Likelihood]]:
        """As `TransformersEngine.loglikelihoods`, by the next process that is free."""
        return self._ask("loglikelihoods", asked, {}, on_done)  # type: ignore[no-any-return]

    def stream(self, messages: Sequence[Message], *, settings: Settings | None = None) -> Iterator[str]:
        """Not for talks."""
        raise UsageError("several processes answer no single talk", cure="--processes 1")

    def _ask(
        self, what: str, given: Any, options: dict[str, Any], on_done: Callable[[int], None] | None
    ) -> Any:
        pipe = self._free.get()
        try:
            pipe.send((what, given, options))
            while True:
                kind, value = pipe.recv()
                if kind == "error":
                    raise value
                if kind == "result":
                    return value
                if on_done:
                    on_done(value)
        except (EOFError, OSError) as error:
            raise ModelError(
                "a process that computed answers was ended, perhaps for want of memory",
                cure="run the same command again, what is answered is kept; --processes 1 needs least memory",
            ) from error
        finally:
            self._free.put(pipe)

    def close(self) -> None:
        """End the processes; what is being computed ends with an error."""
        for worker, _ in self._workers:
            worker.terminate()
        for worker, pipe in self._workers:
            worker.join()
            pipe.close()
        self._workers = []


def _work(pipe: Any, name: str, bits: Bits, remote_code: bool, threads: int) -> None:
    """Answer until the pipe is closed; Ctrl-C is the first process's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    import torch

    from komt.serve.loading import load_engine

    torch.set_num_threads(threads)
    engine = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            what, given, options = pipe.recv()
            try:
                engine = engine or load_engine(name, bits, remote_code=remote_code)
                answer = getattr(engine, what)
                pipe.send(("result", answer(given, **options, on_done=lambda at: pipe.send(("done", at)))))
            except OSError:
                raise
            except KomtError as error:
                pipe.send(("error", error))
            except Exception as error:
                pipe.send(("error", ModelError(f"computing the answers failed: {one_line(error)}")))
