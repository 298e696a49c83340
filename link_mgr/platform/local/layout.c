/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths and files of the directory store; layout.h has the theory. */
#include "link_mgr/platform/local/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/platform/local/store.h"

#define DOMAINS "/local/domain/"
#define POLICY "/idc/policy"
#define DATA "/data/idc/"
#define NAME "/name"
#define UUID "/uuid"
#define OWN_NODE "=" /* file of the node that a room is named after */

static bool path_character(char c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '@';
}

bool local_layout_valid_path(const char *path)
{
    size_t length = strnlen(path, PLATFORM_PATH_MAX + 1);
    if (length < 2 || length > PLATFORM_PATH_MAX || path[0] != '/' || path[length - 1] == '/')
        return false;
    for (size_t i = 1; i < length; i++) {
        if (path[i] == '/' ? path[i - 1] == '/' : !path_character(path[i]))
            return false;
    }
    return true;
}

bool local_layout_is_below(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(path, prefix, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

/* Takes a domid off the front of text. It must be written as the kernel writes it. */
static bool take_domid(const char **text, int *domid)
{
    int value = 0, digits = 0;
    for (; (*text)[digits] >= '0' && (*text)[digits] <= '9' && digits < 6; digits++)
        value = value * 10 + ((*text)[digits] - '0');
    if (digits == 0 || value > STORE_DOMID_MAX || (digits > 1 && (*text)[0] == '0'))
        return false;
    *text += digits;
    *domid = value;
    return true;
}

static bool take_text(const char **text, const char *what)
{
    size_t length = strlen(what);
    if (strncmp(*text, what, length) != 0)
        return false;
    *text += length;
    return true;
}

static bool at_end(const char *text)
{
    return *text == '\0' || *text == '/';
}

static void policy_room(int domid, struct local_room *room)
{
    snprintf(room->name, sizeof(room->name), "domain:%d/policy", domid);
    snprintf(room->path, sizeof(room->path), DOMAINS "%d" POLICY, domid);
}

static void data_room(int domid, int peer, struct local_room *room)
{
    snprintf(room->name, sizeof(room->name), "domain:%d/data:%d", domid, peer);
    snprintf(room->path, sizeof(room->path), DOMAINS "%d" DATA "%d", domid, peer);
}

void local_layout_domain_room(int domid, struct local_room *room)
{
    snprintf(room->name, sizeof(room->name), "domain:%d", domid);
    snprintf(room->path, sizeof(room->path), DOMAINS "%d", domid);
}

bool local_layout_room(const char *path, struct local_room *room)
{
    const char *rest = path;
    int domid, peer;
    if (!local_layout_valid_path(path))
        return false;
    *room = (struct local_room){.name = "."};
    if (!take_text(&rest, DOMAINS) || !take_domid(&rest, &domid))
        return true;
    const char *below = rest;
    if (strcmp(rest, NAME) == 0 || strcmp(rest, UUID) == 0)
        local_layout_domain_room(domid, room);
    else if (take_text(&below, POLICY) && at_end(below))
        policy_room(domid, room);
    else if (take_text(&rest, DATA) && take_domid(&rest, &peer) && at_end(rest))
        data_room(domid, peer, room);
    return true;
}

bool local_layout_file(const char *path, char file[LAYOUT_ROOM_MAX + PLATFORM_PATH_MAX + 1])
{
    struct local_room room;
    if (!local_layout_room(path, &room))
        return false;
    const char *rest = path + strlen(room.path);
    size_t start = (size_t)sprintf(file, "%s/", room.name);
    strcpy(file + start, *rest == '\0' ? OWN_NODE : rest + 1);
    for (char *c = file + start; *c != '\0'; c++) {
        if (*c == '/')
            *c = '.';
    }
    return true;
}

bool local_layout_path(const struct local_room *room, const char *name,
                       char path[PLATFORM_PATH_MAX + 1])
{
    struct local_room actual;
    size_t start = strlen(room->path);
    if (start + 1 + strlen(name) > PLATFORM_PATH_MAX || strchr(name, '/') != NULL)
        return false;
    strcpy(path, room->path);
    if (start != 0 && strcmp(name, OWN_NODE) == 0)
        return true;
    path[start] = '/';
    strcpy(path + start + 1, name);
    for (char *c = path + start; *c != '\0'; c++) {
        if (*c == '.')
            *c = '/';
    }
    /* A file in the wrong directory is not a node. */
    return local_layout_room(path, &actual) && strcmp(actual.name, room->name) == 0;
}

bool local_layout_is_above_rooms(const char *path)
{
    struct local_room room;
    const char *rest = path;
    int domid;
    if (local_layout_room(path, &room) && room.path[0] != '\0')
        return false;
    if (local_layout_is_below(DOMAINS "0", path))
        return true;
    if (!take_text(&rest, DOMAINS) || !take_domid(&rest, &domid))
        return false;
    return local_layout_is_below(POLICY, rest) || local_layout_is_below(DATA "0", rest);
}

bool local_layout_is_domain(const char *name, int *domid)
{
    return take_text(&name, "domain:") && take_domid(&name, domid) && *name == '\0';
}

bool local_layout_is_room(int domid, const char *name, struct local_room *room)
{
    int peer;
    if (strcmp(name, "policy") == 0)
        policy_room(domid, room);
    else if (take_text(&name, "data:") && take_domid(&name, &peer) && *name == '\0')
        data_room(domid, peer, room);
    else
        return false;
    return true;
}
