/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command line of link_mgr: getopt_long, with ranges checked, and defaults from the environment. */
#include "link_mgr/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "common/naming.h"

#define DEFAULT_SOCKET "/run/idc/rpc.sock"
#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

static const char help[] =
    "usage: link_mgr [OPTION]...\n"
    "\n"
    "Carries the connections of this domain's programs to other domains. Runs in the\n"
    "foreground.\n"
    "\n"
    "  --platform NAME    xen, local, or auto (default): xen where there is Xen\n"
    "  --store DIR        local: directory in Xenstore's place; default $IDC_STORE\n"
    "  --domid N          this domain's id, 0 to 32751 (needed for local only)\n"
    "  --name NAME        local: what this domain is called\n"
    "  --uuid UUID        local: its UUID\n"
    "  --socket PATH      where programs reach it; default $IDC_SOCKET, else\n"
    "                     " DEFAULT_SOCKET "\n"
    "  --ring-size KIB    of each ring of a link that this domain offers: 4 to 1024,\n"
    "                     a power of two (256)\n"
    "  --memory MIB       limit of the memory held for each other domain: 1 to 65536\n"
    "                     (64)\n"
    "  --idle MS          how long a link without connections is kept: 1 to 86400000\n"
    "                     (10000)\n"
    "  --quota NAME=N     what one user may have, except root and link_mgr's:\n"
    "                     rpc-connections (1024), calls (4096), handles (4096),\n"
    "                     rpc-memory (67108864 bytes), listeners (256), connections\n"
    "                     (4096)\n"
    "  --listen-rules FILE  who may listen on what (/etc/idc/listen; local: listen-N\n"
    "                     in the store's directory)\n"
    "  --check-listen FILE  only say whether such a file is a good one\n"
    "  --ready-fd N       write a newline to descriptor N when programs are served\n"
    "  --user NAME        become this user first, which gives up all privileges; it\n"
    "                     must be able to open the devices of Xen, or the local store\n"
    "  --confine MODE     system calls that it does not need: yes (they fail), kill\n"
    "                     (they end it), no (they are allowed) (yes)\n"
    "  --verbose          log more\n"
    "  -h, --help, --version\n";

enum {
    OPT_PLATFORM = 1,
    OPT_STORE,
    OPT_DOMID,
    OPT_NAME,
    OPT_UUID,
    OPT_SOCKET,
    OPT_RING,
    OPT_MEMORY,
    OPT_IDLE,
    OPT_QUOTA,
    OPT_LISTEN_RULES,
    OPT_CHECK_LISTEN,
    OPT_READY,
    OPT_USER,
    OPT_CONFINE,
    OPT_VERBOSE,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"platform", required_argument, NULL, OPT_PLATFORM},
    {"store", required_argument, NULL, OPT_STORE},
    {"domid", required_argument, NULL, OPT_DOMID},
    {"name", required_argument, NULL, OPT_NAME},
    {"uuid", required_argument, NULL, OPT_UUID},
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"ring-size", required_argument, NULL, OPT_RING},
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"idle", required_argument, NULL, OPT_IDLE},
    {"quota", required_argument, NULL, OPT_QUOTA},
    {"listen-rules", required_argument, NULL, OPT_LISTEN_RULES},
    {"check-listen", required_argument, NULL, OPT_CHECK_LISTEN},
    {"ready-fd", required_argument, NULL, OPT_READY},
    {"user", required_argument, NULL, OPT_USER},
    {"confine", required_argument, NULL, OPT_CONFINE},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static int options_usage(const char *what, const char *value)
{
    if (value)
        fprintf(stderr, "link_mgr: %s, not \"%s\" (see link_mgr --help)\n", what, value);
    else
        fprintf(stderr, "link_mgr: %s (see link_mgr --help)\n", what);
    return 2;
}

static int complain_of_quota(const char *value)
{
    char what[96];
    const char *name = users_name_in(value);
    if (!name)
        return options_usage("--quota takes NAME=N; link_mgr --help has the names", value);
    snprintf(what, sizeof(what), "--quota %s takes a number from 0 to %llu", name, ULLONG_MAX);
    return options_usage(what, value + strlen(name) + 1);
}

static bool parse_number(const char *text, unsigned long least, unsigned long most,
                         unsigned long *number)
{
    char *rest;
    errno = 0;
    *number = strtoul(text, &rest, 10);
    return text[0] >= '0' && text[0] <= '9' && *rest == '\0' && errno == 0 && *number >= least &&
           *number <= most;
}

static int choose_xen(struct options *options)
{
#ifdef IDC_WITH_XEN
    options->ops = &platform_xen;
    return -1;
#else
    (void)options;
    fputs("link_mgr: this link_mgr was built without Xen; build it where Xen's libraries are, or "
          "use --platform local\n",
          stderr);
    return 1;
#endif
}

/* -1, or the exit status. */
static int choose_platform(struct options *options, const char *name)
{
    bool is_auto = strcmp(name, "auto") == 0;
    if (strcmp(name, "xen") == 0 || (is_auto && !options->store && platform_xen_is_here()))
        return options->name || options->uuid
                   ? options_usage("--name and --uuid are for the local platform: on Xen the "
                                   "toolstack says what a domain is called",
                                   NULL)
                   : choose_xen(options);
    if (!is_auto && strcmp(name, "local") != 0)
        return options_usage("--platform takes auto, xen or local", name);
    options->ops = &platform_local;
    if (!options->store && is_auto)
        return options_usage(
            "this is not a Xen domain, and the local platform needs --store DIR (or IDC_STORE)",
            NULL);
    if (!options->store)
        return options_usage("the local platform needs --store DIR (or IDC_STORE): a directory "
                             "that stands for Xenstore",
                             NULL);
    if (options->domid < 0)
        return options_usage("the local platform needs --domid N: which domain this is", NULL);
    return -1;
}

static int check_socket(const char *path)
{
    static char what[64];
    if (strlen(path) <= SOCKET_PATH_MAX)
        return -1;
    snprintf(what, sizeof(what), "the path of a socket has at most %zu bytes", SOCKET_PATH_MAX);
    return options_usage(what, path);
}

/* A long option is in the last argument that was taken. A letter may be one of several in an
 * argument. */
static int not_understood(const char *what, char **argv)
{
    char letter[3] = {'-', (char)optopt};
    fprintf(stderr, "link_mgr: %s %s (see link_mgr --help)\n",
            optopt > OPT_VERSION ? letter : argv[optind - 1], what);
    return 2;
}

static int take_confine(const char *mode, struct options *options)
{
    static const char *const modes[] = {
        [CONFINE_YES] = "yes", [CONFINE_KILL] = "kill", [CONFINE_NO] = "no"};
    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(mode, modes[i]) == 0) {
            options->confine = (enum confine)i;
            return -1;
        }
    return options_usage("--confine takes yes, kill or no", mode);
}

static int take_name(const char *name, struct options *options)
{
    const char *wrong = naming_check_name(name);
    if (wrong)
        return options_usage("--name takes a domain's name: 1 to 255 bytes, no control characters",
                             NULL);
    options->name = name;
    return -1;
}

static int take_uuid(const char *text, struct options *options)
{
    static const uint8_t none[NAMING_UUID_SIZE];
    uint8_t uuid[NAMING_UUID_SIZE];
    if (!naming_read_uuid(text, strlen(text), uuid) || memcmp(uuid, none, sizeof(none)) == 0)
        return options_usage("--uuid takes one like 00112233-4455-6677-8899-aabbccddeeff, and not "
                             "that of zeros",
                             NULL);
    options->uuid = text;
    return -1;
}

static int options_take(int option, char **argv, struct options *options, const char **platform)
{
    unsigned long number;
    switch (option) {
    case OPT_PLATFORM:
        *platform = optarg;
        return -1;
    case OPT_STORE:
        if (!optarg[0])
            return options_usage("--store needs a directory", NULL);
        options->store = optarg;
        return -1;
    case OPT_SOCKET:
        if (!optarg[0])
            return options_usage("--socket needs a path", NULL);
        options->socket = optarg;
        return -1;
    case OPT_VERBOSE:
        options->verbose = 1;
        return -1;
    case OPT_DOMID:
        if (!parse_number(optarg, 0, IDC_DOMID_SELF - 1, &number))
            return options_usage("--domid takes a number from 0 to 32751", optarg);
        options->domid = (int)number;
        return -1;
    case OPT_NAME:
        return take_name(optarg, options);
    case OPT_UUID:
        return take_uuid(optarg, options);
    case OPT_RING:
        if (!parse_number(optarg, 4, 1024, &number) || (number & (number - 1)) != 0)
            return options_usage("--ring-size takes a power of two from 4 to 1024 (KiB)", optarg);
        options->core.ring_size = (uint32_t)number * 1024;
        return -1;
    case OPT_MEMORY:
        if (!parse_number(optarg, 1, 65536, &number))
            return options_usage("--memory takes a number from 1 to 65536 (MiB)", optarg);
        options->core.memory_ceiling = (uint64_t)number << 20;
        return -1;
    case OPT_IDLE:
        if (!parse_number(optarg, 1, 86400000, &number))
            return options_usage("--idle takes a number from 1 to 86400000 (ms)", optarg);
        options->core.idle_ms = number;
        return -1;
    case OPT_QUOTA:
        return users_set(&options->users, optarg) ? -1 : complain_of_quota(optarg);
    case OPT_LISTEN_RULES:
        if (!optarg[0])
            return options_usage("--listen-rules needs a file", NULL);
        options->listen_rules = optarg;
        return -1;
    case OPT_CHECK_LISTEN:
        if (!optarg[0])
            return options_usage("--check-listen needs a file", NULL);
        options->check_listen = optarg;
        return -1;
    case OPT_READY:
        if (!parse_number(optarg, 0, INT_MAX, &number) || fcntl((int)number, F_GETFD) < 0)
            return options_usage("--ready-fd takes the number of an open descriptor", optarg);
        options->ready_fd = (int)number;
        return -1;
    case OPT_USER:
        if (!optarg[0])
            return options_usage("--user needs the name of a user", NULL);
        options->user = optarg;
        return -1;
    case OPT_CONFINE:
        return take_confine(optarg, options);
    case 'h':
    case OPT_HELP:
        fputs(help, stdout);
        return 0;
    case OPT_VERSION:
        puts("link_mgr " IDC_VERSION);
        return 0;
    case ':':
        return not_understood("needs an argument", argv);
    default:
        return not_understood("is not an option, or takes no argument", argv);
    }
}

int options_parse(int argc, char **argv, struct options *options)
{
    const char *platform = "auto";
    int option;
    *options = (struct options){
        .domid = -1, .ready_fd = -1, .confine = CONFINE_USUAL, .core = CORE_CONFIG_DEFAULT};
    users_usual(&options->users);
    options->store = getenv("IDC_STORE");
    if (options->store && !options->store[0])
        options->store = NULL;
    options->socket = getenv("IDC_SOCKET");
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        int status = options_take(option, argv, options, &platform);
        if (status >= 0)
            return status;
    }
    if (optind < argc) {
        fprintf(stderr, "link_mgr: unexpected argument \"%s\" (see link_mgr --help)\n",
                argv[optind]);
        return 2;
    }
    if (options->check_listen)
        return -1;
    if (!options->socket || !options->socket[0])
        options->socket = DEFAULT_SOCKET;
    int status = check_socket(options->socket);
    return status >= 0 ? status : choose_platform(options, platform);
}
