"""`python -m dataver.cli` is the `dataver` program."""

from dataver.cli import start

if __name__ == "__main__":
    start()
