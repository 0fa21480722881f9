"""How long "what changed?" takes where nothing did, for 50,000 files.

    python -m benchmarks.bench_status [--scale 4] [--rounds 5]      scale 4 is 200,000 files

borg and restic have no such command: their commit of the same files again stands for it. git is
measured too, and as the floor `find`, which only looks at each file once.
"""

from __future__ import annotations

from benchmarks.run import compare, options_of

TOOLS = ["dataver", "borg", "dvc", "restic", "git", "floor"]


def main() -> None:
    parser = options_of("Status of unchanged files.")
    parser.set_defaults(rounds=5)
    options = parser.parse_args()
    # One repository a tool serves all rounds: only the question is measured again.
    phases = ["first_commit", *["status"] * options.rounds]
    options.rounds = 1
    compare("small", "status", phases, TOOLS, options)


if __name__ == "__main__":
    main()
