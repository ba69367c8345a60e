#!/bin/sh
# Prints what the runtime adds to a program: links a shared library that exports the C API and nothing
# else, collects unused sections, strips it, and prints its size. Fails when a library is over its
# budget or needs more than libc and threads.
# Calls of its own functions are bound (-Bsymbolic-functions), as they are in a program that links the
# static libraries. Without RELRO, which pads a file with up to a page of 16 KiB before its data.
# usage: CC=… STRIP=… NM=… report-size.sh INCLUDE_DIR WORK_DIR libkiln_runtime.a [libkiln_llm.a]
set -eu
: "${CC:=cc}" "${STRIP:=strip}" "${NM:=nm}"
include=$1
work=$2
core=$3
llm=${4:-}
mkdir -p "$work"

# The names of the functions that a public header declares.
api() {
  sed -n 's/^[a-z_].*[ *]\(kiln_[a-z0-9_]*\)(.*/\1/p' "$@" | sort -u
}

# measure NAME BUDGET HEADERS LIBRARIES
measure() {
  name=$1
  budget=$2
  library=$work/lib$name.so
  {
    echo '{ global:'
    api $3 | sed 's/$/;/'
    echo 'local: *; };'
  } >"$work/$name.map"
  keep=$(api $3 | sed 's/^/-Wl,-u,/')
  "$CC" -shared -nodefaultlibs -o "$library" $keep $4 -Wl,--gc-sections -Wl,-z,defs \
    -Wl,-z,max-page-size=16384 -Wl,-z,noseparate-code -Wl,-z,norelro -Wl,--build-id=none \
    -Wl,--hash-style=gnu -Wl,-Bsymbolic-functions -Wl,--version-script="$work/$name.map" -lc -lpthread \
    -lgcc
  missing=$(api $3 | while read -r symbol; do
    "$NM" -D --defined-only "$library" | grep -q " $symbol\(@\|\$\)" || echo "$symbol"
  done)
  if [ -n "$missing" ]; then
    echo "$name: declared but not defined:" $missing >&2
    exit 1
  fi
  if "$NM" -D --undefined-only "$library" | grep -E ' (_Z|__cxa_(throw|guard|pure)|__gxx)'; then
    echo "$name: needs the C++ library" >&2
    exit 1
  fi
  "$STRIP" -s "$library"
  size=$(wc -c <"$library")
  printf '%-6s %7d bytes stripped (budget %d)\n' "$name" "$size" "$budget"
  if [ "$size" -gt "$budget" ]; then
    echo "$name: over its budget" >&2
    exit 1
  fi
}

measure core 65536 "$include/kiln/kiln.h" "$core"
if [ -n "$llm" ]; then
  measure llm 163840 "$include/kiln/kiln.h $include/kiln/llm.h" "$llm $core"
  measure chat 204800 "$include/kiln/kiln.h $include/kiln/llm.h $include/kiln/chat.h" "$llm $core"
fi
