#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# idc-setup on the local platform: what it writes, prints and refuses. Usage: test_setup.sh [IDC-SETUP]
# Exits 0 when all is well; else prints what was not and exits 1.

# shellcheck source=tests/unit/setup_common.sh
. "$(dirname "$0")/setup_common.sh"
unset IDC_STORE
store=$tmp/store

# run STATUS ARGUMENT...: runs it and checks the exit status, and that a failure is one line on stderr.
run() {
    run_it "$@"
    shift
    if [ "$wanted" != 0 ]; then
        [ "$(wc -l <"$err")" = 1 ] || bad "'$*': not one line on stderr: $(cat "$err")"
        [ -s "$out" ] && bad "'$*': wrote to stdout"
    fi
}

# rule DOMID PEER TEXT: the file of the rule is this. No TEXT: there is none.
rule() {
    file=$store/domain:$1/policy/$2
    if [ $# = 2 ]; then
        [ -e "$file" ] && bad "there is a rule of $1 for $2"
        return
    fi
    printf 'n0,r%s\n%s' "$1" "$3" >"$tmp/expected"
    [ "$1" = 0 ] && printf 'n0\n%s' "$3" >"$tmp/expected"
    cmp -s "$tmp/expected" "$file" || bad "rule of $1 for $2: $(cat "$file" 2>&1), not: $3"
}

rules_are() {
    found=$(find "$store" -type f | wc -l)
    [ "$found" = "$1" ] || bad "$found files in the store, not $1: $(ls -A "$store")"
}

# ---- the command line

run 2
says "at least two DOMIDs"
run 2 1
run 2 1 1
says "given twice"
for domid in -1 32752 99999 4294967297 x 1x "" 01 1.5 0x1; do
    run 2 --store "$store" -- 1 "$domid"
    says "not a DOMID"
done
for ports in "" ',' '80,' ',80' 0 80-79 080 4294967296 '*,80' 'a b' 'a/b' "$(printf '80\n')x;"; do
    run 2 --store "$store" --ports "$ports" 1 2
    says "--ports"
done
run 2 --ports
says "needs an argument"
run 2 --bogus 1 2
run 2 --list=yes
run 2 --store "" 1 2
run 2 --remove --list 1
run 2 --remove --ports 80 1 2
run 2 --list --ports 80
run 2 --json 1 2
run 2 --remove --store "$store"
run 2 --platform vmware 1 2
says "auto, xen or local"
run 2 --platform local 1 2
says "IDC_STORE"
run 2 --platform xen --store "$store" 1 2
[ -e "$store" ] && bad "a wrong command line made a store"
run 0 --help
grep -q usage: "$out" || bad "--help prints no usage"
run 0 --version
grep -qE '^idc-setup [0-9]' "$out" || bad "--version: $(cat "$out")"

# ---- the store's directory

run 1 --store "$store" --list
says "there is no store directory"
run 1 --store "$store" --remove 1 2
[ -e "$store" ] && bad "--list or --remove made a store"
run 1 --store "$tmp/no/store" 1 2
says "make its parent"
touch "$tmp/file"
run 1 --store "$tmp/file" 1 2
says "not a directory"

# ---- allowing

run 0 --store "$store" 1 2
[ -s "$out$err" ] && bad "allowing is not silent"
[ "$(stat -c %a "$store")" = 700 ] || bad "the store that was made has mode $(stat -c %a "$store")"
rule 1 2 'in=* out=*'
rule 2 1 'in=* out=*'
rules_are 2
IDC_STORE=$store run 0 0 32751
rule 0 32751 'in=* out=*'
rule 32751 0 'in=* out=*'
run 0 --store "$store" --ports 443,b,81,80,a,5000-5010,82,a 1 2 3
for pair in '1 2' '1 3' '2 1' '2 3' '3 1' '3 2'; do
    # shellcheck disable=SC2086 # two words
    rule $pair 'in=80-82,443,5000-5010,a,b out=80-82,443,5000-5010,a,b'
done
rules_are 8
run 0 --store "$store" --ports '*' 3 2
rule 2 3 'in=* out=*'
rule 1 2 'in=80-82,443,5000-5010,a,b out=80-82,443,5000-5010,a,b'

long=$(seq -f "name-of-a-service-that-is-rather-long-%.0f-and-longer" -s , 64)
run 1 --store "$store" --ports "$long" 1 2
says "too long"
run 2 --store "$store" --ports "$(seq -s , 10 2 140)" 1 2
says "more than 64 items"
rule 1 2 'in=80-82,443,5000-5010,a,b out=80-82,443,5000-5010,a,b'

# ---- two at once, each of which adds: neither addition is lost

old=$store
store=$tmp/two
for pair in $(seq 200); do
    "$setup" --store "$store" --add --ports "$((1000 + 4 * pair))" 1 2 &
    "$setup" --store "$store" --add --ports "$((1002 + 4 * pair))" 1 2
    wait $!
    for port in $((1000 + 4 * pair)) $((1002 + 4 * pair)); do
        for half in domain:1/policy/2 domain:2/policy/1; do
            grep -qw "$port" "$store/$half" || bad "port $port was added, and is not in $half"
        done
    done
    run 0 --store "$store" --remove 1 2
done
store=$old

# ---- adding, and what replacing takes away

old=$store
store=$tmp/adding
run 0 --store "$store" --add --ports 80 1 2
rule 1 2 'in=80 out=80'
[ -s "$err" ] && bad "there was nothing before: $(cat "$err")"
run 0 --store "$store" --add --ports 81,org.example.a 2 1
rule 1 2 'in=80-81,org.example.a out=80-81,org.example.a'
rule 2 1 'in=80-81,org.example.a out=80-81,org.example.a'
[ -s "$err" ] && bad "nothing ends: $(cat "$err")"
run 0 --store "$store" --add --ports 80 1 2
rule 1 2 'in=80-81,org.example.a out=80-81,org.example.a'
printf 'n0,r1\nin=7 out=8,b' >"$store/domain:1/policy/2"
run 0 --store "$store" --add --ports 9 1 2
rule 1 2 'in=7,9 out=8-9,b'
run 1 --store "$store" --add --ports "$(seq -s , 100 2 226)" 1 2
says "more than 64 items"
rule 1 2 'in=7,9 out=8-9,b'
run 0 --store "$store" --add 1 2
rule 1 2 'in=* out=*'
run 0 --store "$store" --add --ports 80 1 2
rule 1 2 'in=* out=*'
run 2 --add --list
run 2 --add --remove 1

run 0 --store "$store" --ports 80-90,a,b 1 2
says 'note: domains 1 and 2: 80-90,a,b replaces *; connections end: all but 80-90,a,b (--add'
run 0 --store "$store" --ports 80-90,a,b 1 2
[ -s "$err" ] && bad "nothing is replaced: $(cat "$err")"
run 0 --store "$store" --ports 81,85-86,b,c 2 1
says 'note: domains 1 and 2: 81,85-86,b,c replaces 80-90,a,b; connections end: 80,82-84,87-90,a (--add'
run 0 --store "$store" --ports 80-100,b,c 1 2
says 'replaces 81,85-86,b,c; nothing ends'
run 0 --store "$store" 1 2 3
says 'note: domains 1 and 2: * replaces 80-100,b,c; nothing ends'
[ "$(wc -l <"$err")" = 1 ] || bad "two pairs had no rule: $(cat "$err")"
store=$old

# ---- listing

run 0 --store "$store" --list
[ "$(wc -l <"$out")" = 9 ] || bad "--list: $(cat "$out")"
grep -qE ' $' "$out" && bad "--list: blanks at the end of a line"
run 0 --store "$store" --list 3
[ "$(wc -l <"$out")" = 5 ] || bad "--list 3: $(cat "$out")"
run 0 --store "$store" --list 2 3
[ "$(wc -l <"$out")" = 3 ] || bad "--list 2 3: $(cat "$out")"
run 0 --store "$store" --list 77
[ "$(cat "$out")" = "no rules" ] || bad "--list 77: $(cat "$out")"

# One-sided, unreadable, and no rules at all although they look like some.
rm "$store/domain:2/policy/3"
mkdir -p "$store/domain:7/policy" "$store/domain:8/policy" "$store/domain:9/policy"
printf 'n0,r7\nin=80;rm -rf "\\\t\351' >"$store/domain:7/policy/8"
printf 'no permissions' >"$store/domain:8/policy/7"
printf 'n0\nout=80' >"$store/domain:9/policy/10"
for name in 01.idc.policy.2 1.idc.policy.02 1.idc.policy.2.3 99999.idc.policy.1 -1.idc.policy.1 1.idc.policy; do
    printf 'n0\nin=*' >"$store/local.domain.$name"
done
for name in 02 2.3 99999 -1 =; do
    printf 'n0\nin=*' >"$store/domain:1/policy/$name"
done
run 0 --store "$store" --list
grep -q 'domain 2 has no rule for 3' "$out" || bad "--list does not tell of a one-sided rule"
[ "$(grep -c 'allows nothing' "$out")" = 2 ] || bad "--list does not tell of unreadable rules: $(cat "$out")"
grep -q 'rm -rf' "$out" && bad "--list prints what it can't read"
[ "$(wc -l <"$out")" = 11 ] || bad "--list takes other nodes for rules: $(cat "$out")"
run 0 --store "$store" --list --json
python3 - "$out" <<'END' || bad "--json: $(cat "$out")"
import json, sys
data = json.load(open(sys.argv[1]))
rules = {(r["domid"], r["peer"]): r for r in data["rules"]}
assert data["platform"] == "local" and len(rules) == len(data["rules"]) == 10
assert list(rules) == sorted(rules)
both = rules[1, 2]
assert both["in"] == both["out"] == "80-82,443,5000-5010,a,b" and both["mutual"] and both["readable"]
assert not rules[3, 2]["mutual"]
assert rules[7, 8]["value"] == 'in=80;rm -rf "\\\t\xe9' and not rules[7, 8]["readable"] and rules[7, 8]["in"] is None
assert rules[8, 7]["value"] is None and not rules[8, 7]["readable"]
assert rules[9, 10]["in"] is None and rules[9, 10]["out"] == "80"
END
run 0 --store "$store" --list --json 77
python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["rules"] == []' "$out" || bad "--json without rules"
if [ -e /dev/full ]; then
    "$setup" --store "$store" --list >/dev/full 2>"$err" && bad "a full output is no failure"
    says "cannot write the output"
fi

# ---- removing

run 0 --store "$store" --remove 2 3
rule 3 2
rule 1 2 'in=80-82,443,5000-5010,a,b out=80-82,443,5000-5010,a,b'
run 0 --store "$store" --remove 2 3
says "no such rule"
run 0 --store "$store" --remove 7
rule 7 8
rule 8 7
run 0 --store "$store" --remove 1
rule 1 2
rule 2 1
rule 1 3
rule 3 1
rule 0 32751 'in=* out=*'

# ---- a failure half way is undone

rm -rf "$store"
run 0 --store "$store" --ports 80 1 2
mkdir -p "$store/domain:3/policy/1"
run 1 --store "$store" --ports 90 1 2 3
says "domain 3 for 1"
says "nothing has changed"
rule 1 2 'in=80 out=80'
rule 2 1 'in=80 out=80'
rule 1 3
rules_are 2
rmdir "$store/domain:3/policy/1"

# The file size limit makes a long rule fail, and the short ones that were before it come back.
# shellcheck disable=SC3045 # dash and busybox know ulimit -f
(
    ulimit -f 1 2>/dev/null || exit 77
    trap '' XFSZ
    "$setup" --store "$store" --ports "$(seq -f 'service-number-%.0f' -s , 40)" 1 2 2>"$err"
    [ $? = 1 ]
)
case $? in
0)
    says "nothing has changed"
    rule 1 2 'in=80 out=80'
    ;;
77) echo "test_setup: skipped: a full disk (no ulimit -f)" >&2 ;;
*) bad "a value that could not be written is no failure" ;;
esac

# ---- two at once leave rules of one of them for the pair

several=$(seq -s ' ' 10 30)
for round in 1 2 3 4 5 6 7 8 9 10; do
    # shellcheck disable=SC2086 # many words
    "$setup" --store "$store" --ports 1000 $several &
    # shellcheck disable=SC2086
    "$setup" --store "$store" --ports 2000 $several
    wait
    # shellcheck disable=SC2086
    "$setup" --store "$store" --list $several >"$out"
    [ "$(sed 1d "$out" | awk '{ print $3 }' | sort -u | wc -l)" = 1 ] || bad "round $round: two idc-setup at once left a mixture"
done

finish
