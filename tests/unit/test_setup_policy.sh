#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# idc-setup check, list and explain: what they read, print and refuse. Usage: test_setup_policy.sh [IDC-SETUP]
# Exits 0 when all is well; else prints what was not and exits 1.

umask 022
# shellcheck source=tests/unit/setup_common.sh
. "$(dirname "$0")/setup_common.sh"
here=$tmp/etc

# run STATUS ARGUMENT...: runs it and checks the exit status. What is wrong goes to stderr, and nothing to stdout then.
run() {
    run_it "$@"
    shift
    case $wanted in
    0 | 3) grep -qv '^idc-setup: note: ' "$err" && bad "'$*': $(cat "$err")" ;;
    *)
        [ -s "$err" ] || bad "'$*': no word about what is wrong"
        [ -s "$out" ] && bad "'$*': wrote to stdout: $(cat "$out")"
        ;;
    esac
}

# asks STATUS TEXT FROM TO WHAT...: explain ends with STATUS and its first line is TEXT.
asks() {
    wanted=$1
    text=$2
    shift 2
    run "$wanted" explain --policy "$here" "$@"
    [ "$(head -n 1 "$out")" = "$text" ] || bad "'$*': $(cat "$out"), not: $text"
    says "not what is in force"
}

# ---- the command line

run 0 check --help
grep -q usage: "$out" || bad "--help prints no usage"
run 2 check --json
says "check has no such option"
run 2 check --policy
says "needs an argument"
run 2 list --uid 1
says "list has no such option"
run 2 list x
says "list takes no arguments"
run 2 check --policy "$tmp" "$tmp/x"
says "not both"
run 2 explain
says "takes FROM, TO and WHAT"
run 2 explain web db
run 2 explain web db 80 81
run 2 explain --bogus web db 80
for uid in -1 "" x 01 4294967295 99999999999999999999 1x; do
    run 2 explain --uid "$uid" web db 80
    says "--uid takes a number"
done
run 2 explain --type dgram web db 80
says "stream or seqpacket"

# ---- which files

run 0 check --policy "$tmp"
prints "no mistakes: 0 files, 0 rules, 0 groups, 0 routes"
run 1 check --policy "$here"
says "cannot read $here: No such file"
mkdir -p "$here/policy.d"
run 0 list --policy "$here"
prints "no rules"
touch "$tmp/file"
run 1 check --policy "$tmp/file"
says "not a directory"
run 1 check "$tmp/missing"
says "cannot read $tmp/missing: No such file"
run 1 check "$tmp"
says "it is not a regular file"

# By the bytes of the names, after `policy`; without names that begin with a dot or end otherwise.
echo 'allow zero b 1' >"$here/policy"
for name in 10-b 9-a B é; do
    echo "allow $name b 1" >"$here/policy.d/$name.policy"
done
for name in .hidden.policy x.policy~ x.conf .policy; do
    echo "wrong" >"$here/policy.d/$name"
done
run 0 list --policy "$here"
prints "1     $here/policy:1: allow zero b 1" "2     $here/policy.d/10-b.policy:1: allow 10-b b 1" \
    "3     $here/policy.d/9-a.policy:1: allow 9-a b 1" "4     $here/policy.d/B.policy:1: allow B b 1" \
    "5     $here/policy.d/é.policy:1: allow é b 1"
run 0 check "$here/policy.d/B.policy" "$here/policy"
prints "no mistakes: 2 files, 2 rules, 0 groups, 0 routes"
echo 'allow a b 80' | run 0 check /dev/stdin
prints "no mistakes: 1 files, 1 rules, 0 groups, 0 routes"
mkfifo "$here/policy.d/pipe.policy"
run 1 check --policy "$here"
says "pipe.policy: it is not a regular file"
rm -r "$here/policy.d" && mkdir "$here/policy.d"
ln -s nowhere "$here/policy.d/link.policy"
run 1 check --policy "$here"
says "link.policy: No such file"
rm "$here/policy.d/link.policy"
head -c 1048577 /dev/zero | tr '\0' '\n' >"$tmp/large"
run 2 check "$tmp/large"
says "$tmp/large: the file has more than 1048576 bytes"

# ---- errors: each once, with its place and a hint, in all files

printf 'allow web db 80\nallow web db 80 uid=root\n\n  deny web\n' >"$here/policy"
printf 'group g = @h\ngroup h = web,db' >"$here/policy.d/a.policy"
run 2 check --policy "$here"
printf '%s\n' "$here/policy:2:21: not a number: \"root\"" \
    "    hint: uids (never names of users) are 0 to 4294967294" "$here/policy:4:11: TO is missing" \
    "    hint: ACTION FROM TO WHAT [OPTION=VALUE]..." \
    "$here/policy.d/a.policy:2:14: ',' can't be in a domain's name without quotes" \
    "    hint: one domain stands here; several are a group: group NAME = DOMAIN..., then @NAME" >"$tmp/expected"
cmp -s "$tmp/expected" "$err" || bad "errors: $(cat "$err")"
run 2 list --policy "$here"
run 2 explain --policy "$here" web db 80
# one that was cut: half of a line may be a good one
printf 'allow web db 80\nallow web db 80' >"$here/policy"
echo 'group h = web' >"$here/policy.d/a.policy"
run 2 check --policy "$here"
printf '%s\n' "$here/policy:2:16: the last line has no newline" \
    "    hint: see whether all of the file is there, and end it with a newline" >"$tmp/expected"
cmp -s "$tmp/expected" "$err" || bad "a cut file: $(cat "$err")"
echo 'group g = @h' >"$here/policy.d/a.policy"
echo 'allow @g db 80' >"$here/policy"
run 2 check --policy "$here"
says "$here/policy.d/a.policy:1:11: there is no group h"
[ "$(grep -c hint: "$err")" = 1 ] || bad "hints: $(cat "$err")"
# groups beside other mistakes: one that is missing, but none of which the line is wrong
printf '%s\n' 'allow @missing db 80' 'allow web' 'group half = web,db' 'allow @half db 80' 'group a = @b' 'group b = @a' >"$here/policy"
rm "$here/policy.d/a.policy"
run 2 check --policy "$here"
sed '/hint:/d' "$err" >"$tmp/got"
printf '%s\n' "$here/policy:2:10: TO is missing" "$here/policy:3:17: ',' can't be in a domain's name without quotes" \
    "$here/policy:1:7: there is no group missing" "$here/policy:6:11: the group b contains itself by way of this" >"$tmp/expected"
cmp -s "$tmp/expected" "$tmp/got" || bad "not all: $(cat "$tmp/got")"
for wrong in 'grop g = web' 'group g= web' '"group g = web'; do
    printf '%s\n' "$wrong" 'allow @g db 80' 'group c = @c' >"$here/policy"
    run 2 check --policy "$here"
    grep -q "there is no group" "$err" && bad "'$wrong': a group is said to be missing: $(cat "$err")"
    says "$here/policy:3:11: the group c contains itself"
done
touch "$here/policy.d/a.policy"
yes 'allow web' | head -n 70 >"$tmp/many"
run 2 check "$tmp/many"
[ "$(grep -c missing "$err")" = 50 ] || bad "$(grep -c missing "$err") errors are shown"
says "20 more errors are not shown"
rm "$here/policy.d/a.policy"

# ---- explain

cat >"$here/policy" <<END
group  guests = web db mail-*
allow  web      db        org.example.sql,5432  uid=33
deny   mail-x   dom0      *
allow  @guests  dom0      org.example.metrics
allow  dom0     @guests   22   until=2000-12-31T23:59:59Z
allow  uuid:00112233-4455-6677-8899-aabbccddeeff  db  443
allow  web      db        7    type=seqpacket
route  web      org.example.sql  db,dom0
allow  uuid:00112233-4455-6677-8899-aabbccddeeff  dom0  *
END
asks 3 "refused: no line fits" web db 80
asks 3 "refused: no line fits" db web 5432 --uid 33
asks 0 "allowed: $here/policy:2: allow web db org.example.sql,5432 uid=33" web db 5432 --uid 33
asks 0 "allowed: $here/policy:2: allow web db org.example.sql,5432 uid=33" --uid 33 web name:db org.example.sql
asks 3 "refused: $here/policy:3: deny mail-x dom0 *" mail-x dom0 org.example.metrics
prints "refused: $here/policy:3: deny mail-x dom0 *" # line 9 may fit too, and would change nothing
asks 0 "allowed: $here/policy:4: allow @guests dom0 org.example.metrics" mail-y 0 org.example.metrics
asks 0 "allowed: $here/policy:4: allow @guests dom0 org.example.metrics" mail-y Domain-0 org.example.metrics
asks 0 "allowed: a domain's own programs need no rule" web web 80
asks 0 "allowed: a domain's own programs need no rule" dom0 0 80
# what does not fit, or is not known
asks 3 "refused: no line fits" web db 5432 --uid 34
prints "refused: no line fits" "  it would be allowed, but this does not fit: the uid" \
    "    $here/policy:2: allow web db org.example.sql,5432 uid=33"
asks 3 "refused: no line fits" dom0 web 22
prints "refused: no line fits" "  it would be allowed, but this does not fit: the time" \
    "    $here/policy:5: allow dom0 @guests 22 until=2000-12-31T23:59:59Z"
asks 3 "refused: no line fits" web db 7
grep -q 'does not fit: the type$' "$out" || bad "the type: $(cat "$out")"
asks 0 "allowed: $here/policy:7: allow web db 7 type=seqpacket" web db 7 --type seqpacket
asks 3 "refused: no line fits" web db 443
prints "refused: no line fits" "  allowed instead if this fits, which is not known: WHAT, the uid" \
    "    $here/policy:2: allow web db org.example.sql,5432 uid=33" \
    "  allowed instead if this fits, which is not known: FROM" \
    "    $here/policy:6: allow uuid:00112233-4455-6677-8899-aabbccddeeff db 443"
asks 0 "allowed: $here/policy:6: allow uuid:00112233-4455-6677-8899-aabbccddeeff db 443" \
    uuid:00112233-4455-6677-8899-AABBCCDDEEFF db 443
asks 3 "refused: no line fits" 5 db 443
grep -q 'not known: FROM$' "$out" || bad "FROM: $(cat "$out")"
# routes
asks 0 "route: $here/policy:8: route web org.example.sql db,dom0" web any org.example.sql --uid 33
sed -n 2,3p "$out" >"$tmp/part" && mv "$tmp/part" "$out"
prints "db: allowed: $here/policy:2: allow web db org.example.sql,5432 uid=33" "dom0: refused: no line fits"
asks 3 "refused: no route line fits the service org.example.sql" db any org.example.sql
asks 3 "route, if its FROM fits, which is not known: $here/policy:8: route web org.example.sql db,dom0" 5 any org.example.sql
# what can't be asked
for word in '@guests' self 'mail-*' '*' a:b 32752 '' any uuid:1; do
    run 2 explain --policy "$here" "$word" db 80
    says "FROM: "
    [ "$word" = any ] || run 2 explain --policy "$here" web "$word" 80
done
for what in 0 01 4294967296 80,81 80-81 '*' 'org.*' '' -; do
    run 2 explain --policy "$here" -- web db "$what"
    says "WHAT is one port"
done
run 2 explain --policy "$here" web any 80
says "a route is for a service name"

# ---- JSON

run 0 list --policy "$here" --json
json 'len(x["rules"]) == 7 and x["in_force"] is False'
json 'x["rules"][0] == {"number": 1, "file": "'"$here"'/policy", "line": 2, "action": "allow", "from": "web", "to": "db",
    "what": "org.example.sql,5432", "options": "uid=33", "note": None, "expired": False}'
json '[rule["expired"] for rule in x["rules"]] == [False, False, False, True, False, False, False]'
json 'x["routes"] == [{"file": "'"$here"'/policy", "line": 8, "from": "web", "service": "org.example.sql", "to": "db,dom0"}]'
run 0 explain --policy "$here" --json web db 5432 --uid 33
json 'x["allowed"] and x["rule"]["line"] == 2 and not x["own"] and x["perhaps"] == [] and x["but_for"] == []'
run 3 explain --policy "$here" --json web db 5432
json 'not x["allowed"] and x["rule"] is None and x["perhaps"][0]["unknown"] == ["uid"] and x["perhaps"][0]["rule"]["line"] == 2'
run 3 explain --policy "$here" --json web db 5432 --uid 1
json 'x["but_for"][0]["missed"] == ["uid"] and x["but_for"][0]["rule"]["number"] == 1'
run 0 explain --policy "$here" --json web any org.example.sql --uid 33
json 'x["allowed"] and x["route"]["line"] == 8 and [one["domain"] for one in x["to"]] == ["db", "dom0"]'
json '[one["allowed"] for one in x["to"]] == [True, False]'
run 3 explain --policy "$here" --json db any org.example.sql
json 'x == {"in_force": False, "route": None, "perhaps": False, "to": [], "allowed": False}'
printf 'allow "a\\"\303\251" * 80 note="q\\""\n' >"$here/policy"
run 0 list --policy "$here" --json
json 'x["rules"][0]["from"] == "\"a\\\"\u00c3\u00a9\"" and x["rules"][0]["note"] == "q\""'

# Output that can't be written is a failure.
if [ -e /dev/full ]; then
    "$setup" list --policy "$here" >/dev/full 2>"$err" && bad "a full disk is no failure"
fi

# The example of the manual is right.
sed -n '/^    group  guests/,/^    deny/p' docs/idc-policy.5.md | sed 's/^    //' >"$tmp/example"
run 0 check "$tmp/example"
prints "no mistakes: 1 files, 4 rules, 1 groups, 1 routes"

finish
