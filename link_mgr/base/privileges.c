/* SPDX-License-Identifier: GPL-2.0-or-later */
/* privileges.c - see privileges.h. libcap would do the same with one more library in each guest. */
#include "link_mgr/base/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As many as the kernel's interface has place for; those that a kernel doesn't know it refuses. */
#define CAPABILITIES_MAX 64

/* Nobody gets more by exec from now on. Without CAP_SETPCAP the bounding set stays, and with
 * no_new_privs it is of no use. */
static int privileges_forswear(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned long capability = 0; capability < CAPABILITIES_MAX; capability++)
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    return 0;
}

/* Usually there are none to give up, and a unit may forbid the call that does it. */
static int privileges_give_up_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3] = {0};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &header, has) < 0)
        return -errno;
    if (memcmp(has, none, sizeof(has)) == 0)
        return 0;
    return syscall(SYS_capset, &header, none) == 0 ? 0 : -errno;
}

/* Only the usual directory: others are whoever's who named them. */
static int privileges_make_directory(const struct passwd *user, const char *socket)
{
    static const char usual[] = PRIVILEGES_DIRECTORY "/";
    if (strncmp(socket, usual, sizeof(usual) - 1) != 0)
        return 0;
    if (mkdir(PRIVILEGES_DIRECTORY, 0755) < 0)
        return errno == EEXIST ? 0 : -errno;
    return chown(PRIVILEGES_DIRECTORY, user->pw_uid, user->pw_gid) == 0 ? 0 : -errno;
}

/* All ids, and the groups that the user has. Root's capabilities go with root's uid. Then it is
 * tried whether there is a way back. */
static int privileges_become(const struct passwd *user)
{
    if (initgroups(user->pw_name, user->pw_gid) < 0 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
        return -errno;
    return setuid(0) < 0 && setgid(0) < 0 ? 0 : -EPERM;
}

/* A real or saved id of somebody else would be a way back. */
static bool privileges_are_of(uid_t wanted)
{
    uid_t uid, euid, suid;
    gid_t gid, egid, sgid;
    return getresuid(&uid, &euid, &suid) == 0 && getresgid(&gid, &egid, &sgid) == 0 &&
           uid == wanted && euid == wanted && suid == wanted && gid == egid && sgid == egid;
}

static int privileges_change_user(const char *name, const char *socket, char *why, size_t why_size)
{
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (!user) {
        int missing = errno ? -errno : -ENOENT;
        if (missing == -ENOENT)
            snprintf(why, why_size, "there is no user %s (--user)", name);
        else
            snprintf(why, why_size, "cannot look up user %s: %s", name, strerror(-missing));
        return missing;
    }
    if (user->pw_uid == 0) {
        snprintf(why, why_size, "--user %s is root, and takes an ordinary user", name);
        return -EINVAL;
    }
    if (privileges_are_of(user->pw_uid))
        return 0; /* as after User= in a unit */
    int error = privileges_make_directory(user, socket);
    if (!error)
        error = privileges_become(user);
    if (error)
        snprintf(why, why_size, "cannot become user %s: %s; only root can", name, strerror(-error));
    return error;
}

int privileges_drop(const char *user, const char *socket, char *why, size_t why_size)
{
    int error = privileges_forswear();
    if (error) {
        snprintf(why, why_size, "no_new_privs cannot be set: %s", strerror(-error));
        return error;
    }
    error = user ? privileges_change_user(user, socket, why, why_size) : 0;
    if (error || geteuid() == 0)
        return error;
    error = privileges_give_up_capabilities();
    if (error)
        snprintf(why, why_size, "it cannot give up its capabilities: %s", strerror(-error));
    return error;
}
