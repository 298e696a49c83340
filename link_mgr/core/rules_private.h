/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rules_private.h - what the files about the text of rules share: memory, words, numbers. */
#ifndef IDC_RULES_PRIVATE_H
#define IDC_RULES_PRIVATE_H

#include "link_mgr/core/rules.h"

struct rules_word {
    const char *at;
    size_t length;
};

/* Memory that lives as long as the rules. NULL: there is none. count 0 gives memory of no use. */
void *rules_take(struct rules *rules, size_t count, size_t size);

/* Takes what stands before the separator, or all, off the front of *rest. False: rest is used up.
 * After a separator there is one more word, which may be empty. */
bool rules_next_word(struct rules_word *rest, char separator, struct rules_word *word);
bool rules_word_is(const struct rules_word *word, const char *text);
/* A decimal number without leading zeros, from least to most. */
bool rules_number(const struct rules_word *word, uint64_t least, uint64_t most, uint64_t *number);

/* Each returns NULL, or what is wrong; rules_no_memory is also such a text. */
extern const char rules_no_memory[];
/* A TEXT: what it stands for. */
const char *rules_read_text(struct rules *rules, const struct rules_word *word, const char **text);
const char *rules_read_uuid(struct rules *rules, const struct rules_word *word, const char **uuid);
const char *rules_read_domid(const struct rules_word *word, uint32_t *domid);
/* WHAT, options and `at=`, which are the rest of a rule's line. */
const char *rules_read_rule(struct rules *rules, struct rules_word rest, struct rule *rule);

#endif
