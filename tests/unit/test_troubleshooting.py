#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What docs/troubleshooting.md quotes is what the programs say, and what it tells to type is there.

A line of a code block without a prompt is a quotation. It is parts with `...` between them, and each part has to be in a text of the
sources. Of a line behind a prompt (`web# `) the programs of IDC are asked for their help, which must have each command and option.
Units must be in dist/, and fields of the journal must be written by link_mgr."""

import glob
import os
import re
import subprocess
import sys

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = "docs/troubleshooting.md"
SOURCES = ("link_mgr", "libidc", "tools", "idc-setup", "channels", "common", "policy", "vsock")
LITERAL = r'"((?:[^"\\\n]|\\.)*)"'
LITERALS = re.compile(r"(?:%s\s*)+" % LITERAL)
PROMPT = re.compile(r"    (dom0#|web#|db#) +(.*)")
TEXT_AT_LEAST = 4      # what is shorter is anywhere
QUOTATIONS_AT_LEAST = 40
COMMANDS_AT_LEAST = 30
OURS = ("idc", "idc-setup", "link_mgr")


def texts():
    """Of the sources. Strings that stand side by side are one."""
    for directory in SOURCES:
        for path in glob.glob(os.path.join(ROOT, directory, "**", "*.[ch]"), recursive=True):
            with open(path, encoding="utf-8") as stream:
                source = re.sub(r"/\*.*?\*/", " ", stream.read(), flags=re.DOTALL)
            for match in LITERALS.finditer(source):
                yield "".join(re.findall(LITERAL, match.group())).replace('\\"', '"')


def page():
    with open(os.path.join(ROOT, PAGE), encoding="utf-8") as stream:
        lines = [line.rstrip("\n") for line in stream if line.startswith("    ")]
    commands = [PROMPT.fullmatch(line).group(2) for line in lines if PROMPT.fullmatch(line)]
    return [line.strip() for line in lines if not PROMPT.fullmatch(line)], commands


def problems_of_quotations(quotations):
    known = list(texts())
    if len(quotations) < QUOTATIONS_AT_LEAST:
        yield "only %d quotations were found" % len(quotations)
    for quotation in quotations:
        parts = [part.strip() for part in quotation.split("...") if len(part.strip()) >= TEXT_AT_LEAST]
        if not parts:
            yield "too little is quoted: %s" % quotation
        for part in parts:
            if not any(part in text for text in known):
                yield "no program says \"%s\"" % part


def help_of(*words):
    done = subprocess.run([os.path.join(BUILD, words[0]), *words[1:], "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=60)
    return done.stdout if done.returncode == 0 else None


def problems_of_command(command):
    words = re.sub(r"^(\w+=\S+ )+", "", command.partition(" | ")[0]).split()
    where = words[0]
    if where in OURS:
        asked = words[:2] if where != "link_mgr" and len(words) > 1 and not words[1].startswith("-") else words[:1]
        told = help_of(*asked)
        if told is None:
            yield "no command: %s" % " ".join(asked)
            return
        options = words[len(asked):] if asked != ["idc", "run"] else []  # those are the other program's
        for option in [word for word in options if word.startswith("-")]:
            if not re.search(r"(^|[\s\[(,|])%s\b" % re.escape(option), told):
                yield "%s does not tell of %s" % (" ".join(asked), option)
    if where in ("systemctl", "journalctl"):
        yield from problems_of_systemd(command)


def problems_of_systemd(command):
    for unit in re.findall(r"(?:(?:-u|systemctl [a-z-]+) |(?<=\w )|')(link_mgr|idc-[a-z]+@?)", command):
        if "-t " + unit not in command and not glob.glob(os.path.join(ROOT, "dist", unit + ".service*")):
            yield "no unit %s" % unit
    for field in re.findall(r"\b(IDC_[A-Z_]+)=", command):
        if field not in FIELDS:
            yield "link_mgr writes no %s" % field


FIELDS = set(texts())


def main():
    quotations, commands = page()
    found = list(problems_of_quotations(quotations))
    if len(commands) < COMMANDS_AT_LEAST:
        found.append("only %d commands were found" % len(commands))
    for command in commands:
        found += ["%s: %s" % (command, problem) for problem in problems_of_command(command)]
    for problem in found:
        print("%s: %s" % (PAGE, problem))
    return 1 if found else 0


sys.exit(main())
