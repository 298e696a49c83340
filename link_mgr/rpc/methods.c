/* SPDX-License-Identifier: GPL-2.0-or-later */
/* methods.c - every method in one table. docs/rpc.md says the same at more length; a test
 * compares the names. */
#include "link_mgr/rpc/methods.h"

#define S_S "S:S" /* takes a struct, returns a struct */

const struct rpc_method rpc_methods[] = {
    {"idc.connect", S_S,
     "domid domain port name type timeout_ms wait fd far_end reserved reset_is_end keep_ms "
     "peer_timeout_ms ",
     "Connects to a service of a domain.\n"
     "In: domid (32752: this one), or domain: its name, uuid:UUID, domid:N, dom0, self, or any: "
     "the "
     "one that a route chooses; port, or name of the service; type \"stream\" (default) or "
     "\"seqpacket\"; "
     "timeout_ms, -1 none, default 30000; wait, true: a listener or link_mgr that is not there is "
     "waited for; "
     "keep_ms, up to 600000: how long the handle outlives the HTTP connection that made it, and "
     "the "
     "latest call on it; default 0; "
     "peer_timeout_ms, 100 or more: the connection ends when the peer's link_mgr hangs for so "
     "long; "
     "default 0: never.\n"
     "Out: handle, local_port, peer_domid, peer_port, peer_uid, serial.\n"
     "Faults (errno): 111 refused, 13 not allowed by policy, 113 no such domain or no link_mgr "
     "there, 110 timed out, "
     "105 out of resources, 122 the user's quota, 71 no common protocol version, 91 listener of "
     "the other type, 104 reset.",
     false, rpc_do_connect, rpc_refuse_connect},
    {"idc.disconnect", S_S, "handle ",
     "Closes a connection; what was sent before is delivered.\nIn: handle.\nOut: empty.", false,
     rpc_do_disconnect, NULL},
    {"idc.listen", S_S,
     "port name type backlog local fd far_end reserve reset_is_end keep_ms kept peer_timeout_ms ",
     "Listens on a port (0: link_mgr picks one), or on a service name, or both.\n"
     "In: port, name, type \"stream\" (default) or \"seqpacket\", backlog (default 128); "
     "local, true: only for connections of this domain; keep_ms, as in idc.connect; "
     "peer_timeout_ms, as in idc.connect, of the connections that are accepted.\n"
     "Out: handle, port.\n"
     "Faults (errno): 98 in use, 13 ports below 1024 need privilege, 122 the user's quota.",
     false, rpc_do_listen, NULL},
    {"idc.accept", S_S, "handle timeout_ms keep_ms ",
     "Takes the next connection of a listener, waiting for one.\n"
     "In: handle; timeout_ms, -1 none (default), 0 fails at once with 11; keep_ms, as in "
     "idc.connect, default that of the listener.\n"
     "Out: handle of the connection, peer_domid, peer_port, peer_uid, type, service, serial.\n"
     "Faults (errno): 110 timed out, 103 the listener was ended, 105 too many handles.",
     false, rpc_do_accept, NULL},
    {"idc.unlisten", S_S, "handle ",
     "Ends a listener; its port and name are free again, connections that waited are reset.\nIn: "
     "handle.\nOut: empty.",
     false, rpc_do_unlisten, NULL},
    {"idc.send", S_S, "handle data timeout_ms end ",
     "Sends on a connection; waits until at least one byte (seqpacket: the whole message) is "
     "taken.\n"
     "In: handle; data (base64); timeout_ms, -1 none, default 30000, 0 takes what it can; end, "
     "true: no more follows.\n"
     "Out: accepted, the number of bytes that were taken.\n"
     "Faults (errno): 110 timed out, 32 this direction has ended, 90 message too long, or why it "
     "was cut off.",
     true, rpc_do_send, NULL},
    {"idc.recv", S_S, "handle max timeout_ms ",
     "Receives from a connection, waiting for data.\n"
     "In: handle; max bytes, default 65536; timeout_ms, -1 none (default), 0 fails at once with "
     "11.\n"
     "Out: data (base64), empty at the end of the stream.\n"
     "Faults (errno): 110 timed out, 104 reset, or why it was cut off.",
     true, rpc_do_recv, NULL},
    {"idc.reason", S_S, "serial shown ",
     "Why a connection ended.\nIn: serial, from idc.connect or idc.accept.\n"
     "Out: errno (0: open, or ended cleanly), why.\nFaults (errno): 2 not known (any more), 13 not "
     "yours.",
     false, rpc_do_reason, NULL},
    {"idc.unsent", S_S, "serial shown ",
     "How many written bytes link_mgr has not taken from the program yet.\nIn: serial.\nOut: "
     "bytes.\nFaults (errno): 2 not known, 13 not yours.",
     false, rpc_do_unsent, NULL},
    {"idc.peer_timeout", S_S, "serial shown peer_timeout_ms ",
     "Ends a connection when the peer's link_mgr hangs for so long.\n"
     "In: serial; peer_timeout_ms, 100 or more, 0: never.\nOut: empty.\n"
     "Faults (errno): 2 not known, 13 not yours.",
     false, rpc_do_peer_timeout, NULL},
    {"idc.domid", "S:,S:S", "",
     "Which domain this is.\nIn: nothing.\nOut: domid, name, uuid (empty: not told).", false,
     rpc_do_domid, NULL},
    {"idc.resolve", S_S, "domain ",
     "Which domain has that name.\n"
     "In: domain: a name, uuid:UUID, domid:N, dom0, self.\n"
     "Out: domid, name, uuid (empty: not told).\n"
     "Faults (errno): 113 this domain is told of no such domain, 76 it is told of several.",
     false, rpc_do_resolve, NULL},
    {"idc.explain", S_S, "domid domain port name type ",
     "What would become of a connect of the caller, as far as this side decides. None is made.\n"
     "In: domid or domain, not any; port or name; type \"stream\" (default) or \"seqpacket\".\n"
     "Out: domid; by: \"own\", \"rule\", \"node\" or \"none\"; rule, perhaps; errno (0: the "
     "request would be sent), why; connections, connections_max (0: no limit); link, present, "
     "link_error.\n"
     "Faults (errno): 113 this domain is told of no such domain, 76 it is told of several.",
     false, rpc_do_explain, NULL},
    {"idc.capture", S_S, "fd domid domain port data ",
     "Begins to show the frames that pass on links. On upgraded connections only.\n"
     "In: fd, true; domid or domain: only frames from and to it; port: only those of connections "
     "with that port; data: so many bytes of each DATA_ind, default 0.\n"
     "Out: version of the records that can be read from the descriptor, domid of this domain.\n"
     "Faults (errno): 13 only root and link_mgr's user may, 16 there are as many as may be.",
     false, rpc_do_capture, NULL},
    {"idc.status", "S:,S:S", "detail from ",
     "The daemon's state.\nIn: nothing, or detail (false leaves out connections and handles), from "
     "(the "
     "next of the page before).\n"
     "Out: domid, platform, version, pid, threads, uptime_ms, counters; links, connections, "
     "listeners, users, own handles: 128 in all; next, if there are more.",
     false, rpc_do_status, NULL},
};
const size_t rpc_method_count = sizeof(rpc_methods) / sizeof(rpc_methods[0]);
