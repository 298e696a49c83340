/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain.c - see domain.h. */
#include "policy/domain.h"

#include <stdio.h>
#include <string.h>

#include "common/glob.h"
#include "common/naming.h"

#define DOMAIN_ZERO_NAME "Domain-0"

/* ---- reading ---- */

static bool domain_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool domain_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What a name may have outside quotes. */
static bool domain_is_bare(char c)
{
    return domain_is_letter(c) || domain_is_digit(c) || (unsigned char)c >= 0x80 ||
           (c != '\0' && strchr("._-+/~%:*?", c) != NULL);
}

bool domain_valid_group(const struct slice *slice)
{
    for (size_t i = 0; i < slice->length; i++) {
        char c = slice->text[i];
        if (!domain_is_letter(c) && !domain_is_digit(c) && (c == '\0' || !strchr("._-", c)))
            return false;
    }
    return slice->length > 0 && slice->length <= DOMAIN_GROUP_MAX;
}

static const char *domain_bare_hint(char c)
{
    switch (c) {
    case ',':
        return "one domain stands here; several are a group: group NAME = DOMAIN..., then @NAME";
    case '!':
        return "there is no \"all but\"; put a deny line above the allow line";
    case '[':
        return "the only globs are * and ?";
    case '=':
        return "a word is missing before the options, or the name needs quotes";
    default:
        return "put quotes around the name";
    }
}

/* The pattern of the slice in the arena: what is quoted stands for itself. */
static bool domain_pattern(struct arena *arena, const struct slice *slice, struct domain_term *term,
                           struct problem *problem)
{
    char pattern[2 * DOMAIN_NAME_MAX + 1];
    size_t used = 0;
    for (size_t i = 0; i < slice->length; i++) {
        char c = slice->text[i];
        bool special = c == '*' || c == '?';
        if (!slice->quoted[i] && !domain_is_bare(c))
            return problem_set(problem, slice->at[i], domain_bare_hint(c),
                               "'%c' can't be in a domain's name without quotes", c);
        if ((slice->quoted[i] && special) || c == '\\')
            pattern[used++] = '\\';
        else if (special)
            term->glob = true;
        pattern[used++] = c;
    }
    term->kind = DOMAIN_NAME;
    term->name = arena_text(arena, pattern, used);
    return term->name != NULL || problem_memory(problem, slice->at[0]);
}

static bool domain_name(struct arena *arena, const struct slice *slice, struct domain_term *term,
                        struct problem *problem)
{
    if (slice->length == 0)
        return problem_set(problem, slice->at[0], "every domain is *, domain 0 is dom0",
                           "the domain's name is empty");
    if (slice->length > DOMAIN_NAME_MAX)
        return problem_set(problem, slice->at[DOMAIN_NAME_MAX],
                           "no domain has such a name; is a blank missing?",
                           "a domain's name of more than %d bytes", DOMAIN_NAME_MAX);
    return domain_pattern(arena, slice, term, problem);
}

static bool domain_domid(const struct slice *slice, struct domain_term *term,
                         struct problem *problem)
{
    char shown[PROBLEM_SHOWN_MAX];
    uint64_t number;
    if (slice_number(slice, 0, DOMAIN_DOMID_MAX, &number) != NUMBER_GOOD)
        return problem_set(problem, slice->at[0],
                           "a domid is 0 to 32751 without leading zeros; a domain that is called "
                           "so is name:NUMBER",
                           "\"%s\" is not a domid", slice_shown(slice, shown));
    term->kind = DOMAIN_DOMID;
    term->number = (uint32_t)number;
    return true;
}

static bool domain_uuid(const struct slice *slice, uint8_t uuid[DOMAIN_UUID_SIZE],
                        struct problem *problem)
{
    static const uint8_t none[DOMAIN_UUID_SIZE];
    if (!naming_read_uuid(slice->text, slice->length, uuid))
        return problem_set(problem, slice->at[0],
                           "uuid:00112233-4455-6677-8899-aabbccddeeff, as xl list -v prints it",
                           "this is not a UUID");
    if (memcmp(uuid, none, sizeof(none)) == 0)
        return problem_set(problem, slice->at[0], "domain 0 is dom0",
                           "the UUID of zeros is no domain's");
    return true;
}

static bool domain_group(struct arena *arena, const struct slice *slice, struct domain_term *term,
                         struct problem *problem)
{
    struct slice name = slice_part(slice, 1, slice->length);
    char shown[PROBLEM_SHOWN_MAX];
    if (!domain_valid_group(&name))
        return problem_set(problem, slice->at[0],
                           "a group's name has 1 to 63 letters, digits, '.', '_' and '-'",
                           "\"%s\" is not a group", slice_shown(slice, shown));
    term->kind = DOMAIN_GROUP;
    term->name = arena_text(arena, name.text, name.length);
    return term->name != NULL || problem_memory(problem, slice->at[0]);
}

static bool domain_is_word(const struct slice *slice, const char *word, const char *instead,
                           struct problem *problem)
{
    char hint[PROBLEM_HINT_MAX];
    if (!slice_is(slice, word))
        return false;
    snprintf(hint, sizeof(hint), "%s; a domain that is called so is name:%s", instead, word);
    problem_fill(problem, slice->at[0], hint, "\"%s\" has no meaning here", word);
    return true;
}

/* What has a colon. Its prefix says what it is. */
static bool domain_prefixed(struct arena *arena, const struct slice *slice, size_t colon,
                            struct domain_term *term, struct problem *problem)
{
    struct slice rest = slice_part(slice, colon + 1, slice->length);
    struct slice prefix = slice_part(slice, 0, colon);
    char shown[PROBLEM_SHOWN_MAX];
    if (slice_is(&prefix, "name"))
        return domain_name(arena, &rest, term, problem);
    if (slice_is(&prefix, "domid"))
        return domain_domid(&rest, term, problem);
    term->kind = DOMAIN_UUID;
    if (slice_is(&prefix, "uuid"))
        return domain_uuid(&rest, term->uuid, problem);
    return problem_set(problem, slice->at[0],
                       "it is name:, uuid: or domid:; a name that has a colon needs name: before",
                       "\"%s:\" is not a kind of domain", slice_shown(&prefix, shown));
}

static bool domain_all_digits(const struct slice *slice)
{
    for (size_t i = 0; i < slice->length; i++)
        if (!domain_is_digit(slice->text[i]))
            return false;
    return slice->length > 0;
}

bool domain_parse(struct arena *arena, const struct slice *slice, struct domain_term *term,
                  struct problem *problem)
{
    size_t colon = slice_find(slice, ':');
    *term = (struct domain_term){.column = slice->at[0]};
    if (slice_is(slice, "*") && !slice->quoted[0])
        return true; /* DOMAIN_ANY */
    if (slice_is(slice, "dom0")) {
        term->kind = DOMAIN_DOMID;
        return true;
    }
    if (domain_is_word(slice, "self", "a domain's own programs need no rule", problem) ||
        domain_is_word(slice, "any", "every domain is *", problem))
        return false;
    if (slice_begins(slice, "@"))
        return domain_group(arena, slice, term, problem);
    if (domain_all_digits(slice))
        return domain_domid(slice, term, problem);
    if (colon < slice->length)
        return domain_prefixed(arena, slice, colon, term, problem);
    return domain_name(arena, slice, term, problem);
}

/* ---- one domain that is asked about ---- */

static void domain_know_zero(struct ruleset_domain *domain)
{
    *domain = (struct ruleset_domain){.domid = 0, .name = DOMAIN_ZERO_NAME, .complete = true};
}

static bool domain_asked_word(const char *text, struct problem *problem)
{
    if (text[0] == '@')
        return problem_set(problem, 1, "ask about one domain of it", "a group is many domains");
    if (strcmp(text, "self") == 0)
        return problem_set(problem, 1, "domain 0 is dom0; a domain that is called so is name:self",
                           "\"self\" is for programs");
    if (strncmp(text, "name:", 5) != 0 && strpbrk(text, "*?") != NULL)
        return problem_set(problem, 1, "a domain that is called so is name:NAME",
                           "a glob is many domains");
    return true;
}

/* The whole text as a word in quotes. Its memory is the caller's. */
static bool domain_quote(const char *text, struct word *word, struct problem *problem)
{
    word->length = strlen(text);
    if (word->length > DOMAIN_NAME_MAX + sizeof("domid:"))
        return problem_set(problem, 1, "a domain's name has at most 255 bytes", "it is too long");
    for (size_t i = 0; i <= word->length; i++) {
        word->text[i] = text[i];
        word->at[i] = (uint16_t)(i + 1);
        word->quoted[i] = true;
    }
    return true;
}

/* The name that a pattern without globs stands for. */
static void domain_plain_name(const char *pattern, char name[DOMAIN_NAME_MAX + 1])
{
    size_t used = 0;
    for (; *pattern != '\0' && used < DOMAIN_NAME_MAX; pattern++) {
        pattern += *pattern == '\\'; /* never the last byte */
        name[used++] = *pattern;
    }
    name[used] = '\0';
}

void domain_of_term(const struct domain_term *term, char name[DOMAIN_NAME_MAX + 1],
                    struct ruleset_domain *domain)
{
    *domain = (struct ruleset_domain){.domid = -1};
    if (term->kind == DOMAIN_NAME) {
        domain_plain_name(term->name, name);
        domain->name = name;
    } else if (term->kind == DOMAIN_UUID) {
        domain->has_uuid = true;
        memcpy(domain->uuid, term->uuid, sizeof(domain->uuid));
    } else {
        domain->domid = (int)term->number;
    }
    if (domain->domid == 0 || (domain->name != NULL && strcmp(name, DOMAIN_ZERO_NAME) == 0))
        domain_know_zero(domain);
}

bool domain_parse_asked(const char *text, char name[DOMAIN_NAME_MAX + 1],
                        struct ruleset_domain *domain, struct problem *problem)
{
    struct arena arena = {NULL};
    struct domain_term term;
    struct word word;
    if (!domain_asked_word(text, problem) || !domain_quote(text, &word, problem))
        return false;
    struct slice slice = slice_of(&word);
    bool good = domain_parse(&arena, &slice, &term, problem);
    if (good)
        domain_of_term(&term, name, domain);
    arena_free(&arena);
    return good;
}

/* ---- fitting ---- */

static enum domain_fit domain_known(bool known, bool fits, const struct ruleset_domain *domain)
{
    if (!known)
        return domain->complete ? DOMAIN_NO : DOMAIN_PERHAPS;
    return fits ? DOMAIN_YES : DOMAIN_NO;
}

/* Domain 0 is always known as such, so a domain of which no domid is known is another one. */
static enum domain_fit domain_fits_domid(const struct domain_term *term,
                                         const struct ruleset_domain *domain)
{
    if (term->number == 0)
        return domain->domid == 0 ? DOMAIN_YES : DOMAIN_NO;
    return domain_known(domain->domid >= 0, (uint32_t)domain->domid == term->number, domain);
}

enum domain_fit domain_fits(const struct domain_term *term, const struct ruleset_domain *domain,
                            const uint8_t *groups)
{
    switch (term->kind) {
    case DOMAIN_ANY:
        return DOMAIN_YES;
    case DOMAIN_DOMID:
        return domain_fits_domid(term, domain);
    case DOMAIN_UUID:
        return domain_known(domain->has_uuid,
                            memcmp(term->uuid, domain->uuid, sizeof(term->uuid)) == 0, domain);
    case DOMAIN_NAME:
        return domain_known(domain->name != NULL,
                            domain->name != NULL && glob_fits(term->name, domain->name), domain);
    case DOMAIN_GROUP:
    default:
        return (enum domain_fit)groups[term->number];
    }
}

bool domain_same(const struct domain_term *term, const struct domain_term *other)
{
    if (term->kind != other->kind)
        return false;
    switch (term->kind) {
    case DOMAIN_DOMID:
        return term->number == other->number;
    case DOMAIN_UUID:
        return memcmp(term->uuid, other->uuid, sizeof(term->uuid)) == 0;
    default:
        return strcmp(term->name, other->name) == 0;
    }
}
