# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What the tests of idc-setup in shell begin with. They read it by `.`, with the same arguments: [IDC-SETUP].
#
# A test runs idc-setup by `run`, which it makes of `run_it`, and looks at $out and $err, where the last run has written. `bad`
# says what is wrong, and the test goes on. It ends with `finish`.

setup=${1:-${BUILD:-build}/idc-setup}
case $setup in
/*) ;;
*) setup=$PWD/$setup ;;
esac
name=$(basename "$0" .sh)
tmp=$(mktemp -d) || exit 1
# A test that has more to end makes another end().
end() {
    rm -rf "$tmp"
}
trap end EXIT
out=$tmp/out
err=$tmp/err
failures=0

bad() {
    echo "$name: $*" >&2
    failures=$((failures + 1))
}

# run_it STATUS ARGUMENT...: runs it and checks the exit status, which is then in $wanted.
run_it() {
    wanted=$1
    shift
    "$setup" "$@" >"$out" 2>"$err"
    status=$?
    [ "$status" = "$wanted" ] || bad "'$*': exit status $status, not $wanted: $(cat "$err")"
}

# says TEXT: the last run said so on stderr. shows TEXT, hides TEXT: its stdout has it, or has not.
says() {
    grep -qF -- "$1" "$err" || bad "expected '$1', got: $(cat "$err")"
}

shows() {
    grep -qF -- "$1" "$out" || bad "expected '$1', printed: $(cat "$out")"
}

hides() {
    grep -qF -- "$1" "$out" && bad "not expected '$1', printed: $(cat "$out")"
}

# prints TEXT...: its stdout has these lines, and no others.
prints() {
    printf '%s\n' "$@" >"$tmp/expected"
    cmp -s "$tmp/expected" "$out" || bad "printed: $(cat "$out"), not: $(cat "$tmp/expected")"
}

# json PYTHON-EXPRESSION: it is true of the last output, which is x.
json() {
    python3 -c 'import json, sys; x = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$out" "$1" ||
        bad "not so: $1: $(cat "$out")"
}

finish() {
    [ "$failures" = 0 ] || { echo "$name: $failures failures" >&2; exit 1; }
}
