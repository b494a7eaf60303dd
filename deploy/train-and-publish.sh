#!/usr/bin/env bash
# From an interaction log to a live bundle, one documented command after the other. `make demo` and
# the trainer image run this very file.
#
#   deploy/train-and-publish.sh [OPTIONS OF python -m model train]
#
#   DATA      folder for everything that is made on the way       (default: demo)
#   REGISTRY  registry that the bundle is published in            (default: $DATA/registry)
#   SOURCE    folder with official ml-100k or ml-1m files         (default: fetch MovieLens 100K)
#   PYTHON    interpreter with opal-match[train] installed        (default: python)
#
# Every command puts its output in place as its last act. What exists is therefore complete, and its
# step is skipped: a second run ends in seconds, an interrupted one goes on where it stopped.
set -euo pipefail

DATA=${DATA:-demo}
REGISTRY=${REGISTRY:-$DATA/registry}
SOURCE=${SOURCE:-}
PYTHON=${PYTHON:-python}

say() {
  printf '%s\n' "$*" >&2
}

# step OUTPUT TITLE COMMAND...: run the command unless its output is there.
step() {
  local output=$1 title=$2
  shift 2
  if [[ -e $output ]]; then
    say "$title: done before ($output)"
    return
  fi
  say "$title ..."
  "$@"
}

# Data made from one source must not be served as another's.
check_source() {
  local note=$DATA/source.txt
  if [[ -e $note && $(<"$note") != "$SOURCE" ]]; then
    say "error: $DATA was made from SOURCE='$(<"$note")', not '$SOURCE': remove it or set another DATA"
    exit 1
  fi
  mkdir -p "$DATA"
  printf '%s\n' "$SOURCE" >"$note"
}

# What was published before is not made live again, so that a roll-back stays. Only a registry in
# which nothing is live gets it once more.
publish() {
  local version
  version=$("$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' \
    "$DATA/bundle/manifest.json")
  if [[ -e $REGISTRY/bundles/$version && -e $REGISTRY/CURRENT ]]; then
    say "publish: done before ($REGISTRY/bundles/$version)"
    return
  fi
  say "publish $version in $REGISTRY ..."
  "$PYTHON" -m index publish "$DATA/bundle" --registry "$REGISTRY"
}

check_source
step "$DATA/movielens" "get the data" \
  "$PYTHON" -m model movielens ${SOURCE:+--source "$SOURCE"} --out "$DATA/movielens"
step "$DATA/dataset" "prepare the data set" \
  "$PYTHON" -m model prepare --interactions "$DATA/movielens/interactions.csv" \
  --items "$DATA/movielens/items.csv" --out "$DATA/dataset"
# With --resume an interrupted training goes on from its last checkpoint, and a finished one is left
# as it is, or refused if it was made with other options.
say "train OPAL, both stages ..."
"$PYTHON" -m model train "$DATA/dataset" --out "$DATA/run" --resume "$@"
# Stopped by SIGTERM, training has saved its state and exited 0, but there is no run yet.
[[ -e $DATA/run/run.json ]] || exit 0
step "$DATA/bundle" "build the bundle" \
  "$PYTHON" -m index build "$DATA/run" --out "$DATA/bundle"
publish
