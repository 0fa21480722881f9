"""`python -m tests.fuzzing`: readers get bytes that nobody honest made, with limits of memory and time.

With atheris (Linux, Python 3.11 to 3.13) what a reader has been through guides the next bytes; without
it, honest samples are changed at random. Whatever is no refusal, takes longer than `INPUT_S_MAX` or more
memory than `MEMORY_BYTES_MAX` ends with exit code 1 and the bytes to repeat it.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from base64 import b64decode, b64encode
from pathlib import Path
from random import Random
from types import FrameType
from typing import NoReturn

INPUT_S_MAX = 5
MEMORY_BYTES_MAX = 512 << 20
"""What reading may take on top of what the program took before."""


class TooSlowError(BaseException):
    """A reader did not come to an end. No reader may catch it."""


def give_up(number: int, frame: FrameType | None) -> NoReturn:
    raise TooSlowError(f"more than {INPUT_S_MAX} seconds, in {frame}")


def limit() -> None:
    """From here on memory and the time of each input are bounded."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES_MAX, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, give_up)


def tried(name: str, data: bytes) -> bool:
    """Give it to one reader; whether nothing is wrong with what it did. What is wrong is told."""
    from tests.fuzzing.targets import TARGETS, attempt

    signal.alarm(INPUT_S_MAX)
    try:
        attempt(TARGETS[name], data)
    except (Exception, TooSlowError):  # noqa: BLE001 - whatever is no refusal is a finding
        signal.alarm(0)
        sys.stdout.write(f"FOUND in {name!r}\n{traceback.format_exc(limit=-4)}")
        sys.stdout.write(
            f"repeat: python -m tests.fuzzing --only {name!r} --input {b64encode(data).decode()}\n"
        )
        return False
    finally:
        signal.alarm(0)
    return True


def at_random(names: list[str], seconds: float, seed: int) -> int:
    """Changed samples for each reader, for the same time each; how many findings there are."""
    from tests.fuzzing.mutations import mutated
    from tests.fuzzing.targets import TARGETS

    found = count = 0
    for name in names:
        random, target = Random(f"{seed} {name}"), TARGETS[name]
        for sample in target.samples:
            found += not tried(name, sample)
        until = time.monotonic() + seconds / len(names)
        while time.monotonic() < until:
            count += 1
            if not tried(name, mutated(random, target.samples, target.words)):
                found += 1
                break
    sys.stdout.write(f"{len(names)} readers, {count:,} inputs, {found} findings\n")
    return found


def guided(name: str, seconds: float, seed: int) -> None:
    """One reader by atheris, which ends the process itself."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["dataver"], enable_loader_override=False):
        from tests.fuzzing.targets import TARGETS
    limit()
    corpus = Path(".fuzz", name.replace(" ", "-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(TARGETS[name].samples):
        (corpus / f"sample-{number}").write_bytes(sample)
    words = corpus.with_suffix(".dict")
    words.write_text("".join(f'"{_escaped(word[:64])}"\n' for word in TARGETS[name].words))

    def one(data: bytes) -> None:
        if not tried(name, data):
            raise RuntimeError(name)

    atheris.Setup(
        [
            sys.argv[0], f"-max_total_time={max(1, int(seconds))}", "-max_len=65536", f"-seed={seed + 1}",
            "-rss_limit_mb=0", f"-timeout={2 * INPUT_S_MAX}", f"-dict={words}", f"-artifact_prefix={corpus}-",
            "-verbosity=0", str(corpus),
        ],
        one,
    )  # fmt: skip
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def has_atheris() -> bool:
    try:
        import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except ImportError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all readers together")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--only", metavar="READER")
    parser.add_argument("--input", metavar="BASE64", help="with --only: this one input")
    parser.add_argument("--guided", action="store_true", help="by atheris, if it is there")
    options = parser.parse_args()
    warnings.simplefilter("error")
    if options.guided and has_atheris():
        if options.only:
            guided(options.only, options.seconds, options.seed)
        return each_guided(options.seconds, options.seed)
    from tests.fuzzing.targets import TARGETS

    limit()
    if options.input:
        return 0 if tried(options.only, b64decode(options.input)) else 1
    names = [options.only] if options.only else list(TARGETS)
    sys.stdout.write(f"seed {options.seed}\n")
    return 1 if at_random(names, options.seconds, options.seed) else 0


def each_guided(seconds: float, seed: int) -> int:
    """A process for each reader: atheris ends the one it runs in."""
    import subprocess

    from tests.fuzzing.targets import TARGETS

    failed = []
    for name in TARGETS:
        line = [sys.executable, "-m", "tests.fuzzing", "--guided", "--only", name]
        line += ["--seconds", str(seconds / len(TARGETS)), "--seed", str(seed)]
        if subprocess.run(line, check=False).returncode:
            failed.append(name)
    sys.stdout.write(f"{len(TARGETS)} readers by atheris, findings in: {', '.join(failed) or 'none'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
