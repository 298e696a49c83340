#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `make install` puts there what a user needs, a program can be built with that alone, and `make uninstall` leaves nothing.
set -eu
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
wrong() {
    echo "test_install: $*"
    exit 1
}
to="$tmp/a directory"
mkdir "$to"
make -s install BUILD="$build" DESTDIR="$to" PREFIX=/opt/idc || wrong "make install failed"
there=$to/opt/idc
for file in sbin/link_mgr sbin/idc-setup bin/idc lib/libidc.a lib/libidc.so lib/libidc.so.0 lib/pkgconfig/libidc.pc include/idc.h \
    lib/idc/test_accept lib/idc/test_conn lib/idc/libidc-vsock.so lib/systemd/system/link_mgr.service lib/systemd/system/link_mgr.socket lib/systemd/system/idc-policy.service lib/systemd/system/idc-channels.service lib/systemd/system/idc-serve@.service \
    lib/sysusers.d/idc.conf lib/udev/rules.d/60-idc.rules lib/modprobe.d/idc.conf lib/idc/libvirt-hook \
    share/bash-completion/completions/idc share/zsh/site-functions/_idc; do
    [ -s "$there/$file" ] || wrong "no $file"
done
! grep -rq '@PREFIX@\|@VERSION@' "$there/lib/pkgconfig" "$there/lib/systemd" || wrong "a @WORD@ is left"
grep -q 'ExecStart=/opt/idc/sbin/link_mgr' "$there/lib/systemd/system/link_mgr.service" || wrong "the unit starts something else"
for program in sbin/link_mgr sbin/idc-setup bin/idc; do
    "$there/$program" --version >/dev/null || wrong "$program doesn't run"
done
# idc run finds its library there; a path that the dynamic linker can't take is told.
said=$("$there/bin/idc" run true 2>&1) && wrong "idc run with a blank in its library's path"
[[ $said == *"blank"* ]] || wrong "idc run with a blank in its library's path: $said"
mv "$to" "$tmp/plain"
# shellcheck disable=SC2016 # for the shell that is run
said=$("$tmp/plain/opt/idc/bin/idc" run sh -c 'echo "$LD_PRELOAD"') || wrong "the installed idc run failed"
[ "$said" = "$(realpath "$tmp/plain/opt/idc/lib/idc/libidc-vsock.so")" ] || wrong "the installed idc run preloads '$said'"
mv "$tmp/plain" "$to"

# A program built with the installed files only, by what pkg-config says, with the shared and with the static library.
cat >"$tmp/program.c" <<'END'
#include <idc.h>
#include <stdio.h>
int main(void)
{
    return idc_connect(1, 80) != -1 || puts(idc_version()) < 0;
}
END
export PKG_CONFIG_PATH=$tmp/pc
mkdir "$tmp/pc"
sed "s|^prefix=.*|prefix=$tmp/there|" "$there/lib/pkgconfig/libidc.pc" >"$tmp/pc/libidc.pc"
ln -s "$there" "$tmp/there" # pkg-config and blanks in paths don't get on
sanitize=$(grep -oE -- '-fsanitize=[a-z,-]+' "$build/config" | sort -u)
# shellcheck disable=SC2046,SC2086 # several words
gcc -Wall -Werror $sanitize "$tmp/program.c" $(pkg-config --cflags --libs libidc) -o "$tmp/shared"
# shellcheck disable=SC2046,SC2086 # several words
gcc -Wall -Werror $sanitize "$tmp/program.c" $(pkg-config --cflags libidc) "$there/lib/libidc.a" \
    $(pkg-config --static --libs libidc | sed 's/-lidc//') -o "$tmp/static"
version=$(pkg-config --modversion libidc)
for kind in shared static; do
    said=$(IDC_SOCKET=$tmp/none LD_LIBRARY_PATH=$there/lib "$tmp/$kind") || wrong "the $kind program failed"
    [ "$said" = "$version" ] || wrong "the $kind program says version '$said', pkg-config '$version'"
done

# The Python package, with the installed library. (A sanitizer's library would have to come before Python's.)
package=$(echo "$there"/lib/python3*/dist-packages)
[ -e "$package/idc/py.typed" ] || wrong "no types of the Python package"
said=$(PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$package LD_LIBRARY_PATH=$there/lib python3 -c 'import idc; print(idc.version())') ||
    [ -n "$sanitize" ] || wrong "the Python package failed"
[ "$said" = "$version" ] || [ -n "$sanitize" ] || wrong "the Python package says version '$said', pkg-config '$version'"
grep -qx "version = \"$version\"" python/pyproject.toml || wrong "python/pyproject.toml has another version than $version"

# Only what idc.h declares is in anyone's way.
extra=$(nm -D --defined-only "$there/lib/libidc.so.0" | awk '$2 != "A" && $3 !~ /^idc_/ {print $3}')
[ -z "$extra" ] || [ -n "$sanitize" ] || wrong "libidc.so defines: $extra"
extra=$(nm -g --defined-only "$there/lib/libidc.a" | awk 'NF == 3 && $3 !~ /^idc_/ {print $3}')
[ -z "$extra" ] || [ -n "$sanitize" ] || wrong "libidc.a defines: $extra"
for name in $(grep -oE '\bidc_[a-z_]+\(' include/idc.h | tr -d '(' | sort -u); do
    nm -D --defined-only "$there/lib/libidc.so.0" | grep -q " $name\(@\|$\)" || wrong "libidc.so has no $name"
done

# libvirt's hook is the one that the document shows, which is tried on Xen.
diff <(grep -v '^# ' "$there/lib/idc/libvirt-hook") <(sed -n '/^    #!.bin.sh/,/^    exit 0/s/^    //p' docs/xen.md) || wrong "docs/xen.md has another hook"

# Every file that a man page names below share/doc is there.
while read -r file; do
    [ -s "$there/$file" ] || wrong "a man page names $file, which is not installed"
done < <(grep -ohE 'share/doc/idc/[A-Za-z_./]+[a-z]' docs/*.[1-8].md | sort -u)
[ -n "$(find "$there/share/man" -name 'idc.1' 2>/dev/null)" ] || ! command -v pandoc >/dev/null || wrong "no idc.1"

gone() {
    make -s uninstall BUILD="$build" DESTDIR="$to" "$@" || wrong "make uninstall $* failed"
    left=$(find "$to" -type f -o -type l)
    [ -z "$left" ] || wrong "make uninstall $* left $left"
}
gone PREFIX=/opt/idc

# Everybody can read it, whatever umask was.
(umask 077 && make -s install BUILD="$build" DESTDIR="$to" PREFIX=/usr) || wrong "make install under umask 077 failed"
closed=$(find "$to"/* ! -perm -o=r -o -type d ! -perm -o=x)
[ -z "$closed" ] || wrong "not for all users: $closed"

# Below /usr the library is where Debian's linker and pkg-config look, and nothing else than the library.
multiarch=$(gcc -print-multiarch)
for file in libidc.a libidc.so libidc.so.0 pkgconfig/libidc.pc; do
    [ -s "$to/usr/lib/$multiarch/$file" ] || wrong "no $file in /usr/lib/$multiarch"
done
grep -qxF "libdir=\${exec_prefix}/lib/$multiarch" "$to/usr/lib/$multiarch/pkgconfig/libidc.pc" || wrong "libidc.pc names another libdir"
for file in lib/idc/libidc-vsock.so lib/systemd/system/link_mgr.service share/bash-completion/completions/idc \
    share/zsh/vendor-completions/_idc lib/python3/dist-packages/idc/__init__.py; do
    [ -s "$to/usr/$file" ] || wrong "no $file in /usr"
done
gone PREFIX=/usr
make -s install BUILD="$build" DESTDIR="$to" PREFIX=/usr LIBDIR=/usr/lib64 >/dev/null || wrong "make install LIBDIR= failed"
[ -s "$to/usr/lib64/libidc.so.0" ] || wrong "LIBDIR is not heeded"
gone PREFIX=/usr LIBDIR=/usr/lib64

# Without pandoc it says that there are no man pages.
mkdir "$tmp/bin"
for directory in /usr/bin /bin; do
    find "$directory" -mindepth 1 -maxdepth 1 ! -name pandoc -exec ln -sf -t "$tmp/bin" {} +
done
said=$(PATH=$tmp/bin make -s install BUILD="$build" DESTDIR="$to" 2>&1 >/dev/null) || wrong "make install without pandoc failed"
[[ $said == *"NO MAN PAGES"*pandoc* ]] || wrong "make install without pandoc is silent: $said"
gone
