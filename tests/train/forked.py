"""A program that has imported everything and forks real processes, which train: `python -m forked`.

It reads jobs, one JSON object a line, and answers each with the exit statuses of its processes (-9: killed).
Nothing is computed before a fork, so that a child starts as a fresh process does, but in a tenth of the time.
"""

import contextlib
import importlib.util
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


class Launcher:
    """The program's other end: runs `komt …` in processes of its own."""

    def __init__(self, folder):
        self._folder, self._count = folder, 0
        paths = [str(HERE), *sys.path]
        # Tensors this small are fastest without a second thread to wait for.
        env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        env = {**os.environ, **env, "PYTHONPATH": os.pathsep.join(paths), "OMP_WAIT_POLICY": "PASSIVE"}
        self._program = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def __call__(self, *words, processes=1, stop=None, call=None):
        """Exit statuses and what was said, of each process.

        Args:
            words: of the command line.
            processes: how many train together.
            stop: {"lines", "during": "run" or "save"}: killed after so many lines of komt's code; {"signal",
                "step"}: sent to the first process once it has done that step; {"bytes", "step"}: from then on
                no file grows over so many bytes.
            call: `module:function`, to be called instead, with the same words.
        """
        self._count += 1
        said = [str(self._folder / f"{self._count}.{rank}") for rank in range(processes)]
        job = {"argv": list(map(str, words)), "said": said, "stop": stop, "call": call}
        self._program.stdin.write(json.dumps(job) + "\n")
        self._program.stdin.flush()
        statuses = json.loads(self._program.stdout.readline())
        return statuses, [Path(name).read_text(encoding="utf-8") for name in said]

    def close(self):
        self._program.stdin.close()
        self._program.wait()


def serve():
    """Run the jobs that come in."""
    with contextlib.redirect_stdout(sys.stderr):  # DeepSpeed speaks as it is imported
        warm()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


def warm():
    """Import what a training needs, and compute nothing."""
    for name in (
        *("accelerate", "peft", "transformers.models.gemma3.modeling_gemma3", "komt.commands.train"),
        *("komt.train.run", "komt.mix", "komt.pack.fit", "komt.commands._engine", "komt.evaluate.metrics"),
        *("torch.distributed.fsdp", "torch.distributed.tensor", "peft.tuners.lora", "komt.tasks"),
        *("pyarrow.dataset", "pyarrow.parquet", "rich.progress", "komt.export"),
    ):
        importlib.import_module(name)
    if importlib.util.find_spec("deepspeed"):
        importlib.import_module("deepspeed.runtime.zero.stage3")


def run(job):
    """Fork a job's processes; returns their exit statuses."""
    world = len(job["said"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    news, answer = os.pipe(), os.pipe()
    children = []
    for rank in range(world):
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                status = child(job, rank, world, port, (news[1], answer[0]))
            finally:
                os._exit(status)
        children.append(pid)
    os.close(news[1])
    stop = job["stop"] or {}
    if "signal" in stop and os.read(news[0], 1):  # the first process has done the step
        os.kill(children[0], stop["signal"])
        if stop["signal"] != signal.SIGKILL:
            os.write(answer[1], b"!")
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    for end in (news[0], *answer):
        os.close(end)
    return statuses


def child(job, rank, world, port, pipes):
    """What a forked process does: its part of the job."""
    handle = os.open(job["said"][rank], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if world > 1:
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        places |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in places.items()})
    if job["stop"]:
        sys.settrace(killed(**job["stop"]) if "lines" in job["stop"] else at_step(job["stop"], pipes))
    try:
        if job["call"]:
            module, _, name = job["call"].partition(":")
            getattr(importlib.import_module(module), name)(*job["argv"])
            return 0
        from komt.cli import main

        return main(job["argv"])
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 71
    finally:
        sys.settrace(None)
        sys.stdout.flush()
        sys.stderr.flush()


def killed(lines, during):
    """A trace function that kills the process after so many lines of a training, or of its saves."""
    left = lines
    begins = {"run": "train", "save": "save_checkpoint"}[during]
    inside = 0

    def trace(frame, event, argument):
        nonlocal inside
        name = frame.f_code.co_filename
        if "/komt/train/" not in name and not name.endswith(("/komt/files.py", "/komt/pack/loss.py")):
            return None
        if frame.f_code.co_name == begins and "/komt/train/" in name:
            inside += 1
            return starter
        return line if inside else None

    def starter(frame, event, argument):
        nonlocal inside
        inside -= event == "return"
        return line(frame, event, argument) and starter

    def line(frame, event, argument):
        nonlocal left
        left -= event == "line"
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    return trace


def at_step(stop, pipes):
    """A trace function that has the parent send a signal, or bounds the size of files, once a step is logged.

    A kill is sent when its checkpoint begins to be written, and not waited for: it comes at any moment after.
    """
    tell, wait = pipes
    kills = stop.get("signal") == signal.SIGKILL
    begins = ("_write", "/komt/train/checkpoint.py") if kills else ("step", "/komt/train/log.py")

    def trace(frame, event, argument):
        if frame.f_code.co_name != begins[0] or not frame.f_code.co_filename.endswith(begins[1]):
            return None
        done = frame.f_locals["snapshot"].step if kills else frame.f_locals["step"]
        if done == stop["step"]:
            if "bytes" in stop:
                resource.setrlimit(resource.RLIMIT_FSIZE, (stop["bytes"], resource.RLIM_INFINITY))
            else:
                os.write(tell, b"!")
                if not kills:
                    os.read(wait, 1)
        return None

    return trace


if __name__ == "__main__":
    serve()
