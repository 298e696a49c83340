/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * complete.c - idc complete: what the last word of a command line may become. The shells' files in
 * dist/ ask it, and know nothing by themselves.
 *
 * Theory of operation
 *
 * Options and arguments are read from the texts that --help prints. So a new option can be
 * completed as soon as it is described. In a help text, an option stands at the beginning of a
 * line, behind two blanks: "-c, --count COUNT". In a usage line, a word in capitals is an argument,
 * and what it is called says what it is: DOMAIN, SERVICE, FROM, PROGRAM and so on.
 *
 * link_mgr is asked for domains, and the other domain's connection manager for services. Somebody
 * waits with a finger on the key. So nothing here waits long, and a timer ends the program if
 * something does. A failure is an empty answer: a message would end up in the user's line.
 */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/naming.h"
#include "tools/command.h"
#include "tools/lines.h"
#include "tools/measure/ask.h"
#include "libidc/internal.h"

#define WAIT_MS 700   /* for each answer */
#define ALL_MS 1000   /* for everything */
#define TOKEN_MAX 128 /* bytes of a word in a help text */
#define OFFER_MAX 512

struct completion {
    const char *word;              /* what there is of it */
    const struct command *command; /* NULL: it is the command */
    bool listens;                  /* --listen was given: the arguments are no others' */
    int argument;                  /* which one it is, from 0 */
    const char *before;            /* the argument before, or NULL */
    const char *value_of;          /* what an option wants, whose value it is, or NULL */
};

/* ---- the answer ---- */

static void offer_word(const struct completion *completion, const char *word, const char *what)
{
    if (strncmp(word, completion->word, strlen(completion->word)) == 0)
        printf("%s%s%s\n", word, what[0] != '\0' ? "\t" : "", what);
}

/* ---- help texts ---- */

/* Copies a word up to one of the stops, and returns what is behind it. */
static const char *text_word(const char *text, const char *stops, char word[TOKEN_MAX])
{
    size_t len = strcspn(text, stops);
    snprintf(word, TOKEN_MAX, "%.*s", (int)len, text);
    return text + len;
}

/* One line of a help text that describes an option. */
struct described {
    char names[2][TOKEN_MAX];
    int count;
    char value[TOKEN_MAX]; /* what it takes, or "" */
    char what[TOKEN_MAX];
};

/* False: the line describes none. */
static bool line_describes(const char *line, struct described *option)
{
    memset(option, 0, sizeof(*option));
    if (strncmp(line, "  -", 3) != 0)
        return false;
    const char *at = line + 2;
    while (*at == '-' && option->count < 2) {
        at = text_word(at, " ,\n", option->names[option->count++]);
        at += strspn(at, ", ") == 2 && *at == ',' ? 2 : 0;
    }
    if (at[0] == ' ' && at[1] != ' ')
        at = text_word(at + 1, " \n", option->value);
    text_word(at + strspn(at, " "), "\n", option->what);
    return true;
}

/* The next option in a help text; NULL: there is none. */
static const char *next_described(const char *text, struct described *option)
{
    while (text != NULL && *text != '\0') {
        bool found = line_describes(text, option);
        text = strchr(text, '\n');
        text = text != NULL ? text + 1 : "";
        if (found)
            return text;
    }
    return NULL;
}

static const char *help_of(const struct command *command)
{
    return command != NULL ? command->help : "  --version  the version of idc\n";
}

/* Those that every command takes. */
static const char common_help[] = "  --socket PATH  of link_mgr\n"
                                  "  --help  how it is used\n";

static void offer_options(const struct completion *completion)
{
    const char *const texts[] = {help_of(completion->command), common_help};
    struct described option;
    for (size_t i = 0; i < 2; i++)
        for (const char *at = texts[i]; (at = next_described(at, &option)) != NULL;)
            for (int name = 0; name < option.count; name++)
                if (option.names[name][1] == '-' || completion->word[1] == '\0')
                    offer_word(completion, option.names[name], option.what);
}

/* What an option takes, in capitals: "" if it takes nothing, or is not known. */
static void option_value(const struct command *command, const char *word, char value[TOKEN_MAX])
{
    const char *const texts[] = {help_of(command), common_help};
    struct described option;
    value[0] = '\0';
    for (size_t i = 0; i < 2; i++)
        for (const char *at = texts[i]; (at = next_described(at, &option)) != NULL;)
            for (int name = 0; name < option.count; name++)
                if (strcmp(option.names[name], word) == 0)
                    snprintf(value, TOKEN_MAX, "%s", option.value);
}

/* Skips what is in brackets and begins with a dash. */
static const char *skip_options(const char *usage)
{
    int depth = 0;
    if (usage[0] != '[' || usage[1] != '-')
        return usage;
    do {
        depth += *usage == '[' ? 1 : (*usage == ']' ? -1 : 0);
        usage++;
    } while (depth > 0 && *usage != '\0');
    return usage;
}

/* The argument in this place of the first usage line, or "". One before "]..." is repeated. */
static void usage_argument(const char *usage, int place, char name[TOKEN_MAX])
{
    char word[TOKEN_MAX];
    bool repeated = false;
    name[0] = '\0';
    while (*usage != '\0' && *usage != '\n' && place >= 0) {
        const char *behind = skip_options(usage);
        if (behind != usage || strchr("[]. ", *usage) != NULL) {
            usage = behind != usage ? behind : usage + 1;
            continue;
        }
        usage = text_word(usage, "[] \n", word);
        if (strcmp(word, "OPTION") == 0)
            continue;
        repeated = strncmp(usage, "]...", 4) == 0;
        memcpy(name, word, TOKEN_MAX);
        place--;
    }
    if (place >= 0 && !repeated)
        name[0] = '\0';
}

/* ---- domains and services ---- */

/* A name that a shell's line can hold. link_mgr writes each odd byte with a backslash. */
static bool can_be_typed(const char *name)
{
    for (const char *at = name; *at != '\0'; at++)
        if (*at == '\\' || !isprint((unsigned char)*at))
            return false;
    return name[0] != '\0';
}

/* before and behind: what stands around the domain in the word. */
static void offer_domain(const struct completion *completion, const char *before,
                         const char *behind, int64_t domid, const char *name)
{
    char text[4 * NAMING_NAME_MAX + OFFER_MAX], number[OFFER_MAX + 32], what[32];
    struct naming naming;
    const char *wrong = naming_parse(&naming, name);
    const bool plain = wrong == NULL && naming.kind == NAMING_NAME && strchr(name, ':') == NULL;
    snprintf(number, sizeof(number), "%s%lld%s", before, (long long)domid, behind);
    snprintf(what, sizeof(what), "domain %lld", (long long)domid);
    snprintf(text, sizeof(text), "%s%s%s%s", before, plain ? "" : "name:", name, behind);
    if (can_be_typed(name))
        offer_word(completion, text, what);
    if (!can_be_typed(name) || isdigit((unsigned char)completion->word[strlen(before)]))
        offer_word(completion, number, can_be_typed(name) ? name : "domain");
}

static void offer_domains(const struct completion *completion, const char *before,
                          const char *behind)
{
    xmlrpc_env env;
    xmlrpc_value *links = NULL;
    char name[4 * NAMING_NAME_MAX + 1];
    if (strncmp(completion->word, before, strlen(before)) != 0)
        return;
    snprintf(name, sizeof(name), "%sself%s", before, behind);
    offer_word(completion, name, "this domain");
    xmlrpc_value *status = ask_status(libidc_socket_path(command_socket), false, WAIT_MS);
    if (status == NULL)
        return;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, status, "links", &links);
    int count = links != NULL ? xmlrpc_array_size(&env, links) : 0;
    for (int i = 0; i < count && !env.fault_occurred; i++) {
        xmlrpc_value *link = xmlrpc_array_get_item(&env, links, i);
        ask_text(link, "name", name, sizeof(name));
        offer_domain(completion, before, behind, ask_int(link, "peer", 0), name);
    }
    if (links != NULL)
        xmlrpc_DECREF(links);
    xmlrpc_DECREF(status);
    xmlrpc_env_clean(&env);
}

static void offer_services_of(const struct completion *completion, const char *before, int fd)
{
    static const char question[] = "SERVICES\n";
    static struct lines lines;
    char line[OFFER_MAX], port[16], type[16], name[IDC_SERVICE_MAX + 1], word[2 * OFFER_MAX + 16];
    lines.fd = fd;
    lines.end_ms = command_now_ms() + WAIT_MS;
    if (idc_send(fd, question, strlen(question)) != (ssize_t)strlen(question))
        return;
    while (lines_next(&lines, line, sizeof(line)) > 0 && line[0] != '\n') {
        int words = sscanf(line, "%15s %15s %79s", port, type, name);
        snprintf(word, sizeof(word), "%s%s", before, words == 3 && name[0] != '-' ? name : port);
        if (words >= 2 && can_be_typed(word) && strcmp(port, "1") != 0)
            offer_word(completion, word, strcmp(type, "seqpacket") == 0 ? "messages" : "a stream");
    }
}

static void offer_services(const struct completion *completion, const char *before,
                           const char *domain)
{
    const struct target target = {
        .domain = domain, .port = IDC_PORT_MANAGER, .timeout_ms = WAIT_MS};
    struct naming naming;
    if (domain == NULL || naming_parse(&naming, domain) != NULL)
        return;
    int fd = connect_target(&target, IDC_STREAM);
    if (fd < 0)
        return;
    offer_services_of(completion, before, fd);
    idc_disconnect(fd);
}

/* ---- other arguments ---- */

static void offer_commands(const struct completion *completion)
{
    for (size_t i = 0; command_at(i) != NULL; i++)
        offer_word(completion, command_at(i)->name, command_at(i)->what);
    offer_word(completion, "help", "how a command is used");
}

/* An end of idc forward: the kinds, and behind idc: what there is. A name with a colon is left out,
 * as it is ambiguous here. */
static void offer_ends(const struct completion *completion)
{
    static const char *const kinds[] = {
        "idc:",   "idc-listen:", "unix:", "unix-listen:", "tcp:",  "tcp-listen:",
        "vsock:", "pty:",        "file:", "exec:",        "stdio", "fd:"};
    char before[OFFER_MAX], domain[NAMING_TEXT_MAX + 1];
    const char *second = NULL;
    if (strncmp(completion->word, "idc:", 4) == 0)
        second = strchr(completion->word + 4, ':');
    puts(second != NULL ? "words" : "parts");
    if (second != NULL) {
        snprintf(before, sizeof(before), "%.*s", (int)(second + 1 - completion->word),
                 completion->word);
        snprintf(domain, sizeof(domain), "%.*s", (int)(second - completion->word - 4),
                 completion->word + 4);
        offer_services(completion, before, domain);
    } else if (strncmp(completion->word, "idc:", 4) == 0) {
        offer_domains(completion, "idc:", ":");
    } else {
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
            offer_word(completion, kinds[i], "");
    }
}

/* The lines of idc rpc --help that begin with a method: "connect   domid|domain ..." or
 * "reason, unsent   serial". */
static void offer_methods(const struct completion *completion)
{
    const char *methods = strstr(completion->command->help, "Methods,");
    char word[TOKEN_MAX];
    for (const char *text = methods != NULL ? methods : ""; *text != '\0';) {
        text += strcspn(text, "\n");
        text += *text == '\n';
        if (strncmp(text, "  ", 2) != 0 || text[2] == ' ')
            continue;
        for (text += 2; islower((unsigned char)*text);) {
            text = text_word(text, ", \n", word);
            offer_word(completion, word, "");
            text += strncmp(text, " METHOD", 7) == 0 ? 7 : 0;
            text += strncmp(text, ", ", 2) == 0 ? 2 : 0;
        }
    }
}

/* Is this name among them? */
static bool is_one_of(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(name, *names) != 0)
        names++;
    return *names != NULL;
}

static void offer_types(const struct completion *completion)
{
    offer_word(completion, "stream", "");
    offer_word(completion, "seqpacket", "");
}

/* By what it is called in a usage line, or behind an option. The shell knows files and programs. */
static void offer_named(const struct completion *completion, const char *name)
{
    static const char *const files[] = {"PATH", "DIR", "FILE", "ARG", NULL};
    static const char *const ends[] = {"FROM", "TO", NULL};
    if (is_one_of(name, ends)) {
        offer_ends(completion);
        return;
    }
    puts(is_one_of(name, files) ? "files" : strcmp(name, "PROGRAM") == 0 ? "programs" : "words");
    if (strcmp(name, "DOMAIN") == 0)
        offer_domains(completion, "", "");
    else if (strstr(name, "SERVICE") != NULL && completion->value_of == NULL)
        offer_services(completion, "", completion->before);
    else if (strcmp(name, "METHOD") == 0 && completion->command != NULL)
        offer_methods(completion);
    else if (strcmp(name, "TYPE") == 0)
        offer_types(completion);
}

/* An argument of the program that is run is that program's business: no option of ours. */
static bool runs_program(const struct completion *completion)
{
    char name[TOKEN_MAX];
    if (completion->command == NULL || completion->argument == 0)
        return false;
    usage_argument(completion->command->usage, 0, name);
    return strcmp(name, "PROGRAM") == 0;
}

static void complete_word(const struct completion *completion)
{
    char name[TOKEN_MAX];
    if (completion->value_of != NULL) {
        offer_named(completion, completion->value_of);
    } else if (completion->word[0] == '-' && !runs_program(completion)) {
        puts("words");
        offer_options(completion);
    } else if (completion->command == NULL) {
        puts("words");
        offer_commands(completion);
    } else if (completion->listens) {
        puts("words");
    } else {
        usage_argument(completion->command->usage, completion->argument, name);
        offer_named(completion, name);
    }
}

/* ---- the command line that is completed ---- */

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; command_at(i) != NULL; i++)
        if (strcmp(command_at(i)->name, name) == 0)
            return command_at(i);
    return NULL;
}

/* idc help COMMAND completes as idc COMMAND does. */
static void take_word(struct completion *completion, const char *word)
{
    if (completion->command == NULL && strcmp(word, "help") != 0) {
        completion->command = find_command(word);
    } else if (completion->command != NULL) {
        completion->before = word;
        completion->argument++;
    }
}

/* Takes all words but the last one. False: there is no such command. */
static bool take_words(struct completion *completion, char **words, int count)
{
    static char value[TOKEN_MAX];
    for (int i = 0; i < count; i++) {
        completion->value_of = NULL;
        value[0] = '\0';
        if (words[i][0] != '-' || runs_program(completion)) {
            take_word(completion, words[i]);
            if (completion->command == NULL && strcmp(words[i], "help") != 0)
                return false;
            continue;
        }
        if (strcmp(words[i], "-l") == 0 || strcmp(words[i], "--listen") == 0)
            completion->listens = true;
        if (strncmp(words[i], "--socket=", 9) == 0)
            command_socket = words[i] + 9;
        option_value(completion->command, words[i], value);
        if (value[0] == '\0')
            continue;
        if (i + 1 == count)
            completion->value_of = value;
        else if (strcmp(words[i], "--socket") == 0)
            command_socket = words[i + 1];
        i++;
    }
    return true;
}

static void too_long(int number)
{
    (void)number;
    _exit(0);
}

int run_complete(const struct command *command, int argc, char **argv)
{
    const struct itimerval limit = {.it_value = {.tv_sec = ALL_MS / 1000}};
    struct completion completion = {.word = ""};
    int status = 0;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        common_option(command, 'h', argv, &status);
        return status;
    }
    int first = argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1;
    signal(SIGALRM, too_long);
    setitimer(ITIMER_REAL, &limit, NULL);
    if (argc > first)
        completion.word = argv[argc - 1];
    if (take_words(&completion, argv + first, argc > first ? argc - first - 1 : 0))
        complete_word(&completion);
    return 0;
}
