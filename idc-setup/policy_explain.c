/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_explain.c - may FROM connect to WHAT in TO, and which line says so?
 *
 * About the rules in force: the two domains are looked up, and what is known of them counts. The
 * answer is that of their link_mgr (docs/xenstore.md, "Who decides"): by the rules that each side
 * was told, and by the policy nodes.
 *
 * About files, or a domain that is not there: no more is known than what the command line tells. So
 * the answer may depend on what is not known: each line that might decide otherwise is shown, with
 * what it depends on. A line that would have allowed it but for the uid, the type or the time is
 * shown too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/service_name.h"
#include "common/json.h"
#include "common/shown.h"
#include "idc-setup/explain_advice.h"
#include "idc-setup/explain_sides.h"
#include "idc-setup/fail.h"
#include "idc-setup/policy_commands.h"
#include "idc-setup/policy_list.h"
#include "policy/verdict.h"

#define EXPLAIN_REFUSED 3
#define EXPLAIN_ABSENT 4 /* allowed, if both domains were there */

/* A question and its answer. */
struct explain {
    const struct ruleset *ruleset;
    struct ruleset_question question;
    char from_name[DOMAIN_NAME_MAX + 1], to_name[DOMAIN_NAME_MAX + 1];
    const char *from_text, *to_text; /* as they are asked for */
    const struct policy_rules *rules;
    struct ruleset_domain from_asked, to_asked;
    size_t from_there, to_there; /* so many domains were found; the first one is meant */
    enum domain_kind asked;      /* how TO is named; DOMAIN_DOMID also if it is not */
    struct explain_sides sides;
    bool has_sides; /* both were found, and what follows is what their link_mgr do */
    struct verdict_fit *fits;
    struct verdict_fit *whole; /* the same, as if FROM were told of all rules */
    size_t decides;            /* rule_count: no rule */
    size_t untold; /* a deny line that would decide, if FROM knew of TO; rule_count: none */
    bool own;      /* both are the same domain */
    bool allowed;
};

/* ---- the question ---- */

static int explain_domain(const char *what, const char *text, char name[DOMAIN_NAME_MAX + 1],
                          struct ruleset_domain *domain)
{
    struct problem problem;
    if (domain_parse_asked(text, name, domain, &problem))
        return 0;
    return policy_fail(POLICY_STATUS_WRONG, "%s: %s; %s", what, problem.text, problem.hint);
}

static int explain_what(const char *text, struct ruleset_question *question)
{
    size_t length = strlen(text);
    char *end;
    if (service_name_valid(text, length)) {
        question->name = text;
        return 0;
    }
    unsigned long long port = strtoull(text, &end, 10);
    if (length > 10 || strspn(text, "0123456789") != length || *end != '\0' || text[0] == '0' ||
        port < 1 || port > UINT32_MAX)
        return policy_fail(POLICY_STATUS_WRONG,
                           "WHAT is one port, 1 to 4294967295, or one service name, not \"%s\"",
                           text);
    question->port = (uint32_t)port;
    return 0;
}

static bool explain_same(const struct ruleset_domain *one, const struct ruleset_domain *other)
{
    if (one->domid >= 0 && other->domid >= 0)
        return one->domid == other->domid;
    if (one->has_uuid && other->has_uuid)
        return memcmp(one->uuid, other->uuid, sizeof(one->uuid)) == 0;
    return one->name != NULL && other->name != NULL && strcmp(one->name, other->name) == 0;
}

/* What is known of a domain that is there, in place of what was asked. Returns how many there are:
 * several may have one name. */
static size_t explain_find(const struct explain *explain, struct ruleset_domain *asked)
{
    const struct policy_world *world = &explain->rules->world;
    const struct ruleset_domain as_asked = *asked;
    size_t found = 0;
    for (size_t i = 0; i < world->domain_count; i++)
        if (explain_same(&world->domains[i], &as_asked) && found++ == 0)
            *asked = world->domains[i];
    return found;
}

/* Both sides go by the same rules. What one of them was not told counts for nothing. */
static int explain_judge_sides(struct explain *explain)
{
    int error = explain_sides_make(&explain->sides, explain->rules, &explain->question);
    if (error != 0)
        return error;
    explain->has_sides = true;
    size_t count = explain->ruleset->rule_count;
    size_t first = verdict_decides(explain->fits, count);
    if (first < count && !explain->ruleset->rules[first].allow &&
        !explain_sides_knows(&explain->sides, first))
        explain->untold = first;
    for (size_t i = 0; i < explain->ruleset->rule_count; i++)
        if (!explain_sides_knows(&explain->sides, i))
            explain->fits[i].missed |= VERDICT_TO;
    return 0;
}

static void explain_decide(struct explain *explain)
{
    size_t count = explain->ruleset->rule_count;
    explain->decides = verdict_decides(explain->fits, count);
    bool rule_allows = explain->decides < count && explain->ruleset->rules[explain->decides].allow;
    explain->allowed = explain->own || rule_allows;
    if (!explain->has_sides)
        return;
    explain_sides_decide(&explain->sides, explain->decides, rule_allows);
    explain->allowed = explain->sides.from.allowed && explain->sides.to.allowed;
}

/* Fills in the answer. 0, or 1 and a line on stderr. */
static int explain_judge(struct explain *explain)
{
    size_t count = explain->ruleset->rule_count;
    explain->has_sides = false;
    explain->untold = count;
    explain->from_asked = explain->question.from;
    explain->to_asked = explain->question.to;
    explain->from_there = explain_find(explain, &explain->question.from);
    explain->to_there = explain_find(explain, &explain->question.to);
    explain->own = explain_same(&explain->question.from, &explain->question.to);
    explain->fits = calloc(count + 1, sizeof(*explain->fits));
    explain->whole = calloc(count + 1, sizeof(*explain->whole));
    if (explain->fits == NULL || explain->whole == NULL ||
        verdict_fits(explain->ruleset, &explain->question, explain->fits) != 0)
        return policy_fail(1, "out of memory");
    memcpy(explain->whole, explain->fits, count * sizeof(*explain->whole));
    if (explain->from_there && explain->to_there && !explain->own &&
        explain_judge_sides(explain) != 0)
        return policy_fail(1, "out of memory");
    explain_decide(explain);
    return 0;
}

static void explain_done(struct explain *explain)
{
    if (explain->has_sides)
        explain_sides_free(&explain->sides);
    explain->has_sides = false;
    free(explain->fits);
    free(explain->whole);
    explain->fits = explain->whole = NULL;
}

/* ---- lines beside the one that decides ---- */

/* This line may decide in place of the one that does. */
static bool explain_is_perhaps(const struct explain *explain, size_t rule)
{
    return !explain->own && rule < explain->decides && verdict_is_perhaps(&explain->fits[rule]) &&
           !(explain->has_sides && explain_sides_by_node(&explain->sides) &&
             rule >= explain->rules->commands);
}

/* This line would have allowed what is refused, but for what the program or the clock can change.
 */
static bool explain_is_near(const struct explain *explain, size_t rule)
{
    const struct verdict_fit *fit = &explain->fits[rule];
    unsigned near = VERDICT_UID | VERDICT_TYPE | VERDICT_UNTIL;
    return !explain->allowed && rule < explain->decides && explain->ruleset->rules[rule].allow &&
           fit->missed != 0 && (fit->missed & ~near) == 0 && fit->unknown == 0;
}

static const struct {
    enum verdict_aspect aspect;
    const char *name, *text;
} explain_aspects[] = {
    {VERDICT_FROM, "from", "FROM"},     {VERDICT_TO, "to", "TO"},
    {VERDICT_WHAT, "what", "WHAT"},     {VERDICT_UID, "uid", "the uid"},
    {VERDICT_TYPE, "type", "the type"}, {VERDICT_UNTIL, "until", "the time"},
};

#define EXPLAIN_ASPECT_COUNT (sizeof(explain_aspects) / sizeof(explain_aspects[0]))

static void explain_print_aspects(unsigned aspects)
{
    const char *before = "";
    for (size_t i = 0; i < EXPLAIN_ASPECT_COUNT; i++)
        if ((aspects & explain_aspects[i].aspect) != 0) {
            printf("%s%s", before, explain_aspects[i].text);
            before = ", ";
        }
}

/* ---- for people ---- */

static void explain_print_others(const struct explain *explain)
{
    for (size_t i = 0; i < explain->ruleset->rule_count; i++) {
        const struct ruleset_rule *rule = &explain->ruleset->rules[i];
        bool perhaps = explain_is_perhaps(explain, i) && rule->allow != explain->allowed;
        if (!perhaps && !explain_is_near(explain, i))
            continue;
        if (perhaps)
            printf("  %s instead if this fits, which is not known: ",
                   rule->allow ? "allowed" : "refused");
        else
            fputs("  it would be allowed, but this does not fit: ", stdout);
        explain_print_aspects(perhaps ? explain->fits[i].unknown : explain->fits[i].missed);
        fputs("\n    ", stdout);
        policy_print_rule(stdout, rule);
        putchar('\n');
    }
}

/* The commands that allow it. Of several domains that are called so, one must be named first. */
static void explain_print_advice(const struct explain *explain)
{
    const struct explain_sides *sides = &explain->sides;
    const struct advice advice = {
        .rules = explain->rules,
        .fits = explain->whole,
        .question = &explain->question,
        .from = {explain->from_text, explain->question.from.domid},
        .to = {explain->to_text, explain->question.to.domid},
        .node = explain->has_sides && sides->from.node && sides->to.node,
    };
    if (explain->rules->in_force && !explain->allowed && explain->from_there <= 1 &&
        explain->to_there <= 1)
        explain_advice_print(stdout, &advice);
}

/* In dom0 the answer is about what is in force. Who is not there can't be connected to. */
static bool explain_is_absent(const struct explain *explain)
{
    return explain->rules->in_force && (explain->from_there == 0 || explain->to_there == 0);
}

static int explain_status(bool allowed, bool absent)
{
    if (!allowed)
        return EXPLAIN_REFUSED;
    return absent ? EXPLAIN_ABSENT : 0;
}

static void explain_print_untold(const struct explain *explain)
{
    if (explain->untold == explain->ruleset->rule_count)
        return;
    fputs("  this line denies it too, but nothing joins the two, so FROM is not told of it:\n    ",
          stdout);
    policy_print_rule(stdout, &explain->ruleset->rules[explain->untold]);
    putchar('\n');
}

static void explain_print_domids(const struct explain *explain, const struct ruleset_domain *asked)
{
    const struct policy_world *world = &explain->rules->world;
    const char *before = ": ";
    for (size_t i = 0; i < world->domain_count; i++)
        if (explain_same(&world->domains[i], asked)) {
            printf("%s%d", before, world->domains[i].domid);
            before = ", ";
        }
}

static void explain_print_found(const struct explain *explain, bool from)
{
    const char *which = from ? "FROM" : "TO";
    size_t found = from ? explain->from_there : explain->to_there;
    if (found == 0)
        printf("  there is no such domain as %s now\n", which);
    if (found <= 1)
        return;
    printf("  %zu domains are called as %s is", found, which);
    explain_print_domids(explain, from ? &explain->from_asked : &explain->to_asked);
    printf("; this is about domain %d only; ask about each by its domid\n",
           from ? explain->question.from.domid : explain->question.to.domid);
}

/* TO is asked for by what FROM must be told of. */
static bool explain_needs_name(const struct explain *explain)
{
    return explain->has_sides && explain->asked != DOMAIN_DOMID;
}

/* Of any domain that is called so. */
static bool explain_name_told(const struct explain *explain)
{
    const struct policy_world *world = &explain->rules->world;
    for (size_t i = 0; i < world->domain_count; i++)
        if (explain_same(&world->domains[i], &explain->to_asked) &&
            explain_sides_told(&explain->sides, world->domains[i].domid,
                               explain->asked == DOMAIN_UUID))
            return true;
    return false;
}

static void explain_print_untold_name(const struct explain *explain)
{
    const struct ruleset_domain *from = &explain->question.from;
    const char *given = strchr(explain->to_text, ':');
    if (!explain_needs_name(explain) || explain_name_told(explain))
        return;
    printf("  domain %d", from->domid);
    if (from->name != NULL) {
        fputs(" (", stdout);
        shown_print(stdout, from->name);
        putchar(')');
    }
    printf(" does not know the %s ", explain->asked == DOMAIN_UUID ? "UUID" : "name");
    shown_print(stdout, explain->asked == DOMAIN_UUID ? given + 1 : explain->question.to.name);
    fputs(": its rules do not name it; ", stdout);
    if (explain->allowed)
        printf("reach it by domid %d, or ", explain->question.to.domid);
    puts("add a rule");
}

static void explain_print(const struct explain *explain)
{
    if (explain->allowed && explain_is_absent(explain))
        printf("not there: %s; if it were, this would be allowed: ",
               explain->to_there == 0 ? "TO" : "FROM");
    else
        fputs(explain->allowed ? "allowed: " : "refused: ", stdout);
    if (explain->own)
        fputs("a domain's own programs need no rule", stdout);
    else if (explain->has_sides && explain_sides_by_node(&explain->sides))
        explain_sides_print_node(stdout, &explain->sides);
    else if (explain->decides == explain->ruleset->rule_count)
        fputs("no line fits", stdout);
    else
        policy_print_rule(stdout, &explain->ruleset->rules[explain->decides]);
    putchar('\n');
    explain_print_untold(explain);
    explain_print_advice(explain);
    explain_print_others(explain);
    if (explain->rules->in_force) {
        explain_print_found(explain, true);
        explain_print_found(explain, false);
    }
    explain_print_untold_name(explain);
    if (explain->has_sides)
        explain_sides_print(stdout, &explain->sides);
}

/* ---- for programs ---- */

static void explain_json_aspects(unsigned aspects)
{
    const char *before = "";
    for (size_t i = 0; i < EXPLAIN_ASPECT_COUNT; i++)
        if ((aspects & explain_aspects[i].aspect) != 0) {
            printf("%s\"%s\"", before, explain_aspects[i].name);
            before = ", ";
        }
}

static void explain_json_rule(const struct explain *explain, size_t rule)
{
    policy_json_rule(stdout, explain->ruleset, &explain->ruleset->rules[rule],
                     explain->question.now);
}

/* All lines that near, or that may decide, with the aspects that make them so. */
static void explain_json_others(const struct explain *explain, const char *name, bool near)
{
    const char *before = "";
    printf(", \"%s\": [", name);
    for (size_t i = 0; i < explain->ruleset->rule_count; i++) {
        if (near ? !explain_is_near(explain, i) : !explain_is_perhaps(explain, i))
            continue;
        printf("%s{\"%s\": [", before, near ? "missed" : "unknown");
        explain_json_aspects(near ? explain->fits[i].missed : explain->fits[i].unknown);
        fputs("], \"rule\": ", stdout);
        explain_json_rule(explain, i);
        putchar('}');
        before = ", ";
    }
    putchar(']');
}

static void explain_json_sides(const struct explain *explain)
{
    if (!explain->rules->in_force)
        return;
    printf(", \"from_there\": %s, \"to_there\": %s, \"name_told\": ",
           explain->from_there > 0 ? "true" : "false", explain->to_there > 0 ? "true" : "false");
    fputs(!explain_needs_name(explain) ? "null"
          : explain_name_told(explain) ? "true"
                                       : "false",
          stdout);
    fputs(", \"sides\": ", stdout);
    if (explain->has_sides)
        explain_sides_json(stdout, &explain->sides);
    else
        fputs("null", stdout);
}

static void explain_json_members(const struct explain *explain)
{
    bool node = explain->has_sides && explain_sides_by_node(&explain->sides);
    printf("\"allowed\": %s, \"own\": %s, \"rule\": ", explain->allowed ? "true" : "false",
           explain->own ? "true" : "false");
    if (explain->own || node || explain->decides == explain->ruleset->rule_count)
        fputs("null", stdout);
    else
        explain_json_rule(explain, explain->decides);
    explain_json_others(explain, "perhaps", false);
    explain_json_others(explain, "but_for", true);
    fputs(", \"untold\": ", stdout);
    if (explain->untold == explain->ruleset->rule_count)
        fputs("null", stdout);
    else
        explain_json_rule(explain, explain->untold);
    explain_json_sides(explain);
}

/* ---- one domain ---- */

static int explain_one(struct explain *explain, const struct policy_options *options)
{
    const struct ruleset_domain *to = &explain->question.to;
    int status = explain_domain("TO", explain->to_text, explain->to_name, &explain->question.to);
    if (status == 0 && to->domid < 0)
        explain->asked = to->has_uuid ? DOMAIN_UUID : DOMAIN_NAME;
    if (status == 0)
        status = explain_judge(explain);
    if (status == 0 && options->json) {
        printf("{\"in_force\": %s, ", explain->rules->in_force ? "true" : "false");
        explain_json_members(explain);
        fputs("}\n", stdout);
    } else if (status == 0) {
        explain_print(explain);
    }
    explain_done(explain);
    return status != 0 ? status : explain_status(explain->allowed, explain_is_absent(explain));
}

/* ---- any domain: by a route ---- */

static void explain_route_begin(const struct explain *explain, const struct ruleset_route *route,
                                bool perhaps, bool json)
{
    if (json) {
        printf("{\"in_force\": %s, \"route\": ", explain->rules->in_force ? "true" : "false");
        if (route == NULL)
            fputs("null", stdout);
        else
            policy_json_route(stdout, route);
        printf(", \"perhaps\": %s, \"to\": [", perhaps ? "true" : "false");
        return;
    }
    if (route == NULL) {
        printf("refused: no route line fits the service %s\n", explain->question.name);
        return;
    }
    fputs(perhaps ? "route, if its FROM fits, which is not known: " : "route: ", stdout);
    policy_print_route(stdout, route);
    putchar('\n');
}

static int explain_route_one(struct explain *explain, const struct ruleset_route *route,
                             unsigned index, bool json)
{
    domain_of_term(&route->to[index], explain->to_name, &explain->question.to);
    explain->to_text = route->to_texts[index];
    int status = explain_judge(explain);
    if (status == 0 && json) {
        printf("%s\n  {\"domain\": ", index == 0 ? "" : ",");
        json_string(stdout, route->to_texts[index]);
        fputs(", ", stdout);
        explain_json_members(explain);
        putchar('}');
    } else if (status == 0) {
        shown_print(stdout, route->to_texts[index]);
        fputs(": ", stdout);
        explain_print(explain);
    }
    explain_done(explain);
    return status;
}

static int explain_any(struct explain *explain, const struct policy_options *options)
{
    bool perhaps, allowed = false, there = false;
    int status = 0;
    if (explain->question.name == NULL)
        return policy_fail(POLICY_STATUS_WRONG,
                           "a route is for a service name; name the domain to ask about a port");
    explain_find(explain, &explain->question.from);
    int found = verdict_route(explain->ruleset, &explain->question, &perhaps);
    if (found < 0)
        return policy_fail(1, "out of memory");
    bool none = (size_t)found == explain->ruleset->route_count;
    const struct ruleset_route *route = none ? NULL : &explain->ruleset->routes[found];
    explain_route_begin(explain, route, perhaps, options->json);
    for (unsigned i = 0; status == 0 && route != NULL && i < route->to_count; i++) {
        status = explain_route_one(explain, route, i, options->json);
        allowed = allowed || explain->allowed;
        there = there || (explain->allowed && !explain_is_absent(explain));
    }
    if (options->json)
        printf("], \"allowed\": %s}\n", allowed ? "true" : "false");
    return status != 0 ? status : explain_status(allowed, !there);
}

int policy_explain(const struct policy_options *options, struct policy_rules *rules,
                   char **arguments)
{
    struct explain explain = {.ruleset = rules->ruleset,
                              .rules = rules,
                              .from_text = arguments[0],
                              .to_text = arguments[1],
                              .asked = DOMAIN_DOMID};
    explain.question.uid = options->uid;
    explain.question.type = options->type;
    explain.question.now = time(NULL);
    int status = explain_domain("FROM", arguments[0], explain.from_name, &explain.question.from);
    if (status == 0)
        status = explain_what(arguments[2], &explain.question);
    if (status != 0)
        return status;
    status = strcmp(explain.to_text, "any") == 0 ? explain_any(&explain, options)
                                                 : explain_one(&explain, options);
    if (!options->json && (status == 0 || status >= EXPLAIN_REFUSED))
        policy_note_not_in_force(rules);
    return status;
}
