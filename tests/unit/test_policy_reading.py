#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The judge of policy files against a plain reading of the same files, on random policies and questions.

    test_policy_reading.py [POLICIES [SEED]]        10,000 policies of four questions each, and a seed that is printed

With IDC_TEST_SHORT set a tenth of that, as in slow builds.

The plain reading below was written from idc-policy(5), not from the C code. It works line by line, by the slowest direct
method, and knows no tables. Both must agree on which policies are right (and on the first wrong line), which rule decides, and
which rules may decide if more is known. For domains that are known in full, the compiled lists of both sides must name the same
rule, and a domain that must not know the other must be refused by the files too.
"""

import calendar
import os
import random
import re
import subprocess
import sys

BUILD = os.environ.get("BUILD", "build")
QUESTIONS = 4
BATCH = 1000
NO, PERHAPS, YES = 0, 1, 2

# ---- the plain reading


class Wrong(Exception):
    pass


def split(line):
    """The words of a line; each word is a list of (character, is it quoted?)."""
    words, word, i, quoted = [], None, 0, False
    while i < len(line):
        c = line[i]
        if ord(c) == 127 or (ord(c) < 32 and c != "\t"):
            raise Wrong("control")
        if quoted:
            if c == "\\":
                i += 1
                if line[i:i + 1] not in ('"', "\\") or not line[i:i + 1]:
                    raise Wrong("escape")
                word.append((line[i], True))
            elif c == '"':
                quoted = False
            else:
                word.append((c, True))
        elif c in " \t":
            if word is not None:
                words.append(word)
            word = None
        elif c == "#":
            if word is not None:
                raise Wrong("# in a word")
            if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line[i:]):
                raise Wrong("control")
            return words
        elif c == "\\":
            raise Wrong("backslash")
        else:
            word = [] if word is None else word
            if c == '"':
                quoted = True
            else:
                word.append((c, False))
        i += 1
    if quoted:
        raise Wrong("no end")
    return words + ([word] if word is not None else [])


def plain(word):
    return "".join(c for c, _ in word)


def number(text, least, most):
    if not re.fullmatch("0|[1-9][0-9]*", text) or not least <= int(text) <= most:
        raise Wrong("number")
    return int(text)


def domain(word):
    """(kind, value) of a domain in a rule."""
    text = plain(word)
    if word == [("*", False)]:
        return "any", None
    if text == "dom0":
        return "domid", 0
    if text in ("self", "any"):
        raise Wrong("word")
    if text.startswith("@"):
        if not re.fullmatch("@[A-Za-z0-9._-]{1,63}", text):
            raise Wrong("group name")
        return "group", text[1:]
    if re.fullmatch("[0-9]+", text):
        return "domid", number(text, 0, 32751)
    if ":" in text:
        kind, rest = text.split(":", 1)
        if kind == "domid":
            return "domid", number(rest, 0, 32751)
        if kind == "uuid":
            if not re.fullmatch("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", rest) or not rest.strip("0-"):
                raise Wrong("uuid")
            return "uuid", rest.lower()
        if kind != "name":
            raise Wrong("prefix")
        word = word[5:]
    if not 1 <= len(word) <= 255:
        raise Wrong("length")
    for c, quoted in word:
        if not quoted and not re.fullmatch(r"[A-Za-z0-9._\-+/~%:*?\x80-\xff]", c):
            raise Wrong("character")
    return "name", word


def items(text):
    what = []
    if text == "*":
        return None
    for item in text.split(","):
        if re.fullmatch("[0-9][0-9-]*", item):
            ends = [number(end, 1, 4294967295) for end in item.split("-", 1)]
            if ends[-1] < ends[0]:
                raise Wrong("range")
            what.append((ends[0], ends[-1]))
        elif re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9._*?-]{1,79}", item):
            what.append(item)
        else:
            raise Wrong("service")
    return what


def option(name, value, action, options):
    if name in options or name not in ("uid", "type", "until", "connections", "rate", "bandwidth", "log", "note"):
        raise Wrong("option")
    options[name] = value
    if name in ("connections", "rate", "bandwidth") and action == "deny":
        raise Wrong("limit")
    if name == "uid":
        ranges = [[number(end, 0, 4294967294) for end in one.split("-", 1)] for one in value.split(",")]
        if any(one[-1] < one[0] for one in ranges):
            raise Wrong("range")
        options[name] = ranges
    elif name == "type" and value not in ("stream", "seqpacket") or name == "log" and value not in ("yes", "no"):
        raise Wrong("value")
    elif name == "until":
        options[name] = time_of(value)
    elif name == "connections":
        number(value, 1, 1000000)
    elif name == "rate":
        if not value.endswith("/s"):
            raise Wrong("unit")
        number(value[:-2], 1, 1000000)
    elif name == "bandwidth":
        unit = {"k": 10 ** 3, "M": 10 ** 6, "G": 10 ** 9}.get(value[-1:], 1)
        number(value[:-1] if unit > 1 else value, 1, 10 ** 12 // unit)
    elif name == "note" and len(value) > 200:
        raise Wrong("note")


def time_of(text):
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", text):
        raise Wrong("time")
    year, month, day, hour, minute, second = map(int, re.findall("[0-9]+", text))
    if year < 1970 or not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
        raise Wrong("time")
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        raise Wrong("date")
    return calendar.timegm((year, month, day, hour, minute, second))


def route(words):
    if len(words) != 4 or not re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9._-]{1,79}", plain(words[2])):
        raise Wrong("route")
    used = [domain(words[1])]
    terms, term = [], []
    for letter in words[3] + [(",", False)]:
        if letter != (",", False):
            term.append(letter)
            continue
        if not term:
            raise Wrong("empty")
        kind, value = domain(term)
        if kind in ("any", "group") or kind == "name" and any(one in (("*", False), ("?", False)) for one in value):
            raise Wrong("many")
        value = plain(value) if kind == "name" else value
        if (kind, value) in terms:
            raise Wrong("twice")
        terms.append((kind, value))
        term = []
    if len(terms) > 16:
        raise Wrong("too many")
    return used


def read(text):
    """(rules, groups), or the lines of which one must be told as the first wrong one.

    There is a choice where a group contains itself: any line of the cycle may be blamed for it.
    """
    rules, groups, places, uses, wrong = [], {}, {}, [], []
    for place, line in enumerate(text.split("\n"), 1):
        try:
            line = line[:-1] if line.endswith("\r") else line
            if len(line) > 4096:
                raise Wrong("long")
            words = split(line)
            if not words:
                continue
            action = plain(words[0])
            if action == "group":
                name = plain(words[1]) if len(words) > 1 else ""
                if not re.fullmatch("[A-Za-z0-9._-]{1,63}", name) or len(words) < 3 or plain(words[2]) != "=" or name in groups:
                    raise Wrong("group")
                groups[name] = [domain(word) for word in words[3:]]
                places[name] = place
                uses += [(place, member, name) for member in groups[name]]
            elif action in ("allow", "deny"):
                if len(words) < 4 or any(quoted for _, quoted in words[3]):
                    raise Wrong("rule")
                rule = {"allow": action == "allow", "from": domain(words[1]), "to": domain(words[2]),
                        "what": items(plain(words[3])), "options": {}}
                for word in words[4:]:
                    if "=" not in plain(word):
                        raise Wrong("option")
                    option(*plain(word).split("=", 1), action, rule["options"])
                rules.append(rule)
                uses += [(place, rule[end], None) for end in ("from", "to")]
            elif action == "route":
                uses += [(place, one, None) for one in route(words)]
            else:
                raise Wrong("action")
        except Wrong:
            wrong.append(place)
    if wrong:
        return {wrong[0]}
    missing = min((place for place, (kind, value), _ in uses if kind == "group" and value not in groups), default=place + 1)
    cyclic = {places[name] for name in groups if contains(groups, name, name, set())}
    wrong = {place for place in cyclic if place < missing}
    if missing <= place:
        wrong.add(missing)
    return wrong or (rules, groups)


def contains(groups, name, wanted, seen):
    for kind, value in groups[name]:
        if kind == "group" and (value == wanted or value in groups and value not in seen and contains(groups, value, wanted, seen | {value})):
            return True
    return False


def glob(pattern, text):
    """The pattern is a list of (character, is it literal?)."""
    if not pattern:
        return not text
    if pattern[0] == ("*", False):
        return glob(pattern[1:], text) or (text != "" and glob(pattern, text[1:]))
    return text != "" and (pattern[0] == ("?", False) or pattern[0][0] == text[0]) and glob(pattern[1:], text[1:])


def is_domain(term, it, groups):
    kind, value = term
    if kind == "any":
        return YES
    if kind == "group":
        return max([NO] + [is_domain(member, it, groups) for member in groups[value]])
    if kind == "domid" and value == 0:
        return YES if it["domid"] == 0 else NO
    if it[kind] is None:
        return NO if it["complete"] else PERHAPS
    if kind == "name":
        return YES if glob(value, it["name"]) else NO
    return YES if it[kind] == value else NO


def covers(ranges, least, most):
    """Is every number from least to most in one of the ranges?"""
    for one in sorted(ranges, key=lambda one: one[0]):
        if one[0] > least:
            return False
        least = max(least, one[-1] + 1)
    return least > most


def is_service(rule, ask):
    what = rule["what"]
    if what is None or ask["port"] == 1 and rule["allow"]:
        return YES
    ports = [item for item in what if isinstance(item, tuple)]
    names = [item for item in what if not isinstance(item, tuple)]
    if ask["port"] == 1:
        return YES if any(first <= 1 for first, _ in ports) else NO
    if ask["port"] and any(first <= ask["port"] <= last for first, last in ports):
        return YES
    if ask["name"] not in ("-", "=") and any(glob([(c, False) for c in name], ask["name"]) for name in names):
        return YES
    if not ask["port"] and covers(ports, 2, 4294967295):
        return YES
    if not ask["port"] and ports or ask["name"] == "-" and names:
        return PERHAPS
    return NO


def is_user(rule, ask):
    if "uid" not in rule["options"]:
        return YES
    if ask["uid"] < 0:
        return YES if covers(rule["options"]["uid"], 0, 4294967294) else PERHAPS
    return YES if any(one[0] <= ask["uid"] <= one[-1] for one in rule["options"]["uid"]) else NO


def decide(policy, ask):
    """(number of the deciding rule or 0, numbers of those that may decide in its place)"""
    rules, groups = policy
    maybe = []
    for count, rule in enumerate(rules, 1):
        options = rule["options"]
        manager = rule["allow"] and ask["port"] == 1
        fit = min(is_domain(rule["from"], ask["from"], groups), is_domain(rule["to"], ask["to"], groups), is_service(rule, ask),
                  is_user(rule, ask),
                  YES if manager or options.get("type", ask["type"]) == ask["type"] else NO,
                  YES if ask["now"] < options.get("until", ask["now"] + 1) else NO)
        if fit == YES:
            return count, maybe
        if fit == PERHAPS:
            maybe.append(count)
    return 0, maybe


# ---- random policies and questions

UUIDS = ["00000000-0000-0000-0000-0000000000a%d" % i for i in range(1, 5)]
NAMES = ["web", "db", "mail-1", "mail-22", "7", "dom0", "a*b", "my guest", "w"]
SERVICES = ["org.example.sql", "org.example.metrics", "org.sql", "x", "sql-2"]


def random_domain(r, groups):
    return r.choice((
        lambda: "*", lambda: "dom0", lambda: r.choice(NAMES[:4]), lambda: r.choice(NAMES[:4]),
        lambda: "name:" + r.choice(NAMES[:6]), lambda: "domid:%d" % r.randrange(5), lambda: str(r.randrange(5)),
        lambda: "uuid:" + r.choice(UUIDS), lambda: "@" + r.choice(groups) if groups else "*",
        lambda: "@" + r.choice(groups) if groups else "m*", lambda: "*" if r.random() < 0.99 else "@unknown",
        lambda: r.choice(("mail-*", "mail-?", "w*b", "*", "?", "*b", "mail-??", "m*-*2*", '"a*b"', "a*b", '"we?"', '"my guest"', "D*0")),
    ))()


def random_services(r):
    if r.random() < 0.25:
        return "*"
    return ",".join(r.choice((
        lambda: str(r.choice((1, 2, 22, 23, 80, 4294967295))), lambda: "%d-%d" % (r.randrange(1, 30), r.randrange(25, 90)),
        lambda: "%d-4294967295" % r.choice((1, 2, 3, 22)),
        lambda: r.choice(SERVICES), lambda: r.choice(("org.example.*", "*sql*", "?", "o*.*l", "org.??????e.sql")),
    ))() for _ in range(r.choice((1, 1, 2, 3))))


def random_options(r, action):
    out = []
    if r.random() < 0.3:
        out.append("uid=" + r.choice(("0", "33", "30-40", "33,1000-1999", "4294967294", "34-4294967294,0-33")))
    if r.random() < 0.2:
        out.append("type=" + r.choice(("stream", "seqpacket")))
    if r.random() < 0.2:
        out.append("until=" + r.choice(("1970-01-01T00:00:00Z", "2000-02-29T12:00:00Z", "2100-03-01T00:00:00Z", "9999-12-31T23:59:59Z")))
    if r.random() < 0.1:
        out.append("log=" + r.choice(("yes", "no")))
    if r.random() < 0.1:
        out.append('note="%s"' % r.choice(("a # b", "x", "\\\" \\\\")))
    if action == "allow" and r.random() < 0.2:
        out.append(r.choice(("connections=1", "rate=50/s", "bandwidth=10M", "bandwidth=1000G", "connections=1000000")))
    r.shuffle(out)
    return out


def random_line(r, groups):
    action = r.choice(("allow", "allow", "allow", "deny", "deny", "route", ""))
    if action == "":
        return r.choice(("", "# a comment", "\t", "  # x"))
    words = [action, random_domain(r, groups)]
    if action == "route":
        words += [r.choice(SERVICES), ",".join(r.sample(("web", "db", "dom0", "3", "uuid:" + UUIDS[0]), r.randrange(1, 4)))]
    else:
        words += [random_domain(r, groups), random_services(r)] + random_options(r, action)
    return r.choice(("", "", " ")) + r.choice((" ", "\t", "  ")).join(words) + r.choice(("", "", " # why", "\r"))


def random_policy(r):
    groups = r.sample(("g", "h", "i", "j"), r.randrange(4))
    lines = [random_line(r, groups) for _ in range(r.randrange(1, 9))]
    for i, group in enumerate(groups):  # a cycle now and then
        below = groups if r.random() < 0.05 else groups[:i]
        members = [random_domain(r, below) for _ in range(r.randrange(4))]
        lines.insert(r.randrange(len(lines) + 1), "group %s = %s" % (group, " ".join(members)))
    text = "\n".join(lines) + r.choice(("\n", ""))
    while r.random() < 0.15:
        place = r.randrange(len(text) + 1)
        text = text[:place] + r.choice(("", " ", "x", "*", "0", "9", ",", "-", "=", '"', "\\", "#", "@", ":", "\n", "\r", "\x01", "\xe9")) \
            + text[place + r.randrange(2):]
    return text


def random_domains(r):
    """A list of domains as they are, without the names that this test's protocol can't say."""
    domids = r.sample(range(5), 4)
    return [{"domid": domid, "complete": True, "uuid": None if domid == 0 else r.choice(UUIDS + [None]),
             "name": "Domain-0" if domid == 0 else r.choice(NAMES[:7] + [None])} for domid in domids]


def random_asked(r):
    """(what is asked, the domain of which no more is known)"""
    kind = r.choice(("name", "name", "uuid", "domid", "dom0"))
    it = {"domid": None, "name": None, "uuid": None, "complete": False}
    if kind == "dom0":
        return r.choice(("dom0", "0", "domid:0", "Domain-0")), {"domid": 0, "name": "Domain-0", "uuid": None, "complete": True}
    it[kind] = {"name": r.choice(NAMES[:4]), "uuid": r.choice(UUIDS), "domid": r.randrange(1, 5)}[kind]
    return {"name": it["name"], "uuid": "uuid:%s" % it["uuid"], "domid": "domid:%s" % it["domid"]}[kind], it


def random_question(r, domains):
    ask = {"port": r.choice((0, 0, 1, 2, 22, 22, 26, 80, 4294967295)), "name": r.choice(SERVICES + ["-", "="]),
           "uid": r.choice((-1, 0, 33, 35, 1500, 4294967294)), "type": r.choice(("stream", "seqpacket")),
           "now": r.choice((0, 951825599, 951825600, 4107542400, 253402300799))}
    if ask["port"] == 0 and ask["name"] in "-=":
        ask["port"] = 80
    if ask["port"] == 1:
        ask["name"] = "="
    if r.random() < 0.5:
        one, other = r.sample(range(len(domains)), 2)
        ask.update({"from": domains[one], "to": domains[other], "words": "%d %d" % (one, other), "known": True})
        if ask["port"] == 0 or ask["name"] == "-" or ask["uid"] < 0:
            ask.update({"port": ask["port"] or 80, "uid": max(ask["uid"], 0), "name": "=" if ask["name"] == "-" else ask["name"]})
    else:
        (one, ask["from"]), (other, ask["to"]) = random_asked(r), random_asked(r)
        ask.update({"words": ":%s :%s" % (one, other), "known": False})
    return ask


# ---- both


def batch(r, count):
    """[(policy, its plain reading, [question])], and what policy_judge answers."""
    cases, told = [], []
    for _ in range(count):
        text, domains = random_policy(r), random_domains(r)
        plainly = read(text)
        asks = [] if isinstance(plainly, set) else [random_question(r, domains) for _ in range(QUESTIONS)]
        cases.append((text, plainly, asks))
        told.append("domains %d\n" % len(domains))
        told += ["%d %s %s\n" % (one["domid"], one["name"] or "-", one["uuid"] or "-") for one in domains]
        told.append("policy %d\n%s" % (len(text), text))
        told += ["ask %s %d %s %d %s %d\n" % (ask["words"], ask["port"], ask["name"], ask["uid"], ask["type"], ask["now"])
                 for ask in asks]
    run = subprocess.run([BUILD + "/tests/policy_judge"], input="".join(told).encode("latin-1"), stdout=subprocess.PIPE, check=False)
    answers = iter(run.stdout.decode().split("\n"))
    return cases, answers, run.returncode


def compare_policy(plainly, answer):
    if not isinstance(plainly, set):
        return answer == "good", "good"
    lines = "|".join(map(str, sorted(plainly)))
    return re.fullmatch("(%s):[1-9][0-9]*" % lines, answer) is not None, "wrong line " + lines


def compare_question(policy, ask, answer):
    decides, maybe = decide(policy, ask)
    expected = "%d %s" % (decides, ",".join(map(str, maybe)) or "-")
    words = answer.split(" ")
    good = " ".join(words[:2]) == expected
    if not ask["known"]:
        return good and words[2:] == ["*", "*"], expected
    # A side that doesn't know the other refuses, and so must the files.
    refused = decides == 0 or not policy[0][decides - 1]["allow"]
    for side in words[2:]:
        good = good and (refused if side == "-" else side == str(decides))
    return good and words[2].count("-") == words[3].count("-"), expected


def main(policies, seed):
    r = random.Random(seed)
    counts = {"policies": 0, "wrong policies": 0, "questions": 0, "allowed": 0, "undecided": 0, "unknown to each other": 0}
    while counts["policies"] < policies:
        cases, answers, status = batch(r, min(BATCH, policies - counts["policies"]))
        for text, policy, asks in cases:
            assert next(answers) == "good"
            answer = next(answers, "nothing, exit status %d" % status)
            good, expected = compare_policy(policy, answer)
            counts["policies"] += 1
            counts["wrong policies"] += expected != "good"
            if not good:
                sys.exit("seed %d: %r\nthe plain reading: %s\nthe parser: %s" % (seed, text, expected, answer))
            for ask in asks:
                answer = next(answers, "nothing")
                good, expected = compare_question(policy, ask, answer)
                number = int(expected.split()[0])
                counts["questions"] += 1
                counts["allowed"] += number > 0 and policy[0][number - 1]["allow"]
                counts["undecided"] += not expected.endswith(" -")
                counts["unknown to each other"] += answer.endswith(" - -")
                if not good:
                    sys.exit("seed %d: %s\n%r\nthe plain reading: %s\nthe judge: %s" % (seed, text, ask, expected, answer))
    print("seed %d: %s" % (seed, ", ".join("%d %s" % (count, what) for what, count in counts.items())))
    # a generator that asks nothing worth asking would prove nothing
    assert min(counts.values()) > policies / 100, counts


if __name__ == "__main__":
    usual = 1000 if "IDC_TEST_SHORT" in os.environ else 10000
    main(int(sys.argv[1]) if len(sys.argv) > 1 else usual, int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10 ** 9))
