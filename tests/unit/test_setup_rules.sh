#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# idc-setup allow, deny, retract, apply, watch, list, explain, graph and name on the local platform: what is published, printed
# and refused. Usage: test_setup_rules.sh [IDC-SETUP]. Exits 0 when all is well; else prints what was not and exits 1.

umask 022
# shellcheck source=tests/unit/setup_common.sh
. "$(dirname "$0")/setup_common.sh"
begin=$PWD
watching=
end() {
    [ -z "$watching" ] || kill "$watching" 2>/dev/null
    rm -rf "$tmp"
}
export IDC_STORE="$tmp/store"
store=$IDC_STORE
etc=$tmp/etc

# run STATUS ARGUMENT...
run() {
    run_it "$@"
    shift
    case $wanted in
    0 | 3 | 4) ;;
    *) [ -s "$err" ] || bad "'$*': no word about what is wrong" ;;
    esac
}

quiet() {
    [ -s "$err" ] && bad "expected no word, got: $(cat "$err")"
}

# text DOMID: what link_mgr of that domain would read
text() {
    now=$(tail -n +2 "$store/domain:$1/policy/rules.now" 2>/dev/null) || return
    part=0
    while [ "$part" -lt "${now#* }" ]; do
        tail -n +2 "$store/domain:$1/policy/rules.${now% *}.$part"
        part=$((part + 1))
    done
}

# has DOMID LINE...: its text has these lines between "version 1" and "end"
has() {
    domid=$1
    shift
    { echo "version 1" && printf '%s\n' "$@" && echo "end"; } >"$tmp/expected"
    text "$domid" >"$tmp/text"
    cmp -s "$tmp/expected" "$tmp/text" || bad "domain $domid has: $(cat "$tmp/text"), not: $(cat "$tmp/expected")"
}

# has_not DOMID: it has no rules, and nothing of former ones
has_not() {
    for file in "$store/domain:$1/policy"/rules*; do
        [ -e "$file" ] && bad "domain $1 has $file"
    done
}

generation() {
    tail -n +2 "$store/domain:$1/policy/rules.now"
}

# ---- the command line

for command in allow deny retract; do
    run 2 $command
    says "$command takes FROM, TO"
    run 2 $command web
    run 2 $command --json web db
    says "has no such option"
done
run 2 retract web db 80 81
run 2 retract --all web db
run 2 apply --policy "$tmp" "$tmp/x"
run 2 apply --permanent
run 2 watch x
run 2 graph --json
run 2 name
run 2 name x web
run 2 name 1 web 123
run 2 name 1 "$(printf 'a\nb')"
says "a name has no control characters"
run 2 --store "$store" allow web db
says "allow goes before the options: idc-setup allow ..."
run 2 --store "" 1 2
run 1 list
says "there is no store directory"
run 0 allow --help
shows "usage:"

# ---- what is wrong with an argument is told by the argument

typed() {
    says "$1"
    grep -q "commands.policy" "$err" && bad "what nobody has typed is named: $(cat "$err")"
}
mkdir "$store"
run 2 allow web db 80 uid=root
typed 'idc-setup: "uid=root": not a number: "root"'
run 2 deny web db uid=1 type=x
typed 'idc-setup: "type=x": "x" is not a value of this option'
run 2 allow web "a:b" 80
typed 'idc-setup: "a:b": "a:" is not a kind of domain'
run 2 allow "my \"guest\"" @nobody 80 type=stream
typed 'idc-setup: "@nobody": there is no group nobody'
grep -q "names of files" "$err" && bad "a hint about a shell that did nothing: $(cat "$err")"
run 2 allow web db main.c rules.c
typed 'idc-setup: "rules.c": "rules.c" is not an option'
says "hint: a shell puts the names of files in the place of *; write '*'"
[ -e "$store/commands.policy" ] && bad "something wrong was kept"
rmdir "$store"

# ---- names

run 0 name 1 web 00112233-4455-6677-8899-aabbccddeeff
run 0 name 2 db
run 0 name 3 "my guest"
[ "$(cat "$store/domain:1/name")" = "$(printf 'n0,r1\nweb')" ] || bad "name: $(cat "$store/domain:1/name")"
[ "$(cat "$store/domain:1/uuid")" = "$(printf 'n0,r1\n00112233-4455-6677-8899-aabbccddeeff')" ] || bad "uuid"
self1='self name=web uuid=00112233-4455-6677-8899-aabbccddeeff'
has 1 "$self1"
has 3 "self name=my%20guest"

# ---- apply: all or nothing

mkdir -p "$etc/policy.d"
cat >"$etc/policy" <<END
group guests = web db
allow web db 5432 uid=33
allow @guests "my guest" org.example.log
END
run 0 apply --policy "$etc" --dry-run
prints "+ $etc/policy:2: allow web db 5432 uid=33" "+ $etc/policy:3: allow @guests \"my guest\" org.example.log" \
    "3 of 3 domains would get other rules"
has 1 "$self1"
[ -e "$store/applied.policy" ] && bad "a dry run has written something"
run 0 apply --policy "$etc"
prints "+ $etc/policy:2: allow web db 5432 uid=33" "+ $etc/policy:3: allow @guests \"my guest\" org.example.log" \
    "3 of 3 domains have got other rules"
quiet
has 2 "self name=db" "rule 1 allow 5432 uid=33 log=no at=$etc/policy:2" "rule 2 allow org.example.log log=no at=$etc/policy:3" \
    "peer 1 name=web uuid=00112233-4455-6677-8899-aabbccddeeff in=1" "peer 3 name=my%20guest out=2"
before=$(generation 1) before3=$(generation 3)
run 0 apply --policy "$etc"
prints "no domain has got other rules"
[ "$(generation 1)" = "$before" ] || bad "it was written again"
# a file that is wrong, anywhere, changes nothing
echo 'allow web db 80' >"$etc/policy.d/10-good.policy"
echo 'allow web db 80 uid=root' >"$etc/policy.d/20-bad.policy"
run 2 apply --policy "$etc"
says "$etc/policy.d/20-bad.policy:1:21: not a number"
[ "$(generation 1)" = "$before" ] || bad "a wrong file has changed something"
rm "$etc/policy.d/20-bad.policy"
run 0 apply --policy "$etc"
prints "+ $etc/policy.d/10-good.policy:1: allow web db 80" "2 of 3 domains have got other rules"
[ "$(generation 3)" = "$before3" ] || bad "what does not concern a domain was written for it"
[ "$(find "$store/domain:1/policy" -name 'rules.*' | wc -l)" = 2 ] || bad "former generations stay: $(ls "$store/domain:1/policy")"
printf 'allow web db 80\n' >"$etc/policy.d/05-order.policy" && rm "$etc/policy.d/10-good.policy"
run 0 apply --policy "$etc"
shows "2 of 3 domains have got other rules" # it has another place
# files that others could have written
chmod 666 "$etc/policy"
run 1 apply --policy "$etc"
says "can be written by everybody"
chmod 664 "$etc/policy"
run 1 apply --policy "$etc"
says "can be written by its group"
chmod 644 "$etc/policy" && chmod 777 "$etc/policy.d"
run 1 apply --policy "$etc"
says "$etc/policy.d: can be written by everybody"
chmod 755 "$etc/policy.d" && chmod 775 "$etc"
run 1 apply --policy "$etc"
run 1 apply "$etc/policy"
chmod 755 "$etc"
# files that are named, in place of those in force
echo 'allow db web 22' >"$tmp/one"
run 0 apply "$tmp/one"
has 2 "self name=db" "rule 1 allow 22 log=no at=$tmp/one:1" "peer 1 name=web uuid=00112233-4455-6677-8899-aabbccddeeff out=1"
has 3 "self name=my%20guest"
run 0 list
prints "1     $tmp/one:1: allow db web 22"
echo wrong >"$tmp/one" # what was applied counts, not what the file says by now
run 0 list
prints "1     $tmp/one:1: allow db web 22"
run 0 apply --policy "$etc"

# ---- allow, deny, retract

run 0 allow web db 22
has 1 "$self1" "commands 1" "rule 1 allow 22 log=no at=$store/commands.policy:2" "rule 2 allow 5432 uid=33 log=no at=$etc/policy:2" \
    "rule 3 allow org.example.log log=no at=$etc/policy:3" "rule 4 allow 80 log=no at=$etc/policy.d/05-order.policy:1" \
    "peer 2 name=db out=1,2,4" "peer 3 name=my%20guest out=3"
before3=$(generation 3)
run 0 deny web db 5432
text 1 | grep -q "^rule 1 deny 5432 log=yes at=$store/commands.policy:3$" || bad "the later command does not stand first: $(text 1)"
text 1 | grep -q "^rule 2 allow 22 log=no at=$store/commands.policy:2$" || bad "the earlier command has another place: $(text 1)"
[ "$(generation 3)" = "$before3" ] || bad "what does not concern a domain was written for it"
run 0 allow "my guest" db
quiet
text 2 | grep -q "^rule 1 allow \* log=no at=$store/commands.policy:4$" || bad "no WHAT is every service: $(text 2)"
run 0 allow nobody db 80
says "no domain is nobody now"
run 0 allow web 'd*' 81 until=2999-01-01T00:00:00Z 'note=for the "backup"'
grep -qF 'allow web d* 81 until=2999-01-01T00:00:00Z note=for" "the" \""backup"\""' "$store/commands.policy" ||
    bad "a line's quotes: $(cat "$store/commands.policy")"
run 0 list --json
json 'x["in_force"] and x["commands"] == 5 and [one["note"] for one in x["rules"]][0] == "for the \"backup\"" and x["nodes"] == []'
run 0 allow web db 82 until=+90m
json_time=$(sed -n 's/.*82 until=//p' "$store/commands.policy")
[ "$(($(date -d "$json_time" +%s) - $(date +%s)))" -gt 5300 ] || bad "until=+90m: $json_time"
for wrong in until=+ until=+5 until=+5x until=+0m until=+99999999999h bogus=1 uid=root connections=0; do
    cp "$store/commands.policy" "$tmp/commands"
    run 2 allow web db 80 "$wrong"
    cmp -s "$tmp/commands" "$store/commands.policy" || bad "$wrong has changed the commands"
done
run 2 allow web @nobody 80
says "there is no group nobody"
run 0 allow web @guests 83
run 2 deny web db 80 rate=5/s
# nobody can put a second line into an argument
run 2 allow web db "$(printf '80\nallow * * *')"
says "control character"
run 2 allow "$(printf 'web\nx')" db
# the same again is one rule, which stands first then
run 0 allow web db 22
[ "$(grep -c '^allow web db 22$' "$store/commands.policy")" = 1 ] || bad "a rule is there twice"
tail -n 1 "$store/commands.policy" | grep -q '^allow web db 22$' || bad "it does not stand first"
# taken away again
run 0 retract web db 5432
text 1 | grep -q "deny 5432" && bad "retract left it"
run 0 retract "my guest" db
grep -q 'my' "$store/commands.policy" && bad "retract left it: $(cat "$store/commands.policy")"
run 0 retract web db
grep -q 'web db' "$store/commands.policy" && bad "retract left it: $(cat "$store/commands.policy")"
grep -q 'web d\* 81' "$store/commands.policy" || bad "retract took too much"
run 0 retract web db
says "no command has made such a rule"
run 0 retract --all
run 0 list
grep -q commands "$out" && bad "retract --all left something"
# rules that are over are kept for a day, to be named
printf '# x\nallow web db 1000 until=2020-01-01T00:00:00Z\nallow web db 1001 until=%s\n' \
    "$(date -u -d '-1 hour' +%Y-%m-%dT%H:%M:%SZ)" >"$store/commands.policy"
run 0 allow web db 1002
grep -q 1000 "$store/commands.policy" && bad "a rule that is long over stays"
grep -q 1001 "$store/commands.policy" || bad "a rule that was just over is gone"
run 0 retract --all

# ---- --permanent

run 0 allow --permanent --policy "$etc" web db 443
run 0 deny --permanent --policy "$etc" web db 444
[ "$(cat "$etc/policy.d/50-local.policy")" = "$(printf 'deny web db 444\nallow web db 443')" ] ||
    bad "50-local.policy: $(cat "$etc/policy.d/50-local.policy")"
text 1 | grep -q "^rule 1 deny 444 log=yes at=$store/commands.policy:3" || bad "a permanent rule is not in force: $(text 1)"
run 0 retract --permanent --policy "$etc" web db 444
[ "$(cat "$etc/policy.d/50-local.policy")" = "allow web db 443" ] || bad "retract --permanent"
echo wrong >"$etc/policy.d/60-wrong.policy"
cp "$store/commands.policy" "$tmp/commands"
run 2 allow --permanent --policy "$etc" web db 445
grep -q 445 "$etc/policy.d/50-local.policy" "$store/commands.policy" && bad "half of a permanent rule was made"
rm "$etc/policy.d/60-wrong.policy"
# a line that was cut is not completed by a command that writes the file anew
cp "$etc/policy.d/50-local.policy" "$tmp/whole"
printf 'allow db web 80' >>"$etc/policy.d/50-local.policy"
cp "$etc/policy.d/50-local.policy" "$tmp/cut"
run 2 allow --permanent --policy "$etc" web db 445
says "50-local.policy:3:16: the last line has no newline"
run 2 retract --permanent --policy "$etc" web db 443
cmp "$etc/policy.d/50-local.policy" "$tmp/cut" || bad "a line that was cut was changed"
cp "$tmp/whole" "$etc/policy.d/50-local.policy"
run 1 allow --permanent --policy "$tmp/nowhere" web db 445
# a line that was applied stays in force until the files are applied again
run 0 apply --policy "$etc"
run 0 retract web db 443
says "in force until files without it are applied: $etc/policy.d/50-local.policy:1: allow web db 443"
run 0 retract --permanent --policy "$etc" web db 443
says "in force until files without it are applied: $etc/policy.d/50-local.policy:1: allow web db 443"
run 0 apply --policy "$etc"
run 0 allow web db 443
run 0 retract web db 443
quiet
# the usual directory is made, a named one is not
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
    # shellcheck disable=SC2016 # the inner shell's
    made=$(unshare -m sh -c 'mount -t tmpfs -o mode=755 none /etc && "$0" allow --permanent web db 446 &&
        cat /etc/idc/policy.d/50-local.policy' "$setup" 2>&1)
    [ "$made" = "allow web db 446" ] || bad "without /etc/idc: $made"
fi
run 0 retract --all
rm "$etc/policy.d/50-local.policy"

# ---- explain, of what is in force

asks() {
    wanted=$1
    expected=$2
    shift 2
    run "$wanted" explain "$@"
    [ "$(head -n 1 "$out")" = "$expected" ] || bad "'$*': $(cat "$out"), not: $expected"
}
asks 0 "allowed: $etc/policy:2: allow web db 5432 uid=33" web db 5432 --uid 33
shows "domain 1 (web) allows its program to connect; no link_mgr is there"
asks 0 "allowed: $etc/policy:2: allow web db 5432 uid=33" 1 domid:2 5432 --uid 33
asks 0 "allowed: $etc/policy:2: allow web db 5432 uid=33" uuid:00112233-4455-6677-8899-aabbccddeeff db 5432 --uid 33
asks 3 "refused: no line fits" web db 5432 --uid 34
shows "it would be allowed, but this does not fit: the uid"
asks 3 "refused: no line fits" db web 80
shows "domain 2 (db) refuses its program to connect"
asks 3 "refused: no line fits" web nobody 80
shows "there is no such domain as TO now"
asks 0 "allowed: a domain's own programs need no rule" web 1 80
# one half of a policy node, as somebody may write it by hand
mkdir -p "$store/domain:2/policy"
printf 'n0,r2\nout=99' >"$store/domain:2/policy/1"
asks 3 "refused: no line fits" db web 99
shows "domain 2 (db) allows its program to connect by its policy node"
shows "domain 1 (web) refuses the connection"
rm "$store/domain:2/policy/1"
# what is advised, for an invisible name too: it is right as it is printed
invisible=$(printf 'x\342\200\256y')
run 0 name 7 "$invisible"
run 0 allow web "$invisible" 79
run 0 list
shows "allow web x\\xe2\\x80\\xaey 79"
run 0 list --json
shows '"to": "x\u00e2\u0080\u00aey"'
run 0 graph
shows "web -> x\\xe2\\x80\\xaey: 79"
run 0 graph --dot
shows '7 [label="x\\xe2\\x80\\xaey\n7"]'
run 0 deny web "$invisible-2"
says "no domain is x\\xe2\\x80\\xaey-2 now"
run 3 explain web "$invisible-2" 80
run 2 explain web "$invisible-?" 80
says 'a glob is many domains'
run 2 "$invisible"
says 'x\xe2\x80\xaey'
mkdir "$tmp/$invisible"
printf 'allow %s web\n' "$invisible" >"$tmp/$invisible/policy"
run 2 check --policy "$tmp/$invisible"
says 'x\xe2\x80\xaey/policy:1:'
printf 'allow %s %s 80\nallow %s web "%s"\n' "$invisible" "$invisible-2" web "$invisible" >"$tmp/$invisible/policy"
run 2 check --policy "$tmp/$invisible"
says 'x\xe2\x80\xaey/policy:2:'
printf 'allow "a\\"%s" %s 80\n' "$invisible" "$invisible-2" >"$tmp/$invisible/policy"
run 0 graph --policy "$tmp/$invisible"
prints '"a\"x\xe2\x80\xaey" -> x\xe2\x80\xaey-2: 80'
run 0 graph --dot --policy "$tmp/$invisible"
shows '  "\"a\\\"x\\xe2\\x80\\xaey\"" -> "x\\xe2\\x80\\xaey-2" [label="80"];'
run 0 retract --all
grep -q "$(printf '\342\200\256')" "$err" "$out" && bad "an invisible mark is printed"
run 0 allow web "$invisible" 80
run 0 deny web "$invisible" 80
asks 3 "refused: $store/commands.policy:3: deny web x\\xe2\\x80\\xaey 80" web "$invisible" 80
shows "domain 7 (x\\xe2\\x80\\xaey) refuses the connection"
shows "  to take that away: idc-setup retract web \"\$(printf 'x\\342\\200\\256y')\" 80"
run 0 retract --all
asks 3 "refused: no line fits" web "$invisible" 80 --uid 5
shows "  to allow it: idc-setup allow web 7 80"
run 3 explain --policy "$etc" db web 80
hides "to allow it"
run 0 name 7
# names that a command takes only in the quotes of a file
advised() {
    run 0 name 7 "$1"
    asks 3 "refused: no line fits" "name:$1" web 80
    shows "  to allow it: idc-setup allow $2 web 80"
    eval "set -- \"$1\" $2"
    run 0 allow "$2" web 80
    asks 0 "allowed: $store/commands.policy:2: allow $2 web 80" "name:$1" web 80
    run 0 deny "$2" web 80
    asks 3 "refused: $store/commands.policy:3: deny $2 web 80" "name:$1" web 80
    sed -n 's/^  to take that away: idc-setup //p' "$out" >"$tmp/told"
    eval "run 0 $(cat "$tmp/told")"
    grep -q ' web 80' "$store/commands.policy" && bad "'$(cat "$tmp/told")' left it"
    run 0 retract --all
    run 0 name 7
}
advised a,b "'name:\"a,b\"'"
advised a=b "'name:\"a=b\"'"
advised @x "'name:\"@x\"'"
run 0 name 7 a,b
asks 3 "refused: no line fits" a,b web 80
shows "  to allow it: idc-setup allow '\"a,b\"' web 80"
run 0 allow '"a,b"' web 80
asks 0 "allowed: $store/commands.policy:2: allow \"a,b\" web 80" a,b web 80
run 0 retract '"a,b"' web
asks 3 "refused: no line fits" a,b web 80
run 0 name 7 '"q"'
asks 3 "refused: no line fits" '"q"' web 80
shows "  to allow it: idc-setup allow '\"\\\"q\\\"\"' web 80"
run 0 allow '"\"q\""' web 80
asks 0 "allowed: $store/commands.policy:2: allow \"\\\"q\\\"\" web 80" '"q"' web 80
run 0 retract --all
run 0 name 7
asks 3 "refused: no line fits" 'name:n*' web 80
shows "  to allow it: idc-setup allow 'name:\"n*\"' web 80"
# names are told to those that a rule joins, and to no others
unknown="domain 2 (db) does not know the name"
asks 3 "refused: no line fits" db x 80
shows "there is no such domain as TO now"
run 0 name 6 x 00112233-4455-6677-8899-aabbccddee06
asks 3 "refused: no line fits" db x 80
shows "  $unknown x: its rules do not name it; add a rule"
asks 3 "refused: no line fits" db uuid:00112233-4455-6677-8899-aabbccddee06 80
shows "  domain 2 (db) does not know the UUID 00112233-4455-6677-8899-aabbccddee06: its rules do not name it; add a rule"
run 3 explain --json db x 80
json 'x["name_told"] is False'
for asked in 6 domid:6; do
    asks 3 "refused: no line fits" db $asked 80
    hides "does not know"
    run 3 explain --json db $asked 80
    json 'x["name_told"] is None'
done
asks 3 "refused: no line fits" db web 80
hides "does not know"
run 0 allow db x 80
asks 0 "allowed: $store/commands.policy:2: allow db x 80" db x 80
hides "does not know"
run 0 explain --json db x 80
json 'x["name_told"] is True'
# what it has not been given yet
mv "$store/domain:2/policy/rules.now" "$tmp/rules.now"
asks 0 "allowed: $store/commands.policy:2: allow db x 80" db x 80
shows "  $unknown x: its rules do not name it; reach it by domid 6, or add a rule"
mv "$tmp/rules.now" "$store/domain:2/policy/rules.now"
run 0 retract --all
run 0 name 6
run 0 --ports 99 1 2
says "what allows stands after the policy node: $etc/policy:2"
asks 0 "allowed: policy nodes of domains 2 and 1 (idc-setup --list)" db web 99
run 0 explain --json db web 99
json 'x["in_force"] and x["allowed"] and x["rule"] is None and x["sides"]["from"]["by_node"] and x["sides"]["to"]["published"]'
run 0 deny db web 99
asks 3 "refused: $store/commands.policy:2: deny db web 99" db web 99
run 0 --ports 99 1 2
says "what denies stands before the policy node: $store/commands.policy:2"
run 0 list
shows "node  domain 1 for 2: in=99 out=99"
run 0 retract --all
run 0 --remove 1 2
says "domain 1 to 2: what allows stands after the policy node"
# a deny rule against a domain that is not known, by a name: its link_mgr can't name it, and so does explain not
echo 'deny "my guest" web 80' >"$tmp/one"
run 0 apply "$tmp/one"
asks 3 "refused: no line fits" "my guest" web 80
shows "nothing joins them"
shows "this line denies it too, but nothing joins the two, so FROM is not told of it:"
shows "    $tmp/one:1: deny \"my guest\" web 80"
run 3 explain --json "my guest" web 80
json 'x["rule"] is None and x["untold"]["line"] == 1'
# so it is with a command
run 0 deny db web 81
asks 3 "refused: no line fits" db web 81
shows "commands.policy:2: deny db web 81"
run 0 retract --all
run 3 explain --json db web 81
json 'x["untold"] is None'
# a domain that is not there would be allowed
printf '%s\n' 'allow web * 80' 'allow db web 80' 'route web org.example.x nobody,db' 'allow web * org.example.x' >"$tmp/one"
run 0 apply "$tmp/one"
asks 4 "not there: TO; if it were, this would be allowed: $tmp/one:1: allow web * 80" web nobody 80
shows "there is no such domain as TO now"
run 4 explain --json web nobody 80
json 'x["allowed"] and x["from_there"] and not x["to_there"]'
asks 3 "refused: no line fits" db nobody 80
asks 0 "allowed: $tmp/one:1: allow web * 80" web db 80
run 0 explain web any org.example.x
shows "nobody: not there: TO; if it were"
sed -i 's/nobody,db/nobody/' "$tmp/one"
run 0 apply "$tmp/one"
run 4 explain web any org.example.x
echo 'deny "my guest" web 80' >"$tmp/one"
echo 'deny "my guest" * 80' >"$tmp/one"
run 0 apply "$tmp/one"
asks 3 "refused: $tmp/one:1: deny \"my guest\" * 80" "my guest" web 80
# what was not published
printf 'n0,r1\n7 1' >"$store/domain:1/policy/rules.now"
run 3 explain web db 80
shows "it has other rules than these, until idc-setup apply"
run 0 apply --policy "$etc"

# ---- the names of files are kept as they are everywhere

cd "$tmp" || exit 1
run 0 apply --policy etc
run 0 list
shows "$etc/policy:2: allow web db 5432 uid=33"
echo 'allow web db 80' >relative
run 0 apply ./relative
run 0 list
prints "1     $tmp/relative:1: allow web db 80"
cd etc || exit 1
run 0 apply ../relative
run 0 list
prints "1     $tmp/relative:1: allow web db 80"
cd "$OLDPWD" && cd "$begin" || exit 1
run 0 apply --policy "$etc"

# ---- graph

run 0 allow "my guest" web 22
run 0 graph
prints "web -> db: 5432 uid=33; 80" "web -> my guest: org.example.log" "db -> my guest: org.example.log" "my guest -> web: 22"
run 0 graph --dot
shows '  3 -> 1 [label="22"];'
shows '  1 [label="web\n1"];'
run 0 graph --policy "$etc"
shows '@guests -> "my guest": org.example.log'
says "not what is in force"
run 0 deny web db
run 0 allow web web 90
run 0 allow db web 91 until=+1s
sed -i 's/until=[^ ]*/until=2020-01-01T00:00:00Z/' "$store/commands.policy"
run 0 graph
prints "web -> my guest: org.example.log" "db -> my guest: org.example.log" "my guest -> web: 22"
run 0 retract --all
# by the lines alone: what another line denies as a whole, what is over, and what is about one domain
mkdir "$tmp/graph"
cat >"$tmp/graph/policy" <<'END'
group some = a b
deny @some c 1-80
deny * d *
allow a c 80
allow a c 81
allow b c 22,23
allow @some c 80
allow @some d 99
allow e* c 80
allow e e 80
allow 7 domid:7 80
allow a c 85 until=2020-01-01T00:00:00Z
deny a f 80
allow a f 80
END
run 0 graph --policy "$tmp/graph"
prints "a -> c: 81" "e* -> c: 80" "a -> f: only port 1 of 80"

# ---- domains that are renamed, and go

run 0 name 2 database
text 2 | grep -q 5432 && bad "a domain that was renamed keeps the rules of its name: $(text 2)"
run 0 name 4 db
text 4 | grep -q 5432 || bad "a domain with a name has not the rules of it: $(text 4)"
# two of one name are two domains
run 0 name 5 db
asks 3 "refused: no line fits" 4 5 5432
asks 0 "allowed: $etc/policy:2: allow web db 5432 uid=33" web db 5432 --uid 33
shows "2 domains are called as TO is: 4, 5; this is about domain 4 only; ask about each by its domid"
# a graph tells them apart, and a name from a domid, and a name is shown as it is
run 0 name 6 twin
run 0 name 3 twin
run 0 name 7 2
run 0 name 8 'w&#101;b'
run 0 allow twin 8 81
run 0 allow twin 7 81
run 0 graph
shows "twin (3) -> w&#101;b: 81"
shows "twin (6) -> w&#101;b: 81"
shows "twin (3) -> 2 (7): 81"
run 0 graph --dot
shows '8 [label="w&amp;#101;b\n8"];'
for domid in 6 3 7 8; do
    run 0 name $domid
done
run 0 retract --all
# one of them must be named before it is told how to allow it, and web knows the name if it knows one of them
run 0 name 6 twin
run 0 name 3 twin
run 0 allow web 6 81
asks 3 "refused: no line fits" web twin 81
shows "2 domains are called as TO is: 3, 6; this is about domain 3 only"
hides "to allow it"
hides "does not know"
asks 3 "refused: no line fits" web 3 81
shows "  to allow it: idc-setup allow web 3 81"
asks 3 "refused: no line fits" twin db 81
shows "domains are called as FROM is: 3, 6;"
hides "to allow it"
asks 3 "refused: no line fits" 4 twin 81
shows "domain 4 (db) does not know the name twin"
run 0 retract --all
run 0 name 6
run 0 name 3
run 0 name 5
run 0 name 4
has_not 4
run 0 name 2 db

# ---- two at once, and a store that can't be written

for i in 1 2 3 4 5 6 7 8; do
    "$setup" allow web db "400$i" 2>"$tmp/err$i" || bad "at once: $(cat "$tmp/err$i")" &
done
wait
[ "$(grep -c 'allow web db 400' "$store/commands.policy")" = 8 ] || bad "a rule was lost: $(cat "$store/commands.policy")"
[ "$(text 1 | grep -c 'allow 400')" = 8 ] || bad "a rule was not published: $(text 1)"
run 0 retract --all
if [ "$(id -u)" != 0 ]; then
    before=$(text 1)
    chmod 500 "$store/domain:2/policy"
    run 1 allow web db 4009
    says "cannot write the rules of domain 2"
    chmod 700 "$store/domain:2/policy"
    [ "$(text 1)" = "$before" ] || bad "a failure has changed something"
    grep -q 4009 "$store/commands.policy" && bad "a rule that was not made stays"
fi
# what is damaged is told
echo damaged >"$store/applied.policy"
run 1 list
says "applied.policy: it is damaged; run idc-setup apply"
rm "$store/applied.policy"
run 0 apply --policy "$etc"

# ---- watch

# until COMMAND...: until it succeeds
until_so() {
    tries=0
    until "$@" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { bad "not within a minute: $*" && return; }
        sleep 0.1
    done
}
text_has() {
    text "$1" | grep -q "$2"
}
text_lacks() {
    ! text "$1" | grep -q "$2"
}
"$setup" check --policy "$etc" >"$out"
checked=$(sed 's/no mistakes: \(.* rules\),.*/\1/' "$out")
run 0 allow web db 4010 # is of no file, and not counted
"$setup" watch --policy "$etc" >"$tmp/watch" 2>"$tmp/watch.err" &
watching=$!
until_so grep -q watching "$tmp/watch"
grep -qx "applied: $checked" "$tmp/watch" || bad "watch: $(cat "$tmp/watch"), not: applied: $checked"
run 0 retract web db 4010
echo 'allow db web 1234' >"$etc/policy.d/70-new.policy"
until_so text_has 1 1234
echo 'allow db web 4321 uid=x' >"$etc/policy.d/70-new.policy"
until_so grep -q 'are not put in force' "$tmp/watch.err"
grep -q '70-new.policy:1:23: not a number' "$tmp/watch.err" || bad "watch: $(cat "$tmp/watch.err")"
text_has 1 1234 || bad "a wrong file has taken the last good one away"
# a domain that comes while a file is wrong gets what is in force
mkdir "$store/domain:9" && printf 'n0\nweb' >"$store/.x" && mv "$store/.x" "$store/domain:9/name"
until_so text_has 9 1234
rm "$store/domain:9/name"
until_so text_lacks 9 1234
rm "$etc/policy.d/70-new.policy"
until_so text_lacks 1 1234
mv "$etc/policy.d" "$etc/policy.x"
until_so text_lacks 1 " 80 "
mv "$etc/policy.x" "$etc/policy.d"
until_so text_has 1 " 80 "
# what could not be put in force is tried again, though no file changes
mv "$store/applied.policy" "$tmp/applied"
mkdir "$store/applied.policy"
failed=$(grep -c 'are not put in force' "$tmp/watch.err")
echo 'allow web db 8081' >"$etc/policy.d/70-new.policy"
more_failed() { [ "$(grep -c 'are not put in force' "$tmp/watch.err")" -gt "$failed" ]; }
until_so more_failed
rmdir "$store/applied.policy"
mv "$tmp/applied" "$store/applied.policy"
until_so text_has 1 'allow 8081'

kill "$watching"
wait "$watching" 2>/dev/null
watching=

# empty lines of rules that are gone stay, so that others keep their numbers; but not for ever
run 0 retract --all
run 0 allow web db 2000
for empty in 100 101; do
    { echo '# x'; yes '' | head -n "$empty"; echo 'allow web db 2001'; } >"$store/commands.policy"
    run 0 allow web db 2002
    lines=$(wc -l <"$store/commands.policy")
    [ "$lines" = "$((empty == 100 ? 103 : 3))" ] || bad "$empty empty lines: $lines lines are left"
done
run 0 retract --all

local=$tmp/local
mkdir -p "$local/policy.d"
# the file of permanent rules stays as it was, but for its text
run 0 allow --permanent --policy "$local" web db 2003
chmod 640 "$local/policy.d/50-local.policy"
run 0 allow --permanent --policy "$local" web db 2004
mode=$(stat -c %a "$local/policy.d/50-local.policy")
[ "$mode" = 640 ] || bad "the mode of 50-local.policy: $mode"
if [ "$(id -u)" = 0 ]; then
    chown 0:3 "$local/policy.d/50-local.policy"
    run 0 retract --permanent --policy "$local" web db 2004
    mode=$(stat -c %u:%g:%a "$local/policy.d/50-local.policy")
    [ "$mode" = 0:3:640 ] || bad "the owner of 50-local.policy: $mode"
fi
run 0 retract --permanent --policy "$local" web db 2003
# only rules are retracted, and those of a file that came from another system too
local=$tmp/other
mkdir -p "$local/policy.d"
printf '  # indented\ngroup others = web db\r\nroute web org.example.sql db\n' >"$tmp/others"
{ cat "$tmp/others" && printf 'allow web db 8\r\n\tdeny web db 9 # why\r\nallow\tweb db 10\n'; } >"$local/policy.d/50-local.policy"
run 0 retract --permanent --policy "$local" web org.example.sql
run 0 retract --permanent --policy "$local" web db 8
grep -q "web db 8" "$local/policy.d/50-local.policy" && bad "the rule of a line with a carriage return is still there"
run 0 retract --permanent --all --policy "$local"
cmp "$local/policy.d/50-local.policy" "$tmp/others" || bad "retract --permanent --all: $(cat "$local/policy.d/50-local.policy")"

finish
