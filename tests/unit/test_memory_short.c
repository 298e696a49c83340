/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A link_mgr that has no memory for data resets their connection, and says so in its log. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

static struct lone lone;

struct block {
    struct block *next;
};

/* Takes all that malloc can give. */
static struct block *take_memory(void)
{
    const struct rlimit none = {0, RLIM_INFINITY};
    struct block *all = NULL, *block;
    setrlimit(RLIMIT_AS, &none);
    for (size_t size = 1 << 20; size >= sizeof(*block); size /= 2)
        while ((block = malloc(size))) {
            block->next = all;
            all = block;
        }
    return all;
}

static void give_memory_back(struct block *all)
{
    const struct rlimit endless = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &endless);
    for (struct block *next; all; all = next) {
        next = all->next;
        free(all);
    }
}

static void send_without_memory(enum idc_type type)
{
    static uint8_t payload[WIRE_FRAME_MIN];
    struct wire_connect_req req = {.id = 1,
                                   .source_port = 5,
                                   .port = LONE_PORT + (type != IDC_STREAM),
                                   .uid = 9,
                                   .type = type};
    uint32_t length = wire_put_connect_req(payload, &req);
    lone_start(&lone);
    lone_send(&lone,
              &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 1000},
              payload);
    lone_run(&lone);
    ck_assert_int_eq(lone.end_count, 1);
    struct endpoint *end = &lone.ends[0];
    end->no_room = true;
    struct wire_frame frame = {
        .type = WIRE_TYPE_DATA, .length = 500, .connection = end->conn->id, .credit = 1000};
    struct block *all = take_memory();
    lone_send(&lone, &frame, payload);
    lone_run(&lone);
    give_memory_back(all);
    ck_assert_int_eq(end->reason, REASON_NO_RESOURCES);
    ck_assert_msg(strstr(lone.last_log, "no memory is left for 500 bytes"), "%s", lone.last_log);
}

START_TEST(stream)
{
    send_without_memory(IDC_STREAM);
}
END_TEST

START_TEST(message)
{
    send_without_memory(IDC_SEQPACKET);
}
END_TEST

/* The sanitizers and valgrind have allocators of their own, which end the process instead. */
static bool malloc_is_watched(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#endif
    return on_valgrind();
}

/* QEMU's emulation of a user's program has no such limit: it would take the machine's memory. */
static bool limit_is_kept(void)
{
    const struct rlimit none = {0, RLIM_INFINITY}, endless = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &none);
    void *block = malloc(64 << 20);
    bool kept = !block;
    free(block);
    setrlimit(RLIMIT_AS, &endless);
    return kept;
}

int main(void)
{
    if (malloc_is_watched())
        return 0;
    if (!limit_is_kept()) {
        puts("RLIMIT_AS is not kept here\n0 passed, 0 failed, 2 skipped");
        return 0;
    }
    Suite *suite = suite_create("too little memory");
    TCase *tests = tcase_create("tests");
    tcase_add_test(tests, stream);
    tcase_add_test(tests, message);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
