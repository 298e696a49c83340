#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The Go package by itself, where there is Go: its style, what vet finds, and its own tests. --race: also the test program, a build
# for arm64, and with the race detector. Go compiles its own library for each of these, which takes minutes. And docs/go.md names every function and type of the package.
set -eu
cd "$(dirname "$0")/../../go"
command -v go >/dev/null || { echo "0 passed, 0 failed, 1 skipped" && exit 0; }
root=$(realpath ..)
export GOFLAGS='-mod=mod -buildvcs=false' GOPROXY=off GOTOOLCHAIN=local GOPATH="$root/build/go" GOCACHE="$root/build/go/cache"
race=
[ "${1:-}" != --race ] || race=-race
if [ "$race" = '' ]; then
    export CGO_ENABLED=0
fi
badly=$(gofmt -l . ../tests/programs/go)
[ "$badly" = '' ] || { echo "gofmt: $badly" && exit 1; }
for file in ./*.go ../tests/programs/go/*.go; do
    long=$(expand -t 4 "$file" | grep -nE '^.{101,}' || true)
    [ "$long" = '' ] || { echo "$file: more than 100 columns: $long" && exit 1; }
done
go vet .
[ "$race" = '' ] || (cd ../tests/programs/go && go vet . && cd ../../../go && CGO_ENABLED=0 GOARCH=arm64 go build .)
# shellcheck disable=SC2086 # no word, or one
go test -count=1 $race .
for name in $(go doc -short . | sed -nE 's/^ *(func|type) ([A-Z][A-Za-z]*).*/\2/p'); do
    grep -qE "\b(idc\.)?$name\b" ../docs/go.md || { echo "docs/go.md does not name $name" && exit 1; }
done
