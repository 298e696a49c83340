# SPDX-License-Identifier: GPL-2.0-or-later
"""ssh and sshd of an ordinary user, for a ProgramsCase: its keys and files are in a directory, and the machine need not know the user."""

import os


class HasSsh:
    def setUp(self):
        super().setUp()
        self.uid = 1000 if self.world.can_change_uid else os.getuid()

    def prepare(self, domain):
        """Keys, and (where the user is unknown to the machine) a passwd file in which there is one."""
        directory = self.directory(domain, uid=self.uid)
        environment = {**self.environment(), **self.world.user_environment(domain, self.uid, directory)}
        self.shell(domain, '"$1" -q -t ed25519 -N "" -f "$2"/key', self.world.debian_program("ssh-keygen"), directory,
                   uid=self.uid, env=environment)
        return directory, environment

    def sshd_parts(self, domain):
        """A newer sshd runs other programs for each connection, and would look for them where they are not installed."""
        parts = [(option, self.world.debian_program(name)) for option, name in
                 (("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth"))]
        there = self.shell(domain, 'for each; do [ ! -e "$each" ] || echo "$each"; done', *[path for _, path in parts]).split()
        return "".join("%s %s\n" % part for part in parts if part[1] in there)

    def configure_sshd(self, domain, directory, authorized, more=""):
        """Writes the file `config` there; authorized is the public key that may log in."""
        config = "HostKey %s/key\nAuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM no\nPidFile none\n" % (
            directory, directory) + self.sshd_parts(domain) + more
        self.shell(domain, 'cat > "$1"/config && echo "$2" > "$1"/authorized', directory, authorized, uid=self.uid,
                   input=config.encode())
