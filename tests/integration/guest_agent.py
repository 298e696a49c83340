# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of qemu-guest-agent, for a ProgramsCase: questions are written to a process whose input and output lead to the agent."""

import base64
import hashlib
import json
import os

from world import wait_until


class AsksTheAgent:
    def call(self, client, name, **arguments):
        """A command of the agent; its result."""
        command = {"execute": name, **({"arguments": arguments} if arguments else {})}
        client.write(json.dumps(command).encode() + b"\n")
        answer = json.loads(client.stdout.readline(self.patience))
        self.assertIn("return", answer, command)
        return answer["return"]

    def execute(self, client, path, arguments, data):
        started = self.call(client, "guest-exec", path=path, arg=arguments, **{
            "input-data": base64.b64encode(data).decode(), "capture-output": True})

        def ended():
            status = self.call(client, "guest-exec-status", pid=started["pid"])
            return status["exited"] and status
        status = wait_until(ended, self.patience, "end of %s" % path, interval=0.1)
        return status["exitcode"], base64.b64decode(status.get("out-data", ""))

    def check(self, client, directory, sent, count=100000):
        self.assertEqual(self.call(client, "guest-sync", id=4711), 4711)
        data = os.urandom(30000)
        status, out = self.execute(client, "/bin/sh", ["-c", "sha256sum; exit 3"], data)
        self.assertEqual((status, out.decode().split()[0]), (3, hashlib.sha256(data).hexdigest()))
        handle = self.call(client, "guest-file-open", path=directory + "/sent", mode="r")
        received, end = hashlib.sha256(), False
        while not end:
            part = self.call(client, "guest-file-read", handle=handle, count=count)
            received.update(base64.b64decode(part["buf-b64"]))
            end = part["eof"]
        self.assertEqual(received.hexdigest(), sent)
        self.call(client, "guest-file-close", handle=handle)
