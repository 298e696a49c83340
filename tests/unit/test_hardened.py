#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is built is built so that faults in it are hard to use: read from the programs and libraries themselves.

The compiler's part shows in the ELF header, in the program headers and notes, in the names of functions that are called, and in
what the debugging information says of the compiler's options. -fstack-clash-protection leaves no other trace."""

import os
import re
import struct
import subprocess
import sys
import unittest

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
PROGRAMS = ["link_mgr", "idc-setup", "idc", "test_accept", "test_conn"]
ARCHIVES = ["obj/liblink_mgr.a", "pic/libidc_all.a", "libidc.a"]
LIBRARIES = ["libidc.so.0", "libidc-vsock.so"]
PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 2, 0x6474E551, 0x6474E552
ET_DYN = 3
PF_X, PF_W = 1, 2
PT_LOAD = 1
DT_BIND_NOW, DT_TEXTREL, DT_FLAGS, DT_RPATH, DT_RUNPATH, DT_FLAGS_1 = 24, 22, 30, 15, 29, 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 8, 1, 0x08000000


class Elf:
    """A file for a machine of 64 bits, low byte first."""

    def __init__(self, path):
        with open(path, "rb") as stream:
            self.data = stream.read()
        self.path = path
        self.is_plain = self.data[:6] == b"\x7fELF\x02\x01"
        self.type, self.machine = struct.unpack_from("<HH", self.data, 16)
        at, = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        # type, flags, offset, address, physical address, size in the file, in memory, alignment
        self.segments = [struct.unpack_from("<IIQQQQQQ", self.data, at + i * size) for i in range(count)]

    def of_type(self, wanted):
        return [segment for segment in self.segments if segment[0] == wanted]

    def dynamic(self):
        (segment,) = self.of_type(PT_DYNAMIC)
        words = struct.iter_unpack("<QQ", self.data[segment[2]:segment[2] + segment[5]])
        return dict(reversed([pair for pair in words if pair[0]]))


def tool(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


def options_of(path):
    """The compiler's, for each of the objects in it."""
    text = tool("readelf", "--debug-dump=info", "--dwarf-depth=1", path)
    return [line for line in re.findall(r"DW_AT_producer .*?: (GNU C.*)", text) if "-fpreprocessed" not in line]


class Hardened(unittest.TestCase):
    def setUp(self):
        self.files = {name: Elf(os.path.join(BUILD, name)) for name in PROGRAMS + LIBRARIES}
        with open(os.path.join(BUILD, "config"), encoding="utf-8") as stream:
            config = stream.read()
        if "-fsanitize" in config or "--coverage" in config or not all(elf.is_plain for elf in self.files.values()):
            self.skipTest("another kind of build")
        self.config = config

    def test_at_any_address(self):
        for name, elf in self.files.items():
            self.assertEqual(elf.type, ET_DYN, name)
            if name in PROGRAMS:
                self.assertTrue(elf.dynamic().get(DT_FLAGS_1, 0) & DF_1_PIE)
            self.assertNotIn(DT_TEXTREL, elf.dynamic(), name)

    def test_bound_at_the_start_and_then_read_only(self):
        for name, elf in self.files.items():
            self.assertEqual(len(elf.of_type(PT_GNU_RELRO)), 1, name)
            dynamic = elf.dynamic()
            self.assertTrue(DT_BIND_NOW in dynamic or dynamic.get(DT_FLAGS, 0) & DF_BIND_NOW)
            self.assertTrue(dynamic.get(DT_FLAGS_1, 0) & DF_1_NOW)

    def test_nothing_written_is_executed(self):
        for name, elf in self.files.items():
            (stack,) = elf.of_type(PT_GNU_STACK)
            self.assertFalse(stack[1] & PF_X, name)
            for segment in elf.of_type(PT_LOAD):
                self.assertNotEqual(segment[1] & (PF_X | PF_W), PF_X | PF_W)

    def test_no_places_of_libraries_of_its_own(self):
        for name, elf in self.files.items():
            self.assertNotIn(DT_RPATH, elf.dynamic(), name)
            self.assertNotIn(DT_RUNPATH, elf.dynamic(), name)

    @unittest.skipUnless(os.uname().machine == "x86_64", "of x86 only")
    def test_jumps_are_checked(self):
        """CET, in each object of ours. The linker marks a program only if all objects are: Debian's C library and xmlrpc-c may not be."""
        for name in ARCHIVES:
            path = os.path.join(BUILD, name)
            objects = [one for one in tool("ar", "t", path).split() if one != "xmlrpc_own.o"]
            by_object = re.split(r"^File: .*\((.*)\)$", tool("readelf", "--notes", path), flags=re.MULTILINE)[1:]
            marked = [one for one, notes in zip(by_object[::2], by_object[1::2]) if "x86 feature: IBT, SHSTK" in notes]
            self.assertEqual(sorted(set(objects) - set(marked)), [], name)

    def test_calls_of_the_c_library_are_checked(self):
        if "-O0" in self.config:
            self.skipTest("it needs an optimizing compiler")
        for name, elf in self.files.items():
            called = set(re.findall(r" (\w+)@", tool("readelf", "--dyn-syms", "--wide", elf.path)))
            self.assertIn("__stack_chk_fail", called, name)
            self.assertTrue([one for one in called if re.fullmatch(r"__\w+_chk", one)], name)

    def test_the_compilers_options(self):
        if "-g" not in self.config.split() or "gcc" not in self.config:
            self.skipTest("nothing tells the options")
        for name, elf in self.files.items():
            options = options_of(elf.path)
            self.assertTrue(options, name)
            for line in options:
                self.assertIn("-fstack-clash-protection", line, name)
                self.assertIn("-fstack-protector-strong", line, name)


if __name__ == "__main__":
    sys.exit(unittest.main())
