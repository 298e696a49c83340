/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xml_memory.c - see xml_memory.h. Only the loop's thread comes here. */
#include "link_mgr/rpc/xml_memory.h"

#include <regex.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rpc_xml_block {
    LIST_ENTRY(rpc_xml_block) list; /* of its owner */
    struct rpc_xml *owner;          /* NULL: nobody's */
    size_t size;
    max_align_t bytes[];
};

static struct rpc_xml_guard *innermost_guard;

/* ---- guards ---- */

bool rpc_xml_enter(struct rpc_xml_guard *guard, struct rpc_xml *xml)
{
    guard->outer = innermost_guard;
    guard->xml = xml ? xml : innermost_guard->xml;
    innermost_guard = guard;
    return !guard->xml->failed;
}

bool rpc_xml_leave(struct rpc_xml_guard *guard)
{
    innermost_guard = guard->outer;
    return !guard->xml->failed;
}

void rpc_xml_escape(void)
{
    struct rpc_xml_guard *guard = innermost_guard;
    if (guard && guard->xml->failed)
        longjmp(guard->jump, 1);
}

/* ---- blocks ---- */

static struct rpc_xml_block *xml_block_of(void *at)
{
    return (void *)((char *)at - offsetof(struct rpc_xml_block, bytes));
}

static void *xml_block_add(struct rpc_xml_block *block, struct rpc_xml *owner, size_t size)
{
    block->owner = owner;
    block->size = size;
    if (owner)
        LIST_INSERT_HEAD(&owner->blocks, block, list);
    return block->bytes;
}

static void xml_block_disown(struct rpc_xml_block *block)
{
    if (block->owner)
        LIST_REMOVE(block, list);
    block->owner = NULL;
}

/* Returns NULL only outside of all guards. */
static void *xml_lack(void)
{
    if (!innermost_guard)
        return NULL;
    innermost_guard->xml->failed = true;
    longjmp(innermost_guard->jump, 1);
}

void rpc_xml_free(const void *at)
{
    if (!at)
        return;
    struct rpc_xml_block *block = xml_block_of((void *)(uintptr_t)at);
    xml_block_disown(block);
    free(block);
}

void rpc_xml_release(const struct rpc_xml *xml, xmlrpc_value *value)
{
    if (value && !xml->failed)
        xmlrpc_DECREF(value);
}

void rpc_xml_keep(xmlrpc_mem_block *block)
{
    xml_block_disown(xml_block_of(block));
    xml_block_disown(xml_block_of(xmlrpc_mem_block_contents(block)));
}

void rpc_xml_end(struct rpc_xml *xml)
{
    struct rpc_xml_block *block;
    while ((block = LIST_FIRST(&xml->blocks))) {
        xml_block_disown(block);
        free(block);
    }
}

/* ---- what the library has in the place of the C library's functions ---- */

void *rpc_xml_malloc(size_t size);
void *rpc_xml_calloc(size_t count, size_t size);
void *rpc_xml_realloc(void *at, size_t size);
char *rpc_xml_strdup(const char *text);
int rpc_xml_regcomp(regex_t *compiled, const char *text, int flags);
int rpc_xml_vasprintf(char **text, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
int rpc_xml_vasprintf_chk(char **text, int flag, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

void *rpc_xml_malloc(size_t size)
{
    struct rpc_xml_block *block = NULL;
    struct rpc_xml *owner = innermost_guard ? innermost_guard->xml : NULL;
    bool fails = innermost_guard && innermost_guard->xml->failed;
    if (size <= SIZE_MAX - sizeof(*block) && !fails)
        block = malloc(sizeof(*block) + size);
    return block ? xml_block_add(block, owner, size) : xml_lack();
}

void *rpc_xml_calloc(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return xml_lack();
    void *at = rpc_xml_malloc(count * size);
    return at ? memset(at, 0, count * size) : NULL;
}

/* The block keeps its owner. */
void *rpc_xml_realloc(void *at, size_t size)
{
    if (!at)
        return rpc_xml_malloc(size);
    struct rpc_xml_block *block = xml_block_of(at);
    struct rpc_xml *owner = block->owner;
    size_t before = block->size;
    xml_block_disown(block);
    struct rpc_xml_block *larger =
        size <= SIZE_MAX - sizeof(*block) ? realloc(block, sizeof(*block) + size) : NULL;
    if (larger)
        return xml_block_add(larger, owner, size);
    xml_block_add(block, owner, before);
    return xml_lack();
}

char *rpc_xml_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = rpc_xml_malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

/* The library takes it for granted that this succeeds. */
int rpc_xml_regcomp(regex_t *compiled, const char *text, int flags)
{
    int error = regcomp(compiled, text, flags);
    if (error == REG_ESPACE)
        xml_lack();
    return error;
}

int rpc_xml_vasprintf(char **text, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    *text = len < 0 ? NULL : rpc_xml_malloc((size_t)len + 1);
    return *text ? vsnprintf(*text, (size_t)len + 1, format, args) : -1;
}

/* The same where the library was built with _FORTIFY_SOURCE. */
int rpc_xml_vasprintf_chk(char **text, int flag, const char *format, va_list args)
{
    (void)flag;
    return rpc_xml_vasprintf(text, format, args);
}
