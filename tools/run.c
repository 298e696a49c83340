/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.c - idc run: a program with libidc-vsock.so preloaded, so that its AF_VSOCK sockets are
 * connections of IDC.
 *
 * It looks for the library where this program is (the build directory), then where `make install`
 * puts it. It also runs a program that the library cannot serve, after a line that says so
 * (run_program.c finds out). A program that is linked with another C library is not told to preload
 * ours, because its loader would refuse to start it. Exit statuses are those of env(1): 127 when
 * the program is not found, 126 when it cannot be run.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/run_program.h"

#define LIBRARY "libidc-vsock.so"
#define ASAN_ACCEPT "verify_asan_link_order=0"
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127

/* ---- the library ---- */

static bool find_library(char path[PATH_MAX])
{
    static const char *const places[] = {"/" LIBRARY, "/../lib/idc/" LIBRARY};
    char self[PATH_MAX], candidate[PATH_MAX + 64];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len < 0)
        return false;
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(candidate, sizeof(candidate), "%s%s", self, places[i]);
        if (realpath(candidate, path) != NULL && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

/* Puts the library before those that are preloaded already. 0, or an exit status. */
static int set_preload(const struct command *command)
{
    char path[PATH_MAX];
    const char *others = getenv("LD_PRELOAD");
    if (!find_library(path))
        return failure(command, "%s is neither beside this program nor in ../lib/idc", LIBRARY);
    if (strpbrk(path, ": ") != NULL)
        return failure(command, "%s: the dynamic linker takes no path with a blank or a colon",
                       path);
    size_t size = strlen(path) + (others != NULL ? strlen(others) : 0) + 2;
    char *value = malloc(size);
    if (value == NULL)
        return failure(command, "out of memory");
    snprintf(value, size, "%s%s%s", path, others != NULL && others[0] != '\0' ? ":" : "",
             others != NULL ? others : "");
    int error = setenv("LD_PRELOAD", value, 1);
    free(value);
    return error == 0 ? 0 : failure(command, "out of memory");
}

/* ---- the program ---- */

/* As execvp finds it. */
static bool find_program(const char *name, char path[PATH_MAX])
{
    const char *list = getenv("PATH");
    if (strchr(name, '/') != NULL)
        return (size_t)snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    for (const char *at = list != NULL ? list : "/bin:/usr/bin"; *at != '\0';) {
        size_t len = strcspn(at, ":");
        const char *dot = len == 0 ? "." : "";
        if (snprintf(path, PATH_MAX, "%.*s%s/%s", (int)len, at, dot, name) < PATH_MAX &&
            access(path, X_OK) == 0)
            return true;
        at += len + (at[len] == ':');
    }
    return false;
}

static void run_warn(const struct command *command, const char *path, enum run_kind kind)
{
    failure(command,
            "warning: %s %s: its AF_VSOCK sockets stay the kernel's; \"idc cat\" can carry its "
            "traffic",
            path, run_kind_text(kind));
}

/* Tells AddressSanitizer to accept preloaded libraries, behind the options that are set already,
 * unless those say so. 0, or an exit status. */
static int set_sanitizer(const struct command *command, const char *path)
{
    const char *others = getenv("ASAN_OPTIONS");
    char *value = NULL;
    if (others != NULL && strstr(others, ASAN_ACCEPT) != NULL)
        return 0;
    failure(command, "warning: %s %s: it gets ASAN_OPTIONS=%s, to accept what is preloaded", path,
            run_kind_text(RUN_ADDRESS_SANITIZER), ASAN_ACCEPT);
    bool some = others != NULL && others[0] != '\0';
    if (asprintf(&value, "%s%s%s", some ? others : "", some ? ":" : "", ASAN_ACCEPT) < 0)
        return failure(command, "out of memory");
    int error = setenv("ASAN_OPTIONS", value, 1);
    free(value);
    return error == 0 ? 0 : failure(command, "out of memory");
}

/* Sets the environment of the program. 0, or an exit status. */
static int run_prepare(const struct command *command, const char *name)
{
    char path[PATH_MAX];
    enum run_kind kind = find_program(name, path) ? run_kind_of(path) : RUN_ORDINARY;
    int status = kind == RUN_OTHER_LIBRARY ? 0 : set_preload(command);
    if (status != 0)
        return status;
    if (kind == RUN_ADDRESS_SANITIZER)
        return set_sanitizer(command, path);
    if (kind != RUN_ORDINARY)
        run_warn(command, path, kind);
    return 0;
}

int run_run(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option, status;
    while ((option = getopt_long(argc, argv, "+:h", options, NULL)) != -1)
        if (!common_option(command, option, argv, &status))
            return status;
    if (optind >= argc)
        return usage_error(command, "needs a PROGRAM");
    status = run_prepare(command, argv[optind]);
    if (status != 0)
        return status;
    if (command_socket != NULL && setenv("IDC_SOCKET", command_socket, 1) < 0)
        return failure(command, "out of memory");
    execvp(argv[optind], argv + optind);
    status = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
    failure(command, "%s: %s", argv[optind], strerror(errno));
    return status;
}
