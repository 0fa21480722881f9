"""`python -m dataver` is the program `dataver`."""

from dataver.cli import start

if __name__ == "__main__":
    start()
