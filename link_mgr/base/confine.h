/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine.h - from now on this process can do only what link_mgr has to do.
 *
 * Theory of operation
 *
 * link_mgr reads what other domains and other users write. Whoever takes it over should gain
 * little. So when everything is open, and before the first program is served, it gives up all
 * system calls but those in the table of confine.c. A call that is not there fails with ENOSYS, as
 * on an older kernel, for which the C library has a way round. The filter holds for all threads,
 * and for ever.
 *
 * It cannot start programs, trace, make sockets other than AF_UNIX and AF_NETLINK, or map memory
 * that can be written and executed. It can open files, because the store of the local platform and
 * the devices of Xen are opened for each link. The unit file limits which (dist/).
 *
 * To mend a call that is missing, run link_mgr with --confine kill, as the tests do: the kernel's
 * log (or the status SIGSYS, with a core dump) names the call.
 */
#ifndef IDC_CONFINE_H
#define IDC_CONFINE_H

enum confine {
    CONFINE_YES,  /* other calls fail */
    CONFINE_KILL, /* other calls end the process; for tests */
    CONFINE_NO,   /* for debuggers that work inside the process, as valgrind does */
};

/* The sanitizers need calls of their own too. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CONFINE_USUAL CONFINE_NO
#else
#define CONFINE_USUAL CONFINE_YES
#endif

/* 0, or negative errno: the kernel has no seccomp filters, or memory is short. */
int confine_begin(enum confine mode);

#endif
