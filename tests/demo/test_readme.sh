#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# README's C programs, and its commands for two domains on one machine, do what README says.
set -eu
cd "$(dirname "$0")/../.."
build=$(realpath "${BUILD:-build}")
tmp=$(mktemp -d)
finish() {
    # shellcheck disable=SC2046 # several words
    kill $(jobs -p) 2>/dev/null || true
    wait
    rm -rf "$tmp"
}
trap finish EXIT
wrong() {
    echo "test_readme: $*"
    cat "$tmp"/*.log
    exit 1
}
# With the sanitizers, should the library have been built with them.
compile() {
    # shellcheck disable=SC2046 # several words
    gcc -Wall -Wextra -Werror -Iinclude $(grep -oE -- '-fsanitize=[a-z,-]+' "$build/config" | sort -u) "$tmp/$1.c" \
        "$build/libidc.a" -lpthread -o "$tmp/$1"
}

# Each ```c block goes into the file that its first line names.
awk -v tmp="$tmp" '/^```c$/ {getline; file = tmp "/" $2} /^```$/ {file = ""} file {print > file}' README.md
for name in upper ask; do
    [ -s "$tmp/$name.c" ] || wrong "README has no $name.c"
    lines=$(grep -c . "$tmp/$name.c")
    [ "$lines" -le 24 ] || wrong "$name.c has $lines lines"
    compile "$name"
done

# A client that goes before it has its answer.
cat >"$tmp/early.c" <<'END'
#include <string.h>
#include "idc.h"
int main(void)
{
    char text[100000];
    int fd = idc_connect_name(1, "org.example.upper");
    memset(text, 'a', sizeof(text));
    return fd < 0 || idc_send(fd, text, sizeof(text)) < 0 || idc_disconnect(fd) < 0;
}
END
compile early

# README's own commands, pasted as a block; only the places are others. Nothing waits for anything but what the block waits
# for. The last line is a comment that says how to stop.
block=$(sed -n '/^## Two domains on one machine/,/^## /p' README.md | sed -n 's/^    //p')
stop=$(sed -n 's/^# to stop[^:]*: //p' <<<"$block")
[ -n "$stop" ] || wrong "README does not say how to stop"
paste_block() {
    mkdir "$tmp/$1"
    sed "s|/tmp/|$tmp/$1/|g; s|build/|$build/|g" <<<"$block" >"$tmp/$1/block"
    # shellcheck disable=SC1090,SC1091 # it has just been written
    . "$tmp/$1/block" >"$tmp/$1.log" 2>&1 </dev/null
    grep -qx 'you said: hello from test_conn' "$tmp/$1.log" || wrong "the block failed, paste $1"
}
end_block() {
    eval "$stop"
    wait
    ! ls "$tmp/$1"/*.sock 2>/dev/null || wrong "a socket is left after paste $1"
    rm -r "${tmp:?}/$1" "$tmp/$1.log"
}
for number in $(seq 20); do
    paste_block "$number"
    end_block "$number"
done

paste_block last
# stdbuf, so that it prints as it would on a terminal; the address sanitizer doesn't like how stdbuf does it.
ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0 IDC_SOCKET=$tmp/last/1.sock stdbuf -oL "$tmp/upper" >"$tmp/upper.log" 2>&1 &
upper=$!
export IDC_SOCKET=$tmp/last/2.sock
"$build/idc" wait 1 org.example.upper || wrong "upper does not listen"
for _ in $(seq 10); do
    "$tmp/early" 2>>"$tmp/ask.log" || wrong "the client that goes early failed"
done
[ "$("$tmp/ask" 1 hello 2>"$tmp/ask.log")" = HELLO ] || wrong "ask 1 hello does not print HELLO"
kill -0 $upper || wrong "upper has ended"
long=$(head -c 100000 /dev/zero | tr '\0' a)
[ "$("$tmp/ask" 1 "$long" 2>"$tmp/ask.log")" = "${long//a/A}" ] || wrong "ask does not give a long answer"

# It says when its output is lost, all at once at the end or in pieces before.
for word in hello "$long"; do
    ! "$tmp/ask" 1 "$word" >/dev/full 2>"$tmp/ask.log" || wrong "ask does not say that its output is lost"
    grep -q '^stdout: ' "$tmp/ask.log" || wrong "ask does not say what is wrong"
done
! "$tmp/ask" 1 hello >&- 2>"$tmp/ask.log" || wrong "ask does not say that it has no output"

# What ask cannot do it says, with a status other than 0.
refused() {
    local expected=$1 words=$2 status=0
    shift 2
    "$tmp/ask" "$@" >"$tmp/ask.log" 2>&1 || status=$?
    if [ $status != "$expected" ] || ! grep -q "$words" "$tmp/ask.log"; then
        wrong "ask $*: status $status, not $expected with '$words'"
    fi
}
refused 2 usage: one hello
refused 2 usage: '' hello
refused 2 usage: 1
refused 2 usage: 99999 hello
refused 1 'nothing listens' 2 hello
"$build/idc" cat --listen --name org.example.upper </dev/null >"$tmp/cat.log" 2>&1 &
"$build/idc" wait 2 org.example.upper || wrong "idc cat does not listen"
refused 1 'answer: ' 2 hello
grep -qx "domain 2, uid $(id -u): hello" "$tmp/upper.log" || wrong "upper did not say who called"
curl -sS --max-time 60 --unix-socket "$tmp/last/1.sock" http://idc/ \
    -d '<?xml version="1.0"?><methodCall><methodName>idc.status</methodName></methodCall>' >"$tmp/curl"
grep -q '<methodResponse>' "$tmp/curl" || wrong "curl got no status"
end_block last

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
done < <(make -s help | grep "^  make ")
