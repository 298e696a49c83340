/* SPDX-License-Identifier: GPL-2.0-or-later */
/* explain_advice.c - see explain_advice.h. */
#include "idc-setup/explain_advice.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/policy_line.h"
#include "idc-setup/policy_list.h"

#define ADVICE_NAME "name:"
#define ADVICE_TAKE_AWAY "  to take that away: "

/* ---- words of a shell ---- */

static bool advice_is_plain(const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+:,/@%";
    return text[0] != '\0' && strspn(text, plain) == strlen(text);
}

static bool advice_is_ascii(const char *text)
{
    while (*text >= ' ' && *text <= '~')
        text++;
    return *text == '\0';
}

/* Of any bytes. printf(1) makes those that nobody should see as they are. */
static void advice_print_bytes(FILE *out, const char *text)
{
    fputs("\"$(printf '", out);
    for (; *text != '\0'; text++) {
        const bool shown = *text >= ' ' && *text <= '~' && strchr("'%\\", *text) == NULL;
        fprintf(out, shown ? "%c" : "\\%03o", (unsigned char)*text);
    }
    fputs("')\"", out);
}

static void advice_print_word(FILE *out, const char *text)
{
    fputc(' ', out);
    if (advice_is_plain(text)) {
        fputs(text, out);
        return;
    }
    if (!advice_is_ascii(text)) {
        advice_print_bytes(out, text);
        return;
    }
    fputc('\'', out);
    for (; *text != '\0'; text++)
        fprintf(out, *text == '\'' ? "'\\%c'" : "%c", *text);
    fputc('\'', out);
}

/* Without the quotes of a file. NULL: no memory. */
static char *advice_unquote(const char *word)
{
    char *argument = malloc(strlen(word) + 1), *end = argument;
    if (argument == NULL)
        return NULL;
    for (; *word != '\0'; word++) {
        if (*word == '"')
            continue;
        if (*word == '\\' && word[1] != '\0')
            word++;
        *end++ = *word;
    }
    *end = '\0';
    return argument;
}

/* A word of a line as the command's argument that made it: with its quotes only if the command
 * would not make the same ones. False: no memory. */
static bool advice_print_line_word(FILE *out, const char *word)
{
    char *argument = advice_unquote(word);
    char *again = argument == NULL ? NULL : policy_line_word(argument);
    if (again != NULL)
        advice_print_word(out, strcmp(again, word) == 0 ? argument : word);
    free(argument);
    free(again);
    return again != NULL;
}

/* ---- what is taken away ---- */

static bool advice_is_command(const struct advice *advice, size_t rule)
{
    return rule < advice->rules->commands;
}

static bool advice_print_retract(FILE *out, const struct ruleset_rule *rule)
{
    fputs(ADVICE_TAKE_AWAY "idc-setup retract", out);
    bool good = advice_print_line_word(out, rule->from_text) &&
                advice_print_line_word(out, rule->to_text) &&
                advice_print_line_word(out, rule->what_text);
    fputc('\n', out);
    return good;
}

/* As after that command. The other rules that it takes are shown. */
static void advice_retract(FILE *out, const struct advice *advice, const struct ruleset_rule *taken,
                           struct verdict_fit *fits)
{
    for (size_t i = 0; i < advice->rules->commands; i++) {
        const struct ruleset_rule *rule = &advice->rules->ruleset->rules[i];
        if (strcmp(rule->from_text, taken->from_text) != 0 ||
            strcmp(rule->to_text, taken->to_text) != 0 ||
            strcmp(rule->what_text, taken->what_text) != 0)
            continue;
        fits[i].missed |= VERDICT_WHAT;
        if (rule == taken)
            continue;
        fputs("  this also takes away: ", out);
        policy_print_rule(out, rule);
        fputc('\n', out);
    }
}

/* ---- what is allowed ---- */

/* Is it one domain in an allow line too? */
static bool advice_is_name(const char *text)
{
    return text[0] != '-' && strpbrk(text, "*?") == NULL && advice_is_ascii(text);
}

/* In the quotes of a file, which take it as it is. False: no memory. */
static bool advice_print_quoted(FILE *out, const char *name, bool prefix)
{
    char *word = malloc(2 * strlen(name) + sizeof(ADVICE_NAME "\"\"")), *end = word;
    if (word == NULL)
        return false;
    end = stpcpy(end, prefix ? ADVICE_NAME "\"" : "\"");
    for (; *name != '\0'; name++) {
        if (*name == '"' || *name == '\\')
            *end++ = '\\';
        *end++ = *name;
    }
    strcpy(end, "\"");
    advice_print_word(out, word);
    free(word);
    return true;
}

static bool advice_print_domain(FILE *out, const struct advice_domain *domain)
{
    const bool prefix = strncmp(domain->asked, ADVICE_NAME, strlen(ADVICE_NAME)) == 0;
    const char *name = domain->asked + (prefix ? strlen(ADVICE_NAME) : 0);
    if (domain->domid >= 0 && !advice_is_name(domain->asked)) {
        fprintf(out, " %d", domain->domid);
        return true;
    }
    if (name[0] == '"' || name[0] == '-' || strpbrk(name, ",=@*?") != NULL)
        return advice_print_quoted(out, name, prefix);
    advice_print_word(out, domain->asked);
    return true;
}

/* What lines that allow or deny it to others miss. */
static unsigned advice_missed(const struct advice *advice, const struct verdict_fit *fits)
{
    unsigned missed = 0;
    for (size_t i = 0; i < advice->rules->ruleset->rule_count; i++)
        if (fits[i].unknown == 0 && (fits[i].missed & ~(unsigned)(VERDICT_UID | VERDICT_TYPE)) == 0)
            missed |= fits[i].missed;
    return missed;
}

/* Does a line deny it to some uids, and whose program asks is not known? */
static bool advice_needs_uid(const struct advice *advice, const struct verdict_fit *fits)
{
    const struct ruleset *ruleset = advice->rules->ruleset;
    for (size_t i = 0; i < ruleset->rule_count; i++)
        if (!ruleset->rules[i].allow && (fits[i].missed & ~(unsigned)VERDICT_TYPE) == 0 &&
            fits[i].unknown == VERDICT_UID)
            return true;
    return false;
}

static bool advice_print_allow(FILE *out, const struct advice *advice,
                               const struct verdict_fit *fits)
{
    const struct ruleset_question *question = advice->question;
    const unsigned missed = advice_missed(advice, fits);
    if (advice_needs_uid(advice, fits)) {
        fputs("  a line denies it to some uids: ask with --uid what would allow it\n", out);
        return true;
    }
    fputs("  to allow it: idc-setup allow", out);
    bool good = advice_print_domain(out, &advice->from) && advice_print_domain(out, &advice->to);
    if (question->name != NULL)
        fprintf(out, " %s", question->name);
    else
        fprintf(out, " %" PRIu32, question->port);
    if ((missed & VERDICT_UID) != 0 && question->uid >= 0)
        fprintf(out, " uid=%" PRId64, question->uid);
    if ((missed & VERDICT_TYPE) != 0)
        fprintf(out, " type=%s", question->type == RULE_TYPE_STREAM ? "stream" : "seqpacket");
    fputc('\n', out);
    return good;
}

/* ---- all ---- */

/* One retract after the other. The rule that decides then. */
static size_t advice_print_retracts(FILE *out, const struct advice *advice,
                                    struct verdict_fit *fits)
{
    const struct ruleset *ruleset = advice->rules->ruleset;
    size_t decides = verdict_decides(fits, ruleset->rule_count);
    while (advice_is_command(advice, decides) && !ruleset->rules[decides].allow &&
           advice_print_retract(out, &ruleset->rules[decides])) {
        advice_retract(out, advice, &ruleset->rules[decides], fits);
        decides = verdict_decides(fits, ruleset->rule_count);
        if (decides == ruleset->rule_count || ruleset->rules[decides].allow ||
            (advice->node && !advice_is_command(advice, decides)))
            break;
        fputs("  then this denies it: ", out);
        policy_print_rule(out, &ruleset->rules[decides]);
        fputc('\n', out);
    }
    return decides;
}

int explain_advice_print(FILE *out, const struct advice *advice)
{
    const struct ruleset *ruleset = advice->rules->ruleset;
    struct verdict_fit *fits = calloc(ruleset->rule_count + 1, sizeof(*fits));
    if (fits == NULL)
        return -ENOMEM;
    memcpy(fits, advice->fits, ruleset->rule_count * sizeof(*fits));
    bool good = true;
    size_t decides = advice_print_retracts(out, advice, fits);
    if (decides == ruleset->rule_count && !advice->node)
        good = advice_print_allow(out, advice, fits);
    else if (decides < ruleset->rule_count && !ruleset->rules[decides].allow && !advice->node)
        fputs(ADVICE_TAKE_AWAY "change that line, and run idc-setup apply\n", out);
    free(fits);
    return good ? 0 : -ENOMEM;
}
