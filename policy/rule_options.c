/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rule_options.c - see rule_options.h. Dates are reckoned here, since the C library's ways to do it
 * depend on the time zone. */
#include "policy/rule_options.h"

#include <stdio.h>
#include <string.h>

#define LIMIT_COUNT_MAX 1000000u
#define LIMIT_BANDWIDTH_MAX 1000000000000u

bool rule_options_has(const struct rule_options *options, enum rule_option option)
{
    return (options->given & (1u << option)) != 0;
}

/* ---- time ---- */

static int64_t time_div(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((b - 1 - a) / b);
}

/* Days since 1970-01-01 of the Gregorian calendar. Years begin with March here, so the day that is
 * sometimes missing is the last one. */
static int64_t time_days(int64_t year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t from_march = (month + 9) % 12;
    return 365 * y + time_div(y, 4) - time_div(y, 100) + time_div(y, 400) +
           (153 * from_march + 2) / 5 + day - 1 - 719468;
}

static int time_month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static int time_digits(const char *text, size_t count)
{
    int number = 0;
    for (size_t i = 0; i < count; i++)
        number = number * 10 + text[i] - '0';
    return number;
}

bool rule_time_parse(const char *text, size_t length, int64_t *seconds)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    if (length != sizeof(form) - 1)
        return false;
    for (size_t i = 0; i < length; i++)
        if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
            return false;
    int year = time_digits(text, 4), month = time_digits(text + 5, 2);
    int day = time_digits(text + 8, 2), hour = time_digits(text + 11, 2);
    int minute = time_digits(text + 14, 2), second = time_digits(text + 17, 2);
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > time_month_days(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    *seconds = time_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return true;
}

void rule_time_format(int64_t seconds, char text[RULE_TIME_TEXT])
{
    int64_t days = seconds / 86400;
    unsigned rest = (unsigned)(seconds % 86400);
    int year = 1970 + (int)(days / 366), month = 1; /* or some years more */
    while (time_days(year + 1, 1, 1) <= days)
        year++;
    while (month < 12 && time_days(year, month + 1, 1) <= days)
        month++;
    snprintf(text, RULE_TIME_TEXT, "%04d-%02d-%02dT%02u:%02u:%02uZ", year, month,
             (int)(days - time_days(year, month, 1)) + 1, rest / 3600, rest / 60 % 60, rest % 60);
}

/* ---- values ---- */

/* What the value of an option is read with, and into. */
struct rule_value {
    struct arena *arena;
    struct slice value;
    struct rule_options *options;
};

static bool value_wrong(const struct rule_value *of, const char *hint, struct problem *problem)
{
    char shown[PROBLEM_SHOWN_MAX];
    return problem_set(problem, of->value.at[0], hint, "\"%s\" is not a value of this option",
                       slice_shown(&of->value, shown));
}

static bool value_uid(const struct rule_value *of, struct problem *problem)
{
    static const struct services_numbers uids = {"uids (never names of users)", 0, RULE_UID_MAX};
    return services_parse_ranges(of->arena, &of->value, &uids, &of->options->uids,
                                 &of->options->uid_count, problem);
}

static bool value_type(const struct rule_value *of, struct problem *problem)
{
    bool stream = slice_is(&of->value, "stream");
    if (!stream && !slice_is(&of->value, "seqpacket"))
        return value_wrong(of, "type=stream or type=seqpacket", problem);
    of->options->type = stream ? RULE_TYPE_STREAM : RULE_TYPE_SEQPACKET;
    return true;
}

static bool value_until(const struct rule_value *of, struct problem *problem)
{
    if (!rule_time_parse(of->value.text, of->value.length, &of->options->until))
        return value_wrong(
            of, "until=2026-12-31T23:59:59Z: a time that exists, in UTC, from 1970 to 9999",
            problem);
    return true;
}

static bool value_connections(const struct rule_value *of, struct problem *problem)
{
    uint64_t number;
    if (slice_number(&of->value, 1, LIMIT_COUNT_MAX, &number) != NUMBER_GOOD)
        return value_wrong(of, "connections=N, 1 to 1000000; to allow none is deny", problem);
    of->options->connections = (uint32_t)number;
    return true;
}

static bool value_rate(const struct rule_value *of, struct problem *problem)
{
    size_t slash = slice_find(&of->value, '/');
    struct slice count = slice_part(&of->value, 0, slash);
    struct slice unit = slice_part(&of->value, slash, of->value.length);
    uint64_t number;
    if (!slice_is(&unit, "/s") || slice_number(&count, 1, LIMIT_COUNT_MAX, &number) != NUMBER_GOOD)
        return value_wrong(of, "rate=N/s, N from 1 to 1000000", problem);
    of->options->rate = (uint32_t)number;
    return true;
}

static uint64_t bandwidth_unit(char unit)
{
    switch (unit) {
    case 'k':
        return 1000;
    case 'M':
        return 1000000;
    case 'G':
        return 1000000000;
    default:
        return 1;
    }
}

static bool value_bandwidth(const struct rule_value *of, struct problem *problem)
{
    size_t length = of->value.length;
    uint64_t unit = length > 0 ? bandwidth_unit(of->value.text[length - 1]) : 1;
    struct slice digits = slice_part(&of->value, 0, unit > 1 ? length - 1 : length);
    uint64_t number;
    if (slice_number(&digits, 1, LIMIT_BANDWIDTH_MAX / unit, &number) != NUMBER_GOOD)
        return value_wrong(of, "bandwidth=N bytes in a second, or Nk, NM, NG; 1 to 1000G", problem);
    of->options->bandwidth = number * unit;
    return true;
}

static bool value_log(const struct rule_value *of, struct problem *problem)
{
    of->options->log = slice_is(&of->value, "yes");
    if (!of->options->log && !slice_is(&of->value, "no"))
        return value_wrong(of, "log=yes or log=no", problem);
    return true;
}

static bool value_note(const struct rule_value *of, struct problem *problem)
{
    if (of->value.length > RULE_NOTE_MAX)
        return problem_set(problem, of->value.at[RULE_NOTE_MAX],
                           "a note has at most 200 bytes; a longer one can be a comment",
                           "the note is too long");
    of->options->note = arena_text(of->arena, of->value.text, of->value.length);
    return of->options->note != NULL || problem_memory(problem, of->value.at[0]);
}

/* ---- options ---- */

static const struct rule_option_kind {
    const char *name;
    bool (*read)(const struct rule_value *of, struct problem *problem);
    bool limit; /* only for allow lines */
} rule_option_kinds[] = {
    [RULE_UID] = {"uid", value_uid, false},
    [RULE_TYPE] = {"type", value_type, false},
    [RULE_UNTIL] = {"until", value_until, false},
    [RULE_CONNECTIONS] = {"connections", value_connections, true},
    [RULE_RATE] = {"rate", value_rate, true},
    [RULE_BANDWIDTH] = {"bandwidth", value_bandwidth, true},
    [RULE_LOG] = {"log", value_log, false},
    [RULE_NOTE] = {"note", value_note, false},
};
_Static_assert(sizeof(rule_option_kinds) / sizeof(rule_option_kinds[0]) == RULE_OPTION_COUNT,
               "a reader for each option");

/* RULE_OPTION_COUNT, and a problem: there is none of that name. */
static enum rule_option rule_option_find(const struct slice *name, struct problem *problem)
{
    char shown[PROBLEM_SHOWN_MAX];
    for (unsigned i = 0; i < RULE_OPTION_COUNT; i++)
        if (slice_is(name, rule_option_kinds[i].name))
            return (enum rule_option)i;
    problem_fill(problem, name->at[0],
                 "options are uid, type, until, connections, rate, bandwidth, log, note",
                 "unknown option \"%s\"", slice_shown(name, shown));
    return RULE_OPTION_COUNT;
}

static bool rule_option_fitting(const struct slice *name, enum rule_option option, bool limits,
                                const struct rule_options *options, struct problem *problem)
{
    if (rule_options_has(options, option))
        return problem_set(problem, name->at[0], "give each option once; a list has commas",
                           "%s= is given twice", rule_option_kinds[option].name);
    if (rule_option_kinds[option].limit && !limits)
        return problem_set(
            problem, name->at[0], "limits belong to the allow line below",
            "a deny line has nothing to limit by %s=", rule_option_kinds[option].name);
    return true;
}

bool rule_options_add(struct arena *arena, const struct slice *word, bool limits,
                      struct rule_options *options, struct problem *problem)
{
    char shown[PROBLEM_SHOWN_MAX];
    size_t equals = slice_find(word, '=');
    if (equals == word->length)
        return problem_set(
            problem, word->at[0],
            "services are separated by commas without blanks; options are NAME=VALUE",
            "\"%s\" is not an option", slice_shown(word, shown));
    struct slice name = slice_part(word, 0, equals);
    enum rule_option option = rule_option_find(&name, problem);
    if (option == RULE_OPTION_COUNT ||
        !rule_option_fitting(&name, option, limits, options, problem))
        return false;
    const struct rule_value of = {
        .arena = arena, .value = slice_part(word, equals + 1, word->length), .options = options};
    options->given |= 1u << option;
    return rule_option_kinds[option].read(&of, problem);
}
