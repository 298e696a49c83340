/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * standard_output.h - what a program prints is written, or the program fails.
 *
 * stdio tells of a full disk when it writes its buffer, which may be at exit, when nobody looks any
 * more. Every main therefore begins with standard_begin and ends with standard_end.
 *
 * A program may be started with its standard descriptors closed (>&-). The next socket would get
 * such a number, and what is printed would go into a connection. So standard_begin fills the gaps
 * with descriptors on which the usual use fails. A program that is started by exec does not get
 * them.
 */
#ifndef IDC_STANDARD_OUTPUT_H
#define IDC_STANDARD_OUTPUT_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static inline void standard_begin(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC) != fd)
            return; /* there is no /dev/null, or the process has no descriptors */
}

/* Statuses of a program that has failed already, and has said so. Others may be an answer. */
#define STANDARD_FAILED 1
#define STANDARD_USAGE 2

/* The exit status: status, or 1 (after a line on stderr) if only stdout has failed. */
static inline int standard_end(const char *program, int status)
{
    int failed = ferror(stdout), error = 0; /* why an earlier write failed is not known any more */
    if (fflush(stdout) != 0 || (close(STDOUT_FILENO) < 0 && errno != EBADF))
        failed = 1, error = errno;
    if (!failed || status == STANDARD_FAILED || status == STANDARD_USAGE)
        return status;
    fprintf(stderr, "%s: cannot write the output%s%s\n", program, error != 0 ? ": " : "",
            error != 0 ? strerror(error) : "");
    return STANDARD_FAILED;
}

#endif
