/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_sockets.h - what the fuzzers of programs' sockets share. The input's bytes decide which
 * calls are made on real sockets, and what is sent. Descriptors go along: of a file that is no
 * message, of memory (sealed or not), and of the socket itself. At the end as many are open as
 * before.
 */
#ifndef IDC_FUZZ_SOCKETS_H
#define IDC_FUZZ_SOCKETS_H

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/base/log.h"

struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    return input->size > 0 ? input->size--, *input->data++ : 0;
}

/* A length: mostly short, at most 128 KiB. */
static inline size_t fuzz_length(struct fuzz_input *input)
{
    size_t byte = fuzz_byte(input);
    return byte < 200 ? byte : (byte - 199) * 2341;
}

static inline int fuzz_open_descriptors(void)
{
    static int began;
    int count = 0;
    if (!began++)
        log_line(LOG_NOTICE, "fuzzing"); /* the log opens its descriptor with the first line */
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static inline void fuzz_require(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

/* Memory with so many bytes, sealed or not. */
static inline int fuzz_memory(size_t len, int sealed)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate(fd, (off_t)len) == 0 && sealed)
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    return fd;
}

/* Fills in up to HANDOVER_FDS_MAX descriptors, and says how many. own: of the socket. */
static inline int fuzz_descriptors(struct fuzz_input *input, int own, int fds[HANDOVER_FDS_MAX])
{
    uint8_t which = fuzz_byte(input);
    int count = which % 8 < 5 ? which % 8 : 0;
    for (int i = 0; i < count; i++, which /= 2) {
        if (which & 8)
            fds[i] = dup(own);
        else if (which & 16)
            fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
        else
            fds[i] = fuzz_memory(fuzz_length(input) * 8, which & 32);
        fuzz_require(fds[i] >= 0, "no descriptor");
    }
    return count;
}

/* Sends some bytes of the input, or a length of zeros, with descriptors. */
static inline void fuzz_send(struct fuzz_input *input, int fd, const uint8_t *bytes, size_t len)
{
    int fds[HANDOVER_FDS_MAX], count = fuzz_descriptors(input, fd, fds);
    handover_send(fd, bytes, len, fds, count, MSG_DONTWAIT);
    while (count > 0)
        close(fds[--count]);
}

/* Options that a program may set at an end that it holds. */
static inline void fuzz_option(struct fuzz_input *input, int fd)
{
    static const int names[] = {SO_PASSCRED, SO_PASSSEC,  SO_TIMESTAMP, SO_PEEK_OFF,
                                SO_RCVBUF,   SO_SNDBUF,   SO_RCVLOWAT,  76 /* SO_PASSPIDFD */,
                                SO_RCVTIMEO, SO_OOBINLINE};
    int value = fuzz_byte(input);
    setsockopt(fd, SOL_SOCKET, names[fuzz_byte(input) % (sizeof(names) / sizeof(names[0]))], &value,
               sizeof(value));
}

#endif
