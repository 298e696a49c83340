/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.c - idc run: a program with libidc-vsock.so preloaded, so that its AF_VSOCK sockets are
 * connections of IDC.
 *
 * The library is looked for where this program is (the build directory), then where `make install`
 * puts it. A program that the library cannot be preloaded into, because it is static, setuid or has
 * file capabilities, is run all the same, after a line that says so.
 * Exit statuses are those of env(1): 127 when the program is not found, 126 when it cannot be run.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tools/command.h"

#define LIBRARY "libidc-vsock.so"
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

/* Before what is preloaded already. 0, or an exit status. */
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

static bool has_interpreter(int fd, const Elf64_Ehdr *header)
{
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr part;
        off_t at = (off_t)(header->e_phoff + (uint64_t)i * header->e_phentsize);
        if (pread(fd, &part, sizeof(part), at) == sizeof(part) && part.p_type == PT_INTERP)
            return true;
    }
    return false;
}

/* The interpreter of a script, in place of the script. */
static bool follow_script(char *start, ssize_t len, char path[PATH_MAX])
{
    start[len] = '\0';
    if (strncmp(start, "#!", 2) != 0)
        return false;
    char *name = start + 2 + strspn(start + 2, " \t");
    name[strcspn(name, " \t\n")] = '\0';
    return name[0] != '\0' && (size_t)snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
}

static bool is_privileged(const struct stat *status)
{
    return ((status->st_mode & S_ISUID) && status->st_uid != getuid()) ||
           ((status->st_mode & S_ISGID) && status->st_gid != getgid());
}

/* They give root nothing that it has not, and then the dynamic linker takes no notice. */
static bool has_capabilities(int fd)
{
    return getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

/* Why the library cannot be preloaded into the program; NULL when nothing speaks against it. */
static const char *run_obstacle(char path[PATH_MAX], int depth)
{
    union {
        Elf64_Ehdr elf;
        char text[256];
    } start = {0};
    struct stat status;
    const char *why = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, start.text, sizeof(start.text) - 1) : -1;
    if (len > 0 && follow_script(start.text, len, path)) {
        why = depth > 0 ? run_obstacle(path, depth - 1) : NULL;
    } else if (len >= (ssize_t)sizeof(start.elf) &&
               memcmp(start.elf.e_ident, ELFMAG, SELFMAG) == 0) {
        if (start.elf.e_ident[EI_CLASS] != ELFCLASS64)
            why = "is no 64-bit program";
        else if (!has_interpreter(fd, &start.elf))
            why = "is a static program";
        else if (fstat(fd, &status) == 0 && is_privileged(&status))
            why = "is setuid or setgid";
        else if (has_capabilities(fd))
            why = "has file capabilities";
    }
    if (fd >= 0)
        close(fd);
    return why;
}

static void run_warn(const struct command *command, const char *name)
{
    char path[PATH_MAX];
    const char *why = find_program(name, path) ? run_obstacle(path, 1) : NULL;
    if (why != NULL)
        failure(command,
                "warning: %s %s: nothing can be preloaded into it, its AF_VSOCK sockets stay the "
                "kernel's",
                path, why);
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
    status = set_preload(command);
    if (status != 0)
        return status;
    if (command_socket != NULL && setenv("IDC_SOCKET", command_socket, 1) < 0)
        return failure(command, "out of memory");
    run_warn(command, argv[optind]);
    execvp(argv[optind], argv + optind);
    status = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
    failure(command, "%s: %s", argv[optind], strerror(errno));
    return status;
}
