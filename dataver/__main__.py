"""`python -m dataver` is the program `dataver`."""

from dataver.cli import main

if __name__ == "__main__":
    main()
