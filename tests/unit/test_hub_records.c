/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the hub remembers of connections: those that are there, and the latest HUB_REASONS that have
 * ended. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "link_mgr/hub/hub_private.h"
#include "tests/unit/suite.h"

#define FIRST (HUB_BUCKETS - 7) /* serials that share a bucket come into being */
#define OPEN 3000
#define ENDING (2 * HUB_REASONS + 100)

static struct hub *hub;
static struct conn conns[OPEN + ENDING];

static int reason_of(uint64_t serial)
{
    char why[HUB_WHY_MAX] = "";
    int error = hub_reason(hub, serial, why);
    ck_assert_str_ne(why, "");
    return error;
}

static void hub_records_begin(unsigned number)
{
    conns[number] = (struct conn){.serial = FIRST + number, .end = REASON_OK};
    ck_assert_int_eq(hub_record_begin(hub, &conns[number]), 0);
}

START_TEST(the_latest_ends_are_remembered)
{
    hub = calloc(1, sizeof(*hub));
    hub_records_init(hub);
    for (unsigned i = 0; i < OPEN + ENDING; i++)
        hub_records_begin(i);
    conns[17].end = REASON_REVOKED; /* broken, but its program has not taken everything yet */
    for (unsigned i = 0; i < ENDING; i++)
        hub_record_end(hub, FIRST + OPEN + i, i % 2 ? REASON_LINK_LOST : REASON_REVOKED);
    for (unsigned i = 0; i < OPEN; i++)
        ck_assert_int_eq(reason_of(FIRST + i), i == 17 ? EACCES : 0);
    for (unsigned i = 0; i < ENDING; i++) {
        int expected = i % 2 ? ECONNRESET : EACCES;
        ck_assert_int_eq(reason_of(FIRST + OPEN + i), i < ENDING - HUB_REASONS ? ENOENT : expected);
    }
    ck_assert_int_eq(reason_of(0), ENOENT);
    ck_assert_int_eq(reason_of(UINT64_MAX), ENOENT);
    hub_record_cancel(hub, FIRST + 5);
    ck_assert_int_eq(reason_of(FIRST + 5), ENOENT);
    hub_records_free(hub);
    free(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hub records");
    TCase *tests = tcase_create("tests");
    tcase_add_test(tests, the_latest_ends_are_remembered);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
