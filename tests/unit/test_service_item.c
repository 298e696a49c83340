/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an item of a list of services is (common/service_name.h), for all three lists. */
#include <check.h>
#include <string.h>

#include "common/service_name.h"
#include "idc.h"
#include "tests/unit/suite.h"

static const struct {
    const char *item;
    enum service_item policy, listen;
} examples[] = {
    {"80", SERVICE_ITEM_PORTS, SERVICE_ITEM_PORTS},
    {"80-", SERVICE_ITEM_PORTS, SERVICE_ITEM_PORTS},
    {"1-2-3", SERVICE_ITEM_PORTS, SERVICE_ITEM_PORTS},
    {"080", SERVICE_ITEM_PORTS, SERVICE_ITEM_PORTS}, /* a port that is wrong */
    {"80x", SERVICE_ITEM_NAME, SERVICE_ITEM_NAME},
    {"org.example.sql", SERVICE_ITEM_NAME, SERVICE_ITEM_NAME},
    {"org.example.*", SERVICE_ITEM_NAME, SERVICE_ITEM_NAME},
    {"org.exam?le", SERVICE_ITEM_NAME, SERVICE_ITEM_WRONG},
    {"*a", SERVICE_ITEM_NAME, SERVICE_ITEM_NAME},
    {"", SERVICE_ITEM_WRONG, SERVICE_ITEM_WRONG},
    {"-", SERVICE_ITEM_WRONG, SERVICE_ITEM_WRONG},
    {"-5", SERVICE_ITEM_WRONG, SERVICE_ITEM_WRONG},
    {"*", SERVICE_ITEM_WRONG, SERVICE_ITEM_WRONG},
    {"1*", SERVICE_ITEM_WRONG, SERVICE_ITEM_WRONG}, /* without a letter */
    {"8.0", SERVICE_ITEM_WRONG, SERVICE_ITEM_WRONG},
    {"a b", SERVICE_ITEM_WRONG, SERVICE_ITEM_WRONG},
    {"b\303\274ro", SERVICE_ITEM_WRONG, SERVICE_ITEM_WRONG},
};

START_TEST(example_items)
{
    const char *item = examples[_i].item;
    ck_assert_int_eq(service_item(item, strlen(item), "*?"), examples[_i].policy);
    ck_assert_int_eq(service_item(item, strlen(item), "*"), examples[_i].listen);
}
END_TEST

START_TEST(long_items)
{
    char item[IDC_SERVICE_MAX + 1];
    memset(item, 'a', sizeof(item));
    ck_assert_int_eq(service_item(item, IDC_SERVICE_MAX, "*"), SERVICE_ITEM_NAME);
    ck_assert_int_eq(service_item(item, IDC_SERVICE_MAX + 1, "*"), SERVICE_ITEM_WRONG);
    item[0] = '*';
    ck_assert_int_eq(service_item(item, IDC_SERVICE_MAX + 1, "*"), SERVICE_ITEM_WRONG);
    ck_assert_int_eq(service_item(item + 1, 0, "*"), SERVICE_ITEM_WRONG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("service item");
    TCase *tests = tcase_create("items");
    tcase_add_loop_test(tests, example_items, 0, sizeof(examples) / sizeof(examples[0]));
    tcase_add_test(tests, long_items);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
