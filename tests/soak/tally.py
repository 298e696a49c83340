# SPDX-License-Identifier: GPL-2.0-or-later
"""What a soak has done: counts by name, from any thread."""

import collections
import threading


class Tally:
    def __init__(self):
        self._lock = threading.Lock()
        self._counts = collections.Counter()

    def add(self, name, number=1):
        with self._lock:
            self._counts[name] += number

    def __getitem__(self, name):
        with self._lock:
            return self._counts[name]

    def under(self, prefix):
        """[(rest of the name, count)], the most frequent first."""
        with self._lock:
            found = [(name[len(prefix):], count) for name, count in self._counts.items() if name.startswith(prefix)]
        return sorted(found, key=lambda item: (-item[1], item[0]))
