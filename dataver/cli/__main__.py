"""`python -m dataver.cli` is the `dataver` program."""

from dataver.cli import main

if __name__ == "__main__":
    main()
