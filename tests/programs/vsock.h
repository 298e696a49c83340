/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vsock.h - a program that speaks AF_VSOCK, knows nothing of IDC, and checks what it finds.
 *
 *   vsock serve PORT                       serves streams on PORT and messages on PORT+1, in what
 *                                          the first bytes ask for; and streams on PORT+2, for its
 *                                          own domain alone
 *   vsock run CID PORT OWN_CID [CASE]...   the cases, each in a child, against such a server; one
 *                                          line each: "ok CASE", or what
 *                                          was wrong; then "N ok, N failed"
 *   vsock one CASE CID PORT OWN_CID        one case, in this process
 *
 *   vsock_server.c    the server
 *   vsock_cases.c     cases that are about making sockets and connections
 *   vsock_data.c      ... about what passes through them
 *   vsock_uring.c     ... by io_uring
 *   vsock_process.c   ... about descriptors, processes, threads
 */
#ifndef IDC_TESTS_VSOCK_H
#define IDC_TESTS_VSOCK_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define REQUEST_SIZE 16
#define WAIT_MS 20000

/* Whom a case talks to. */
struct other {
    uint32_t cid, port, own_cid;
    const char *program; /* this one's path */
};

struct vsock_case {
    const char *name;
    void (*run)(const struct other *other);
    bool by_name; /* only when asked for: it needs something to be prepared */
};

extern const struct vsock_case vsock_cases[], vsock_data_cases[], vsock_process_cases[];
void test_io_uring(const struct other *other);

/* What is not so ends the process, after a line that says it. */
#define CHECK(condition)                                  \
    do {                                                  \
        if (!(condition))                                 \
            check_failed(__FILE__, __LINE__, #condition); \
    } while (0)
#define CHECK_ERRNO(call, expected)                                                   \
    do {                                                                              \
        errno = 0;                                                                    \
        long result_of_call = (long)(call);                                           \
        if (result_of_call != -1 || errno != (expected))                              \
            check_errno_failed(__FILE__, __LINE__, #call, result_of_call, #expected); \
    } while (0)
void check_failed(const char *file, int line, const char *what) __attribute__((noreturn));
void check_errno_failed(const char *file, int line, const char *what, long result,
                        const char *expected) __attribute__((noreturn));

struct sockaddr_vm address_of(uint32_t cid, uint32_t port);
/* connect(2), bind(2), getsockname(2), getpeername(2) on a struct sockaddr_vm; the latter two must
 * succeed. */
int connect_to(int fd, uint32_t cid, uint32_t port);
int bind_to(int fd, uint32_t cid, uint32_t port);
struct sockaddr_vm own_address(int fd);
struct sockaddr_vm peer_address(int fd);
int new_socket(int type);
/* A connection to the server, which has got the request. */
int ask(const struct other *other, int type, const char *request);
int int_option(int fd, int level, int name);
/* SO_VM_SOCKETS_BUFFER_SIZE, and its maximum. */
void allow_messages(int fd, uint64_t size);
/* What poll says, of events. Waits until it says something, at most ms. */
short polled(int fd, short events, int ms);
/* Waits until a connect is over. After a failure POLLHUP and POLLERR may come a moment before
 * POLLOUT, when the kernel has not yet freed what link_mgr left unread. */
void await_writable(int fd);
/* Waits until that many bytes are there to be read. */
void await_bytes(int fd, int count);
void send_all(int fd, const char *bytes, size_t len);
void receive_all(int fd, char *bytes, size_t len);
/* Sends and receives the same, through a server that echoes. */
void check_echo(int fd);
/* A child's exit status, or minus the signal that ended it. */
int wait_for(pid_t child);
void serve(uint32_t port) __attribute__((noreturn));

#endif
