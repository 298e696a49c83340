/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * document.h - may a client's document be given to xmlrpc-c's parser?
 *
 * That parser builds a tree of the whole document and walks it by recursion before any limit is
 * applied. Elements nested a hundred thousand deep overflow the stack. Millions of empty elements
 * fill the memory. Entities of a document type make much out of little. So a document's tags are
 * counted first, in one pass, by the rules of XML. A document that passes is well enough formed
 * that the parser sees the same tags.
 */
#ifndef IDC_RPC_DOCUMENT_H
#define IDC_RPC_DOCUMENT_H

#include <stddef.h>

#define RPC_DEPTH_MAX 256      /* 64 levels of XML-RPC values have 200 */
#define RPC_ELEMENTS_MAX 65536 /* a call has about 30 */

/* NULL: yes. Else why not. */
const char *rpc_document_refused(const char *document, size_t len);

#endif
