# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal with a program in it, as a person has one: by tmux, on a server of its own.

    terminal = Terminal(directory, argv, env, width, height)
    terminal.type("idc st", "Tab")      texts, and names of keys (KEYS, C-u)
    terminal.screen()                   its lines, without blanks at their ends
    terminal.wait("status ", ...)       until all these texts are on the screen
    terminal.resize(width, height)
    terminal.close()
"""

import os
import shlex
import subprocess

from world import wait_until


KEYS = ("Tab", "Enter", "Left", "Right", "Up", "Down")


class Terminal:
    def __init__(self, directory, argv, env, width=80, height=24):
        self.socket = os.path.join(directory, "tmux-%d" % id(self))
        self.env = {name: value for name, value in env.items() if name not in ("TMUX", "TMUX_PANE")}
        self.env.setdefault("LC_ALL", "C.UTF-8")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
                  " ".join(shlex.quote(word) for word in argv), ";", "set-option", "-g", "status", "off", ";",
                  "set-option", "-g", "remain-on-exit", "on", ";", "resize-window", "-x", str(width), "-y", str(height))

    def tmux(self, *words):
        result = subprocess.run(["tmux", "-S", self.socket, *words], env=self.env, stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=300, check=False)
        if result.returncode != 0:
            raise AssertionError("tmux %s: %s" % (words, result.stderr.decode()))
        return result.stdout.decode()

    def type(self, *keys):
        for key in keys:
            self.tmux("send-keys", *(() if key in KEYS or key.startswith("C-") else ("-l",)), "--", key)

    def screen(self):
        return [line.rstrip() for line in self.tmux("capture-pane", "-p").splitlines()]

    def wait(self, *texts):
        """The screen that has them."""
        lines = []

        def is_shown():
            lines[:] = self.screen()
            return all(text in "\n".join(lines) for text in texts)

        try:
            wait_until(is_shown, what="on the screen")
        except AssertionError as problem:
            raise AssertionError("%s: %r; there is %s" % (problem, texts, "\n".join(lines))) from None
        return lines

    def resize(self, width, height):
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def ask(self, what):
        """A variable of tmux, such as pane_dead_status."""
        return self.tmux("display-message", "-p", "#{%s}" % what).strip()

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], env=self.env, capture_output=True, check=False)
