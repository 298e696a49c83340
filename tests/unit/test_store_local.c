/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The directory store: its files and permissions, its watches, and what happens when it is full,
 * full of rubbish, held by another daemon, or gone.
 */
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "link_mgr/platform/local/local.h"
#include "tests/unit/local_fixture.h"

#define NODE "/local/domain/5/data/idc/2/alive"
#define NODE_FILE "domain:5/data:2/alive"

static const struct platform_ops *ops = &platform_local;
static struct store_local toolstack;
static char value[PLATFORM_VALUE_MAX + 1];

static struct store_local open_as(int domid)
{
    struct store_local store;
    int result = local_store_open(&store, store_dir, domid, true, why, sizeof(why));
    ck_assert_msg(result == 0, "local_store_open: %s", why);
    return store;
}

static void open_store(void)
{
    make_store();
    toolstack = open_as(STORE_TOOLSTACK);
}

static void close_store(void)
{
    local_store_close(&toolstack);
    check_and_remove_store();
}

static void expect_value(const struct store_local *store, const char *path, const char *expected)
{
    ck_assert_int_eq(local_store_read(store, path, value), (int)strlen(expected));
    ck_assert_str_eq(value, expected);
}

/* ---- paths ---- */

START_TEST(paths)
{
    static const char *const bad[] = {
        "",     "/",    "a",     "local/domain",        "/a/",       "//a",  "/a//b", "/a.b",
        "/a b", "/a\n", "/../a", "/a/../../etc/passwd", "/\xc3\xa9", "/a:b", "/a%20"};
    static const char *const good[] = {"/a", "/local/domain/5/data", "/A-z_0@9/b"};
    char longest[PLATFORM_PATH_MAX + 2];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_int_eq(local_store_write(&toolstack, good[i], good[i], -1), 0);
        expect_value(&toolstack, good[i], good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(local_store_write(&toolstack, bad[i], "x", -1), -EINVAL);
        ck_assert_int_eq(local_store_read(&toolstack, bad[i], value), -EINVAL);
        ck_assert_int_eq(local_store_remove(&toolstack, bad[i]), -EINVAL);
    }
    memset(longest, 'a', sizeof(longest));
    longest[0] = '/';
    longest[PLATFORM_PATH_MAX + 1] = '\0';
    ck_assert_int_eq(local_store_write(&toolstack, longest, "x", -1), -EINVAL);
    longest[PLATFORM_PATH_MAX] = '\0';
    ck_assert_int_eq(local_store_write(&toolstack, longest, "x", -1), 0);
    expect_value(&toolstack, longest, "x");
}
END_TEST

/* ---- values ---- */

START_TEST(values)
{
    char longest[PLATFORM_VALUE_MAX + 2];
    ck_assert_int_eq(local_store_read(&toolstack, NODE, value), -ENOENT);
    ck_assert_int_eq(local_store_write(&toolstack, NODE, "", -1), 0);
    expect_value(&toolstack, NODE, "");
    ck_assert_int_eq(local_store_write(&toolstack, NODE, "two\nlines\n", -1), 0);
    expect_value(&toolstack, NODE, "two\nlines\n");
    memset(longest, 'v', sizeof(longest));
    longest[PLATFORM_VALUE_MAX + 1] = '\0';
    ck_assert_int_eq(local_store_write(&toolstack, NODE, longest, -1), -E2BIG);
    longest[PLATFORM_VALUE_MAX] = '\0';
    ck_assert_int_eq(local_store_write(&toolstack, NODE, longest, 32751), 0);
    expect_value(&toolstack, NODE, longest);
    ck_assert_int_eq(local_store_write(&toolstack, NODE, "x", 32752), -EINVAL);
    ck_assert_int_eq(local_store_write(&toolstack, NODE, "x", -2), -EINVAL);
}
END_TEST

START_TEST(the_file_is_as_documented)
{
    char bytes[64] = "", path[128];
    struct store_local five = open_as(5);
    ck_assert_int_eq(local_store_write(&five, NODE, "0123 4", 2), 0);
    snprintf(path, sizeof(path), "%s/" NODE_FILE, store_dir);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(bytes, 1, sizeof(bytes), file), 12);
    fclose(file);
    ck_assert_str_eq(bytes, "n5,r2\n0123 4");
    local_store_close(&five);
}
END_TEST

static int count_visit(void *arg, const char *path)
{
    ck_assert(local_layout_valid_path(path));
    ++*(int *)arg;
    return 0;
}

static int count_below(const char *prefix)
{
    int count = 0;
    ck_assert_int_eq(local_store_walk(&toolstack, prefix, count_visit, &count), 0);
    return count;
}

/* ---- which file is which node ---- */

static void expect_file(const char *path, const char *expected)
{
    struct local_room room;
    char file[LAYOUT_ROOM_MAX + PLATFORM_PATH_MAX + 1], back[PLATFORM_PATH_MAX + 1];
    ck_assert(local_layout_file(path, file));
    ck_assert_str_eq(file, expected);
    ck_assert(local_layout_room(path, &room));
    ck_assert(local_layout_path(&room, strrchr(file, '/') + 1, back));
    ck_assert_str_eq(back, path);
    struct local_room root = {.name = "."};
    ck_assert_int_eq(local_layout_path(&root, strrchr(file, '/') + 1, back),
                     strcmp(room.name, ".") == 0 || strchr(strrchr(file, '/'), '=') == NULL);
}

START_TEST(each_node_has_its_file)
{
    expect_file("/local/domain/5/data/idc/2/alive", "domain:5/data:2/alive");
    expect_file("/local/domain/5/data/idc/2/link/socket", "domain:5/data:2/link.socket");
    expect_file("/local/domain/5/data/idc/2", "domain:5/data:2/=");
    expect_file("/local/domain/0/data/idc/32751/want", "domain:0/data:32751/want");
    expect_file("/local/domain/5/idc/policy/2", "domain:5/policy/2");
    expect_file("/local/domain/5/idc/policy", "domain:5/policy/=");
    expect_file("/local/domain/5/idc/policy/2/1", "domain:5/policy/2.1");
    expect_file("/local/domain/5/name", "domain:5/name");
    expect_file("/local/domain/5/uuid", "domain:5/uuid");
    /* not what they look like */
    expect_file("/local/domain/05/idc/policy/2", "./local.domain.05.idc.policy.2");
    expect_file("/local/domain/32752/idc/policy/2", "./local.domain.32752.idc.policy.2");
    expect_file("/local/domain/5/idc/policy2", "./local.domain.5.idc.policy2");
    expect_file("/local/domain/5/data/idc/02/alive", "./local.domain.5.data.idc.02.alive");
    expect_file("/local/domain/5/data/idc/alive", "./local.domain.5.data.idc.alive");
    expect_file("/local/domain/5/data/idc", "./local.domain.5.data.idc");
    expect_file("/local/domain/5/name/x", "./local.domain.5.name.x");
    expect_file("/local/domain/5/names", "./local.domain.5.names");
    expect_file("/local/domain/05/name", "./local.domain.05.name");
    expect_file("/domain/5", "./domain.5");
}
END_TEST

/* A file in the wrong directory is not a second place of a node. */
START_TEST(a_misplaced_file_is_no_node)
{
    put_file("local.domain.5.data.idc.2.alive", "n5,r2\nx", 7);
    put_file("domain:5/policy/=", "n0\nx", 4);
    put_file("domain:05/policy/2", "n0\nx", 4);
    put_file("domain:5/data:02/alive", "n0\nx", 4);
    put_file("domain:5/other/alive", "n0\nx", 4);
    put_file("domain:5/alive", "n0\nx", 4);
    ck_assert_int_eq(local_store_read(&toolstack, NODE, value), -ENOENT);
    ck_assert_int_eq(count_below(""), 1);
    ck_assert_int_eq(count_below("/local/domain/5/idc"), 1);
    ck_assert_int_eq(count_below("/local/domain/5/data"), 0);
}
END_TEST

START_TEST(a_walk_looks_where_the_prefix_says)
{
    static const char *const nodes[] = {"/local/domain/5/data/idc/2/alive",
                                        "/local/domain/5/data/idc/2/link/socket",
                                        "/local/domain/5/data/idc/21/alive",
                                        "/local/domain/5/data/x",
                                        "/local/domain/5/idc/policy/2",
                                        "/local/domain/51/idc/policy/2",
                                        "/local/domain/6/name"};
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        ck_assert_int_eq(local_store_write(&toolstack, nodes[i], "x", -1), 0);
    ck_assert_int_eq(count_below(""), 7);
    ck_assert_int_eq(count_below("/local/domain"), 7);
    ck_assert_int_eq(count_below("/local/domain/5"), 5);
    ck_assert_int_eq(count_below("/local/domain/5/data"), 4);
    ck_assert_int_eq(count_below("/local/domain/5/data/idc"), 3);
    ck_assert_int_eq(count_below("/local/domain/5/data/idc/2"), 2);
    ck_assert_int_eq(count_below("/local/domain/5/data/idc/2/link"), 1);
    ck_assert_int_eq(count_below("/local/domain/5/idc"), 1);
    ck_assert_int_eq(count_below("/local/domain/6"), 1);
    ck_assert_int_eq(count_below("/local/domain/6/name"), 1);
    ck_assert_int_eq(count_below("/local/domain/7"), 0);
    ck_assert_int_eq(local_store_remove(&toolstack, "/local/domain/5/data/idc"), 0);
    ck_assert_int_eq(count_below("/local/domain/5"), 2);
}
END_TEST

/* ---- permissions ---- */

START_TEST(who_may_write_where)
{
    struct store_local zero = open_as(0), five = open_as(5);
    ck_assert_int_eq(local_store_write(&five, NODE, "x", 2), 0);
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data", "x", 2), 0);
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/database", "x", 2), -EACCES);
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/idc/policy/2", "in=*", -1), -EACCES);
    ck_assert_int_eq(local_store_write(&five, "/local/domain/55/data/x", "x", 2), -EACCES);
    ck_assert_int_eq(local_store_write(&five, "/local/domain/2/data/x", "x", 2), -EACCES);
    ck_assert_int_eq(local_store_write(&five, "/vm", "x", 2), -EACCES);
    ck_assert_int_eq(local_store_write(&zero, NODE, "y", -1), -EACCES);
    ck_assert_int_eq(local_store_remove(&zero, NODE), -EACCES);
    ck_assert_int_eq(local_store_remove_node(&zero, NODE), -EACCES);
    ck_assert_int_eq(local_store_write(&zero, "/local/domain/0/data/idc/5/alive", "x", 5), 0);
    expect_value(&toolstack, NODE, "x");
    local_store_close(&zero);
    local_store_close(&five);
}
END_TEST

static int read_as(int domid, const char *permissions)
{
    struct store_local store = open_as(domid);
    put_file(NODE_FILE, permissions, strlen(permissions));
    int result = local_store_read(&store, NODE, value);
    local_store_close(&store);
    return result;
}

START_TEST(who_may_read_what)
{
    ck_assert_int_eq(read_as(5, "n5,r2\nv"), 1);
    ck_assert_int_eq(read_as(2, "n5,r2\nv"), 1);
    ck_assert_int_eq(read_as(3, "n5,r2\nv"), -EACCES);
    ck_assert_int_eq(read_as(25, "n5,r2\nv"), -EACCES);
    ck_assert_int_eq(read_as(0, "n5,r2\nv"), 1);
    ck_assert_int_eq(read_as(STORE_TOOLSTACK, "n5,r2\nv"), 1);
    ck_assert_int_eq(read_as(3, "r5\nv"), 1);
    ck_assert_int_eq(read_as(3, "b5,n3\nv"), -EACCES);
    ck_assert_int_eq(read_as(3, "w5\nv"), -EACCES);
    ck_assert_int_eq(read_as(3, "n5,r2,b3\nv"), 1);
    ck_assert_int_eq(read_as(3, "n5,w3,r3\nv"), -EACCES); /* the first entry counts */
    ck_assert_int_eq(read_as(5, "n0,r5\nv"), 1);
}
END_TEST

START_TEST(a_removed_permission_is_no_permission)
{
    static const char *const bad[] = {"",
                                      "\n",
                                      "v",
                                      "n\nv",
                                      "5\nv",
                                      "n5,\nv",
                                      "n5,r\nv",
                                      "x5\nv",
                                      "n5 r2\nv",
                                      "n5;r2\nv",
                                      "n5,,r2\nv",
                                      "n-5\nv",
                                      "n99999999999999999999\nv",
                                      "n5,r2 \nv",
                                      ",n5\nv"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(read_as(STORE_TOOLSTACK, bad[i]) == -EBADMSG, "'%s' was taken", bad[i]);
}
END_TEST

/* ---- removing and walking ---- */

START_TEST(removing_takes_the_subtree_and_nothing_else)
{
    static const char *const nodes[] = {"/a", "/a/b", "/a/b/c", "/a/bb", "/ab", "/b/a"};
    for (size_t i = 0; i < 6; i++)
        ck_assert_int_eq(local_store_write(&toolstack, nodes[i], "x", -1), 0);
    ck_assert_int_eq(count_below("/a"), 4);
    ck_assert_int_eq(count_below(""), 6);
    ck_assert_int_eq(local_store_remove(&toolstack, "/a/b"), 0);
    ck_assert_int_eq(count_below(""), 4);
    expect_value(&toolstack, "/a/bb", "x");
    ck_assert_int_eq(local_store_remove(&toolstack, "/a"), 0);
    ck_assert_int_eq(count_below(""), 2);
    ck_assert_int_eq(local_store_remove(&toolstack, "/a"), 0);
    ck_assert_int_eq(local_store_remove_node(&toolstack, "/ab"), 0);
    ck_assert_int_eq(local_store_remove_node(&toolstack, "/ab"), 0);
    ck_assert_int_eq(count_below(""), 1);
}
END_TEST

static int stop_visit(void *arg, const char *path)
{
    (void)path;
    return ++*(int *)arg == 2 ? 77 : 0;
}

START_TEST(a_walk_can_be_stopped)
{
    int count = 0;
    for (int i = 0; i < 5; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/a/%d", i);
        ck_assert_int_eq(local_store_write(&toolstack, path, "x", -1), 0);
    }
    ck_assert_int_eq(local_store_walk(&toolstack, "/a", stop_visit, &count), 77);
    ck_assert_int_eq(count, 2);
}
END_TEST

/* Things that somebody may put there. */
static void scatter_rubbish(void)
{
    char path[128], huge[PLATFORM_VALUE_MAX + 600];
    put_file("README", "text without permissions", 24);
    put_file("with space", "n0\nx", 4);
    put_file("double..dot", "n0\nx", 4);
    put_file("trailing.", "n0\nx", 4);
    put_file(".hidden", "n0\nx", 4);
    put_file("caf\xc3\xa9", "n0\nx", 4);
    put_file("local.nul", "n0\na\0b", 6);
    memset(huge, 'x', sizeof(huge));
    memcpy(huge, "n0\n", 3);
    put_file("local.huge", huge, sizeof(huge));
    put_file("local.long", huge, 3 + PLATFORM_VALUE_MAX + 1);
    snprintf(path, sizeof(path), "%s/local.directory", store_dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/local.fifo", store_dir);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    snprintf(path, sizeof(path), "%s/local.link", store_dir);
    ck_assert_int_eq(symlink("/etc/passwd", path), 0);
}

START_TEST(rubbish_is_no_node)
{
    scatter_rubbish();
    ck_assert_int_eq(local_store_read(&toolstack, "/README", value), -EBADMSG);
    ck_assert_int_eq(local_store_read(&toolstack, "/local/nul", value), -EBADMSG);
    ck_assert_int_eq(local_store_read(&toolstack, "/local/huge", value), -EBADMSG);
    ck_assert_int_eq(local_store_read(&toolstack, "/local/long", value), -EBADMSG);
    ck_assert_int_eq(local_store_read(&toolstack, "/local/directory", value), -EBADMSG);
    ck_assert_int_eq(local_store_read(&toolstack, "/local/fifo", value), -EBADMSG);
    ck_assert_int_eq(local_store_read(&toolstack, "/local/link", value), -EBADMSG);
    ck_assert_int_eq(count_below(""), 4); /* README, nul, huge, long have names of nodes */
    ck_assert_int_eq(local_store_remove(&toolstack, "/local"), 0);
    ck_assert_int_eq(count_below("/local"), 0);
}
END_TEST

/* ---- a full disk ---- */

START_TEST(a_failed_write_leaves_the_old_value)
{
    struct rlimit before, small;
    char big[PLATFORM_VALUE_MAX + 1];
    memset(big, 'b', sizeof(big));
    big[PLATFORM_VALUE_MAX] = '\0';
    ck_assert_int_eq(local_store_write(&toolstack, NODE, "old", 2), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1000; /* the first write is short, the next fails */
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    int result = local_store_write(&toolstack, NODE, big, 2);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(result, -EFBIG);
    expect_value(&toolstack, NODE, "old");
    ck_assert_int_eq(count_files(store_dir, ""), 1);
}
END_TEST

static int fill_tmpfs(void)
{
    char path[128], block[4096] = "";
    snprintf(path, sizeof(path), "%s/.fill", store_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof(block)) > 0)
        continue;
    return close(fd);
}

START_TEST(a_full_file_system_leaves_the_old_value)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("idc", store_dir, "tmpfs", 0, "size=64k") != 0) {
        fprintf(stderr,
                "test_store_local: skipped: a full file system (cannot mount a tmpfs: %s)\n",
                strerror(errno));
        return;
    }
    struct store_local store = open_as(5);
    ck_assert_int_eq(local_store_write(&store, NODE, "old", 2), 0);
    fill_tmpfs();
    ck_assert_int_eq(local_store_write(&store, NODE, "new", 2), -ENOSPC);
    expect_value(&store, NODE, "old");
    ck_assert_int_eq(count_files(store_dir, ".tmp-"), 0);
    ck_assert_int_eq(local_store_remove(&store, NODE), 0);
    local_store_close(&store);
    ck_assert_int_eq(umount2(store_dir, MNT_DETACH), 0);
}
END_TEST

/* Readers beside writers see whole values only. */
START_TEST(readers_never_see_half_a_value)
{
    char long_value[3000];
    memset(long_value, 'y', sizeof(long_value));
    long_value[sizeof(long_value) - 1] = '\0';
    ck_assert_int_eq(local_store_write(&toolstack, NODE, "x", -1), 0);
    pid_t writer = fork_child();
    if (writer == 0) {
        for (int i = 0;; i++)
            local_store_write(&toolstack, NODE, i % 2 ? "x" : long_value, -1);
    }
    for (int i = 0; i < 3000; i++) {
        int length = local_store_read(&toolstack, NODE, value);
        ck_assert(length == 1 || length == (int)sizeof(long_value) - 1);
        ck_assert_uint_eq(strlen(value), (size_t)length);
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    remove_store(); /* with the file that the killed writer may have left */
    ck_assert_int_eq(mkdir(store_dir, 0700), 0);
}
END_TEST

START_TEST(sweeping_takes_only_what_is_old)
{
    char path[128];
    struct timespec old[2] = {{.tv_sec = time(NULL) - 100}, {.tv_sec = time(NULL) - 100}};
    put_file(".tmp-old", "x", 1);
    put_file(".tmp-new", "x", 1);
    put_file(".other", "x", 1);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", store_dir, i == 0 ? ".tmp-old" : ".other");
        ck_assert_int_eq(utimensat(AT_FDCWD, path, old, 0), 0);
    }
    local_store_sweep(&toolstack);
    ck_assert_int_eq(count_files(store_dir, ".tmp-old"), 0);
    ck_assert_int_eq(count_files(store_dir, ".tmp-new"), 1);
    ck_assert_int_eq(count_files(store_dir, ".other"), 1);
    snprintf(path, sizeof(path), "%s/.tmp-new", store_dir);
    unlink(path);
}
END_TEST

/* ---- watches ---- */

static struct platform *two;
static struct store_local five;
#define WAIT_MS 20000 /* never used up when all is well */

static struct store_event event;

static void open_watcher(void)
{
    open_store();
    two = open_domain(2);
    five = open_as(5);
}

static void close_watcher(void)
{
    ops->close(two);
    local_store_close(&five);
    close_store();
}

static void expect_event(const char *path, const char *expected)
{
    ck_assert_msg(local_fixture_readable(ops->event_fd(two), WAIT_MS), "no event for %s", path);
    ck_assert_int_eq(ops->next_event(two, &event), 1);
    ck_assert_str_eq(event.path, path);
    ck_assert_int_eq(event.present, expected != NULL);
    ck_assert_str_eq(event.value, expected == NULL ? "" : expected);
}

/* Nothing is to be told, and once that was seen the descriptor does not claim otherwise. */
static void expect_nothing(void)
{
    while (local_fixture_readable(ops->event_fd(two), 0))
        ck_assert_int_eq(ops->next_event(two, &event), 0);
}

START_TEST(what_exists_is_told_first_by_name)
{
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data/idc/2/want", "w", 2), 0);
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data/idc/2/alive", "a", 2), 0);
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data/idc/22/alive", "other", 2), 0);
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data/idc/2/secret", "s", 3), 0);
    /* takes the changes of before the subscription, which would be told as repetitions */
    expect_nothing();
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/5/data/idc/2"), 0);
    expect_event("/local/domain/5/data/idc/2/alive", "a");
    expect_event("/local/domain/5/data/idc/2/want", "w");
    expect_nothing();
}
END_TEST

START_TEST(nothing_there_is_told_too)
{
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/5/data/idc/2"), 0);
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/6/data/idc/2"), 0);
    expect_event("/local/domain/5/data/idc/2", NULL);
    expect_event("/local/domain/6/data/idc/2", NULL);
    expect_nothing();
    ck_assert_int_eq(ops->subscribe(two, "no path"), -EINVAL);
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/5/data/idc"), -EINVAL);
    ck_assert_int_eq(ops->subscribe(two, "/local"), -EINVAL);
}
END_TEST

static void subscribe_to_five(void)
{
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/5/data/idc/2"), 0);
    expect_event("/local/domain/5/data/idc/2", NULL);
    expect_nothing();
}

START_TEST(changes_are_told)
{
    subscribe_to_five();
    ck_assert_int_eq(local_store_write(&five, NODE, "1", 2), 0);
    expect_event(NODE, "1");
    ck_assert_int_eq(local_store_write(&five, NODE, "2", 2), 0);
    expect_event(NODE, "2");
    ck_assert_int_eq(
        local_store_write(&five, "/local/domain/5/data/idc/2/link/socket", ".link-5", 2), 0);
    expect_event("/local/domain/5/data/idc/2/link/socket", ".link-5");
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data/idc/3/alive", "x", 2), 0);
    ck_assert_int_eq(local_store_remove(&five, "/local/domain/5/data/idc/2/link"), 0);
    expect_event("/local/domain/5/data/idc/2/link/socket", NULL);
    put_file(NODE_FILE, "n5,r2\nby hand", 13);
    expect_event(NODE, "by hand");
    ck_assert_int_eq(local_store_remove(&five, NODE), 0);
    expect_event(NODE, NULL);
    expect_nothing();
}
END_TEST

/* A wish may be told early, but what is told last comes after the epoch that it belongs to. */
START_TEST(changes_keep_their_order)
{
    subscribe_to_five();
    const char *want = "/local/domain/5/data/idc/2/want";
    ck_assert_int_eq(local_store_write(&five, want, "old", 2), 0);
    ck_assert_int_eq(local_store_write(&five, NODE, "new", 2), 0);
    ck_assert_int_eq(local_store_write(&five, want, "new", 2), 0);
    expect_event(want, "new");
    expect_event(NODE, "new");
    expect_event(want, "new");
    expect_nothing();
}
END_TEST

START_TEST(what_may_not_be_read_is_not_there)
{
    subscribe_to_five();
    ck_assert_int_eq(local_store_write(&five, NODE, "hidden", 3), 0);
    expect_nothing();
    ck_assert_int_eq(local_store_write(&five, NODE, "seen", 2), 0);
    expect_event(NODE, "seen");
    ck_assert_int_eq(local_store_write(&five, NODE, "hidden", -1), 0);
    expect_event(NODE, NULL);
    put_file(NODE_FILE, "rubbish", 7);
    expect_nothing();
    ck_assert_int_eq(local_store_write(&five, NODE, "seen", 2), 0);
    expect_event(NODE, "seen");
    put_file(NODE_FILE, "rubbish", 7);
    expect_event(NODE, NULL);
    expect_nothing();
}
END_TEST

START_TEST(a_node_that_goes_before_it_was_told)
{
    ck_assert_int_eq(local_store_write(&five, NODE, "x", 2), 0);
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/5/data/idc/2"), 0);
    ck_assert_int_eq(local_store_remove(&five, NODE), 0);
    expect_event(NODE, NULL);
    expect_nothing();
}
END_TEST

/* Of a path that is subscribed already: what is there, and what went and was not told yet. */
START_TEST(subscribing_again)
{
    ck_assert_int_eq(local_store_write(&five, NODE, "x", 2), 0);
    ck_assert_int_eq(local_store_write(&five, NODE "2", "y", 2), 0);
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/5/data/idc/2"), 0);
    expect_event(NODE, "x");
    expect_event(NODE "2", "y");
    expect_nothing();
    ck_assert_int_eq(local_store_remove(&five, NODE), 0);
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/5/data/idc/2"), 0);
    expect_event(NODE "2", "y");
    expect_event(NODE, NULL);
    expect_nothing();
}
END_TEST

START_TEST(unsubscribing)
{
    ck_assert_int_eq(local_store_write(&five, NODE, "x", 2), 0);
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/5/data/idc/2"), 0);
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/6/data/idc/2"), 0);
    ck_assert_int_eq(ops->unsubscribe(two, "/local/domain/5/data/idc/2"), 0);
    ck_assert_int_eq(ops->unsubscribe(two, "/local/domain/6/data/idc/2"), 0);
    expect_nothing();
    ck_assert_int_eq(local_store_write(&five, NODE, "y", 2), 0);
    expect_nothing();
    ck_assert_int_eq(ops->unsubscribe(two, "/local/domain/5/data/idc/2"), -ENOENT);
    ck_assert_int_eq(ops->subscribe(two, "/local/domain/5/data/idc/2"), 0);
    expect_event(NODE, "y");
    ck_assert_int_eq(ops->subscribe(two, NODE), 0);
    expect_event(NODE, "y");
    ck_assert_int_eq(ops->unsubscribe(two, "/local/domain/5/data/idc/2"), 0);
    ck_assert_int_eq(local_store_remove(&five, NODE), 0);
    expect_event(NODE, NULL);
    expect_nothing();
}
END_TEST

/* Own nodes are told like others', if they were asked for. */
START_TEST(publishing_and_retracting)
{
    const char *own = "/local/domain/2/data/idc/5/alive";
    ck_assert_int_eq(ops->publish(two, own, "epoch", 5), 0);
    expect_value(&five, own, "epoch");
    ck_assert_int_eq(ops->publish(two, "/local/domain/2/data/idc/5/want", "1", 5), 0);
    ck_assert_int_eq(ops->publish(two, "/local/domain/2/data/idc/6/alive", "epoch", 6), 0);
    ck_assert_int_eq(local_store_read(&five, "/local/domain/2/data/idc/6/alive", value), -EACCES);
    ck_assert_int_eq(ops->publish(two, "/local/domain/5/data/x", "x", 5), -EACCES);
    ck_assert_int_eq(ops->publish(two, "x", "x", 5), -EINVAL);
    ck_assert_int_eq(ops->subscribe(two, own), 0);
    expect_event(own, "epoch");
    ck_assert_int_eq(ops->retract(two, "/local/domain/2/data/idc/5"), 0);
    expect_event(own, NULL);
    ck_assert_int_eq(ops->retract(two, "/local/domain/5/data"), -EACCES);
    ck_assert_int_eq(count_below("/local"), 1);
    ops->close(two);
    ck_assert_int_eq(count_files(store_dir, ""), 0);
    two = open_domain(2);
}
END_TEST

/* More changes than inotify keeps: after that, what is told is what is there. */
START_TEST(lost_events_are_made_up_for)
{
    char number[16];
    subscribe_to_five();
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data/idc/2/going", "x", 2), 0);
    expect_event("/local/domain/5/data/idc/2/going", "x");
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data/idc/2/kept", "x", 2), 0);
    expect_event("/local/domain/5/data/idc/2/kept", "x");
    for (int i = 0; i < 12000; i++)
        ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data/idc/2/noise", "x", 2), 0);
    ck_assert_int_eq(local_store_remove(&five, "/local/domain/5/data/idc/2/going"), 0);
    snprintf(number, sizeof(number), "%d", 12000);
    ck_assert_int_eq(local_store_write(&five, NODE, number, 2), 0);
    do { /* as many changes of the noise as were kept come first */
        while (ops->next_event(two, &event) == 0)
            ck_assert(local_fixture_readable(ops->event_fd(two), WAIT_MS));
    } while (strcmp(event.path, "/local/domain/5/data/idc/2/noise") == 0);
    ck_assert_str_eq(event.path, NODE); /* in the order of names: alive, going, kept, noise */
    ck_assert_str_eq(event.value, number);
    expect_event("/local/domain/5/data/idc/2/going", NULL);
    expect_event("/local/domain/5/data/idc/2/kept", "x");
    expect_event("/local/domain/5/data/idc/2/noise", "x");
    expect_nothing();
}
END_TEST

/* A daemon is not woken by changes to which it has not subscribed. In a common directory the work
 * of all would grow with the third power of their number. */
START_TEST(changes_of_others_are_not_seen)
{
    subscribe_to_five();
    ck_assert_int_eq(local_store_write(&five, "/local/domain/5/data/idc/9/alive", "x", 9), 0);
    ck_assert_int_eq(local_store_write(&toolstack, "/local/domain/5/idc/policy/9", "in=*", 5), 0);
    ck_assert(!local_fixture_readable(ops->event_fd(two), 0));
}
END_TEST

/* Without a descriptor to read a node with, it is told later, not lost. */
START_TEST(no_descriptor_left_to_read_with)
{
    struct rlimit before, none;
    subscribe_to_five();
    ck_assert_int_eq(local_store_write(&five, NODE, "x", 2), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int while_none = ops->next_event(two, &event);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(while_none, 0);
    expect_event(NODE, "x");
    expect_nothing();
}
END_TEST

static void limit_descriptors(rlim_t most)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most == 0 ? limit.rlim_max : most;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Meanwhile the daemon looks again now and then, and does not turn without end. Other changes that
 * come are no reason to turn either. */
START_TEST(no_descriptor_for_some_time)
{
    static const char other[] = "/local/domain/5/data/idc/2/want";
    subscribe_to_five();
    ck_assert_int_eq(local_store_write(&five, NODE, "x", 2), 0);
    limit_descriptors(3);
    ck_assert_int_eq(ops->next_event(two, &event), 0);
    limit_descriptors(0);
    ck_assert_int_eq(local_store_write(&five, other, "w", 2), 0);
    limit_descriptors(3);
    int64_t begin = now_ms();
    for (int i = 0; i < 5; i++) {
        ck_assert(local_fixture_readable(ops->event_fd(two), WAIT_MS));
        ck_assert_int_eq(ops->next_event(two, &event), 0);
    }
    ck_assert_int_ge(now_ms() - begin, 60);
    limit_descriptors(0);
    expect_event(NODE, "x");
    expect_event(other, "w");
    expect_nothing();
}
END_TEST

/* How a daemon begins that may have so many descriptors: at each of them it says what it lacks. */
START_TEST(no_descriptor_to_begin_with)
{
    const struct platform_config config = {.store = store_dir, .domid = 7};
    struct platform *platform;
    int result = -EMFILE;
    for (rlim_t most = 3; result < 0; most++) {
        limit_descriptors(most);
        result = ops->open(&config, &platform, why, sizeof(why));
        limit_descriptors(0);
        if (result < 0) {
            ck_assert_int_eq(result, -EMFILE);
            ck_assert_msg(strstr(why, "LimitNOFILE") || strstr(why, "Too many open files"), "%s",
                          why);
        }
    }
    ops->close(platform);
}
END_TEST

/* ---- a store that is lost ---- */

static void expect_lost(void)
{
    int result = 0;
    for (int i = 0; i < 100 && result == 0; i++) {
        ck_assert(local_fixture_readable(ops->event_fd(two), WAIT_MS));
        result = ops->next_event(two, &event);
        result = result == 1 ? 0 : result;
    }
    ck_assert_int_lt(result, 0);
    ck_assert(local_fixture_readable(ops->event_fd(two), 0));
    ck_assert_int_lt(ops->next_event(two, &event), 0);
}

/* What a subscription watches is a part of the store. */
START_TEST(a_removed_directory_of_nodes_is_noticed)
{
    char path[128];
    subscribe_to_five();
    snprintf(path, sizeof(path), "%s/domain:5/data:2", store_dir);
    ck_assert_int_eq(rmdir(path), 0);
    expect_lost();
}
END_TEST

START_TEST(a_removed_store_is_noticed)
{
    subscribe_to_five();
    ck_assert_int_eq(local_store_write(&five, NODE, "x", 2), 0);
    remove_store();
    expect_lost();
}
END_TEST

START_TEST(a_renamed_store_is_noticed)
{
    char other[128];
    snprintf(other, sizeof(other), "%s-renamed", store_dir);
    ck_assert_int_eq(rename(store_dir, other), 0);
    expect_lost();
    ck_assert_int_eq(rename(other, store_dir), 0);
}
END_TEST

/* ---- opening ---- */

static void expect_refusal(const char *directory, int domid, int error, const char *part)
{
    struct platform *platform;
    ck_assert_int_eq(try_open(directory, domid, &platform), error);
    ck_assert_msg(strstr(why, part) != NULL, "said: %s", why);
    ck_assert_ptr_null(strchr(why, '\n'));
}

START_TEST(what_cannot_be_opened_is_explained)
{
    char path[128];
    expect_refusal(NULL, 1, -EINVAL, "--store");
    expect_refusal("", 1, -EINVAL, "--store");
    expect_refusal(store_dir, -1, -EINVAL, "--domid");
    expect_refusal(store_dir, 32752, -EINVAL, "32751");
    snprintf(path, sizeof(path), "%s/missing", store_dir);
    expect_refusal(path, 1, -ENOENT, "mkdir");
    put_file("file", "x", 1);
    snprintf(path, sizeof(path), "%s/file", store_dir);
    expect_refusal(path, 1, -ENOTDIR, "not a directory");
    put_file(".link-7", "x", 1); /* in the way, and removed */
    struct platform *platform = open_domain(7);
    ops->close(platform);
    snprintf(path, sizeof(path), "%s/.link-8", store_dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    expect_refusal(store_dir, 8, -EADDRINUSE, "domain 8");
}
END_TEST

START_TEST(a_store_that_cannot_be_written_is_explained)
{
    if (geteuid() == 0 && seteuid(65534) != 0)
        ck_abort();
    expect_refusal("/usr", 1, -EACCES, "permissions");
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(a_domain_is_one_process)
{
    struct platform *first = open_domain(1), *other = open_domain(3);
    expect_refusal(store_dir, 1, -EADDRINUSE, "domain 1 has a link_mgr already");
    pid_t child = fork_child();
    if (child == 0) {
        struct platform *platform;
        _exit(try_open(store_dir, 1, &platform) == -EADDRINUSE ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    /* it holds without the socket's file */
    ck_assert_int_eq(unlinkat(toolstack.dir, ".link-1", 0), 0);
    expect_refusal(store_dir, 1, -EADDRINUSE, "domain 1 has a link_mgr already");
    ops->close(first);
    first = open_domain(1);
    ops->close(first);
    ops->close(other);
    ck_assert_int_eq(count_files(store_dir, ""), 0);
}
END_TEST

/* In another network namespace the abstract name does not show, but the socket does. */
START_TEST(a_live_socket_is_not_taken_over)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/.link-1", store_dir);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    expect_refusal(store_dir, 1, -EADDRINUSE, "domain 1");
    ck_assert_int_eq(access(address.sun_path, F_OK), 0);
    close(fd);
    struct platform *platform = open_domain(1);
    ops->close(platform);
}
END_TEST

START_TEST(a_killed_daemon_leaves_the_way_free)
{
    int pipe_ends[2];
    char byte;
    ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
    pid_t child = fork_child();
    if (child == 0) {
        struct platform *platform;
        if (try_open(store_dir, 1, &platform) != 0 || write(pipe_ends[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(pipe_ends[0], &byte, 1), 1);
    expect_refusal(store_dir, 1, -EADDRINUSE, "domain 1");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ck_assert_int_eq(count_files(store_dir, ".link-1"), 1);
    struct platform *platform = open_domain(1);
    ops->close(platform);
    ck_assert_int_eq(count_files(store_dir, ""), 0);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}
END_TEST

/* A path of more than the 108 bytes that fit in the address of a Unix socket. */
START_TEST(a_long_path_is_no_obstacle)
{
    char path[400];
    struct platform *platform, *peer;
    struct channel *offered, *attached;
    memset(path, 0, sizeof(path));
    snprintf(path, sizeof(path), "%s/%0200d", store_dir, 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(try_open(path, 5, &platform), 0);
    ck_assert_int_eq(try_open(path, 2, &peer), 0);
    ck_assert_int_eq(ops->offer(platform, 2, "/local/domain/5/data/idc/2/link", 4096, &offered), 0);
    ck_assert_int_eq(ops->attach(peer, 5, "/local/domain/5/data/idc/2/link", &attached), 0);
    ck_assert_int_eq(ops->next_event(platform, &event), 0);
    ck_assert_int_eq(ops->next_event(peer, &event), 0);
    ck_assert_int_eq(ops->channel_poll(attached), CHANNEL_OPEN);
    ops->close(platform);
    ops->close(peer);
    ck_assert_int_eq(count_files(path, ""), 0);
}
END_TEST

/* Wherever descriptors run out while it opens, that is an error and nothing leaks. */
START_TEST(no_descriptor_left_to_open_with)
{
    struct rlimit before, limit;
    struct platform *platform;
    bool opened = false;
    if (on_valgrind())
        return;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int extra = 0; extra < 20 && !opened; extra++) {
        int lowest_free = dup(0), count = count_descriptors() - 1;
        close(lowest_free);
        limit = before;
        limit.rlim_cur = (rlim_t)(lowest_free + extra);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        int result = try_open(store_dir, 1, &platform);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        opened = result == 0;
        ck_assert(opened || (result == -EMFILE && why[0] != '\0'));
        if (opened)
            ops->close(platform);
        ck_assert_int_eq(count_descriptors(), count);
        ck_assert_int_eq(count_files(store_dir, ""), 0);
    }
    ck_assert(opened);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name, SFun before, SFun after)
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, before, after);
    suite_add_tcase(suite, c);
    return c;
}

int main(void)
{
    Suite *suite = suite_create("store_local");

    TCase *c = add_case(suite, "files", open_store, close_store);
    tcase_add_test(c, paths);
    tcase_add_test(c, values);
    tcase_add_test(c, the_file_is_as_documented);
    tcase_add_test(c, each_node_has_its_file);
    tcase_add_test(c, a_misplaced_file_is_no_node);
    tcase_add_test(c, a_walk_looks_where_the_prefix_says);
    tcase_add_test(c, who_may_write_where);
    tcase_add_test(c, who_may_read_what);
    tcase_add_test(c, a_removed_permission_is_no_permission);
    tcase_add_test(c, removing_takes_the_subtree_and_nothing_else);
    tcase_add_test(c, a_walk_can_be_stopped);
    tcase_add_test(c, rubbish_is_no_node);
    tcase_add_test(c, a_failed_write_leaves_the_old_value);
    tcase_add_test(c, a_full_file_system_leaves_the_old_value);
    tcase_add_test(c, readers_never_see_half_a_value);
    tcase_add_test(c, sweeping_takes_only_what_is_old);

    c = add_case(suite, "watches", open_watcher, close_watcher);
    tcase_add_test(c, what_exists_is_told_first_by_name);
    tcase_add_test(c, nothing_there_is_told_too);
    tcase_add_test(c, changes_are_told);
    tcase_add_test(c, changes_keep_their_order);
    tcase_add_test(c, what_may_not_be_read_is_not_there);
    tcase_add_test(c, a_node_that_goes_before_it_was_told);
    tcase_add_test(c, subscribing_again);
    tcase_add_test(c, unsubscribing);
    tcase_add_test(c, publishing_and_retracting);
    tcase_add_test(c, lost_events_are_made_up_for);
    tcase_add_test(c, changes_of_others_are_not_seen);
    tcase_add_test(c, no_descriptor_left_to_read_with);
    tcase_add_test(c, no_descriptor_for_some_time);
    tcase_add_test(c, no_descriptor_to_begin_with);
    tcase_add_test(c, a_removed_store_is_noticed);
    tcase_add_test(c, a_removed_directory_of_nodes_is_noticed);
    tcase_add_test(c, a_renamed_store_is_noticed);

    c = add_case(suite, "opening", open_store, close_store);
    tcase_add_test(c, what_cannot_be_opened_is_explained);
    tcase_add_test(c, a_store_that_cannot_be_written_is_explained);
    tcase_add_test(c, a_domain_is_one_process);
    tcase_add_test(c, a_live_socket_is_not_taken_over);
    tcase_add_test(c, a_killed_daemon_leaves_the_way_free);
    tcase_add_test(c, a_long_path_is_no_obstacle);
    tcase_add_test(c, no_descriptor_left_to_open_with);
    return run_suite(suite);
}
