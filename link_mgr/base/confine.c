/* SPDX-License-Identifier: GPL-2.0-or-later */
/* confine.c - see confine.h. The table has a reason for each group of calls. */
#include "link_mgr/base/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define CALL(name) SCMP_SYS(name)

/* clang-format off */
static const int calls[] = {
    /* bytes and descriptors: programs' sockets, RPC, the log */
    CALL(read), CALL(readv), CALL(pread64), CALL(preadv), CALL(write), CALL(writev), CALL(pwrite64),
    CALL(pwritev), CALL(pwritev2), CALL(close), CALL(dup),
    CALL(dup2), CALL(dup3), CALL(lseek), CALL(ftruncate), CALL(fallocate), CALL(fstat),
    /* sockets; socket() has a rule of its own */
    CALL(socketpair), CALL(bind), CALL(listen), CALL(accept), CALL(accept4), CALL(connect),
    CALL(getsockname), CALL(getpeername), CALL(getsockopt), CALL(setsockopt), CALL(shutdown),
    CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg), CALL(sendto), CALL(sendmsg), CALL(sendmmsg),
    /* long messages */
    CALL(memfd_create),
    /* Xen's store library */
    CALL(pipe2),
    /* the loop */
    CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait), CALL(poll),
    CALL(ppoll), CALL(eventfd2), CALL(timerfd_create), CALL(timerfd_settime), CALL(clock_gettime),
    CALL(gettimeofday), CALL(clock_nanosleep), CALL(nanosleep), CALL(restart_syscall),
    /* memory; mmap and mprotect have rules of their own */
    CALL(brk), CALL(munmap), CALL(mremap), CALL(madvise),
    /* threads: the closer, and the workers of the xen platform */
    CALL(futex), CALL(clone), CALL(clone3), CALL(set_robust_list), CALL(rseq), CALL(exit),
    CALL(sched_yield), CALL(sched_getaffinity), CALL(gettid), CALL(set_tid_address),
    /* signals, and the end */
    CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigaltstack), CALL(tgkill),
    CALL(exit_group), CALL(getpid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
    CALL(getrandom), CALL(prlimit64), CALL(sysinfo), CALL(uname),
    /* the local platform's store; both platforms' files in /proc and /dev */
    CALL(openat), CALL(open), CALL(newfstatat), CALL(statx), CALL(stat), CALL(lstat), CALL(access),
    CALL(faccessat), CALL(faccessat2), CALL(readlink), CALL(readlinkat), CALL(getdents64),
    CALL(getcwd), /* a relative path of --listen-rules */
    CALL(mkdir), CALL(mkdirat), CALL(rmdir), CALL(unlink), CALL(unlinkat), CALL(rename),
    CALL(renameat), CALL(renameat2), CALL(fchmod), CALL(fchmodat), CALL(chmod), CALL(flock),
    CALL(inotify_init1), CALL(inotify_add_watch), CALL(inotify_rm_watch),
    /* the same on machines of 32 bits */
    CALL(_llseek), CALL(ftruncate64), CALL(fstat64), CALL(stat64), CALL(lstat64), CALL(fstatat64),
    CALL(recvmmsg_time64), CALL(recv), CALL(send), CALL(socketcall), CALL(ppoll_time64),
    CALL(timerfd_settime64), CALL(clock_gettime64), CALL(clock_nanosleep_time64),
    CALL(futex_time64), CALL(sigreturn), CALL(getuid32), CALL(geteuid32), CALL(getgid32),
    CALL(getegid32), CALL(ugetrlimit), CALL(time), CALL(set_thread_area),
};
/* clang-format on */

/* Calls of which only some forms are allowed: argument `index`, masked, is `value`. other: its name
 * on machines of 32 bits. */
static const struct {
    int call, other;
    unsigned index;
    uint64_t mask, value;
} forms[] = {
    {CALL(socket), -1, 0, UINT32_MAX, AF_UNIX},
    {CALL(socket), -1, 0, UINT32_MAX, AF_NETLINK}, /* sock_diag */
    /* never both writable and executable; the C library may load a library when a thread ends */
    {CALL(mmap), CALL(mmap2), 2, PROT_WRITE | PROT_EXEC, 0},
    {CALL(mmap), CALL(mmap2), 2, PROT_WRITE | PROT_EXEC, PROT_WRITE},
    {CALL(mmap), CALL(mmap2), 2, PROT_WRITE | PROT_EXEC, PROT_EXEC},
    {CALL(mprotect), -1, 2, PROT_WRITE | PROT_EXEC, 0},
    {CALL(mprotect), -1, 2, PROT_WRITE | PROT_EXEC, PROT_WRITE},
    {CALL(fcntl), CALL(fcntl64), 1, UINT32_MAX, F_DUPFD_CLOEXEC},
    {CALL(fcntl), CALL(fcntl64), 1, UINT32_MAX, F_DUPFD},
    {CALL(fcntl), CALL(fcntl64), 1, UINT32_MAX, F_GETFD},
    {CALL(fcntl), CALL(fcntl64), 1, UINT32_MAX, F_SETFD},
    {CALL(fcntl), CALL(fcntl64), 1, UINT32_MAX, F_GETFL},
    {CALL(fcntl), CALL(fcntl64), 1, UINT32_MAX, F_SETFL},
    {CALL(fcntl), CALL(fcntl64), 1, UINT32_MAX, F_ADD_SEALS},
    {CALL(fcntl), CALL(fcntl64), 1, UINT32_MAX, F_GET_SEALS},
    {CALL(ioctl), -1, 1, UINT32_MAX, FIONREAD},
    {CALL(ioctl), -1, 1, UINT32_MAX, FIONBIO},
    {CALL(ioctl), -1, 1, UINT32_MAX, SIOCOUTQ},
    {CALL(ioctl), -1, 1, UINT32_MAX, TCGETS}, /* Xen's libraries ask whether stderr is a terminal */
    {CALL(ioctl), -1, 1, 0xff00, 'E' << 8},   /* xen/evtchn.h */
    {CALL(ioctl), -1, 1, 0xff00, 'G' << 8},   /* xen/gntdev.h, xen/gntalloc.h */
};

/* A negative number: this machine does not have the call. */
static int confine_allow_call(scmp_filter_ctx filter, int call)
{
    return call < 0 ? 0 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
}

static int confine_allow_form(scmp_filter_ctx filter, int call, const struct scmp_arg_cmp *is)
{
    return call < 0 ? 0 : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, is);
}

static int confine_allow(scmp_filter_ctx filter)
{
    int error = 0;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && !error; i++)
        error = confine_allow_call(filter, calls[i]);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]) && !error; i++) {
        const struct scmp_arg_cmp is =
            SCMP_CMP(forms[i].index, SCMP_CMP_MASKED_EQ, forms[i].mask, forms[i].value);
        error = confine_allow_form(filter, forms[i].call, &is);
        if (!error)
            error = confine_allow_form(filter, forms[i].other, &is);
    }
    return error;
}

int confine_begin(enum confine mode)
{
    if (mode == CONFINE_NO)
        return 0;
    scmp_filter_ctx filter =
        seccomp_init(mode == CONFINE_KILL ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return -ENOMEM;
    int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!error)
        error = confine_allow(filter);
    if (!error)
        error = seccomp_load(filter);
    seccomp_release(filter);
    return error;
}
