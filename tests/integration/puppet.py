# SPDX-License-Identifier: GPL-2.0-or-later
"""A puppet (tests/programs/puppet.c) in a domain, from the test's side.

    server = domain.puppet()
    server.do("listen", 1, port=80)                  waits for the answer: a dict of its values
    taking = server.begin("accept", 1, 2)            does not wait
    client.do("connect", 1, domid=3, port=80)
    who = taking.result()

A command that failed raises PuppetError: an OSError whose strerror is libidc's explanation and whose `values` are what was
answered besides. Numbers of an answer are ints.
"""

import errno
import itertools


class PuppetError(OSError):
    def __init__(self, name, text, values, command):
        super().__init__(getattr(errno, name, 0), "%s (%s)" % (text, command))
        self.name = name
        self.text = text
        self.values = values


def _value(text):
    return int(text) if text.isdigit() else text


def parse_values(words):
    """The key=value words of a line."""
    return {key: _value(value) for key, _, value in (word.partition("=") for word in words)}


class Pending:
    def __init__(self, puppet, tag, command):
        self._puppet = puppet
        self._tag = tag
        self._command = command

    def done(self):
        return self._puppet.answered(self._tag)

    def result(self, timeout=None):
        line = self._puppet.wait(self._tag, timeout or self._puppet.patience, self._command)
        head, _, text = line.partition(" text=")
        words = head.split()
        values = parse_values(words[1:])
        if words[0] == "error":
            raise PuppetError(values.pop("errno"), text, values, self._command)
        return values


class Puppet:
    def __init__(self, process, patience=300):
        self.process = process
        self.patience = patience  # seconds to wait for an answer
        self._tags = itertools.count(1)
        self._answers = {}

    def begin(self, verb, *places, **arguments):
        tag = "t%d" % next(self._tags)
        words = [verb] + [str(place) for place in places]
        words += ["%s=%s" % pair for pair in arguments.items() if pair[1] is not None]
        command = " ".join(words)
        self.process.write(("%s %s\n" % (tag, command)).encode())
        return Pending(self, tag, command)

    def do(self, verb, *places, timeout_s=None, **arguments):
        return self.begin(verb, *places, **arguments).result(timeout_s)

    def _drain(self):
        """With the condition held: sorts the lines that have come."""
        data = self.process.stdout._bytes
        while b"\n" in data:
            line, _, rest = bytes(data).partition(b"\n")
            data[:] = rest
            tag, _, answer = line.decode().partition(" ")
            self._answers[tag] = answer

    def answered(self, tag):
        with self.process.condition:
            self._drain()
            return tag in self._answers

    def wait(self, tag, timeout, command):
        def there():
            self._drain()
            return tag in self._answers or self.process.returncode is not None

        with self.process.condition:
            self.process.wait_for(there, timeout, "answer to %r" % command)
            if tag not in self._answers:
                raise AssertionError("%r ended during %r: %r" % (self.process, command, bytes(self.process.stderr._bytes)))
            return self._answers.pop(tag)

    def end(self):
        self.process.close_stdin()
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()
