/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: the rules of who may listen. What is refused is refused for a place in the text. What is
 * accepted gives the same answer twice, by a line that there is, and no star gives a port of root's
 * away.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/hub/listen_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Names of users and groups are short. */
static bool find_id(void *arg, bool group, const char *name, uint32_t *id)
{
    (void)arg;
    *id = (uint32_t)(strlen(name) + (group ? 100 : 0));
    return strlen(name) < 8;
}

static unsigned count_lines(const uint8_t *data, size_t size)
{
    unsigned lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    return lines;
}

static void fuzz_ask(const struct listen_rules *rules, unsigned lines,
                     const struct listen_question *question)
{
    unsigned line, again;
    bool allowed = listen_rules_allow(rules, question, &line);
    if (listen_rules_allow(rules, question, &again) != allowed || line != again || line > lines ||
        (allowed && line == 0))
        abort();
}

static void fuzz_ask_all(const struct listen_rules *rules, unsigned lines)
{
    static const uint32_t uids[] = {0, 1, 3, 1000, UINT32_MAX}, ports[] = {2, 80, 1024, UINT32_MAX};
    static const char *const names[] = {"a", "aaaaaaaab", "org.example.sql"};
    uint32_t gids[] = {33, 103};
    const struct groups groups[] = {{.known = true, .count = 2, .list = gids}, {.known = false}};
    for (size_t i = 0; i < sizeof(uids) / sizeof(uids[0]); i++)
        for (int known = 0; known < 2; known++) {
            struct listen_question question = {
                .uid = uids[i], .groups = &groups[known], .name = ""};
            for (size_t k = 0; k < sizeof(ports) / sizeof(ports[0]); k++) {
                question.port = ports[k];
                fuzz_ask(rules, lines, &question);
            }
            question.port = 0;
            for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
                question.name = names[k];
                fuzz_ask(rules, lines, &question);
            }
        }
}

/* Without any digit in the text, nobody can have been given port 80. */
static void fuzz_ask_root_port(const struct listen_rules *rules, const uint8_t *data, size_t size)
{
    const struct groups none = {.known = true};
    const struct listen_question question = {.uid = 3, .groups = &none, .port = 80, .name = ""};
    unsigned line;
    for (size_t i = 0; i < size; i++)
        if (data[i] >= '0' && data[i] <= '9')
            return;
    if (listen_rules_allow(rules, &question, &line))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct listen_rules *rules;
    struct listen_wrong wrong;
    unsigned lines = count_lines(data, size);
    int error = listen_rules_parse((const char *)data, size, find_id, NULL, &rules, &wrong);
    if (error == -EINVAL && (wrong.line < 1 || wrong.line > lines || wrong.column < 1 ||
                             wrong.column > size + 1 || !wrong.what[0]))
        abort();
    if (error)
        return 0;
    if (listen_rules_count(rules) > lines)
        abort();
    fuzz_ask_all(rules, lines);
    fuzz_ask_root_port(rules, data, size);
    listen_rules_free(rules);
    return 0;
}
