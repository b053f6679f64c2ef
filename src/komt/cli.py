"""`komt VERB …`: a verb is a module of `komt.commands`, imported on use."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys

from komt import __version__
from komt.errors import KomtError, UsageError, did_you_mean

VERBS = {
    "run": "build, train, evaluate, report: the main job",
    "init": "a recipe for one's own data",
    "sources": "where rows come from: list, show, check",
    "tasks": "what is asked: list, show, check",
    "build": "instruction data from a recipe, with manifest and rejects",
    "train": "the training stage alone; --resume goes on where it stopped",
    "chat": "talk with a model in the terminal",
    "generate": "JSON Lines in, JSON Lines with answers out",
    "eval": "score a model on tasks, with intervals",
}


_FULL_DISK = (
    "no space left on the disk; nothing half-written was kept\n"
    "  to mend it: free some space, or point KOMT_HOME and --out to another disk"
)


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0, 1 (failed) or 2 (wrong usage)."""
    words = sys.argv[1:] if argv is None else argv
    # Threads that spin while they wait make torch several times slower when anything else uses the CPU.
    # Read when torch is first imported, so set here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        status = _dispatch(words)
        sys.stdout.flush()
        return status
    except KomtError as error:
        print(f"komt: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\nkomt: interrupted; finished stages are kept, nothing is half-written", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone: not a failure, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"komt: {_explain_os_error(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if not _is_full_disk(error):
            raise
        print(f"komt: {_FULL_DISK}", file=sys.stderr)
        return 1


def _dispatch(words: list[str]) -> int:
    if words and words[0] in {"-V", "--version"}:
        print(f"komt {__version__}")
        return 0
    if not words or words[0] in {"-h", "--help", "help"}:
        print(overview())
        return 0 if words else 2
    verb = words[0]
    if verb not in VERBS:
        raise UsageError(
            f"unknown verb '{verb}'{did_you_mean(verb, VERBS)}", cure="komt --help lists the verbs"
        )
    module = importlib.import_module(f"komt.commands.{verb}")
    parser = build_parser(verb, module)
    # key=value may stand before and after options; verbs with verbs of their own take no such words.
    nested = any(action.nargs == argparse.PARSER for action in parser._actions)
    args = parser.parse_args(words[1:]) if nested else parser.parse_intermixed_args(words[1:])
    return int(module.main(args))


def build_parser(verb: str, module: object) -> argparse.ArgumentParser:
    """The parser of one verb; its epilog is the example in the module's docstring after `Example:`."""
    text, _, example = (module.__doc__ or "").partition("Example:")
    parser = argparse.ArgumentParser(
        prog=f"komt {verb}",
        description=text.strip(),
        epilog=f"example:\n{example.rstrip()}" if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)  # type: ignore[attr-defined]
    return parser


def overview() -> str:
    """What `komt --help` prints."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {line}" for verb, line in VERBS.items()]
    head = "usage: komt VERB …   (komt VERB --help explains one)\n\n"
    return head + "\n".join(lines) + "\n\nfirst steps:\n  komt run sample\n  komt chat runs/sample"


def _explain_os_error(error: OSError) -> str:
    where = f"\n  where: {error.filename}" if error.filename else ""
    if _is_full_disk(error):
        return f"{_FULL_DISK}{where}"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        cure = "choose a place you may write to (--out, KOMT_HOME)"
        return f"not allowed: {error.strerror}{where}\n  to mend it: {cure}"
    return f"{error.strerror or error}{where}"


def _is_full_disk(error: Exception) -> bool:
    """Also where a library wraps the system's error in one of its own (safetensors, torch, shutil)."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    text = str(error)
    return "os error 28" in text or "[Errno 28]" in text or "No space left on device" in text
