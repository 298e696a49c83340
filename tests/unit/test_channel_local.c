/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels of the local platform. They are between two platforms in one process, between processes
 * of which one is killed, and with peers that lie at each step of the hand-over. Domain 5 offers,
 * domain 2 attaches.
 */
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/handover.h"
#include "link_mgr/platform/lent.h"
#include "link_mgr/platform/local/channel.h"
#include "link_mgr/platform/local/shared.h"
#include "tests/unit/local_fixture.h"

#define OFFERER 5
#define ATTACHER 2
#define BASE "/local/domain/5/data/idc/2/link"
#define RING 65536
#define WAIT_MS 20000 /* never used up when all is well */

static const struct platform_ops *ops = &platform_local;
static struct platform *high, *low;
static struct channel *offered, *attached;

/* One turn of an event loop over what is there. */
static void channel_local_turn(struct platform *platform)
{
    struct store_event event;
    if (local_fixture_readable(ops->event_fd(platform), 0))
        while (ops->next_event(platform, &event) == 1)
            continue;
}

/* Waits for a state as the daemon does: by the descriptors of the platform and the channel. */
static bool channel_local_becomes(struct platform *platform, struct channel *channel,
                                  enum channel_state state)
{
    int64_t deadline = now_ms() + WAIT_MS;
    while (ops->channel_poll(channel) != state) {
        struct pollfd p[2] = {{.fd = ops->event_fd(platform), .events = POLLIN},
                              {.fd = ops->channel_fd(channel), .events = POLLIN}};
        if (now_ms() > deadline || poll(p, 2, (int)(deadline - now_ms() + 1)) <= 0)
            return false;
        channel_local_turn(platform);
    }
    return true;
}

static void open_both(void)
{
    make_store();
    high = open_domain(OFFERER);
    low = open_domain(ATTACHER);
}

static void close_both(void)
{
    ops->close(high);
    ops->close(low);
    ck_assert_int_eq(count_files(store_dir, ""), 0);
    check_and_remove_store();
}

static void connect_both(void)
{
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), 0);
    ck_assert_int_eq(ops->channel_poll(offered), CHANNEL_PENDING);
    ck_assert_int_eq(ops->channel_poll(attached), CHANNEL_PENDING);
    channel_local_turn(high);
    ck_assert(channel_local_becomes(low, attached, CHANNEL_OPEN));
    ck_assert(channel_local_becomes(high, offered, CHANNEL_OPEN));
}

/* ---- an honest pair ---- */

static void send_text(struct ring_pair *from, struct channel *channel, const char *text)
{
    uint32_t length = (uint32_t)strlen(text) + 1;
    ck_assert_int_ge(ring_space(&from->out), length);
    ring_put(&from->out, 0, text, length);
    ring_publish(&from->out, length);
    ck_assert(ring_take_wish(from, RING_WANT_DATA));
    ops->channel_notify(channel);
}

static void expect_text(struct ring_pair *at, struct channel *channel, const char *text)
{
    char got[64] = "";
    uint32_t length = (uint32_t)strlen(text) + 1;
    ck_assert(local_fixture_readable(ops->channel_fd(channel), WAIT_MS));
    ck_assert_int_eq(ops->channel_poll(channel), CHANNEL_OPEN);
    ck_assert(!local_fixture_readable(ops->channel_fd(channel), 0));
    ck_assert_int_eq(ring_ready(&at->in), length);
    ring_get(&at->in, 0, got, length);
    ring_consume(&at->in, length);
    ck_assert_str_eq(got, text);
}

START_TEST(data_flow_both_ways)
{
    struct ring_pair server, client;
    connect_both();
    ops->channel_rings(offered, &server);
    ops->channel_rings(attached, &client);
    ck_assert_uint_eq(server.in.size, RING);
    ck_assert_uint_eq(client.in.size, RING);
    send_text(&client, attached, "to the server");
    expect_text(&server, offered, "to the server");
    send_text(&server, offered, "to the client");
    expect_text(&client, attached, "to the client");
    ops->channel_close(attached);
    ck_assert(channel_local_becomes(high, offered, CHANNEL_DEAD));
    ops->channel_close(offered);
}
END_TEST

/* The side that did not close, whichever it is, is told on the channel's descriptor alone. */
START_TEST(closing_is_seen_at_once)
{
    bool by_server = _i == 0;
    connect_both();
    struct channel *closer = by_server ? offered : attached,
                   *other = by_server ? attached : offered;
    ops->channel_close(closer);
    ck_assert(local_fixture_readable(ops->channel_fd(other), WAIT_MS));
    ck_assert_int_eq(ops->channel_poll(other), CHANNEL_DEAD);
    ops->channel_notify(other);
    channel_local_turn(by_server ? low : high);
    ck_assert_int_eq(ops->channel_poll(other), CHANNEL_DEAD);
    ops->channel_close(other);
}
END_TEST

START_TEST(closing_what_nobody_attached_to)
{
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    ck_assert_int_eq(count_files(store_dir, "link."), 1);
    ops->channel_close(offered);
    ck_assert_int_eq(count_files(store_dir, "link."), 0);
    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), -ENOENT);
}
END_TEST

/* The offer is withdrawn, or its daemon ends, while the other side waits for the hand-over. */
START_TEST(offer_ends_during_attach)
{
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), 0);
    ops->channel_close(offered);
    if (_i == 0) {
        channel_local_turn(high);
    } else {
        ops->close(high);
        high = open_domain(OFFERER);
    }
    ck_assert(channel_local_becomes(low, attached, CHANNEL_DEAD));
    ops->channel_close(attached);
}
END_TEST

START_TEST(every_ring_size_and_no_other)
{
    for (size_t size = 1024; size <= 4u << 20; size *= 2) {
        int result = ops->offer(high, ATTACHER, BASE, size, &offered);
        ck_assert_int_eq(result, size >= 4096 && size <= 1u << 20 ? 0 : -EINVAL);
        if (result != 0)
            continue;
        ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), 0);
        channel_local_turn(high);
        ck_assert(channel_local_becomes(low, attached, CHANNEL_OPEN));
        ops->channel_close(attached);
        ops->channel_close(offered);
    }
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, 5000, &offered), -EINVAL);
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, 0, &offered), -EINVAL);
}
END_TEST

START_TEST(bad_arguments)
{
    char path[300];
    ck_assert_int_eq(ops->offer(high, OFFERER, BASE, RING, &offered), -EINVAL);
    ck_assert_int_eq(ops->offer(high, 32752, BASE, RING, &offered), -EINVAL);
    ck_assert_int_eq(ops->offer(high, ATTACHER, "local/domain/5/data", RING, &offered), -EINVAL);
    ck_assert_int_eq(ops->offer(high, ATTACHER, "/local/domain/2/data/x", RING, &offered), -EACCES);
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[255] = '\0'; /* a good path, but with /socket too long */
    ck_assert_int_eq(ops->offer(high, ATTACHER, path, RING, &offered), -EINVAL);
    ck_assert_int_eq(ops->attach(low, ATTACHER, BASE, &attached), -EINVAL);
    ck_assert_int_eq(ops->attach(low, OFFERER, path, &attached), -EINVAL);
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &attached), -EEXIST);
    ops->channel_close(offered);
}
END_TEST

START_TEST(attach_to_what_is_not_offered)
{
    struct platform *third = open_domain(3);
    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), -ENOENT);
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    ck_assert_int_eq(ops->attach(third, OFFERER, BASE, &attached), -EACCES);
    put_file("domain:5/data:2/link.socket", "n5,r2\n../../etc", 15);
    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), -EPROTO);
    put_file("local.domain.9.data.link.socket", "n9,r2\n.link-9", 13);
    ck_assert_int_eq(ops->attach(low, 9, "/local/domain/9/data/link", &attached), -ENOENT);
    ops->channel_close(offered);
    ops->close(third);
    remove_store();
    ck_assert_int_eq(mkdir(store_dir, 0700), 0);
}
END_TEST

START_TEST(platform_closes_its_channels)
{
    connect_both();
    ops->close(high);
    ck_assert(channel_local_becomes(low, attached, CHANNEL_DEAD));
    ck_assert_int_eq(count_files(store_dir, "link."), 0);
    high = open_domain(OFFERER);
    ops->channel_close(attached);
}
END_TEST

START_TEST(the_page_is_as_libxenvchan_makes_it)
{
    struct shared server, client;
    const char *text = "";
    int fd = local_shared_make(&server, RING);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(server.page->left_order, 16);
    ck_assert_int_eq(server.page->right_order, 16);
    ck_assert_int_eq(server.page->srv_live, 1);
    ck_assert_int_eq(server.page->cli_live, 2);
    ck_assert_int_eq(server.page->cli_notify, RING_WANT_DATA);
    ck_assert_int_eq(server.page->srv_notify, RING_WANT_DATA);
    ck_assert_int_eq(local_shared_accept(&client, fd, &text), 0);
    ck_assert_int_eq(ftruncate(fd, 4096), -1);
    local_shared_unmap(&client);
    local_shared_unmap(&server);
    close(fd);
}
END_TEST

/* ---- notifications ---- */

START_TEST(notifications_add_up_to_one)
{
    connect_both();
    for (int i = 0; i < 100000; i++)
        ops->channel_notify(attached);
    ck_assert(local_fixture_readable(ops->channel_fd(offered), WAIT_MS));
    ck_assert_int_eq(ops->channel_poll(offered), CHANNEL_OPEN);
    ck_assert(!local_fixture_readable(ops->channel_fd(offered), 0));
    ck_assert(!local_fixture_readable(ops->channel_fd(attached), 0));
    ops->channel_close(attached);
    ops->channel_close(offered);
}
END_TEST

/* Whatever the peer does to the counter, neither side waits. */
START_TEST(a_full_counter_does_not_block)
{
    uint64_t most = UINT64_MAX - 1;
    connect_both();
    ck_assert_int_eq(write(ops->channel_fd(offered), &most, sizeof(most)), sizeof(most));
    ops->channel_notify(attached);
    ck_assert_int_eq(ops->channel_poll(offered), CHANNEL_OPEN);
    ck_assert_int_eq(ops->channel_poll(offered), CHANNEL_OPEN);
    ops->channel_close(attached);
    ops->channel_close(offered);
}
END_TEST

/* One descriptor for each piece of memory that is kept for the attacher's next link. */
static int kept_descriptors(void)
{
    struct platform_lent lent;
    ops->lent(high, ATTACHER, &lent);
    ck_assert_uint_eq(lent.held, 0);
    ck_assert_uint_eq(lent.shared, lent.kept);
    return (int)(lent.kept / (1 + 2 * RING / 4096));
}

START_TEST(a_thousand_links_leak_nothing)
{
    int before = count_descriptors();
    for (int i = 0; i < 1000; i++) {
        connect_both();
        ops->channel_close(i % 2 == 0 ? attached : offered);
        ops->channel_close(i % 2 == 0 ? offered : attached);
        channel_local_turn(high);
        channel_local_turn(low);
    }
    ck_assert_int_eq(kept_descriptors(), 1);
    channel_local_turn(low);
    ck_assert_int_eq(count_descriptors(), before + 1);
}
END_TEST

/* An attacher may keep what it has got for as long as it likes: it gets no more than so many. */
START_TEST(who_holds_memory_gets_no_more)
{
    struct channel *held[LENT_HELD_MAX];
    struct platform_lent lent;
    for (unsigned i = 0; i < LENT_HELD_MAX; i++) {
        connect_both();
        held[i] = attached;
        ops->channel_close(offered);
        channel_local_turn(high);
    }
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), -EDQUOT);
    ck_assert_int_eq(count_files(store_dir, "link."), 0);
    ops->lent(high, ATTACHER, &lent);
    ck_assert_uint_eq(lent.held, LENT_HELD_MAX * (1 + 2 * RING / 4096));
    ck_assert_int_eq(ops->offer(high, ATTACHER + 1, BASE, RING, &offered), 0);
    ops->channel_close(offered);
    ops->channel_close(held[1]);
    for (int i = 0; i < 100; i++) { /* the same again and again */
        connect_both();
        ops->channel_close(attached);
        ck_assert(channel_local_becomes(high, offered, CHANNEL_DEAD));
        ops->channel_close(offered);
    }
    ops->lent(high, ATTACHER, &lent);
    ck_assert_uint_eq(lent.kept, 2 * lent.held);
    ops->channel_close(held[0]);
    ck_assert_int_eq(kept_descriptors(), 2);
}
END_TEST

/* ---- a peer that is killed ---- */

static void wait_for(struct platform *platform, struct channel *channel, enum channel_state state)
{
    if (!channel_local_becomes(platform, channel, state))
        _exit(1);
}

/* The child is domain 5 or 2, brings its side up, says so, and never returns. */
static void child_main(int domid, int ready, bool attach_only)
{
    struct platform *platform;
    struct channel *channel;
    if (try_open(store_dir, domid, &platform) != 0)
        _exit(1);
    int result = domid == OFFERER ? ops->offer(platform, ATTACHER, BASE, RING, &channel)
                                  : ops->attach(platform, OFFERER, BASE, &channel);
    if (result != 0 || write(ready, "a", 1) != 1)
        _exit(1);
    if (!attach_only)
        wait_for(platform, channel, CHANNEL_OPEN);
    if (write(ready, "b", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static pid_t start_child(int domid, int *ready, bool attach_only)
{
    int pipe_ends[2];
    ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
    pid_t child = fork_child();
    if (child == 0)
        child_main(domid, pipe_ends[1], attach_only);
    close(pipe_ends[1]);
    *ready = pipe_ends[0];
    return child;
}

static void expect_step(int ready, char step)
{
    char got = 0;
    ck_assert(local_fixture_readable(ready, WAIT_MS));
    ck_assert_int_eq(read(ready, &got, 1), 1);
    ck_assert_int_eq(got, step);
}

static void kill_child(pid_t child)
{
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

START_TEST(killed_attacher_is_noticed)
{
    int ready;
    struct platform *mine = open_domain(OFFERER);
    ck_assert_int_eq(ops->offer(mine, ATTACHER, BASE, RING, &offered), 0);
    pid_t child = start_child(ATTACHER, &ready, false);
    expect_step(ready, 'a');
    ck_assert(channel_local_becomes(mine, offered, CHANNEL_OPEN));
    expect_step(ready, 'b');
    kill_child(child);
    ck_assert(channel_local_becomes(mine, offered, CHANNEL_DEAD));
    ops->channel_close(offered);
    ops->close(mine);
    low = open_domain(ATTACHER); /* the killed one's socket does not stand in the way */
    ops->close(low);
    close(ready);
}
END_TEST

START_TEST(killed_offerer_is_noticed)
{
    int ready;
    struct platform *mine = open_domain(ATTACHER);
    pid_t child = start_child(OFFERER, &ready, false);
    expect_step(ready, 'a');
    ck_assert_int_eq(ops->attach(mine, OFFERER, BASE, &attached), 0);
    ck_assert(channel_local_becomes(mine, attached, CHANNEL_OPEN));
    expect_step(ready, 'b');
    kill_child(child);
    ck_assert(channel_local_becomes(mine, attached, CHANNEL_DEAD));
    ops->channel_close(attached);
    ck_assert_int_eq(ops->attach(mine, OFFERER, BASE, &attached), -ECONNREFUSED);
    high = open_domain(OFFERER);
    ck_assert_int_eq(ops->retract(high, "/local/domain/5/data/idc"), 0);
    ops->close(high);
    ops->close(mine);
    close(ready);
    ck_assert_int_eq(count_files(store_dir, ""), 0);
}
END_TEST

/* The attaching side dies with its request sent: the offer is handed over to nobody, and that is
 * noticed too. */
START_TEST(killed_before_the_hand_over)
{
    int ready;
    struct platform *mine = open_domain(OFFERER);
    ck_assert_int_eq(ops->offer(mine, ATTACHER, BASE, RING, &offered), 0);
    pid_t child = start_child(ATTACHER, &ready, true);
    expect_step(ready, 'a');
    expect_step(ready, 'b');
    kill_child(child);
    channel_local_turn(mine);
    enum channel_state state = ops->channel_poll(offered);
    ck_assert(state == CHANNEL_PENDING || channel_local_becomes(mine, offered, CHANNEL_DEAD));
    ops->channel_close(offered);
    ops->close(mine);
    close(ready);
}
END_TEST

/* ---- attaching sides that lie ---- */

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/.link-%d", store_dir, OFFERER);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static struct channel_hello good_hello(void)
{
    return (struct channel_hello){
        .magic = CHANNEL_MAGIC, .version = CHANNEL_VERSION, .domid = ATTACHER, .path = BASE};
}

/* The answer must be a refusal, or nothing, and the offer must stand. */
static void expect_refused(int fd)
{
    struct channel_reply reply;
    int fds[2], count = 2;
    channel_local_turn(high);
    ck_assert(local_fixture_readable(fd, WAIT_MS));
    ssize_t got = handover_recv(fd, &reply, sizeof(reply), fds, &count, MSG_DONTWAIT);
    ck_assert_int_eq(count, 0);
    ck_assert(got <= 0 || reply.status != 0);
    ck_assert_int_eq(ops->channel_poll(offered), CHANNEL_PENDING);
    close(fd);
}

static void channel_local_lie(const void *message, size_t length, int beside)
{
    int fd = connect_raw();
    ck_assert_int_eq(handover_send(fd, message, length, &beside, beside >= 0, 0), (ssize_t)length);
    expect_refused(fd);
}

START_TEST(lying_attachers_are_refused)
{
    char longer[sizeof(struct channel_hello) + 1] = "";
    struct channel_hello hello = good_hello();
    int pipe_ends[2], event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
                      blocking = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);

    channel_local_lie("rubbish", 7, event);
    channel_local_lie(&hello, sizeof(hello) - 1, event);
    memcpy(longer, &hello, sizeof(hello));
    channel_local_lie(longer, sizeof(longer), event);
    channel_local_lie(&hello, sizeof(hello), -1);
    channel_local_lie(&hello, sizeof(hello), pipe_ends[1]);
    channel_local_lie(&hello, sizeof(hello), blocking);
    hello.domid = 3;
    channel_local_lie(&hello, sizeof(hello), event);
    hello = good_hello();
    hello.version = 2;
    channel_local_lie(&hello, sizeof(hello), event);
    hello = good_hello();
    strcpy(hello.path, BASE "/other");
    channel_local_lie(&hello, sizeof(hello), event);
    memset(hello.path, 'x', sizeof(hello.path));
    channel_local_lie(&hello, sizeof(hello), event);

    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), 0);
    channel_local_turn(high);
    ck_assert(channel_local_becomes(low, attached, CHANNEL_OPEN));
    ops->channel_close(attached);
    ops->channel_close(offered);
    close(event);
    close(blocking);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    ck_assert_uint_gt(log_lines, 0);
    ck_assert_uint_le(log_lines, 20);
}
END_TEST

START_TEST(a_second_attacher_is_refused)
{
    struct channel_hello hello = good_hello();
    int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    connect_both();
    int fd = connect_raw();
    ck_assert_int_eq(handover_send(fd, &hello, sizeof(hello), &event, 1, 0), sizeof(hello));
    channel_local_turn(high);
    struct channel_reply reply = {0};
    ck_assert_int_eq(recv(fd, &reply, sizeof(reply), MSG_DONTWAIT), sizeof(reply));
    ck_assert_int_eq(reply.status, ENOENT);
    ck_assert_int_eq(ops->channel_poll(offered), CHANNEL_OPEN);
    ops->channel_close(attached);
    ops->channel_close(offered);
    close(fd);
    close(event);
}
END_TEST

START_TEST(silent_callers_harm_nobody)
{
    enum { CROWD = 100 };
    int crowd[CROWD];
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    for (int i = 0; i < CROWD; i++)
        crowd[i] = connect_raw();
    int before = count_descriptors();
    for (int i = 0; i < CROWD; i++)
        channel_local_turn(high);
    ck_assert_int_le(count_descriptors(), before + CALLERS_MAX);
    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), 0);
    channel_local_turn(high);
    ck_assert(channel_local_becomes(low, attached, CHANNEL_OPEN));
    ck_assert(channel_local_becomes(high, offered, CHANNEL_OPEN));
    ops->channel_close(attached);
    ops->channel_close(offered);
    ck_assert(local_fixture_readable(crowd[0], 0)); /* hung up on, as the oldest */
    ck_assert(!local_fixture_readable(crowd[CROWD - 2], 0));
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
}
END_TEST

/* One that was killed leaves its socket and its nodes behind; one that is stopped does not answer.
 */
START_TEST(who_runs_is_known)
{
    enum { DOMID = 77 };
    char path[96];
    int status;
    ck_assert_int_eq(ops->presence(low, DOMID), PLATFORM_GONE);
    pid_t child = fork_child();
    if (child == 0) {
        open_domain(DOMID);
        raise(SIGSTOP);
    }
    ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(ops->presence(low, DOMID), PLATFORM_RUNS);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    snprintf(path, sizeof(path), "%s/.link-%d", store_dir, DOMID);
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert_int_eq(ops->presence(low, DOMID), PLATFORM_GONE);
    ck_assert_int_eq(ops->presence(low, OFFERER), PLATFORM_RUNS);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* Takes the hand-over as an attaching side would, without attaching. */
static int take_over_raw(struct shared *shared)
{
    struct channel_hello hello = good_hello();
    struct channel_reply reply;
    const char *text = "";
    int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), fds[2], count = 2, fd = connect_raw();
    ck_assert_int_eq(handover_send(fd, &hello, sizeof(hello), &event, 1, 0), sizeof(hello));
    channel_local_turn(high);
    ck_assert_int_eq(handover_recv(fd, &reply, sizeof(reply), fds, &count, 0), sizeof(reply));
    ck_assert_int_eq(count, 2);
    ck_assert_int_eq(local_shared_accept(shared, fds[0], &text), 0);
    close(event);
    close(fds[0]);
    close(fds[1]);
    return fd;
}

START_TEST(bad_acks_end_the_channel)
{
    static const char *const acks[] = {"IDClocal", "rubbish!", "x", "IDClocal and more"};
    struct shared shared;
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    int fd = take_over_raw(&shared);
    if (_i > 0) /* the first one has not set cli_live */
        local_shared_set_live(&shared.page->cli_live, SHARED_LIVE);
    ck_assert_int_gt(send(fd, acks[_i], strlen(acks[_i]), MSG_NOSIGNAL), 0);
    ck_assert(channel_local_becomes(high, offered, CHANNEL_DEAD));
    ops->channel_close(offered);
    local_shared_unmap(&shared);
    close(fd);
}
END_TEST

START_TEST(whatever_is_said_later_ends_the_channel)
{
    struct shared shared;
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    int fd = take_over_raw(&shared);
    local_shared_set_live(&shared.page->cli_live, SHARED_LIVE);
    ck_assert_int_eq(send(fd, CHANNEL_MAGIC, 8, MSG_NOSIGNAL), 8);
    ck_assert(channel_local_becomes(high, offered, CHANNEL_OPEN));
    if (_i == 0)
        ck_assert_int_eq(send(fd, "more", 4, MSG_NOSIGNAL), 4);
    else if (_i == 1)
        shutdown(fd, SHUT_WR);
    else
        local_shared_set_live(&shared.page->cli_live, 77);
    if (_i == 2) /* the page alone tells only when one is notified */
        ck_assert_int_eq(ops->channel_poll(offered), CHANNEL_DEAD);
    ck_assert(channel_local_becomes(high, offered, CHANNEL_DEAD));
    ops->channel_close(offered);
    local_shared_unmap(&shared);
    close(fd);
}
END_TEST

static int flood_socket = -1; /* whenever something is read, the peer has written more here */
static unsigned flood_reads;

/* In place of the C library's. */
ssize_t recv(int fd, void *buf, size_t n, int flags)
{
    if (flood_socket >= 0) {
        ck_assert_uint_lt(flood_reads++, 100);
        ck_assert_int_eq(send(flood_socket, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), 1);
    }
    return recvfrom(fd, buf, n, flags, NULL, NULL);
}

/* It holds the memory, and writes faster than anybody reads. */
START_TEST(a_flood_after_the_end)
{
    struct platform_lent lent;
    struct shared shared;
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    int fd = take_over_raw(&shared);
    local_shared_set_live(&shared.page->cli_live, SHARED_LIVE);
    ck_assert_int_eq(send(fd, CHANNEL_MAGIC, 8, MSG_NOSIGNAL), 8);
    ck_assert(channel_local_becomes(high, offered, CHANNEL_OPEN));
    ops->channel_close(offered);
    ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), 1);
    flood_socket = fd;
    ops->lent(high, ATTACHER, &lent);
    flood_socket = -1;
    ck_assert_uint_eq(lent.held, 1 + 2 * RING / 4096);
    local_shared_unmap(&shared);
    close(fd); /* what it wrote is still there */
    ops->lent(high, ATTACHER, &lent);
    ck_assert_uint_eq(lent.held, 0);
    ck_assert_uint_eq(lent.kept, 1 + 2 * RING / 4096);
}
END_TEST

/* ---- offering sides that lie ---- */

struct bad_memory {
    const char *what;
    off_t size;
    int seals;
    uint16_t left, right;
};

static const struct bad_memory bad_memories[] = {
    {"not sealed at all", 4096 + 2 * RING, 0, 16, 16},
    {"may shrink", 4096 + 2 * RING, F_SEAL_GROW, 16, 16},
    {"may grow", 4096 + 2 * RING, F_SEAL_SHRINK, 16, 16},
    {"may not be written", 4096 + 2 * RING, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, 16, 16},
    {"empty", 0, F_SEAL_SHRINK | F_SEAL_GROW, 16, 16},
    {"a page too small", 2 * RING, F_SEAL_SHRINK | F_SEAL_GROW, 16, 16},
    {"a byte too large", 4097 + 2 * RING, F_SEAL_SHRINK | F_SEAL_GROW, 16, 16},
    {"rings too small", 4096 + 2 * 2048, F_SEAL_SHRINK | F_SEAL_GROW, 11, 11},
    {"rings too large", 4096 + (4 << 20), F_SEAL_SHRINK | F_SEAL_GROW, 21, 21},
    {"orders larger than it", 4096 + 2 * RING, F_SEAL_SHRINK | F_SEAL_GROW, 17, 17},
    {"orders smaller than it", 4096 + 2 * RING, F_SEAL_SHRINK | F_SEAL_GROW, 15, 15},
    {"orders differ", 4096 + 2 * RING, F_SEAL_SHRINK | F_SEAL_GROW, 16, 15},
    {"orders beyond all", 4096 + 2 * RING, F_SEAL_SHRINK | F_SEAL_GROW, 65535, 65535},
    {"order 0x10010", 4096 + 2 * RING, F_SEAL_SHRINK | F_SEAL_GROW, 0, 16},
};

static int make_bad_memory(const struct bad_memory *bad)
{
    struct ring_page page = {
        .left_order = bad->left, .right_order = bad->right, .srv_live = 1, .cli_live = 2};
    int fd = memfd_create("bad", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_ge(fd, 0);
    if (bad->size > 0)
        ck_assert_int_eq(pwrite(fd, &page, sizeof(page), 0), sizeof(page));
    ck_assert_int_eq(ftruncate(fd, bad->size), 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, bad->seals), 0);
    return fd;
}

static int fake_listener;

/* Domain 5 without a link_mgr: a node and a socket of our own making. */
static void fake_offerer(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    make_store();
    low = open_domain(ATTACHER);
    put_file("domain:5/data:2/link.socket", "n5,r2\n.link-5", 13);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/.link-%d", store_dir, OFFERER);
    fake_listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fake_listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fake_listener, 5), 0);
}

static void end_fake_offerer(void)
{
    ops->close(low);
    close(fake_listener);
    check_and_remove_store();
}

/* Attaches, answers so, and expects that the attaching side gives the channel up and keeps nothing.
 */
static void answer_falsely(const void *message, size_t length, const int *fds, int count)
{
    char hello[512];
    int before = count_descriptors();
    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), 0);
    int fd = accept(fake_listener, NULL, NULL);
    ck_assert_int_eq(recv(fd, hello, sizeof(hello), 0), sizeof(struct channel_hello));
    ck_assert_int_eq(handover_send(fd, message, length, fds, count, 0), (ssize_t)length);
    ck_assert(channel_local_becomes(low, attached, CHANNEL_DEAD));
    ops->channel_close(attached);
    close(fd);
    ck_assert_int_eq(count_descriptors(), before);
}

START_TEST(bad_memory_is_not_taken)
{
    struct channel_reply reply = {.magic = CHANNEL_MAGIC, .version = CHANNEL_VERSION};
    int fds[2] = {make_bad_memory(&bad_memories[_i]), eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    answer_falsely(&reply, sizeof(reply), fds, 2);
    close(fds[0]);
    close(fds[1]);
    ck_assert_uint_eq(log_lines, 1);
}
END_TEST

START_TEST(bad_answers_are_not_taken)
{
    struct channel_reply reply = {.magic = CHANNEL_MAGIC, .version = CHANNEL_VERSION};
    char longer[sizeof(reply) + 1] = "";
    struct shared shared;
    int pipe_ends[2], memory = local_shared_make(&shared, RING),
                      event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
    int good[2] = {memory, event}, turned[2] = {event, memory}, piped[2] = {memory, pipe_ends[1]},
        not_memory[2] = {pipe_ends[0], event}, many[4] = {memory, event, event, memory};

    answer_falsely(&reply, sizeof(reply), NULL, 0);
    answer_falsely(&reply, sizeof(reply), &memory, 1);
    answer_falsely(&reply, sizeof(reply), turned, 2);
    answer_falsely(&reply, sizeof(reply), piped, 2);
    answer_falsely(&reply, sizeof(reply), not_memory, 2);
    answer_falsely("?", 1, good, 2);
    memcpy(longer, &reply, sizeof(reply));
    answer_falsely(longer, sizeof(longer), many, 4);
    reply.status = 2;
    answer_falsely(&reply, sizeof(reply), good, 2);
    reply.status = 0;
    reply.version = 9;
    answer_falsely(&reply, sizeof(reply), good, 2);
    reply.version = CHANNEL_VERSION;
    reply.magic[0] = 'X';
    answer_falsely(&reply, sizeof(reply), good, 2);

    local_shared_unmap(&shared);
    close(memory);
    close(event);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}
END_TEST

/* ---- without descriptors ---- */

static void limit_descriptors(rlim_t limit)
{
    struct rlimit r;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_cur = limit;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
}

/* The offering side has no descriptor left: it hangs up, rather than spin on a caller that it can't
 * accept. */
START_TEST(no_descriptor_left_to_accept_with)
{
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(ops->offer(high, ATTACHER, BASE, RING, &offered), 0);
    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), 0);
    int lowest_free = dup(0);
    close(lowest_free);
    limit_descriptors((rlim_t)lowest_free);
    channel_local_turn(high);
    ck_assert(!local_fixture_readable(ops->event_fd(high), 0));
    limit_descriptors(before.rlim_cur);
    ck_assert(channel_local_becomes(low, attached, CHANNEL_DEAD));
    ops->channel_close(attached);
    ck_assert_int_eq(ops->attach(low, OFFERER, BASE, &attached), 0);
    channel_local_turn(high);
    ck_assert(channel_local_becomes(low, attached, CHANNEL_OPEN));
    ops->channel_close(attached);
    ops->channel_close(offered);
}
END_TEST

/* Wherever it runs out while a channel is made, that is an error and nothing leaks. */
START_TEST(no_descriptor_left_to_offer_or_attach_with)
{
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    int count = count_descriptors();
    if (on_valgrind())
        return;
    for (int extra = 0; extra < 6; extra++) {
        int lowest_free = dup(0);
        close(lowest_free);
        limit_descriptors((rlim_t)(lowest_free + extra));
        int offer = ops->offer(high, ATTACHER, BASE, RING, &offered);
        int attach = offer == 0 ? ops->attach(low, OFFERER, BASE, &attached) : -1;
        limit_descriptors(before.rlim_cur);
        ck_assert(offer == 0 || offer == -EMFILE);
        if (attach == 0)
            ops->channel_close(attached);
        if (offer == 0)
            ops->channel_close(offered);
        channel_local_turn(high);
        ck_assert_int_eq(count_descriptors(), count + kept_descriptors());
    }
}
END_TEST

static void add_case(Suite *suite, const char *name, SFun before, SFun after, TCase **out)
{
    *out = tcase_create(name);
    tcase_set_timeout(*out, 120);
    tcase_add_checked_fixture(*out, before, after);
    suite_add_tcase(suite, *out);
}

int main(void)
{
    TCase *c;
    Suite *suite = suite_create("channel_local");

    add_case(suite, "honest", open_both, close_both, &c);
    tcase_add_test(c, data_flow_both_ways);
    tcase_add_loop_test(c, closing_is_seen_at_once, 0, 2);
    tcase_add_test(c, closing_what_nobody_attached_to);
    tcase_add_loop_test(c, offer_ends_during_attach, 0, 2);
    tcase_add_test(c, every_ring_size_and_no_other);
    tcase_add_test(c, bad_arguments);
    tcase_add_test(c, attach_to_what_is_not_offered);
    tcase_add_test(c, platform_closes_its_channels);
    tcase_add_test(c, the_page_is_as_libxenvchan_makes_it);
    tcase_add_test(c, notifications_add_up_to_one);
    tcase_add_test(c, a_full_counter_does_not_block);
    tcase_add_test(c, a_thousand_links_leak_nothing);
    tcase_add_test(c, who_holds_memory_gets_no_more);
    tcase_add_test(c, no_descriptor_left_to_accept_with);
    tcase_add_test(c, no_descriptor_left_to_offer_or_attach_with);

    add_case(suite, "killed", make_store, check_and_remove_store, &c);
    tcase_add_test(c, killed_attacher_is_noticed);
    tcase_add_test(c, killed_offerer_is_noticed);
    tcase_add_test(c, killed_before_the_hand_over);

    add_case(suite, "lying attacher", open_both, close_both, &c);
    tcase_add_test(c, lying_attachers_are_refused);
    tcase_add_test(c, a_second_attacher_is_refused);
    tcase_add_test(c, silent_callers_harm_nobody);
    tcase_add_test(c, who_runs_is_known);
    tcase_add_loop_test(c, bad_acks_end_the_channel, 0, 4);
    tcase_add_loop_test(c, whatever_is_said_later_ends_the_channel, 0, 3);
    tcase_add_test(c, a_flood_after_the_end);

    add_case(suite, "lying offerer", fake_offerer, end_fake_offerer, &c);
    tcase_add_loop_test(c, bad_memory_is_not_taken, 0,
                        sizeof(bad_memories) / sizeof(bad_memories[0]));
    tcase_add_test(c, bad_answers_are_not_taken);
    return run_suite(suite);
}
