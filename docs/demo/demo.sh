#!/bin/sh
# The main job of dataver on real files, step by step; each command is shown before it runs.
# `make demo` runs this with dataver and scikit-learn's data files installed.
# Everything happens in a temporary folder, which is removed at the end; the first error stops it.
set -eu

demo=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

unset DATAVER_REPO
export DATAVER_CACHE_DIR="$work/.cache"
export DATAVER_AUTHOR="${DATAVER_AUTHOR:-Ada Example <ada@example.org>}"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi

heading() { printf '\n%s== %s ==%s\n' "$bold" "$1" "$plain"; }

# Show one command, run it, stop the demo if it fails.
run() {
	printf '\n%s$ %s%s\n' "$bold" "$1" "$plain"
	eval "$1" || {
		status=$?
		printf '\nThe demo stopped: this command ended with exit code %s: %s\n' "$status" "$1" >&2
		exit "$status"
	}
}

cp "$demo"/*.py "$work"
cd "$work"

heading "Real files: CSV and JPEG as a PyPI package ships them, and Parquet made of the CSV"
run 'python gather.py data'
run 'python to_parquet.py data/tables/iris.csv data/tables/wine_data.csv'

heading "A repository, and the first version"
run 'dataver init'
run 'dataver commit flowers data -m "As shipped"'
run 'dataver tag flowers paper'
run 'cp -R data data-as-committed'

heading "Change something: a new row, a new name, a file less, a file more"
run 'echo "5.9,3.0,5.1,1.8,2" >> data/tables/iris.csv'
run 'python to_parquet.py data/tables/iris.csv'
run 'mv data/photos/flower.jpg data/photos/dahlia.jpg'
run 'rm data/tables/linnerud_exercise.csv'
run 'echo "Petals are measured in centimetres." > data/README.txt'
run 'dataver status flowers data'

heading "The second version: only what is new is stored"
run 'dataver commit flowers data -m "One more iris; the flower is a dahlia"'
run 'dataver diff flowers@v1 flowers@v2'
run 'dataver log flowers'
run 'dataver ls flowers@v2 -r'

heading "The old version again, byte for byte"
run 'dataver checkout flowers@v1 old'
run 'diff -r data-as-committed old && echo "old/ is what was committed, byte for byte"'
run 'dataver checkout flowers@paper old'

heading "Every byte in the repository read, and its digest compared"
run 'dataver verify --deep'

heading "Read a version from Python"
run 'cat read_version.py'
run 'python read_version.py'

printf '\n%sThat is all: every step ended well.%s\n' "$bold" "$plain"
