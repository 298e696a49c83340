/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of accounts by places: all of a hash are found, however it has grown. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "link_mgr/core/places.h"
#include "tests/unit/suite.h"

#define MANY 3000u
#define ALIKE 7u /* so many have each hash */

struct account {
    struct place place;
    uint32_t number;
};

static uint32_t hash_of(uint32_t number)
{
    char text[32];
    snprintf(text, sizeof(text), "/etc/idc/policy:%u", number / ALIKE);
    return places_hash(text);
}

/* How many accounts are found by the hash of this one. */
static uint32_t count_found(const struct places *places, uint32_t number)
{
    uint32_t count = 0;
    struct place *place;
    for (place = places_first(places, hash_of(number)); place; place = places_next(place)) {
        ck_assert_uint_eq(((struct account *)place)->number / ALIKE, number / ALIKE);
        count++;
    }
    return count;
}

START_TEST(all_are_found)
{
    struct places places;
    struct account *accounts = calloc(MANY, sizeof(*accounts));
    places_init(&places);
    ck_assert_ptr_null(places_first(&places, hash_of(0)));
    for (uint32_t i = 0; i < MANY; i++) {
        accounts[i].number = i;
        places_add(&places, &accounts[i].place, hash_of(i));
        ck_assert_uint_eq(count_found(&places, i), i % ALIKE + 1);
        ck_assert_uint_eq(count_found(&places, 0), i < ALIKE ? i + 1 : ALIKE);
    }
    ck_assert_uint_eq(places.count, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        places_remove(&places, &accounts[i].place);
        ck_assert_uint_lt(count_found(&places, i), ALIKE);
    }
    places_end(&places);
    free(accounts);
}
END_TEST

/* As many lists as accounts, or a few more: a search is as short as it can be. */
START_TEST(grows_with_what_is_in_it)
{
    struct places places;
    struct account *accounts = calloc(MANY, sizeof(*accounts));
    places_init(&places);
    for (uint32_t i = 0; i < MANY; i++) {
        places_add(&places, &accounts[i].place, i * 2654435761u);
        ck_assert_uint_ge(places.size, places.count);
        ck_assert_uint_lt(places.size, 2 * places.count);
    }
    for (uint32_t i = 0; i < MANY; i++)
        places_remove(&places, &accounts[i].place);
    places_end(&places);
    free(accounts);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("places of accounts");
    TCase *tests = tcase_create("tests");
    tcase_add_test(tests, all_are_found);
    tcase_add_test(tests, grows_with_what_is_in_it);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
