/* SPDX-License-Identifier: GPL-2.0-or-later */
/* document.c - see document.h. memchr skips everything between tags, so long data cost little. */
#include "link_mgr/rpc/document.h"

#include <stdbool.h>
#include <string.h>

static const char malformed[] = "the document is malformed";

struct scan {
    const char *at, *end;
    unsigned depth, elements;
};

static bool looking_at(const struct scan *s, const char *text)
{
    size_t len = strlen(text);
    return (size_t)(s->end - s->at) >= len && memcmp(s->at, text, len) == 0;
}

/* Moves behind the next occurrence of text. */
static bool skip_past(struct scan *s, const char *text)
{
    const char *found = memmem(s->at, (size_t)(s->end - s->at), text, strlen(text));
    if (found == NULL)
        return false;
    s->at = found + strlen(text);
    return true;
}

/* Moves behind the tag's '>'. It skips attributes in quotes, which may contain a '>' too. */
static bool skip_tag(struct scan *s)
{
    while (s->at < s->end && *s->at != '>') {
        char c = *s->at++;
        if (c == '"' || c == '\'') {
            const char *quote = memchr(s->at, c, (size_t)(s->end - s->at));
            if (quote == NULL)
                return false;
            s->at = quote + 1;
        }
    }
    if (s->at == s->end)
        return false;
    s->at++;
    return true;
}

static const char *scan_start_tag(struct scan *s)
{
    if (!skip_tag(s))
        return malformed;
    if (++s->elements > RPC_ELEMENTS_MAX)
        return "the document has too many elements";
    if (s->at[-2] == '/')
        return NULL;
    return ++s->depth > RPC_DEPTH_MAX ? "the document's elements are nested too deep" : NULL;
}

static const char *scan_end_tag(struct scan *s)
{
    if (s->depth == 0 || !skip_tag(s))
        return malformed;
    s->depth--;
    return NULL;
}

/* s is at a '<'. */
static const char *scan_markup(struct scan *s)
{
    if (looking_at(s, "<?"))
        return skip_past(s, "?>") ? NULL : malformed;
    if (looking_at(s, "<!--")) {
        s->at += 4; /* so that <!--> is not a comment */
        return skip_past(s, "-->") ? NULL : malformed;
    }
    if (looking_at(s, "<![CDATA["))
        return skip_past(s, "]]>") ? NULL : malformed;
    if (looking_at(s, "<!"))
        return "a call has no document type declaration";
    return looking_at(s, "</") ? scan_end_tag(s) : scan_start_tag(s);
}

const char *rpc_document_refused(const char *document, size_t len)
{
    const char *why = NULL;
    if (len == 0)
        return malformed; /* document may be NULL then */
    struct scan s = {.at = document, .end = document + len};
    if (memchr(document, '\0', len) != NULL)
        /* UTF-16 has NULs, and tags that this scan would not see */
        return "a call must be in UTF-8";
    while (why == NULL && (s.at = memchr(s.at, '<', (size_t)(s.end - s.at))) != NULL)
        why = scan_markup(&s);
    return why;
}
