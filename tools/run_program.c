/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run_program.c - see run_program.h. It reads three parts of the file. The name of the interpreter
 * (PT_INTERP) distinguishes glibc's loader from others. The needed libraries (DT_NEEDED) show gcc's
 * and clang's address sanitizer. The note of the build (PT_NOTE, and the section .note.go.buildid)
 * shows a program of Go's linker. A malformed file counts as ordinary, because execve will say what
 * is wrong with it.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tools/run_program.h"

#define PART_MAX (1 << 20) /* nothing that is looked for is longer */
#define GO_NOTE_TYPE 4     /* Go's "build ID" */

struct elf_file {
    int fd;
    Elf64_Ehdr header;
};

static const char *const run_kind_texts[] = {
    [RUN_NOT_64_BIT] = "is not a 64-bit program",
    [RUN_STATIC] = "is a static program",
    [RUN_SETUID] = "is setuid or setgid",
    [RUN_CAPABLE] = "has file capabilities",
    [RUN_OTHER_LIBRARY] = "is linked with another C library than glibc (musl, for example)",
    [RUN_GO] = "is written in Go and makes its system calls itself",
    [RUN_ADDRESS_SANITIZER] = "is built with AddressSanitizer",
};
_Static_assert(sizeof(run_kind_texts) / sizeof(run_kind_texts[0]) == RUN_ADDRESS_SANITIZER + 1,
               "a text for each");

const char *run_kind_text(enum run_kind kind)
{
    return run_kind_texts[kind];
}

/* ---- parts of the file ---- */

/* len bytes at offset, with a NUL behind them, to be freed; NULL if they are not there. */
static char *elf_read(const struct elf_file *file, uint64_t offset, uint64_t len)
{
    char *bytes = len > 0 && len <= PART_MAX ? malloc(len + 1) : NULL;
    if (bytes != NULL && pread(file->fd, bytes, len, (off_t)offset) != (ssize_t)len) {
        free(bytes);
        return NULL;
    }
    if (bytes != NULL)
        bytes[len] = '\0';
    return bytes;
}

/* The program header of number at. */
static bool elf_segment(const struct elf_file *file, unsigned at, Elf64_Phdr *segment)
{
    uint64_t offset = file->header.e_phoff + (uint64_t)at * file->header.e_phentsize;
    return at < file->header.e_phnum &&
           pread(file->fd, segment, sizeof(*segment), (off_t)offset) == sizeof(*segment);
}

static bool elf_section(const struct elf_file *file, unsigned at, Elf64_Shdr *section)
{
    uint64_t offset = file->header.e_shoff + (uint64_t)at * file->header.e_shentsize;
    return file->header.e_shoff != 0 && at < file->header.e_shnum &&
           pread(file->fd, section, sizeof(*section), (off_t)offset) == sizeof(*section);
}

static bool elf_find_segment(const struct elf_file *file, uint32_t type, Elf64_Phdr *segment)
{
    for (unsigned i = 0; elf_segment(file, i, segment); i++)
        if (segment->p_type == type)
            return true;
    return false;
}

/* The place in the file of the bytes that are loaded at address. */
static bool elf_offset_of(const struct elf_file *file, uint64_t address, uint64_t *offset,
                          uint64_t *len)
{
    Elf64_Phdr segment;
    for (unsigned i = 0; elf_segment(file, i, &segment); i++) {
        if (segment.p_type != PT_LOAD || address < segment.p_vaddr ||
            address - segment.p_vaddr >= segment.p_filesz)
            continue;
        *offset = segment.p_offset + (address - segment.p_vaddr);
        *len = segment.p_filesz - (address - segment.p_vaddr);
        return true;
    }
    return false;
}

/* ---- the interpreter ---- */

static bool is_other_loader(const struct elf_file *file, const Elf64_Phdr *segment)
{
    char *path = elf_read(file, segment->p_offset, segment->p_filesz);
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : path;
    bool other = name != NULL && strncmp(name, "ld-linux", strlen("ld-linux")) != 0 &&
                 strncmp(name, "ld64", strlen("ld64")) != 0;
    free(path);
    return other;
}

/* ---- the libraries ---- */

static bool is_sanitizer(const char *library)
{
    return strncmp(library, "libasan.so", strlen("libasan.so")) == 0 ||
           strncmp(library, "libclang_rt.asan", strlen("libclang_rt.asan")) == 0;
}

/* Looks among the names in strings, which end with a NUL, for those that count entries need. */
static bool needs_sanitizer(const Elf64_Dyn *entries, size_t count, const char *strings,
                            uint64_t len)
{
    for (size_t i = 0; i < count && entries[i].d_tag != DT_NULL; i++)
        if (entries[i].d_tag == DT_NEEDED && entries[i].d_un.d_val < len &&
            is_sanitizer(strings + entries[i].d_un.d_val))
            return true;
    return false;
}

static bool dynamic_value(const Elf64_Dyn *entries, size_t count, int64_t tag, uint64_t *value)
{
    for (size_t i = 0; i < count && entries[i].d_tag != DT_NULL; i++) {
        if (entries[i].d_tag != tag)
            continue;
        *value = entries[i].d_un.d_val;
        return true;
    }
    return false;
}

static bool has_sanitizer(const struct elf_file *file)
{
    Elf64_Phdr segment;
    uint64_t address, size, offset, room;
    if (!elf_find_segment(file, PT_DYNAMIC, &segment))
        return false;
    char *dynamic = elf_read(file, segment.p_offset, segment.p_filesz), *strings = NULL;
    const Elf64_Dyn *entries = (const Elf64_Dyn *)(void *)dynamic;
    size_t count = segment.p_filesz / sizeof(*entries);
    if (dynamic != NULL && dynamic_value(entries, count, DT_STRTAB, &address) &&
        dynamic_value(entries, count, DT_STRSZ, &size) &&
        elf_offset_of(file, address, &offset, &room) && size <= room)
        strings = elf_read(file, offset, size);
    bool found = strings != NULL && needs_sanitizer(entries, count, strings, size);
    free(strings);
    free(dynamic);
    return found;
}

/* ---- Go ---- */

static bool is_go_note(const char *bytes, uint64_t len)
{
    Elf64_Nhdr note;
    for (uint64_t at = 0; at + sizeof(note) <= len;) {
        memcpy(&note, bytes + at, sizeof(note));
        uint64_t name = at + sizeof(note), text = name + ((note.n_namesz + 3ULL) & ~3ULL);
        if (note.n_type == GO_NOTE_TYPE && note.n_namesz == 4 && name + 4 <= len &&
            memcmp(bytes + name, "Go\0\0", 4) == 0)
            return true;
        at = text + ((note.n_descsz + 3ULL) & ~3ULL);
    }
    return false;
}

static bool has_go_note(const struct elf_file *file)
{
    Elf64_Phdr segment;
    bool found = false;
    for (unsigned i = 0; !found && elf_segment(file, i, &segment); i++) {
        char *note =
            segment.p_type == PT_NOTE ? elf_read(file, segment.p_offset, segment.p_filesz) : NULL;
        found = note != NULL && is_go_note(note, segment.p_filesz);
        free(note);
    }
    return found;
}

static bool has_go_section(const struct elf_file *file)
{
    Elf64_Shdr section, names;
    bool found = false;
    if (!elf_section(file, file->header.e_shstrndx, &names))
        return false;
    char *strings = elf_read(file, names.sh_offset, names.sh_size);
    for (unsigned i = 0; strings != NULL && !found && elf_section(file, i, &section); i++)
        found = section.sh_name < names.sh_size &&
                (strcmp(strings + section.sh_name, ".note.go.buildid") == 0 ||
                 strcmp(strings + section.sh_name, ".go.buildinfo") == 0);
    free(strings);
    return found;
}

/* ---- the kind ---- */

static bool is_privileged(const struct elf_file *file)
{
    struct stat status;
    return fstat(file->fd, &status) == 0 &&
           (((status.st_mode & S_ISUID) && status.st_uid != getuid()) ||
            ((status.st_mode & S_ISGID) && status.st_gid != getgid()));
}

/* Capabilities give root nothing new, and then the dynamic linker ignores them. */
static bool has_capabilities(const struct elf_file *file)
{
    return getuid() != 0 && fgetxattr(file->fd, "security.capability", NULL, 0) > 0;
}

static enum run_kind elf_kind(const struct elf_file *file)
{
    Elf64_Phdr interpreter;
    if (file->header.e_ident[EI_CLASS] != ELFCLASS64)
        return RUN_NOT_64_BIT;
    if (!elf_find_segment(file, PT_INTERP, &interpreter))
        return RUN_STATIC;
    if (is_other_loader(file, &interpreter))
        return RUN_OTHER_LIBRARY;
    if (is_privileged(file))
        return RUN_SETUID;
    if (has_capabilities(file))
        return RUN_CAPABLE;
    if (has_go_note(file) || has_go_section(file))
        return RUN_GO;
    return has_sanitizer(file) ? RUN_ADDRESS_SANITIZER : RUN_ORDINARY;
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

static enum run_kind kind_of_file(char path[PATH_MAX], int depth)
{
    union {
        Elf64_Ehdr elf;
        char text[256];
    } start = {0};
    enum run_kind kind = RUN_ORDINARY;
    struct elf_file file = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
    ssize_t len = file.fd >= 0 ? read(file.fd, start.text, sizeof(start.text) - 1) : -1;
    if (len > 0 && follow_script(start.text, len, path)) {
        kind = depth > 0 ? kind_of_file(path, depth - 1) : RUN_ORDINARY;
    } else if (len >= (ssize_t)sizeof(start.elf) &&
               memcmp(start.elf.e_ident, ELFMAG, SELFMAG) == 0) {
        file.header = start.elf;
        kind = elf_kind(&file);
    }
    if (file.fd >= 0)
        close(file.fd);
    return kind;
}

enum run_kind run_kind_of(char path[PATH_MAX])
{
    return kind_of_file(path, 1);
}
