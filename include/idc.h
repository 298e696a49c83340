/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * idc.h - sockets between the domains of one Xen host.
 *
 * Every call below talks to the link_mgr daemon of the caller's own domain. A program gets an
 * ordinary, connected file descriptor from it: a Unix-domain socket whose other end the daemon
 * holds. So read, write, sendmsg, poll, epoll, io_uring, O_NONBLOCK, dup, fork and exec work on it
 * as on any socket. The kernel gives everything back when the program dies.
 *
 * Conventions
 *   Errors      Calls that return int or ssize_t return -1 and set errno; idc_last_error() then
 *               returns the reason in words.
 *   Threads     Every function may be called from any thread at any time. Two threads may use one
 *               descriptor under the same rules as for any socket.
 *   Fork, exec  A child may use descriptors that it inherited and may make calls of its own. The
 *               descriptors that the library makes are close-on-exec; clear FD_CLOEXEC to hand one
 *               to another program.
 *   Signals     No call raises SIGPIPE. A blocking call that a signal handler interrupts fails with
 *               EINTR, unless the handler was installed with SA_RESTART. (A connect or listen goes
 *               on only if all handlers of the process were installed so.)
 *   Time        Only idc_accept, idc_recv and idc_send wait without a limit. When link_mgr is
 *               stopped or hangs, the other calls fail with ETIMEDOUT. A connect fails two seconds
 *               after its own limit (never with IDC_TIMEOUT_NONE), a nonblocking connect after two
 *               seconds. A listen fails after ten seconds; idc_unlisten, idc_resolve and idc_domid
 *               after five.
 *   Buffers     A stream has a SO_SNDBUF of 416 KiB where net.core.wmem_max allows it. A program
 *               may make it smaller. But then its end may see an end of file instead of ECONNRESET
 *               when a daemon or a link dies (docs/design.md, "End of file, or reset?").
 *   Urgent data MSG_OOB is accepted, and its byte arrives in its place among the others. Nothing
 *               tells the receiver that it was urgent. Within a domain, SO_OOBINLINE is set at both
 *               ends for that. A program that clears it at its end loses urgent bytes there.
 *   Descriptors A connection to another domain carries none. If a program sends some all the same
 *               (SCM_RIGHTS), it is told EPERM at once where the kernel can refuse them, and else
 *               both sides lose the connection (EPERM). A listener that is sent some ends.
 *   Daemon gone Calls fail with ENOENT or ECONNREFUSED when no link_mgr serves the socket path.
 *               Connections of a daemon that died fail with ECONNRESET; its listeners report
 *               ECONNABORTED, unless they are kept (struct idc_options).
 *
 * Errors of a connect (docs/protocol.md, "Reasons", has the full table)
 *   ECONNREFUSED  nothing listens there, or its backlog is full
 *   EACCES        policy does not allow it (see idc-setup(8))
 *   EHOSTUNREACH  there is no such domain, or no link_mgr runs in it
 *   ETIMEDOUT     the other side did not answer in time
 *   ENOBUFS       one of the two sides is out of resources; or a thread has more than 4,096
 *                 nonblocking connects under way; or link_mgr takes no more calls or RPC
 *                 connections of this user
 *   EDQUOT        the user has as many connections to other domains as it may have (link_mgr(8),
 *                 --quota)
 *   EPROTO        the two daemons have no protocol version in common
 *   EPROTOTYPE    the listener is of the other type (stream or seqpacket)
 *   ECONNRESET    the link was lost meanwhile
 *   ENOTUNIQ      several domains have the name (idc_connect_to)
 */
#ifndef IDC_H
#define IDC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IDC_API __attribute__((visibility("default")))

/* "My own domain" wherever a domid is asked for (DOMID_SELF of Xen's public/xen.h). */
#define IDC_DOMID_SELF 0x7FF0u
/* Any port: the daemon picks a free one (listen). */
#define IDC_PORT_ANY 0u
/* The connection manager of a domain (service discovery, echo for idc ping). */
#define IDC_PORT_MANAGER 1u
/* Listening on 2..IDC_PORT_PRIVILEGED_MAX needs the privilege of root or of the daemon's own user,
 * unless a rule gives the port to somebody (idc-listen(5)). */
#define IDC_PORT_PRIVILEGED_MAX 1023u
/* Ports from here up are given to connecting programs and to listeners on IDC_PORT_ANY. */
#define IDC_PORT_EPHEMERAL_MIN 0x80000000u
/* Longest service name in bytes, without the final NUL. Allowed: A-Z a-z 0-9 . _ - ; at least one
 * letter. */
#define IDC_SERVICE_MAX 79
/* Longest message of a seqpacket connection in bytes. */
#define IDC_MESSAGE_MAX (16u * 1024 * 1024)
/* No limit, for the timeouts in milliseconds of struct idc_options. */
#define IDC_TIMEOUT_NONE (-1)

enum idc_type {
    IDC_STREAM = 1,    /* bytes, as SOCK_STREAM */
    IDC_SEQPACKET = 2, /* messages whose boundaries are kept, as SOCK_SEQPACKET */
};

/* One end of a connection. */
struct idc_addr {
    uint32_t domid; /* 0..0x7FEF */
    uint32_t port;  /* 1..0xFFFFFFFF */
    /* user id of the program, as its own link_mgr vouches for it; (uint32_t)-1: not known */
    uint32_t uid;
    uint32_t type;                     /* enum idc_type */
    char service[IDC_SERVICE_MAX + 1]; /* name that was connected to, or "" */
};

/*
 * Options of the extensible calls. Initialise them with IDC_OPTIONS_INIT and set what differs.
 * Later versions may add members; size tells the library which of them the caller knows, and the
 * others have their defaults.
 */
struct idc_options {
    size_t size; /* sizeof(struct idc_options) of the caller; IDC_OPTIONS_INIT sets it */
    int type;    /* enum idc_type; default IDC_STREAM */
    /* connect, and listen with wait: milliseconds until ETIMEDOUT, 1..; IDC_TIMEOUT_NONE; 0:
     * default, 30,000 */
    int timeout_ms;
    /* connect: return at once, see idc_connect_finish. Also sets O_NONBLOCK */
    int nonblocking;
    /* path of the daemon's RPC socket; NULL: $IDC_SOCKET, else /run/idc/rpc.sock */
    const char *socket;
    /*
     * connect: waits, as long as timeout_ms allows, for whatever is not there yet. That may be the
     * own daemon, the other domain's daemon, the listener, or a place in its backlog. When the time
     * is up, the call fails with ETIMEDOUT, and idc_last_error says what was missing. A refusal by
     * policy is final. With nonblocking, the own daemon has to be there. listen: waits for the own
     * daemon in the same way.
     */
    int wait;
    /* listen: the listener outlives its daemon, see idc_listen_with */
    int keep;
    /* connect, and listen for what it accepts: as idc_peer_timeout; 0: it may hang for ever */
    int peer_timeout_ms;
    int reserved; /* 0 */
};
/* C++ has no designated initialisers before C++20, and warns of members that are left out. */
#ifdef __cplusplus
#define IDC_OPTIONS_INIT                                               \
    {                                                                  \
        sizeof(struct idc_options), IDC_STREAM, 0, 0, NULL, 0, 0, 0, 0 \
    }
#else
#define IDC_OPTIONS_INIT                                       \
    {                                                          \
        .size = sizeof(struct idc_options), .type = IDC_STREAM \
    }
#endif

/*
 * Connect to a port, or to a service by name, in domain domid (or IDC_DOMID_SELF). Returns a
 * connected descriptor that the caller closes. The _with forms take options (NULL: defaults).
 */
IDC_API int idc_connect(uint32_t domid, uint32_t port);
IDC_API int idc_connect_name(uint32_t domid, const char *service);
IDC_API int idc_connect_with(uint32_t domid, uint32_t port, const struct idc_options *options);
IDC_API int idc_connect_name_with(uint32_t domid, const char *service,
                                  const struct idc_options *options);

/*
 * Connect to a service of a domain that is given by its name, so that the program need not know its
 * domid, which is another one after each start of the domain.
 *
 *   domain   NAME, name:NAME, uuid:UUID, N or domid:N, dom0, self; NULL or "any": the domain that a
 *            route chooses (docs/rpc.md, "Naming a domain")
 *   service  a service name, or a port as decimal digits. With "any" it has to be a name
 *   options  as above. With wait, the call also waits, within its time limit, until there is such a
 *            domain
 *
 * The name is looked up by the daemon, for each attempt anew. Both texts are the caller's, and are
 * not used after the call. Errors, besides those of a connect: EINVAL (a text is malformed),
 * EHOSTUNREACH (this domain may know of no domain of that name, or of no route), ENOTUNIQ (several
 * domains have the name; idc_last_error has their domids).
 */
IDC_API int idc_connect_to(const char *domain, const char *service,
                           const struct idc_options *options);

/*
 * The domid of a domain that is given by its name, as it is now, and the own domid. They return 0.
 * Both ask the daemon at $IDC_SOCKET, else /run/idc/rpc.sock; only a number or dom0 is not looked
 * up. Nobody says that the domain has a link_mgr, or may be reached. Errors of idc_resolve: EINVAL
 * (malformed, or "any"), EHOSTUNREACH, ENOTUNIQ as above; of both: EFAULT (NULL), ETIMEDOUT (the
 * daemon does not answer for five seconds).
 */
IDC_API int idc_resolve(const char *domain, uint32_t *domid);
IDC_API int idc_domid(uint32_t *domid);

/* A service that a domain offers. */
struct idc_service {
    uint32_t port;
    uint32_t type;                  /* enum idc_type */
    char name[IDC_SERVICE_MAX + 1]; /* "": it has only a port */
};

/*
 * What a domain offers to this one: the listeners to which programs here may connect, in no order.
 * The first count of them are written to services, which is the caller's (and may be NULL if count
 * is 0). Returns how many there are, which may be more than count. options.timeout_ms is for the
 * whole call; nonblocking is EINVAL, and type does not matter. domain is as for idc_connect_to, but
 * not "any". Errors: those of a connect; EFAULT (NULL); EPROTO (the answer is no list, or has more
 * than a million lines).
 */
IDC_API int idc_services(const char *domain, struct idc_service *services, size_t count,
                         const struct idc_options *options);

/*
 * Outcome of a connect with options.nonblocking. The descriptor polls writable (POLLOUT) once the
 * attempt has succeeded or failed. Returns 0 when connected; -1 with EINPROGRESS while the attempt
 * is under way; -1 with the error that ended it (then close the descriptor). It may be called
 * again; on any connected descriptor of IDC it returns 0. It does not wait, but if a failure has a
 * long explanation, the daemon is asked for that, which takes a second at most. Errors: EINVAL when
 * fd is a listener or a socket that is not IDC's; ENOTSOCK; EBADF.
 */
IDC_API int idc_connect_finish(int fd);

/*
 * Accept connections on a port (IDC_PORT_ANY: the daemon picks one) or on a service name (the
 * daemon picks the port). backlog: how many connections may wait to be accepted, 1..4096 (less
 * counts as 1, more as 4096). Returns a listener, a descriptor that is only for idc_accept. It
 * polls readable when a connection waits; close it with close or idc_unlisten. Errors: EADDRINUSE,
 * EACCES (the user may not listen there: idc-listen(5), or a port below 1024), EINVAL (name or port
 * out of range), ENOBUFS, EDQUOT (the user has as many listeners as it may have).
 */
IDC_API int idc_listen(uint32_t port, int backlog);
IDC_API int idc_listen_name(const char *service, int backlog);
/*
 * Listens on both at once, with options. service may be NULL, port may be IDC_PORT_ANY.
 *
 * With options.keep the listener outlives its daemon. When the daemon ends, is restarted or
 * upgraded, the library registers the listener anew, as long as the listener is open.
 *   Meanwhile   The descriptor stays what it is, in every poll or epoll set. It does not poll
 *               readable, and idc_accept waits, or fails with EAGAIN. Connections that had not been
 *               accepted are over, except those from within the domain; idc_accept may still return
 *               them.
 *   Pauses      It is tried at once, and then after 10 ms and up to 500 ms, without end. So the
 *               listener is there at most half a second after its daemon.
 *   Refused     The port or name was taken meanwhile (EADDRINUSE), is no longer allowed (EACCES),
 *               is above the quota (EDQUOT), or the new daemon does not know this library (EPROTO).
 *               Then the descriptor polls readable once, and one idc_accept fails with that error.
 *               Any other error of idc_accept is as without keep. The listener stays open, and is
 *               tried on. So a program may give up, or go on accepting. The same error is told
 *               again only after the listener has been registered in between. A listener that the
 *               administrator's new rules end is treated so too.
 *   Port        A port that was asked for, or picked alone, stays. One that was picked beside a
 *               name may be another one then; idc_getsockname still tells the first one.
 *   User        It is registered as the user that the program is then.
 *   Threads     The process gets one thread for all its listeners that are kept. The thread runs no
 *               signal handler.
 *   Fork, exec  The process that called this function keeps the listener. A child shares it, as any
 *               other, and accepts again by itself too. When the keeping process has ended, or has
 *               called exec, the listener goes on until its daemon ends (ECONNABORTED).
 * Each takes two more descriptors of the process than one without it, and the first one another.
 * Further errors: EMFILE, EAGAIN (no thread could be made), EINVAL (the daemon is older than this
 * option).
 */
IDC_API int idc_listen_with(uint32_t port, const char *service, int backlog,
                            const struct idc_options *options);

/*
 * Take the next waiting connection. The call waits for one, unless the listener has O_NONBLOCK
 * (then EAGAIN). peer, if not NULL, gets the caller's address. Its domid comes from the link
 * itself, and the peer cannot forge it. Returns a connected descriptor that the caller closes.
 * A connection that its client has spoilt, by reading from a copy of the other end, is dropped, and
 * the next one is waited for.
 * Errors: ECONNABORTED when the listener was ended, or its daemon has ended; those of a listener
 * that is kept, and cannot be registered anew (idc_listen_with); EBADF when another
 * thread has closed the descriptor meanwhile; EINVAL when it is not a listener. A call that waits
 * notices a close only when the next connection comes, and resets that. idc_unlisten wakes it.
 */
IDC_API int idc_accept(int listener, struct idc_addr *peer);

/*
 * As send(2) with MSG_NOSIGNAL and recv(2), with two differences. A connection that was cut off
 * reports the reason that the daemon knows (EACCES after a revoked permission, for example). The
 * plain calls can only report ECONNRESET. And messages of a seqpacket connection may have up to
 * IDC_MESSAGE_MAX bytes, more than the kernel lets the descriptor carry. idc_recv returns 0 at the
 * end of the connection, and also for an empty message; idc_recv_with can tell the two apart. A
 * message longer than len is cut to len, and its rest is lost. If the process has no descriptor
 * left for a long message, idc_recv fails with EMFILE and the message stays where it is. If another
 * thread closes the descriptor while idc_recv waits for a message, and the number becomes that of
 * another descriptor, idc_recv fails with EBADF when it wakes up. On a listener both fail with
 * EINVAL, and nothing happens to the listener.
 *
 * A message for which the program has made SO_SNDBUF too small is sent as a long one is. Long ones
 * are few at a time: a reader that does not read stops their writer after five, or after eight if
 * the program has set SO_SNDBUF. They are memory of the sender. Within a domain two may wait. Then
 * a blocking idc_send waits. Another fails with EAGAIN, and POLLOUT tells when there is room.
 *
 * Each long message that waits counts as a descriptor under way. The kernel allows a user (but not
 * root) as many of these as it allows a process open files. Beyond that, a blocking idc_send waits,
 * and a signal ends it with EINTR even with SA_RESTART. Another fails with ETOOMANYREFS, which
 * POLLOUT does not foretell.
 *
 * The plain recv(2) gets no more of a message than its first 320 KiB (128 KiB within a domain). The
 * rest is lost, and MSG_CTRUNC of recvmsg(2) tells so. With room for control data, recvmsg gives a
 * descriptor instead, which the program has to close, and no flag. Where the sender has made
 * SO_SNDBUF small, that may be less than 320 KiB. Use idc_recv where a peer may send such messages.
 */
IDC_API ssize_t idc_send(int fd, const void *buf, size_t len);
IDC_API ssize_t idc_recv(int fd, void *buf, size_t len);

/*
 * As idc_recv, with flags of recv(2):
 *   MSG_PEEK      the data that it returns stay there
 *   MSG_DONTWAIT  EAGAIN when there is nothing
 *   MSG_TRUNC     of a message: return its true length, even if that is more than len
 *   MSG_WAITALL   of a stream: wait until there are len bytes
 * Other flags: EINVAL. *length (which may be NULL) gets the true length of the message, for a
 * stream the number of bytes returned, and IDC_END at the end. So idc_recv_with(fd, NULL, 0,
 * MSG_PEEK | MSG_TRUNC, &length) asks for the size of the next message.
 *
 * Resets: the kernel reports a reset to one call only, of whichever thread. A recv that waits for
 * several bytes (MSG_WAITALL, SO_RCVLOWAT) uses the report up and returns the bytes that came. The
 * next plain recv then returns 0 as at a clean end. This call and idc_recv ask link_mgr before they
 * return 0, if both directions are over, or if they wait for several bytes. They fail if the
 * connection was cut off. If that link_mgr has ended since, they fail with ECONNRESET. Connections
 * within a domain behave like the kernel's own.
 */
#define IDC_END ((size_t)-1)
IDC_API ssize_t idc_recv_with(int fd, void *buf, size_t len, int flags, size_t *length);

/*
 * Says how long the other domain may stand still until this connection ends: 100 or more
 * milliseconds, or 0, which is the default: for ever. A domain that is paused, or whose daemon
 * hangs, is no dead one, and its connections wait. With a time, the own daemon asks the other one
 * for a sign of life when there was none for a third of it. When none comes until the time is over,
 * the connection is reset: idc_recv and idc_send fail with ETIMEDOUT, plain calls with ECONNRESET.
 * A peer that is slow, or that never reads, is not ended. It has no effect on a connection within
 * the domain, to a peer whose daemon is older than this, or that is over. Returns 0. Errors:
 * EINVAL (no connection of IDC, one that is not connected yet, a time that is out of range, or an
 * older own daemon), EBADF, ENOTSOCK, ENOENT (the daemon does not know the connection), and those
 * of a call to the daemon.
 */
IDC_API int idc_peer_timeout(int fd, int milliseconds);

/* Close a connection, as close(2) does. What was sent is still delivered. */
IDC_API int idc_disconnect(int fd);

/*
 * Stop listening, also for other processes that share the descriptor, and close it. When the call
 * returns, the port and the name are free again; connections that waited are reset. ETIMEDOUT: the
 * daemon does not answer. The listener is closed all the same, and port and name become free once
 * the daemon goes on.
 */
IDC_API int idc_unlisten(int listener);

/*
 * Address of this end and of the other end. Both work on inherited and duplicated descriptors too;
 * idc_getsockname also works on listeners. The peer's uid is that of the program that connected, or
 * that listens, as its own link_mgr vouches for it. So a client can refuse an impostor, before it
 * sends anything. It is (uint32_t)-1 if the other domain's link_mgr does not tell. Errors: EBADF,
 * ENOTSOCK or EINVAL when fd is not a descriptor of IDC; ENOTCONN while a nonblocking connect is
 * under way, after it has failed, and for the peer of a listener; EFAULT when address is NULL.
 */
IDC_API int idc_getsockname(int fd, struct idc_addr *address);
IDC_API int idc_getpeername(int fd, struct idc_addr *address);

/* Says in words, without a final newline, why the latest failing call of this thread failed. The
 * text is valid until the thread's next call of the library. Never NULL. */
IDC_API const char *idc_last_error(void);

/* The library's version, "MAJOR.MINOR.PATCH". */
IDC_API const char *idc_version(void);

#ifdef __cplusplus
}
#endif

#endif
