/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: the text of rules, and the nodes that it comes in. The input is a text. It is read as it
 * is, and then once more in parts that arrive in an order which the input chooses. Both must come
 * to the same. Whatever was read is asked.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "link_mgr/core/rules_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_PART 64u

static void fuzz_ask(const struct rules *rules)
{
    static const struct rule_question questions[] = {
        {.port = 80, .name = "", .type = IDC_STREAM, .uid = 33},
        {.port = 0, .name = "org.example.sql", .type = IDC_SEQPACKET, .now = 1798761599},
        {.port = 1, .name = "", .name_known = true, .type = IDC_STREAM, .now = 5},
    };
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
        for (uint32_t domid = 0; domid < 8; domid++) {
            struct rules_verdict verdict = {0};
            bool decided = rules_decide(rules, rules_between(rules, domid, i % 2), 1, UINT32_MAX,
                                        &questions[i], &verdict);
            if (decided != (verdict.rule != NULL) || (verdict.near && !verdict.near->allow))
                abort();
            rules_allow_something(rules, rules_between(rules, domid, true), 5);
        }
    for (uint32_t i = 1; i < rules->rule_count; i++)
        if (rules->rules[i].number <= rules->rules[i - 1].number)
            abort();
    rules_next_end(rules, 5);
}

/* The parts come in steps of `step` places, which visits each of them. */
static void fuzz_nodes(const char *text, size_t size, uint32_t step, bool good)
{
    struct rules_store store;
    struct rules *rules = NULL;
    struct rules_problem problem;
    char path[64], value[FUZZ_PART + 1], now[64];
    const uint32_t parts = (uint32_t)(size / FUZZ_PART + 1);
    while (parts % step == 0 && step > 1)
        step--;
    rules_store_init(&store);
    snprintf(now, sizeof(now), "7 %u", parts);
    for (uint32_t i = 0, part = 0; i < parts; i++, part = (part + step) % parts) {
        size_t at = (size_t)part * FUZZ_PART;
        size_t length = size - at < FUZZ_PART ? size - at : FUZZ_PART;
        memcpy(value, text + at, length);
        value[length] = '\0';
        snprintf(path, sizeof(path), "/7/%u", part);
        if (i == parts / 2)
            rules_store_event(&store, "/now", now);
        rules_store_event(&store, path, value);
    }
    enum rules_news news = rules_store_take(&store, &rules, &problem);
    /* a step that does not visit all parts leaves some away */
    if ((news == RULES_NEW && !good) || (step == 1 && good && news != RULES_NEW))
        abort();
    rules_free(rules);
    rules_store_clear(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rules *rules = NULL;
    struct rules_problem problem = {.what = NULL};
    int error = rules_new(&rules, (const char *)data, size, &problem);
    if (error ? !problem.what : !rules)
        abort();
    if (!error)
        fuzz_ask(rules);
    if (size > 0 && size < FUZZ_PART * 100 && !memchr(data, 0, size))
        fuzz_nodes((const char *)data, size, data[size / 2] % 7 + 1u, !error);
    if (!error)
        rules_free(rules);
    return 0;
}
