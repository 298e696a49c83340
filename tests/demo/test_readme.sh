#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# README's C programs, and its commands for two domains on one machine, do what README says.
set -eu
cd "$(dirname "$0")/../.."
build=$(realpath "${BUILD:-build}")
tmp=$(mktemp -d)
pids=()
finish() {
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$tmp"
}
trap finish EXIT
wrong() {
    echo "test_readme: $*"
    cat "$tmp"/*.log
    exit 1
}
until_true() {
    for _ in $(seq 1200); do
        ! "${@:2}" 2>/dev/null || return 0
        sleep 0.05
    done
    wrong "$1"
}

# Each ```c block goes into the file that its first line names.
awk -v tmp="$tmp" '/^```c$/ {getline; file = tmp "/" $2} /^```$/ {file = ""} file {print > file}' README.md
for name in upper ask; do
    [ -s "$tmp/$name.c" ] || wrong "README has no $name.c"
    lines=$(grep -c . "$tmp/$name.c")
    [ "$lines" -le 22 ] || wrong "$name.c has $lines lines"
    # With the sanitizers, should the library have been built with them.
    # shellcheck disable=SC2046 # several words
    gcc -Wall -Wextra -Werror -Iinclude $(grep -oE -- '-fsanitize=[a-z,-]+' "$build/config" | sort -u) "$tmp/$name.c" \
        "$build/libidc.a" -lxmlrpc -lxmlrpc_util -lpthread -o "$tmp/$name"
done

# README's own commands, with another place for what they make.
commands=$(sed -n '/^## Two domains on one machine/,/^## /p' README.md | sed -n "s|/tmp/|$tmp/|g; s|build/|$build/|g; s/^    //p")
while read -r command; do
    case $command in
    *'&') eval "${command%&} >$tmp/${#pids[@]}.log 2>&1 &" && pids+=($!) ;;
    *) eval "$command" >"$tmp/last.log" 2>&1 || wrong "failed: $command" ;;
    esac
    # A person types more slowly than programs start.
    case $command in
    *'2.sock &') until_true "a link_mgr did not start" test -S "$tmp/1.sock" -a -S "$tmp/2.sock" ;;
    *test_accept*) until_true "test_accept did not start" grep -q . "$tmp/2.log" ;;
    esac
done <<<"$commands"
[ ${#pids[@]} = 3 ] || wrong "README's commands are not what this test knows"

# stdbuf, so that it prints as it would on a terminal; the address sanitizer doesn't like how stdbuf does it.
ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0 IDC_SOCKET=$tmp/1.sock stdbuf -oL "$tmp/upper" >"$tmp/upper.log" 2>&1 &
pids+=($!)
asked() { [ "$(IDC_SOCKET=$tmp/2.sock "$tmp/ask" 1 hello 2>"$tmp/ask.log")" = HELLO ]; }
until_true "ask 1 hello does not print HELLO" asked
grep -qx "domain 2, uid $(id -u): hello" "$tmp/upper.log" || wrong "upper did not say who called"
curl -sS --max-time 60 --unix-socket "$tmp/1.sock" http://idc/ \
    -d '<?xml version="1.0"?><methodCall><methodName>idc.status</methodName></methodCall>' >"$tmp/curl"
grep -q '<methodResponse>' "$tmp/curl" || wrong "curl got no status"

# Every file that a document names in a link is there.
for document in README.md CONTRIBUTING.md docs/*.md; do
    while read -r target; do
        [ "$target" = https ] || [ -e "$(dirname "$document")/$target" ] || wrong "$document names $target, which isn't there"
    done < <(grep -oE '\]\([^):#]+' "$document" | cut -c 3-)
done

# README names every document, and no heading twice; CONTRIBUTING has every target of `make help` that isn't README's.
for document in docs/*.md; do
    grep -qF "]($document)" README.md || wrong "README does not name $document"
done
twice=$(grep -h '^## ' README.md | sort | uniq -d)
[ -z "$twice" ] || wrong "README has twice: $twice"
# shellcheck disable=SC2016 # these are no commands
twice=$(sed -n 's/^| `\(make [^`]*\)`.*/\1/p' CONTRIBUTING.md | sort | uniq -d)
[ -z "$twice" ] || wrong "CONTRIBUTING has twice: $twice"
while read -r _ target _; do
    case $target in
    all | demo* | install | uninstall | clean | help) ;;
    *) grep -qE "^\|.*\`(make )?$target\`" CONTRIBUTING.md || wrong "CONTRIBUTING does not have make $target" ;;
    esac
done < <(make -s help)
